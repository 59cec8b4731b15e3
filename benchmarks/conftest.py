"""Shared by the suites: the machine in every file, and a network to call.

    pytest benchmarks --benchmark-only --benchmark-save=before
    pytest benchmarks --benchmark-only --benchmark-compare=0001

A comparison with another machine's file is refused: exit code 5.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from resnet_bench.engine.devices import Device, choose, settle
from resnet_bench.engine.machine import collect
from resnet_bench.engine.models.resnets import seeded, variant_builder
from resnet_bench.engine.models.work import work_of
from resnet_bench.engine.timing.phases import Setting, Training, make_batch
from resnet_bench.errors import ExitCode

#: Small enough that a suite ends in a minute on two cores.
BATCH_SIZE = 2
IMAGE_SIZE = 64
CLASSES = 1000

MakeTraining = Callable[[int], Training]


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Replace the plugin's facts, which name the host, by the environment."""
    return collect()


def pytest_benchmark_compare_machine_info(
    config: pytest.Config,
    benchmarksession: Any,
    machine_info: dict[str, Any],
    compared_benchmark: dict[str, Any],
) -> None:
    """End the session if the file to compare with is from another machine."""
    here = machine_info.get("machine_key")
    there = compared_benchmark.get("machine_info", {}).get("machine_key")
    if here != there:
        pytest.exit(
            f"not comparable: the saved benchmarks are of machine {there}, this is "
            f"{here}: save new ones here with --benchmark-save",
            returncode=ExitCode.NOT_COMPARABLE,
        )


@pytest.fixture(scope="session")
def device() -> Device:
    """A GPU if there is one; threads and precision are set, not inherited."""
    chosen = choose("auto")
    settle(chosen, threads=1, tf32=False)
    return chosen


@pytest.fixture
def make_training(device: Device, benchmark: BenchmarkFixture) -> MakeTraining:
    """Build a variant ready to train; its cost is recorded beside the times."""
    setting = Setting(device, BATCH_SIZE, IMAGE_SIZE)

    def make(depth: int) -> Training:
        model = seeded(variant_builder(depth), setting.seed)
        work = work_of(model, IMAGE_SIZE)
        benchmark.group = f"ResNet-{depth}"
        benchmark.extra_info.update(
            batch_size=BATCH_SIZE,
            image_size=IMAGE_SIZE,
            device=device.name,
            work=json.loads(json.dumps(vars(work), default=str)),
        )
        placed = model.to(device.torch).train()
        return Training(placed, make_batch(setting, CLASSES), setting)

    return make
