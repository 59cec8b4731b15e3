"""Versions and settings of PyTorch and the libraries below it."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import torch

# PyTorch adds this attribute when it is imported, so the type checker misses it.
_convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
PACKAGES = ("torchvision", "numpy", "scipy", "scikit-learn", "pandas", "triton")


def describe_libraries() -> dict[str, Any]:
    """Return the versions of everything a measured number depends on."""
    build = torch.__config__.show()
    versions: dict[str, Any] = {
        name.replace("-", "_"): installed_version(name) for name in PACKAGES
    }
    return versions | {
        # A plain string: torch's own type makes whoever unpickles it import torch.
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": _cudnn(),
        "blas": _first(r"BLAS_INFO=(\w+)", build),
        "mkl": _first(r"Math Kernel Library Version (\S+?)(?:-Product)?\s", build),
        "onednn": _first(r"MKL-DNN v(\S+)", build),
        "openmp": _first(r"OpenMP (\d+)", build),
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe_torch() -> dict[str, Any]:
    """Return the settings of PyTorch in this process that change speed or results."""
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "float32_precision": {
            # "none" leaves the choice to the general setting, which is IEEE float32.
            "cuda_matmul": torch.backends.cuda.matmul.fp32_precision,
            "cudnn_convolution": _convolution.fp32_precision,
        },
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "flush_denormal": flushes_denormals(),
    }


def flushes_denormals() -> bool:
    """Try whether the CPU turns a denormal number into zero; PyTorch cannot say."""
    smallest_normal = torch.finfo(torch.float32).tiny
    return bool((torch.full((1,), smallest_normal) / 2).item() == 0)


def _cudnn() -> str | None:
    version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return None if version is None else str(version)


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None
