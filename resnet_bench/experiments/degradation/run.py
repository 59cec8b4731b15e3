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
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.spec import Config, expand
from resnet_bench.experiments.degradation.studies import (
    anysize,
    constructed,
    errors,
    gradients,
    identity,
    lesion,
    response,
)
from resnet_bench.experiments.degradation.studies.subject import (
    Subject,
    data_request,
    make_subject,
)
from resnet_bench.records import Record

#: What looks at a trained network, with batch norm recalibrated, study by study.
AT_THE_END: dict[str, Callable[[Subject], Iterator[Record]]] = {
    "response": response.observe,
    "lesion": lesion.observe,
    "identity": identity.observe,
    "constructed": constructed.observe,
}

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
    trained = [cell for cell in expand(config) if cell.task == "train"]
    if trained:
        load_data(data_request(trained[0]))


def run(cell: DegradationCell, ranks: Ranks) -> Iterator[Record]:
    """Train the cell's network and yield what its studies see."""
    compute_deterministically(cell.threads)
    if cell.task == "anysize":
        yield from anysize.observe(cell.depth)
        return
    subject = make_subject(cell, ranks)
    yield from _train(subject)
    yield errors.finish(subject)
    yield from errors.curve(subject)
    if not subject.trainer.diverged:
        yield from _look_at_the_end(subject)


def _train(subject: Subject) -> Iterator[Record]:
    """Train to the end; the gradients study looks on the way."""
    if "gradients" not in subject.cell.studies:
        subject.trainer.train()
        return
    for step in subject.trainer.pause_at(gradients.PAUSES):
        at_end = step == subject.trainer.steps
        moment = "end" if at_end else str(step)
        yield from gradients.observe(subject, moment, step)


def _look_at_the_end(subject: Subject) -> Iterator[Record]:
    for study, observe in AT_THE_END.items():
        if study in subject.cell.studies:
            yield from observe(subject)


def estimate(config: Config, cells: Sequence[DegradationCell]) -> float | None:
    """Return the seconds that one worker would need, from steps timed here.

    None when the data have to be downloaded first.
    """
    trained = [cell for cell in cells if cell.task == "train"]
    if not trained:
        return sum(cell.cost for cell in cells)
    compute_deterministically()
    probe = sorted(trained, key=lambda cell: cell.depth)[len(trained) // 2]
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
