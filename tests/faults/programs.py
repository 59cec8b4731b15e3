"""The tool with the toy experiment in a process of its own, to be ill-treated."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

STARTER = """
from resnet_bench.__main__ import main
from resnet_bench.experiments import EXPERIMENTS
from tests.toys.toy import TIMED_TOY, TOY

EXPERIMENTS["toy"] = TOY
EXPERIMENTS["toy-rounds"] = TIMED_TOY
if __name__ == "__main__":
    main()
"""


#: The same without PyTorch and what draws figures: seconds of each start, which the toy
#: does not need. Children run these lines too.
LIGHT_STARTER = f"""
import sys
from types import ModuleType

ranks = ModuleType("resnet_bench.engine.ranks")
ranks.Ranks = object
machine = ModuleType("resnet_bench.engine.machine")
machine.collect = lambda: {{"machine_key": "m"}}
sys.modules |= {{one.__name__: one for one in (ranks, machine)}}

from resnet_bench.commands import run
from resnet_bench.execution import processes

run.import_what_shows = lambda: None
processes.PRELOADED = ("resnet_bench.cli", "resnet_bench.commands.run")
{STARTER}
"""


def started(
    folder: Path,
    *arguments: str,
    launcher: tuple[str, ...] = (),
    starter: str = STARTER,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start the tool in a session of its own, which all its children share."""
    (folder / "starter.py").write_text(starter)
    return python(folder, *launcher, str(folder / "starter.py"), *arguments, **options)


def python(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start Python in a session of its own, which all its children share."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **{"preexec_fn": _as_in_a_terminal, **options},
    )


def _as_in_a_terminal() -> None:
    """Undo what `nohup`, or a shell's background, did to the tests themselves."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.02)


def members(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.is_running():
                found.append(process)
        except OSError:
            continue
    return [one for one in found if _alive(one)]


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
