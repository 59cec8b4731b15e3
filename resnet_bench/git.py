"""How git is called, for the description of the machine and for the gate."""

#: The command and the options that keep git from running programs which a repository
#: names: its hooks, and what watches its files.
GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
