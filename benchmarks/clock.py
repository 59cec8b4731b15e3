"""The timer of the suites: it synchronises the device before reading the time."""

import time

import torch

from resnet_bench.engine.devices import Device


def synchronised() -> float:
    """Return seconds, after all queued GPU kernels have finished."""
    if torch.cuda.is_available():
        Device("cuda", torch.cuda.current_device()).synchronise()
    return time.perf_counter()
