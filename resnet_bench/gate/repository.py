"""Asking git about the repository that the project lies in."""

import os
import subprocess
from pathlib import Path

from resnet_bench.errors import UsageError

#: Set by git for its hooks, and meant for one repository and one index: a check that
#: a hook starts must find its own.
HOOK_VARIABLES = frozenset(
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"]
)

#: What git says, in the language asked for, outside of every repository.
NO_REPOSITORY = "not a git repository"


class GitError(UsageError):
    """What git refused, in one line."""


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """Run git in `folder` and return what it prints; raises GitError."""
    inherited = {k: v for k, v in os.environ.items() if k not in HOOK_VARIABLES}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**inherited, "LC_ALL": "C", **variables},
            # Ctrl-C is this process's to handle; git must end what it began.
            process_group=0,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror or error}") from error
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise GitError(_reason(arguments[0], lines[-1]))
    return answer.stdout.strip()


def _reason(command: str, message: str) -> str:
    if NO_REPOSITORY in message:
        return (
            "the current folder is in no git repository: expected one of the project, "
            "whose older commit is measured beside the files as they are"
        )
    return f"git {command}: {message.removeprefix('fatal: ')}"


def resolve(folder: Path, revision: str) -> str:
    """Return the commit that `revision` names.

    Raises GitError; for a shallow clone it says how deep to check out.
    """
    name = f"{revision}^{{commit}}"
    try:
        return git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    except GitError:
        pass
    if git(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise GitError(
            f"--against {revision}: not in this shallow clone: check out with "
            "fetch-depth: 0 (all of it), or run git fetch --unshallow"
        )
    raise GitError(f"--against {revision}: expected a branch, tag or commit")
