"""Reading, augmenting and normalising images in memory."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.clock import synchronised
from resnet_bench.engine.data.batches import BatchOrder
from resnet_bench.engine.data.loading import DataRequest, load_data
from resnet_bench.engine.data.splits import Normalisation, Split

pytestmark = pytest.mark.benchmark(
    group="data layer", timer=synchronised, disable_gc=True
)

IMAGES = 128
SIDE = 32


@pytest.fixture
def images() -> torch.Tensor:
    """A batch as CIFAR-10 stores it."""
    draw = torch.Generator().manual_seed(0)
    size = (IMAGES, 3, SIDE, SIDE)
    return torch.randint(256, size, generator=draw, dtype=torch.uint8)


def test_load_digits(benchmark: BenchmarkFixture) -> None:
    request = DataRequest(name="digits")
    benchmark.pedantic(load_data, (request,), rounds=5, warmup_rounds=1)


def test_augment(benchmark: BenchmarkFixture, images: torch.Tensor) -> None:
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    order = BatchOrder(Split(images, labels), IMAGES, 0, augmentation="crop-flip")
    benchmark.extra_info["images"] = IMAGES
    draws = order.next()
    benchmark.pedantic(draws.augment, (images,), rounds=30, warmup_rounds=3)


def test_normalise(benchmark: BenchmarkFixture, images: torch.Tensor) -> None:
    normalisation = Normalisation.of(images)
    benchmark.extra_info["images"] = IMAGES
    benchmark.pedantic(normalisation.apply, (images,), rounds=50, warmup_rounds=5)


def test_next_batch(benchmark: BenchmarkFixture) -> None:
    empty = torch.empty(50_000, 3, 0, 0)
    order = BatchOrder(Split(empty, torch.zeros(50_000)), IMAGES, 0)
    benchmark.pedantic(order.next, rounds=20, iterations=390, warmup_rounds=1)
