from __future__ import annotations

import ctypes
import random
import sys

import numpy as np
import pytest
import torch

from resnet_bench.engine import seeding


def test_the_same_seed_and_purpose_give_the_same_numbers() -> None:
    first = torch.rand(4, generator=seeding.generator(3, "weights"))
    again = torch.rand(4, generator=seeding.generator(3, "weights"))
    assert torch.equal(first, again)


def test_purposes_of_one_seed_share_no_numbers() -> None:
    weights = torch.rand(4, generator=seeding.generator(3, "weights"))
    batches = torch.rand(4, generator=seeding.generator(3, "batches"))
    assert not torch.equal(weights, batches)


def test_seeding_everything_reaches_python_numpy_and_torch() -> None:
    def draw() -> tuple[float, list[float]]:
        seeding.seed_everything(5)
        numbers = [float(np.random.rand()), float(torch.rand(1))]
        return random.random(), numbers

    assert draw() == draw()


def test_derived_seeds_fit_torch_and_differ_between_seeds() -> None:
    seeds = {seeding.derived_seed(seed, "batches") for seed in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_machine_without_glibc_keeps_its_memory_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, int]] = []

    class WithMallopt:
        def mallopt(self, parameter: int, value: int) -> None:
            calls.append((parameter, value))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    seeding.keep_freed_memory()
    assert not calls
    monkeypatch.setattr(ctypes, "CDLL", lambda name: WithMallopt())
    monkeypatch.setattr(sys, "platform", "linux")
    seeding.keep_freed_memory()
    assert {parameter for parameter, _ in calls} == {-1, -3}
    calls.clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    seeding.keep_freed_memory()
    assert not calls
