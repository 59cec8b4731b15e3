"""The two trees that a check sets against each other."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.errors import NotComparableError, UsageError


class GitError(UsageError):
    """What git refused, in one line."""


@dataclass(frozen=True)
class Tree:
    """A checked-out tree: the folder to import from, and what it holds.

    `content` is git's hash of all files, those not committed yet included, and
    `committed` the one of the commit; both are unknown outside git.
    """

    folder: Path
    commit: str | None = None
    content: str | None = None
    committed: str | None = None

    @property
    def facts(self) -> dict[str, str | None]:
        """What a run file keeps of it: no path of this machine."""
        return {
            "commit": self.commit,
            "content": self.content,
            "committed": self.committed,
        }


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """Run git in `folder` and return what it prints; raises GitError."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **variables},
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror or error}") from error
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise GitError(f"git {arguments[0]}: {lines[-1]}")
    return answer.stdout.strip()


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


def content_of(folder: Path, results: str) -> str:
    """Return git's hash of all files in the work tree, ignored ones and results out.

    A temporary index is used, so that nobody's staged changes are touched.
    """
    top = Path(git(folder, "rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(top, "read-tree", "HEAD", **index)
        git(top, "add", "--all", **index)
        git(top, "reset", "--quiet", "HEAD", "--", results, **index)
        return git(top, "write-tree", **index)


def working_tree(folder: Path, source: str, results: Path) -> Tree:
    """Return the tree as it is on disk; `source` is the folder to import from.

    Outside a git work tree commit and content are unknown.
    """
    place = _source(folder, source)
    try:
        commit = git(folder, "rev-parse", "--verify", "HEAD")
        content = content_of(folder, _in_repository(folder, results))
    except GitError:
        return Tree(place)
    return Tree(place, commit, content, git(folder, "rev-parse", "HEAD^{tree}"))


def _in_repository(folder: Path, results: Path) -> str:
    """Return the results folder as git names it, or one that does not exist."""
    top = Path(git(folder, "rev-parse", "--show-toplevel")).resolve()
    place = (folder / results).resolve()
    if place.is_relative_to(top) and place != top:
        return place.relative_to(top).as_posix()
    return "results"


def _source(folder: Path, source: str) -> Path:
    place = (folder / source).resolve()
    if not place.is_dir():
        raise UsageError(f"--source {source}: expected a folder of the tree")
    return place


@contextlib.contextmanager
def checked_out(folder: Path, commit: str, source: str) -> Iterator[Tree]:
    """Check `commit` out beside the repository while the block runs.

    `folder` may lie below the repository's top; the same place is imported from.
    Raises GitError, and NotComparableError when the commit lacks the place.
    """
    below = git(folder, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix="resnet-bench-") as scratch:
        place = Path(scratch) / "base"
        git(folder, "worktree", "prune")
        git(folder, "worktree", "add", "--detach", "--quiet", str(place), commit)
        try:
            inside = place / below / source
            if not inside.is_dir():
                raise NotComparableError(
                    f"commit {commit[:12]} has no folder {below}{source}"
                )
            content = git(place, "rev-parse", f"{commit}^{{tree}}")
            yield Tree(inside.resolve(), commit, content, content)
        finally:
            git(folder, "worktree", "remove", "--force", str(place))
