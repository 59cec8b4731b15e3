"""The user's cache folder, and locks on what is in it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resnet_bench.configuration import CACHE_VARIABLE, expanded
from resnet_bench.errors import InputOutputError

#: What helps where the cache cannot be written.
CACHE_REMEDY = f"set {CACHE_VARIABLE} to another folder"


def cache_folder() -> Path:
    """Return the user's cache folder.

    RESNET_BENCH_CACHE, else resnet-bench in XDG_CACHE_HOME, else in ~/.cache.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return expanded(own)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resnet-bench"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; it is given up with the process, however that ends.

    The holder may remove the lock's file; a process that waited creates it again.
    Raises InputOutputError when its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(path.with_name(path.name + ".lock"))
    except OSError as error:
        raise InputOutputError(
            f"cannot write to {path.parent} ({error.strerror or error}): {CACHE_REMEDY}"
        ) from error
    with lock:
        yield


def _lock_of(path: Path) -> IO[str]:
    """Return the locked file of that name: one that was removed locks nobody out."""
    while True:
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()


def remove_unused(folder: Path, since: float) -> None:
    """Remove all files of the names whose locks nobody has opened `since` that time.

    What another process uses, has begun to use again or removes itself is left alone.
    """
    for path in folder.glob("*.lock"):
        # NFS locks no file for one process alone that was opened to be read only.
        with contextlib.suppress(OSError), path.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(lock.fileno())
            if status.st_mtime < since and os.path.samestat(status, path.stat()):
                for each in folder.glob(f"{path.stem}.*"):
                    if each != path:
                        each.unlink(missing_ok=True)
                # Without it another process may begin to make the same files anew.
                path.unlink()
