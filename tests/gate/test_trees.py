import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_bench.engine.machine import describe_git
from resnet_bench.errors import NotComparableError, UsageError
from resnet_bench.gate.lineage import line_of
from resnet_bench.gate.trees import (
    PREFIX,
    GitError,
    checked_out,
    git,
    interpreter,
    resolve,
    working_tree,
)
from tests.gate.conftest import git as run_git

RESULTS = Path("results")


def test_a_revision_becomes_its_commit(repository: Path) -> None:
    assert resolve(repository, "main") == git(repository, "rev-parse", "HEAD")


def test_an_unknown_revision_is_refused(repository: Path) -> None:
    with pytest.raises(GitError, match="--against nowhere: expected a branch"):
        resolve(repository, "nowhere")


def test_a_shallow_clone_is_told_how_deep_to_check_out(
    repository: Path, tmp_path: Path
) -> None:
    run_git(repository, "commit", "--quiet", "--allow-empty", "--message", "More")
    address = f"file://{repository}"
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", address, "shallow")
    with pytest.raises(GitError, match="git fetch --unshallow"):
        resolve(tmp_path / "shallow", "HEAD~1")


def test_uncommitted_changes_are_part_of_the_tree(repository: Path) -> None:
    before = working_tree(repository, ".", RESULTS)
    assert before.content == before.committed
    (repository / "new.py").write_text("x = 1\n")
    after = working_tree(repository, ".", RESULTS)
    assert after.content != before.content
    assert after.facts["committed"] == before.content
    assert run_git(repository, "status", "--porcelain") == "?? new.py"


def test_results_are_no_change(repository: Path) -> None:
    (repository / ".gitignore").write_text("")
    run_git(repository, "commit", "--quiet", "--all", "--message", "Keep all")
    (repository / "results").mkdir()
    (repository / "results" / "run.jsonl").write_text("{}\n")
    tree = working_tree(repository, ".", RESULTS)
    assert tree.content == tree.committed


@pytest.mark.parametrize("name", ["*", "[r]", ":(top)x", "-x"])
def test_a_results_folder_of_any_name_hides_no_change(
    repository: Path, name: str
) -> None:
    results = repository / name
    results.mkdir()
    (results / "run.jsonl").write_text("{}\n")
    before = working_tree(repository, ".", Path(name))
    assert before.content == before.committed
    (repository / "subject.json").write_text("changed")
    changed = working_tree(repository, ".", Path(name))
    (repository / "new.py").write_text("x = 1\n")
    after = working_tree(repository, ".", Path(name))
    assert len({tree.content for tree in (before, changed, after)}) == 3


def test_outside_git_the_tree_has_no_commit(tmp_path: Path) -> None:
    tree = working_tree(tmp_path, ".", RESULTS)
    assert (tree.commit, tree.content) == (None, None)


def test_a_source_that_is_no_folder_is_refused(repository: Path) -> None:
    with pytest.raises(UsageError, match="--source src"):
        working_tree(repository, "src", RESULTS)


def test_a_commit_is_checked_out_beside_the_repository_and_removed(
    repository: Path,
) -> None:
    commit = resolve(repository, "HEAD")
    (repository / "subject.json").write_text("changed")
    with checked_out(repository, commit, ".") as base:
        assert base.folder != repository
        assert (base.folder / "subject.json").read_text() != "changed"
    assert not base.folder.exists()
    assert run_git(repository, "worktree", "list").count("\n") == 0


def test_a_commit_without_the_folder_is_not_comparable(repository: Path) -> None:
    commit = resolve(repository, "HEAD")
    (repository / "deeper").mkdir()
    with (
        pytest.raises(NotComparableError, match="has no folder deeper/"),
        checked_out(repository / "deeper", commit, "."),
    ):
        pass


def test_without_git_the_error_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitError, match="git cannot be run"):
        resolve(repository, "HEAD")


