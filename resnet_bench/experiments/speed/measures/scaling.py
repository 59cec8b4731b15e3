"""What a step costs when several ranks share the work, against one rank alone."""

from collections.abc import Iterator

from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.phases import WholeStep
from resnet_bench.engine.timing.workload import make_workload
from resnet_bench.experiments.speed.cells import ScalingSamples, SpeedCell
from resnet_bench.experiments.speed.measures.subject import (
    builder_of,
    device_of,
    setting_of,
)
from resnet_bench.records import Record

#: Steps per block, and blocks per arm after one that is not kept.
STEPS = 4
BLOCKS = 8


def measure_scaling(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Take turns: a block on rank 0 while the others wait, a block on all ranks."""
    clock = device_of(cell).clock
    alone, together = _step(cell, ALONE), _step(cell, ranks)
    pairs = [
        (_alone(alone, clock, ranks), ranks.slowest(_block(together, clock)))
        for _ in range(BLOCKS + 1)
    ]
    yield ScalingSamples(
        ranks=ranks.world_size,
        alone_step_seconds=tuple(one for one, _ in pairs[1:]),
        together_step_seconds=tuple(all_ for _, all_ in pairs[1:]),
    )


def _step(cell: SpeedCell, ranks: Ranks) -> WholeStep:
    setting = setting_of(cell)
    model = builder_of(cell)()
    workload = make_workload(model, setting, trains=True, infers=False, wrap=ranks.wrap)
    if workload.training is None:
        raise RuntimeError("a workload that trains has no training")
    return WholeStep(workload.training)


def _alone(step: WholeStep, clock: Clock, ranks: Ranks) -> float:
    """Return rank 0's seconds per step; until it is done the others wait."""
    return float(ranks.share(_block(step, clock) if ranks.writes else None))


def _block(step: WholeStep, clock: Clock) -> float:
    began = clock.begin()
    for _ in range(STEPS):
        step.work()
    return clock.between([began, clock.mark()])[0] / STEPS
