"""Finds out what the machine can do, in the same rounds as the models."""

from collections.abc import Iterator

from resnet_bench.engine import devices
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing import ceiling
from resnet_bench.engine.timing.sampling import Sampler
from resnet_bench.experiments.speed.cells import (
    CEILING_SHARE,
    CeilingSamples,
    SpeedCell,
)
from resnet_bench.experiments.speed.measures.subject import device_of
from resnet_bench.records import Record


def measure_ceiling(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Time a product, a convolution and a copy until they are known."""
    device = device_of(cell)
    devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    clock = device.clock
    limits = ceiling.limits(device, devices.DTYPES[cell.dtype])
    sampler = Sampler(
        units=limits,
        clock=clock,
        max_seconds=CEILING_SHARE * cell.max_time_seconds,
        precision=cell.precision,
        decisive=[phase for limit in limits for phase in limit.phases],
        agree=ranks.slowest,
    )
    sampler.warm_up()
    while not sampler.finished:
        visit = sampler.visit()
        rates = {
            limit.phases[0]: tuple(
                limit.amount / seconds for seconds in visit.samples[limit.phases[0]]
            )
            for limit in limits
        }
        yield CeilingSamples(
            round=sampler.rounds - 1, own_seconds=visit.seconds, **rates
        )