def test_outside_git_the_error_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="not in a git repository: expected the"):
        git(tmp_path, "rev-parse", "--show-toplevel")


def test_what_git_sets_for_its_hooks_is_not_passed_on(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert working_tree(repository, ".", RESULTS).commit == resolve(repository, "HEAD")
    assert not (tmp_path / "index").exists()


def test_reading_the_tree_leaves_no_object_in_the_repository(repository: Path) -> None:
    before = git(repository, "count-objects")
    (repository / "subject.json").write_text("changed")
    working_tree(repository, ".", RESULTS)
    assert git(repository, "count-objects") == before


def test_an_unknown_file_that_changes_is_another_tree(repository: Path) -> None:
    (repository / "new.py").write_text("x = 1\n")
    before = working_tree(repository, ".", RESULTS)
    (repository / "new.py").write_text("x = 12\n")
    assert working_tree(repository, ".", RESULTS).content != before.content


@pytest.mark.parametrize("name", [b" first", b"a\nb.py", b"\xff\xfe", b"\ttab\n"])
def test_files_may_have_any_name(name: bytes, repository: Path) -> None:
    before = working_tree(repository, ".", RESULTS)
    path = Path(os.fsdecode(os.fsencode(repository) + b"/" + name))
    path.write_text("x = 1\n")
    untracked = working_tree(repository, ".", RESULTS)
    assert untracked.content not in (None, before.content)
    run_git(repository, "add", "--all")
    run_git(repository, "commit", "--quiet", "--message", "Name")
    tracked = working_tree(repository, ".", RESULTS)
    assert tracked.content == tracked.committed != before.content
    with checked_out(repository, "HEAD", ".") as tree:
        assert (tree.folder / path.name).read_text() == "x = 1\n"


def test_a_repository_may_lie_in_a_folder_of_any_name(
    repository: Path, tmp_path: Path
) -> None:
    place = tmp_path / " two\nlines "
    repository.rename(place)
    tree = working_tree(place, ".", RESULTS)
    assert tree.folder == place
    assert tree.commit is not None
    with checked_out(place, "HEAD", ".") as base:
        assert (base.folder / "subject.json").exists()


def sign(repository: Path) -> None:
    """Give HEAD a signature, which nobody made."""
    head, _, message = run_git(repository, "cat-file", "commit", "HEAD").partition(
        "\n\n"
    )
    mark = "-----{} PGP SIGNATURE-----"
    lines = [f"gpgsig {mark.format('BEGIN')}", " ", " x", f" {mark.format('END')}"]
    content = "\n".join([head, *lines, "", message, ""])
    made = ("hash-object", "-t", "commit", "-w", "--stdin")
    answer = subprocess.run(
        ["git", "-C", repository, *made],
        input=content,
        capture_output=True,
        text=True,
        check=True,
    )
    run_git(repository, "reset", "--quiet", "--soft", answer.stdout.strip())


def test_no_program_that_the_repository_names_is_run(
    repository: Path, tmp_path: Path
) -> None:
    sign(repository)
    ran = tmp_path / "ran"
    program = repository / ".git" / "hooks" / "post-checkout"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho $0 >> {ran}\n")
    program.chmod(0o755)
    shutil.copy(program, program.with_name("post-index-change"))
    run_git(repository, "config", "core.fsmonitor", str(program))
    run_git(repository, "config", "log.showSignature", "true")
    run_git(repository, "config", "gpg.program", str(program))
    line_of(repository)
    with checked_out(repository, resolve(repository, "HEAD"), "."):
        working_tree(repository, ".", RESULTS)
    describe_git(repository)
    assert not ran.exists()
    for command in ("status", "log"):
        run_git(repository, command)
        assert ran.exists()
        ran.unlink()


def test_the_work_tree_of_a_killed_check_is_removed_by_the_next(
    repository: Path, tmp_path: Path
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    abandoned = tmp_path / f"{PREFIX}{ended.pid}-x" / "base"
    run_git(repository, "worktree", "add", "--quiet", "--detach", str(abandoned))
    # What git leaves that is killed in the middle of it.
    run_git(repository, "worktree", "lock", "--reason", "initializing", str(abandoned))
    mine = tmp_path / "mine"
    run_git(repository, "worktree", "add", "--quiet", "--detach", str(mine))
    with checked_out(repository, resolve(repository, "HEAD"), "."):
        pass
    assert not abandoned.parent.exists()
    assert mine.exists()
    assert git(repository, "worktree", "list").count("\n") == 1


def test_another_users_repository_is_told_how_to_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "fatal: detected dubious ownership in repository at '/a b'\n"
        "To add an exception for this directory, call:\n\n\tgit config x\n"
    )
    fake = tmp_path / "git"
    fake.write_text(f'#!/bin/sh\ncat >&2 <<"END"\n{said}END\nexit 128\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(GitError, match="another user") as caught:
        resolve(tmp_path, "HEAD")
    assert "--add safe.directory '/a b'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def with_submodule(repository: Path, tmp_path: Path) -> Path:
    """The project, whose commit has a submodule with one file."""
    library = tmp_path / "library"
    library.mkdir()
    run_git(library, "init", "--quiet", "--initial-branch", "main")
    (library / "code.py").write_text("x = 1\n")
    run_git(library, "add", "--all")
    run_git(library, "commit", "--quiet", "--message", "Start")
    allowed = ("-c", "protocol.file.allow=always")
    run_git(repository, *allowed, "submodule", "--quiet", "add", str(library), "lib")
    run_git(repository, "commit", "--quiet", "--all", "--message", "Add lib")
    return repository


def test_a_submodule_is_checked_out_too(with_submodule: Path) -> None:
    (with_submodule / "lib" / "code.py").write_text("x = 2\n")
    commit = resolve(with_submodule, "HEAD")
    with checked_out(with_submodule, commit, ".") as base:
        assert (base.folder / "lib" / "code.py").read_text() == "x = 1\n"
    assert run_git(with_submodule / "lib", "status", "--porcelain") == "M code.py"
    assert run_git(with_submodule, "worktree", "list").count("\n") == 0


def test_a_submodules_missing_commit_is_told_how_to_be_fetched(
    with_submodule: Path,
) -> None:
    missing = "1" * 40
    place = ("update-index", "--cacheinfo", f"160000,{missing},lib")
    run_git(with_submodule, *place)
    run_git(with_submodule, "commit", "--quiet", "--message", "Move lib")
    commit = resolve(with_submodule, "HEAD")
    with (
        pytest.raises(NotComparableError, match="git -C lib fetch origin 1111"),
        checked_out(with_submodule, commit, "."),
    ):
        pass


def program(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return place


def test_an_interpreter_is_found_in_its_environment_and_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = program(tmp_path / "venv" / "bin" / "python", "echo Python 3.12")
    link = tmp_path / "link"
    link.symlink_to(python)
    monkeypatch.chdir(tmp_path)
    assert interpreter(Path("venv")) == python
    assert interpreter(Path("link")) == link
    assert interpreter(Path(sys.executable)) == Path(sys.executable)


@pytest.mark.parametrize("text", ["exit 1", "true", "echo bash 5.2", "exec /nowhere"])
def test_what_is_no_interpreter_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="expected a Python interpreter, or the"):
        interpreter(program(tmp_path / "program", text))


def test_a_place_without_an_interpreter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for place in (tmp_path, tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=f"--against-python {place}: expected"):
            interpreter(place)


def test_an_old_python_is_not_comparable(tmp_path: Path) -> None:
    old = program(tmp_path / "python", "echo Python 2.7")
    with pytest.raises(NotComparableError, match=r"is Python 2.7, expected 3.11"):
        interpreter(old)
