"""Writing run files: append, flush, commit; nothing finished is ever lost."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.interrupts import held
from resnet_bench.store.format import SCHEMA_VERSION, encode, upgraded
from resnet_bench.store.reading import (
    PACKED_RUN_FILE,
    RUN_FILE,
    Run,
    assemble,
    read_lines,
    run_file,
)


class RunWriter:
    """An open run file that this process alone may write.

    `lines` is how many it holds already. Use as a context manager. Every method
    raises InputOutputError when the file system refuses (a full disk, a lost
    mount) and when somebody has moved or deleted the file.
    """

    def __init__(self, folder: Path, descriptor: int, lines: int) -> None:
        self.folder = folder
        self._descriptor = descriptor
        self._lines = lines
        self._torn = False

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._descriptor)

    def append(self, line: dict[str, Any], *, durable: bool = False) -> dict[str, Any]:
        """Write one line, whole or not at all, and return it.

        `durable` waits for the disk. Signals wait meanwhile, so that they never leave
        half a line.
        """
        data = encode(line, self._lines)
        with held():
            self._check_place()
            size = os.fstat(self._descriptor).st_size
            try:
                _write_whole(self._descriptor, data)
                if durable:
                    os.fsync(self._descriptor)
            except OSError as error:
                self._take_back(size)
                raise _refused(self.folder / RUN_FILE, error) from error
            self._lines += 1
        return line

    def _check_place(self) -> None:
        path = self.folder / RUN_FILE
        if self._torn:
            raise InputOutputError(f"cannot write {path}: its last line is incomplete")
        ours = os.fstat(self._descriptor)
        try:
            there = path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, ours):
            raise InputOutputError(f"{path} was moved or deleted during the run")

    def _take_back(self, size: int) -> None:
        """Remove a partly written line: a later one must not join it."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            self._torn = True

    def record(
        self, cell: str, attempt: int, content: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Keep one record of an attempt at a cell; it counts once committed."""
        identity = {"kind": "record", "cell": cell, "attempt": attempt}
        return self.append({**identity, **content})

    def commit(
        self, cell: str, attempt: int, status: str, **details: object
    ) -> dict[str, Any]:
        """End an attempt at a cell: its records now count if `status` is "ok"."""
        line = {"kind": "cell", "cell": cell, "attempt": attempt, "status": status}
        return self.append({**line, **details}, durable=True)

    def resume(
        self, environment: Mapping[str, Any], nodes: Mapping[str, Any] | None = None
    ) -> None:
        """Record that the run was resumed, and where."""
        line = {"kind": "resume", "environment": environment}
        self.append({**line, **({"nodes": nodes} if nodes else {})}, durable=True)

    def end(self, status: str, **details: object) -> dict[str, Any]:
        """Record how this session ended: "complete" or why it is partial."""
        return self.append({"kind": "end", "status": status, **details}, durable=True)


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _refused(path: Path, error: OSError) -> InputOutputError:
    return InputOutputError(f"cannot write {path}: {error.strerror or error}")


def append_whole(path: Path, data: bytes) -> None:
    """Append to a file, all or nothing, and wait for the disk.

    Raises InputOutputError.
    """
    try:
        with held(), path.open("ab", buffering=0) as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            try:
                _write_whole(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
    except OSError as error:
        raise _refused(path, error) from error


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files whose old content stays until all are written; links are followed.

    Raises InputOutputError.
    """
    aside: dict[Path, Path] = {}
    with held():
        try:
            for place, data in contents.items():
                path = Path(os.path.realpath(place))
                aside[path] = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
                _write_new(aside[path], data)
                if path.exists():
                    shutil.copymode(path, aside[path])
            for path, unfinished in aside.items():
                unfinished.replace(path)
        except OSError as error:
            for unfinished in aside.values():
                with contextlib.suppress(OSError):
                    unfinished.unlink()
            raise _refused(place, error) from error


def _write_new(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def create_run(folder: Path, header: Mapping[str, Any]) -> RunWriter:
    """Start a run file in a new folder; an existing one is never overwritten.

    The file appears with its first line whole. Raises InputOutputError.
    """
    first = {"kind": "run", "schema_version": SCHEMA_VERSION, **header}
    unfinished = folder / f"{RUN_FILE}.part"
    try:
        folder.mkdir(parents=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        descriptor = os.open(unfinished, flags, 0o644)
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        _lock(descriptor, folder)
        _write_whole(descriptor, encode(first, 0))
        os.fsync(descriptor)
        unfinished.rename(folder / RUN_FILE)
        _sync_folders(folder)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            _clear_away(unfinished)
            raise _refused(folder, error) from error
        raise
    return RunWriter(folder, descriptor, 1)


def _clear_away(unfinished: Path) -> None:
    """Remove what a run that could not begin has written."""
    with contextlib.suppress(OSError):
        unfinished.unlink()
        unfinished.parent.rmdir()


def _sync_folders(folder: Path) -> None:
    """Flush the new names to the disk, where the file system can."""
    for place in (folder, folder.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def reopen_run(folder: Path) -> tuple[RunWriter, Run]:
    """Take the lock of an existing run, cut a torn end, and read it.

    Raises UsageError when another process writes the run or it is packed,
    InputOutputError when the file cannot be read or written.
    """
    path = folder / RUN_FILE
    if run_file(folder) != path:
        raise UsageError(
            f"run {folder.name} is packed: unpack it with 'unxz "
            f"{folder / PACKED_RUN_FILE}', then resume"
        )
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        _lock(descriptor, folder)
        content = read_lines(path)
        _refuse_an_old(content.lines[0], folder)
        run = assemble(folder, upgraded(content.lines, str(path)), content.problems)
        _mend_end(descriptor, content.whole_bytes)
    except OSError as error:
        os.close(descriptor)
        raise _refused(path, error) from error
    except BaseException:
        os.close(descriptor)
        raise
    return RunWriter(folder, descriptor, len(content.lines)), run


def _refuse_an_old(header: Mapping[str, Any], folder: Path) -> None:
    """Refuse a run of an older schema: its lines would be mixed with new ones."""
    version = header.get("schema_version")
    if isinstance(version, int) and version < SCHEMA_VERSION:
        raise UsageError(
            f"run {folder.name} was written by an older resnet-bench (schema "
            f"{version}): it can be read, but not resumed"
        )


def _lock(descriptor: int, folder: Path) -> None:
    """Take the lock, which ends with the process; raises UsageError or OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"run {folder.name} is being written by another process: wait until it "
            "ends, then resume"
        ) from error


def _mend_end(descriptor: int, whole_bytes: int) -> None:
    """Cut what is torn, or add the line end that alone was lost."""
    size = os.fstat(descriptor).st_size
    if size > whole_bytes:
        os.ftruncate(descriptor, whole_bytes)
    elif size < whole_bytes:
        _write_whole(descriptor, b"\n")
