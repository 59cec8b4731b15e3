"""The two trees that a check compares."""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_bench.errors import NotComparableError, UsageError
from resnet_bench.gate.records import Side
from resnet_bench.gate.spec import DEFAULT_SUBJECT, INSTRUCTIONS, SubjectConfig
from resnet_bench.git import GIT

#: Set by git for its hooks, and meant for one repository and one index: a check that
#: a hook starts must find its own. Paths are read as they are given below.
HOOK_VARIABLES = frozenset(
    [
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"),
        *("GIT_COMMON_DIR", "GIT_LITERAL_PATHSPECS"),
    ]
)

#: What git says, in the language asked for, outside of every repository.
NO_REPOSITORY = "not a git repository"


#: What git says of a repository that belongs to another user, as in containers.
FOREIGN = re.compile(
    r"(dubious ownership in|unsafe) repository( at)? \(?'(?P<place>[^']+)'"
)


class GitError(UsageError):
    """Git's error, in one line."""


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """Run git in `folder` and return what it prints; raises GitError.

    Hooks and the file watcher of the repository are not run.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in HOOK_VARIABLES}
    try:
        answer = subprocess.run(
            [*GIT, "-C", str(folder), *arguments],
            capture_output=True,
            # Names of files are bytes, and may begin with a space.
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            env={**inherited, "LC_ALL": "C", **variables},
            # Ctrl-C is this process's to handle; git must end what it began.
            process_group=0,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror or error}") from error
    if answer.returncode:
        raise GitError(_reason(arguments[0], answer.stderr.strip() or "no message"))
    return answer.stdout.removesuffix("\n")


def _reason(command: str, message: str) -> str:
    """Return git's error in one line, with the remedy if there is one."""
    if NO_REPOSITORY in message:
        return (
            "the current folder is not in a git repository: expected the project's, "
            "since an older commit is measured beside the working tree"
        )
    if owned := FOREIGN.search(message):
        place = shlex.quote(owned["place"])
        return (
            f"the repository {place} belongs to another user, so git does not read it: "
            f"'git config --global --add safe.directory {place}' allows it"
        )
    return f"git {command}: {message.splitlines()[-1].removeprefix('fatal: ')}"


