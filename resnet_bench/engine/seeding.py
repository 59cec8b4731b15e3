"""Random numbers that depend on seed and purpose only, and deterministic computing."""

import ctypes
import hashlib
import os
import random
import sys
from typing import Any

import numpy as np
import torch

#: glibc's mallopt parameters, and a size that no tensor here reaches, in bytes.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
NEVER = 2**30


def derived_seed(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for one purpose of a run.

    Different purposes ("weights", "batches", …) of one seed share no random
    numbers, so that changing one leaves the others as they were.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of a run.

    Numbers are drawn on the CPU and moved, so that every device sees the same.
    """
    return torch.Generator().manual_seed(derived_seed(seed, purpose))


def seed_everything(seed: int, purpose: str = "global") -> None:
    """Seed the global generators of Python, NumPy and torch (all devices)."""
    value = derived_seed(seed, purpose)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of asking the kernel anew.

    Each activation would otherwise be mapped, zeroed and unmapped at each step: a
    thousand page faults and 6 % of the time of a step of 56 layers. Where there is
    no glibc, nothing happens.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(M_MMAP_THRESHOLD, NEVER)
            library.mallopt(M_TRIM_THRESHOLD, NEVER)


def compute_deterministically(threads: int = 1) -> None:
    """Make this process give the same bits for the same seed.

    One thread, because the order of sums depends on the count; deterministic
    kernels; denormals flushed, because they slow a dying network down many times.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    # cuBLAS needs a fixed workspace for deterministic matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling what is about to be overwritten costs a tenth of a step.
    filling: Any = torch.utils.deterministic
    filling.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
