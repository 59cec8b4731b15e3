from __future__ import annotations

import random

import numpy as np
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
