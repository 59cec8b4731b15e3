"""Networks small enough for tests, named as `--model` names them."""

from __future__ import annotations

import torch
from torch import nn


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


class Counting(nn.Module):
    """Counts how often it is called, by mode and by whether gradients are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = tiny()
        self.calls: list[tuple[bool, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append((self.training, torch.is_grad_enabled()))
        answer: torch.Tensor = self.layers(images)
        return answer


class Greedy(nn.Module):
    """Wants more memory than there is once it is called with real numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = tiny()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.device.type != "meta":
            torch.empty(10**15)
        answer: torch.Tensor = self.layers(images)
        return answer


class Faulty(Greedy):
    """Fails once it is called with real numbers."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.device.type != "meta":
            raise RuntimeError("a faulty kernel")
        answer: torch.Tensor = self.layers(images)
        return answer


def takes_an_argument(depth: int) -> nn.Module:
    raise RuntimeError(f"never called with {depth}")


def returns_a_number() -> int:
    return 3


def raises() -> nn.Module:
    raise ValueError("no such architecture")


class ImagesOut(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


not_a_function = 3
