"""Models that do what no model should, named as `--model` names them."""

import os
import signal
import sys
from typing import NoReturn

import torch
from torch import nn


class OddError(Exception):
    """No error of Python's own."""


def raises() -> NoReturn:
    raise OddError("no such\narchitecture")


def interrupts() -> NoReturn:
    raise KeyboardInterrupt


def exits() -> NoReturn:
    sys.exit(0)


def leaves() -> NoReturn:
    os._exit(0)


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def stops() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def asks() -> str:
    return input("How deep? ")


class ExitsWhenCalled(nn.Module):
    """Is built like any other."""

    def forward(self, images: torch.Tensor) -> NoReturn:
        sys.exit(0)