def resolve(folder: Path, revision: str, given: str = "") -> str:
    """Return the commit that `revision` names.

    `given` is the option that it comes from, with its value, if not --against. Raises
    GitError; for a shallow clone it says how deep to check out.
    """
    given = given or f"--against {revision}"
    name = f"{revision}^{{commit}}"
    try:
        return git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    except GitError:
        pass
    if git(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise GitError(
            f"{given}: not in this shallow clone: run "
            "'git fetch --unshallow', or check out the full history (fetch-depth: 0)"
        )
    raise GitError(f"{given}: expected a branch, tag or commit of this repository")


#: The base's work tree lies in a temporary folder of this name and the check's own
#: process id.
PREFIX = "resnet-bench-"

#: How git lists a submodule of a commit.
SUBMODULE = "160000 "

ADD = ("worktree", "add", "--detach", "--quiet")
#: Forced twice: git has locked a work tree whose checkout was cut off.
REMOVE = ("worktree", "remove", "--force", "--force")


@dataclass(frozen=True)
class Tree:
    """A checked-out tree: the folder to import from, what it holds, what runs it.

    `content` is git's hash of all files, those not committed yet included, and
    `committed` the one of the commit; both are unknown outside git. `python` is an
    interpreter other than this process's.
    """

    folder: Path
    commit: str | None = None
    content: str | None = None
    committed: str | None = None
    python: Path | None = None

    @property
    def facts(self) -> dict[str, str | None]:
        """What a run file keeps of it: no path of this machine."""
        return {
            "commit": self.commit,
            "content": self.content,
            "committed": self.committed,
        }


def content_of(top: Path, results: str) -> str:
    """Return a hash of all files in the work tree, ignored ones and results out.

    It is git's own hash of the tree as long as every file is known to git. A temporary
    index and object store are used, so that the repository stays as it is.
    """
    here = ("--", ".", f":(exclude,top,literal){results}")
    objects = git(top, "rev-parse", "--path-format=absolute", "--git-path", "objects")
    with tempfile.TemporaryDirectory() as scratch:
        apart = {
            "GIT_INDEX_FILE": str(Path(scratch) / "index"),
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }
        git(top, "read-tree", "HEAD", **apart)
        git(top, "add", "--update", *here, **apart)
        tracked = git(top, "write-tree", **apart)
    listing = ("ls-files", "-z", "--others", "--exclude-standard")
    unknown = git(top, *listing, *here).split("\0")
    return _with_untracked(tracked, top, [name for name in unknown if name])


def _with_untracked(tracked: str, top: Path, names: Sequence[str]) -> str:
    """Return `tracked`, joined with name, size and time of files git does not know.

    Their contents are not read: they may be a data set.
    """
    if not names:
        return tracked
    digest = hashlib.sha1(tracked.encode(), usedforsecurity=False)
    for name in sorted(names):
        status = (top / name).lstat()
        facts = f" {status.st_size} {status.st_mtime_ns}\0"
        digest.update(os.fsencode(name) + facts.encode())
    return digest.hexdigest()


def working_tree(folder: Path, source: str, results: Path) -> Tree:
    """Return the tree as it is on disk; `source` is the folder to import from.

    Outside a git work tree commit and content are unknown.
    """
    place = _source(folder, source)
    try:
        found = git(folder, "rev-parse", "--show-toplevel", "HEAD", "HEAD^{tree}")
        name, commit, committed = found.rsplit("\n", 2)
        top = Path(name).resolve()
        content = content_of(top, _inside(top, folder / results))
    except GitError:
        return Tree(place)
    return Tree(place, commit, content, committed)


def _inside(top: Path, results: Path) -> str:
    """Return the results folder as git names it, or one that does not exist."""
    place = results.resolve()
    if place.is_relative_to(top) and place != top:
        return place.relative_to(top).as_posix()
    return "results"


def _source(folder: Path, source: str) -> Path:
    place = (folder / source).resolve()
    if not place.is_dir():
        raise UsageError(f"--source {source}: expected a folder of the tree")
    return place


def require_subject(folder: Path, config: SubjectConfig) -> None:
    """Raise NotComparableError where a project has no subject and names none."""
    module = DEFAULT_SUBJECT.partition(":")[0].replace(".", "/")
    own = _source(folder, config.source) / f"{module}.py"
    if config.subject == DEFAULT_SUBJECT and not own.is_file():
        raise NotComparableError(
            "this project has no subject: write one (a module with SUBJECT_API = 1 and "
            "CASES) and give --subject MODULE:FUNCTION; see " + INSTRUCTIONS
        )


@contextlib.contextmanager
def checked_out(folder: Path, commit: str, source: str) -> Iterator[Tree]:
    """Check `commit` out beside the repository while the block runs.

    `folder` may lie below the repository's top; the same place is imported from.
    Raises GitError, and NotComparableError when the commit lacks the place or one of
    its submodules.
    """
    below = git(folder, "rev-parse", "--show-prefix")
    remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as scratch:
        place = Path(scratch) / "base"
        try:
            git(folder, *ADD, str(place), commit)
            fill_submodules(folder, place, commit)
            inside = place / below / source
            if not inside.is_dir():
                raise NotComparableError(
                    f"commit {commit[:12]} has no folder {below}{source}"
                )
            content = git(place, "rev-parse", f"{commit}^{{tree}}")
            yield Tree(inside.resolve(), commit, content, content)
        finally:
            # What could not be added can't be removed either; its error goes on.
            with contextlib.suppress(GitError):
                git(folder, *REMOVE, str(place))


def bytes_of(folder: Path, commit: str) -> int:
    """Return what a commit's files take, without its submodules."""
    lines = git(folder, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).split("\0")
    sizes = (line.partition("\t")[0].split()[-1] for line in lines if line)
    return sum(int(size) for size in sizes if size.isdigit())


def fill_submodules(folder: Path, place: Path, commit: str) -> None:
    """Write the commit's submodules into its work tree, which git leaves empty.

    They come from the clones below `folder`; one that is not cloned is left out on
    both sides. Raises NotComparableError for a clone without the commit.
    """
    top = Path(git(folder, "rev-parse", "--show-toplevel"))
    for line in git(top, "ls-tree", "-r", "-z", commit).split("\0"):
        facts, _, name = line.partition("\t")
        if not facts.startswith(SUBMODULE) or not (top / name / ".git").exists():
            continue
        wanted = facts.split()[2]
        index = {"GIT_INDEX_FILE": str(place.parent / "index")}
        try:
            git(top / name, "read-tree", wanted, **index)
            prefix = f"--prefix={place / name}/"
            git(top / name, "checkout-index", "--all", "--quiet", prefix, **index)
        except GitError as error:
            raise NotComparableError(
                f"commit {commit[:12]} needs {wanted[:12]} of the submodule {name}, "
                f"which is not here: 'git -C {name} fetch origin {wanted}' gets it"
            ) from error
        fill_submodules(top / name, place / name, wanted)


def remove_abandoned(folder: Path) -> None:
    """Remove the work trees of checks that were killed before they could do so."""
    import psutil

    lines = git(folder, "worktree", "list", "--porcelain").split("\n")
    for line in lines:
        place = Path(line.removeprefix("worktree "))
        owner = re.fullmatch(rf"{PREFIX}(\d+)-.*", place.parent.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            # Another check may just have done so, or another user own it.
            with contextlib.suppress(GitError):
                git(folder, *REMOVE, str(place))
            shutil.rmtree(place.parent, ignore_errors=True)


PACKAGE = Path(__file__).resolve().parents[1]

#: The folders in which Python keeps installed packages.
INSTALLED = ("site-packages", "dist-packages")

#: What an interpreter is asked before anything else; every Python understands it.
ASKED = "import sys; print('Python %d.%d' % sys.version_info[:2])"

#: The oldest Python that the worker's program runs under: it is started with -P.
OLDEST_PYTHON = (3, 11)

#: No interpreter takes so long to say its version.
PATIENCE_SECONDS = 60


def interpreter(place: Path) -> Path:
    """Return the Python at `place`, which may be the folder of an environment.

    A link is not followed: where it lies decides what the interpreter imports. Raises
    UsageError where there is none, NotComparableError for one that is too old.
    """
    inside = (place / "bin" / "python", place / "Scripts" / "python.exe")
    found = next((path for path in (*inside, place) if path.is_file()), None)
    version = found and re.fullmatch(r"Python (\d+)\.(\d+)", _answer_of(found))
    if not (found and version):
        raise UsageError.for_option(
            "--against-python",
            place,
            "a Python interpreter, or the folder of a virtual environment",
        )
    if tuple(map(int, version.groups())) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise NotComparableError(
            f"--against-python {place}: is {version[0]}, expected {oldest} or later"
        )
    return found.absolute()


def _answer_of(program: Path) -> str:
    """Return what a program prints that is asked as Python is; nothing if it fails."""
    try:
        answer = subprocess.run(
            [program.absolute(), "-c", ASKED],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode(errors="replace").strip()


@contextlib.contextmanager
def one_tree(config: SubjectConfig) -> Iterator[Mapping[Side, Tree]]:
    """Provide the same tree as both sides, the base under the other Python if any.

    It is the current folder, or what holds this package for its own subject. Raises
    UsageError and NotComparableError for an interpreter that can't be used.
    """
    python = config.against_python and interpreter(config.against_python)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path.cwd()
        if config.subject == DEFAULT_SUBJECT:
            folder = PACKAGE.parent
            if python and PACKAGE.parent.name in INSTALLED:
                # Beside it lie this Python's packages, which are not the other's.
                folder = Path(scratch).resolve()
                shutil.copytree(PACKAGE, folder / PACKAGE.name)
        tree = working_tree(folder, config.source, config.results)
        yield {"base": replace(tree, python=python), "head": tree}
