"""The kernel's out-of-memory killer itself, in a group of processes of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from resnet_bench.errors import ExitCode
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run
from tests.faults.programs import members, python, started, wait_for

#: Where the kernel keeps memory limits, in its second and in its first interface.
PLACES = (
    (Path("/sys/fs/cgroup"), "memory.max"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)
LIMIT_BYTES = 2**31


@pytest.fixture
def small_memory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Make a group of processes whose memory is limited."""
    limit_bytes = getattr(request, "param", LIMIT_BYTES)
    for parent, limit in PLACES:
        group = parent / f"resnet-bench-{tmp_path.name}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            # Where the first folder is no more than the root of the old interface's, a
            # limit written to it would become a file that limits nothing.
            with (group / limit).open("r+") as file:
                file.write(str(limit_bytes))
            yield group
        except OSError:
            continue
        else:
            return
        finally:
            wait_for(partial(_removed, group))
    pytest.skip("a memory limit (cgroup) can be set only by root, outside containers")


@pytest.mark.slow
def test_a_cell_killed_for_want_of_memory_says_so_and_the_others_finish(
    small_memory: Path, tmp_path: Path
) -> None:
    arguments = ("toy", "--behaviours", "count,devour,count", "--jobs", "1")
    process = started(tmp_path, *arguments, launcher=("-c", entering(small_memory)))
    _, err = process.communicate(timeout=110)
    wait_for(lambda: not members(process.pid))
    assert process.returncode == ExitCode.INCOMPLETE
    assert "Traceback" not in err
    told = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(told) == 2, err  # one for each try
    assert all("out of memory is the usual cause" in line for line in told)
    (folder,) = run_folders(tmp_path / "results")
    run = read_run(folder)
    assert [end.status for end in run.cells.values()].count("ok") == 2
    (failed,) = run.failed
    assert "SIGKILL (out of memory is the usual cause)" in str(run.cells[failed].error)


FINETUNE: tuple[str, ...] = ("-m", "resnet_bench", "finetune", "--variants", "18")
FINETUNE += ("--strategy", "scratch", "--weights", "random", "--seeds", "1")
FINETUNE += ("--epochs", "1", "--dataset", "digits-5-9")


@pytest.mark.slow
@pytest.mark.parametrize("small_memory", [300_000_000, 700_000_000], indirect=True)
def test_a_finetuning_in_too_little_memory_says_so_in_one_line(
    small_memory: Path, tmp_path: Path
) -> None:
    process = python(tmp_path, "-c", entering(small_memory), *FINETUNE)
    _, err = process.communicate(timeout=110)
    wait_for(lambda: not members(process.pid))
    assert process.returncode in (ExitCode.INTERNAL, ExitCode.INCOMPLETE)
    assert "Traceback" not in err
    assert "memory" in err


@pytest.mark.slow
def test_a_finetuning_needs_no_shared_memory(tmp_path: Path) -> None:
    """Containers have a small /dev/shm."""
    alone = ["unshare", "--mount", "sh", "-c"]
    alone += ['mount -t tmpfs -o size=4k none /dev/shm && exec "$@"', "sh"]
    if os.getuid() != 0 or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("a file system can be mounted only by root, outside containers")
    enter = f"import os, sys; os.execvp('unshare', {alone!r} + sys.argv[1:])"
    process = python(tmp_path, "-c", enter, sys.executable, *FINETUNE)
    _, err = process.communicate(timeout=110)
    assert process.returncode == ExitCode.OK, err


def entering(group: Path) -> str:
    """Return a program that enters a group, as its children will, and runs Python."""
    return (
        "import os, sys; from pathlib import Path; "
        f"Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid())); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )


def _removed(group: Path) -> bool:
    # The kernel keeps a group for a moment after its last process has ended.
    try:
        group.rmdir()
    except OSError:
        return False
    return True
