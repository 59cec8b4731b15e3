"""The timer of the suites: it waits for the device before it reads the time."""

import time

import torch

from resnet_bench.engine.devices import Device


def synchronised() -> float:
    """Return seconds after every GPU kernel asked for so far has ended."""
    if torch.cuda.is_available():
        Device("cuda", torch.cuda.current_device()).synchronise()
    return time.perf_counter()
