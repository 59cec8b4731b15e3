from pathlib import Path

import pytest

from resnet_bench.errors import NotComparableError, UsageError
from resnet_bench.gate.trees import GitError, checked_out, git, resolve, working_tree
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
    with pytest.raises(GitError, match="fetch-depth: 0"):
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
