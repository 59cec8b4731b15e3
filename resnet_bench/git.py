"""How git is called, by the description of the machine and by the gate alike."""

#: The command and the options that keep git from running programs which a repository
#: names: its hooks, and what watches its files.
GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
