"""The driver's end of a worker process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from resnet_bench.errors import ResnetBenchError

WORKER = Path(__file__).with_name("worker.py")

#: Freed memory stays with the process and lies on huge pages: the page faults of a
#: large activation took a fifth of a training step, and differed from process to
#: process (docs/noise.md has the figures). Other C libraries ignore these.
MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}

#: Fixed in every worker before it starts. A thread that waits must sleep: the other
#: worker needs the core.
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "0", **MEMORY}


class WorkerError(ResnetBenchError):
    """A worker that could not do what it was asked, in one line."""


@dataclass(frozen=True)
class Launch:
    """What starts a worker: the folder to import from, the subject, the threads."""

    tree: Path
    subject: str
    threads: int
    seed: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the worker."""
        threads = str(self.threads)
        fixed = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **SETTINGS}
        return {**os.environ, **fixed}


class WorkerProcess:
    """A running worker; use as a context manager, which also ends it."""

    def __init__(self, launch: Launch) -> None:
        arguments = [launch.tree, launch.subject, launch.threads, launch.seed]
        # It lives as long as the process, which __exit__ ends.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=launch.tree,
            env=launch.environment,
        )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def send(self, do: str, **arguments: object) -> None:
        """Ask for something without waiting for the reply."""
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps({"do": do, **arguments}) + "\n")
                stdin.flush()
        except BrokenPipeError:
            # The worker has ended; its last words are on the reply pipe.
            return

    def receive(self) -> Mapping[str, Any]:
        """Wait for the reply; raises WorkerError if the worker failed."""
        stdout = self._process.stdout
        line = stdout.readline() if stdout is not None else ""
        if not line:
            raise WorkerError(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, do: str, **arguments: object) -> Mapping[str, Any]:
        """Send a request and wait for its reply; raises WorkerError."""
        self.send(do, **arguments)
        return self.receive()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"the worker ended with status {code}"
