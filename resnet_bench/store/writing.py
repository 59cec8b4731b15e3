"""Writing run files: append, flush, commit; nothing finished is ever lost."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.store.lines import encode
from resnet_bench.store.reading import RUN_FILE, Run, read_run
from resnet_bench.store.upgrades import SCHEMA_VERSION


class RunWriter:
    """An open run file that this process alone may write.

    Use as a context manager. Every method raises InputOutputError when the file
    system refuses (a full disk, a lost mount).
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def append(self, line: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one line; `durable` waits until the disk has it."""
        try:
            _write_whole(self._descriptor, encode(line))
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            raise _refused(self.folder / RUN_FILE, error) from error

    def record(self, cell: str, attempt: int, content: Mapping[str, Any]) -> None:
        """Keep one record of an attempt at a cell; it counts once committed."""
        self.append({"kind": "record", "cell": cell, "attempt": attempt, **content})

    def commit(self, cell: str, attempt: int, status: str, **details: object) -> None:
        """End an attempt at a cell: its records now count if `status` is "ok"."""
        line = {"kind": "cell", "cell": cell, "attempt": attempt, "status": status}
        self.append({**line, **details}, durable=True)

    def resume(self, environment: Mapping[str, Any]) -> None:
        """Note that the run goes on, and where."""
        self.append({"kind": "resume", "environment": environment}, durable=True)

    def end(self, status: str, **details: object) -> None:
        """Close the account of this session: "complete" or why it is partial."""
        self.append({"kind": "end", "status": status, **details}, durable=True)


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _refused(path: Path, error: OSError) -> InputOutputError:
    return InputOutputError(f"cannot write {path}: {error.strerror or error}")


def create_run(folder: Path, header: Mapping[str, Any]) -> RunWriter:
    """Start a run file in a new folder; an existing one is never overwritten.

    Raises InputOutputError.
    """
    try:
        folder.mkdir(parents=True)
        descriptor = os.open(
            folder / RUN_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644
        )
    except OSError as error:
        raise _refused(folder, error) from error
    _lock(descriptor, folder)
    writer = RunWriter(folder, descriptor)
    first = {"kind": "run", "schema_version": SCHEMA_VERSION, **header}
    try:
        writer.append(first, durable=True)
    except InputOutputError:
        os.close(descriptor)
        raise
    return writer


def reopen_run(folder: Path) -> tuple[RunWriter, Run]:
    """Take the lock of an existing run, cut a torn last line, and read it.

    Raises UsageError when another process writes the run, InputOutputError when
    the file cannot be read or written.
    """
    path = folder / RUN_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        _lock(descriptor, folder)
        run = read_run(folder)
        if run.problems:
            _cut_last_line(path, descriptor)
        elif not path.read_bytes().endswith(b"\n"):
            _write_whole(descriptor, b"\n")
    except BaseException:
        os.close(descriptor)
        raise
    return RunWriter(folder, descriptor), run


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"run {folder.name} is being written by another process: wait until it "
            "ends, then resume"
        ) from error


def _cut_last_line(path: Path, descriptor: int) -> None:
    whole = path.read_bytes().rstrip(b"\n")
    os.ftruncate(descriptor, whole.rfind(b"\n") + 1)
