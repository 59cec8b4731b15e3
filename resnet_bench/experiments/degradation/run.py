"""Measures the degradation experiment: trains each cell's network, lets studies look.

A network is trained once and every study that concerns it yields its records.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

from resnet_bench.engine import devices
from resnet_bench.engine.data import load_data
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.seeding import compute_deterministically
from resnet_bench.errors import UsageError
from resnet_bench.experiments.degradation.measures.network import (
    Subject,
    curve,
    data_request,
    finish,
    make_subject,
)
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.spec import Config, expand
from resnet_bench.experiments.degradation.studies import studies_of
from resnet_bench.experiments.degradation.studies.base import Study
from resnet_bench.records import Record

#: Steps timed for an estimate, after two that are not.
TIMED_STEPS = 5
UNTIMED_STEPS = 2


def prepare(config: Config) -> Config:
    """Resolve the device; raises UsageError for one that is not there."""
    return dataclasses.replace(config, device=devices.choose(config.device).name)


def rehearse(config: Config) -> None:
    """Load the data once, downloading them if asked.

    Raises UsageError or InputOutputError before anything is trained.
    """
    requests = {data_request(cell) for cell in expand(config) if cell.task == "train"}
    for request in requests:
        load_data(request)


def run(cell: DegradationCell, ranks: Ranks) -> Iterator[Record]:
    """Train the cell's network and yield what its studies see."""
    compute_deterministically(cell.threads)
    devices.for_training(cell.place)
    studies = studies_of(cell)
    if cell.task != "train":
        for study in studies:
            yield from study.examine(cell)
        return
    subject = make_subject(cell, ranks)
    yield from _train(subject, studies)
    yield finish(subject)
    yield from curve(subject)
    if not subject.trainer.diverged:
        for study in studies:
            yield from study.observe(subject)


def _train(subject: Subject, studies: Sequence[Study]) -> Iterator[Record]:
    """Train to the end; some studies look on the way."""
    trainer = subject.trainer
    looking = [study for study in studies if study.pauses]
    if not looking:
        trainer.train()
        return
    pauses = sorted({step for study in looking for step in study.pauses})
    for step in trainer.pause_at(pauses):
        at_end = step == trainer.steps
        for study in looking:
            if at_end or step in study.pauses:
                yield from study.look(subject, "end" if at_end else str(step), step)


def estimate(config: Config, cells: Sequence[DegradationCell]) -> float | None:
    """Return the seconds that one worker would need, from steps timed here.

    None when the data have to be downloaded first.
    """
    trained = [cell for cell in cells if cell.task == "train"]
    if not trained:
        return sum(cell.cost for cell in cells)
    compute_deterministically()
    probe = sorted(trained, key=lambda cell: cell.depth)[len(trained) // 2]
    devices.for_training(probe.place)
    try:
        slower = measured_over_planned(dataclasses.replace(probe, download=False))
    except UsageError:
        if probe.download:
            return None
        raise
    return sum(cell.cost for cell in cells) * slower


def measured_over_planned(
    cell: DegradationCell, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how long a step of the cell takes here, over what `cost` assumes."""
    subject = make_subject(cell)
    subject.trainer.advance(UNTIMED_STEPS)
    started = clock()
    subject.trainer.advance(TIMED_STEPS)
    return (clock() - started) / TIMED_STEPS / cell.step_seconds
