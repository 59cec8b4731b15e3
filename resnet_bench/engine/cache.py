"""The user's cache folder, and locks on what is in it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from resnet_bench.configuration import CACHE_VARIABLE, expanded
from resnet_bench.errors import InputOutputError


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

    Raises InputOutputError when its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise InputOutputError(
            f"cannot write to {path.parent} ({error.strerror or error}): "
            f"set {CACHE_VARIABLE} to another folder"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
