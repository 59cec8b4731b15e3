"""How git is called, for the description of the machine and for the gate."""

#: Keep git from running programs which a repository names: its hooks, what watches its
#: files, and what checks signatures.
SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "log.showSignature=false",
)

#: The command with these settings.
GIT = ("git", *(word for setting in SETTINGS for word in ("-c", setting)))
