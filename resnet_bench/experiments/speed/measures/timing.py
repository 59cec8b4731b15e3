"""Times phases, parts, ceilings and steps of several ranks, visit by visit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Observed
from resnet_bench.engine.models.resnets import seeded
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.seeding import keep_freed_memory
from resnet_bench.engine.timing import ceiling
from resnet_bench.engine.timing.breakdown import (
    CUTS,
    PartedStep,
    backward_phase,
    forward_phase,
    work_of_parts,
)
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.conditions import Watch, Watched, count_stops
from resnet_bench.engine.timing.logit_difference import (
    Reference,
    difference,
    make_reference,
)
from resnet_bench.engine.timing.phases import SplitStep, WholeStep
from resnet_bench.engine.timing.protocols import TAKERS, ProtocolSampler
from resnet_bench.engine.timing.sampling import Sampler, Visit, undisturbed
from resnet_bench.engine.timing.streams import Streams
from resnet_bench.engine.timing.workload import (
    Workload,
    cold_compile_cache,
    make_workload,
)
from resnet_bench.experiments.speed.cells import (
    BREAKDOWNS,
    BreakdownSamples,
    CeilingSamples,
    ScalingSamples,
    SpeedCell,
    SpeedSamples,
    phase_field,
)
from resnet_bench.experiments.speed.measures.network import (
    builder_of,
    device_of,
    setting_of,
    trained_of,
)
from resnet_bench.records import Record

#: Where weights are from that nobody trained; a person's own model may bring others.
FRESH = "as built"

STOPPED_AT_FIRST = (
    "the first calls are unknown because the process was stopped (SIGSTOP, Ctrl-Z)"
)


@dataclass(frozen=True)
class _FirstCalls:
    """Seconds of converting and of the first calls, and how far the answers are off."""

    step: float | None
    inference: float | None
    conversion: float | None
    notes: tuple[str, ...] = ()
    logit_error: float | None = None
    top1_agreement: float | None = None


@dataclass(frozen=True)
class _Subject:
    """What stays the same over a timing cell's visits."""

    cell: SpeedCell
    observed: Observed
    workload: Workload
    sampler: Sampler
    first: _FirstCalls
    weights_origin: str | None

    def samples(self, visit: Visit, seconds: float, watched: Watched) -> SpeedSamples:
        """Return the record of a visit that has just ended."""
        first = self.sampler.rounds == 1
        seen = [each.flag for each in watched.conditions]
        work, converted = self.workload.work, self.workload.converted
        return SpeedSamples(
            round=self.sampler.rounds - 1,
            own_seconds=seconds,
            visit_seconds=visit.seconds,
            device_seconds=_tuples(visit.device),
            warmup_seconds=_tuples(self.sampler.warmup) if first else {},
            first_step_seconds=self.first.step,
            first_inference_seconds=self.first.inference,
            conversion_seconds=self.first.conversion,
            told=converted.loaded.told if converted else {},
            logit_error=self.first.logit_error,
            top1_agreement=self.first.top1_agreement,
            weights_origin=self.weights_origin,
            parameters=work.parameters,
            multiply_adds=work.multiply_adds,
            flop=work.flop,
            activations=work.activations,
            moved_elements=work.moved,
            observed_threads=self.observed.threads,
            interop_threads=self.observed.interop_threads,
            observed_tf32=self.observed.tf32,
            cudnn_benchmark=self.observed.cudnn_benchmark,
            denormals_flushed=self.observed.denormals_flushed,
            waiting_share=watched.waiting_share,
            clocks_mhz=watched.clocks_mhz,
            throttle_reasons=watched.reasons,
            dropped_visits=visit.dropped,
            flags=tuple(dict.fromkeys([*seen, *visit.flags])),
            notes=(*(each.note for each in watched.conditions), *self.first.notes),
            **{phase_field(name): tuple(all_) for name, all_ in visit.samples.items()},
            **self._throughput(visit),
        )

    def _throughput(self, visit: Visit) -> dict[str, Any]:
        """Return images per second: of blocks, else from the calls' own marks.

        And of streams, where some are asked for.
        """
        images = self.cell.batch_size or 1
        whole = {"train": "step", "inference": "inference"}
        marked = {
            kind: [len(visit.samples[phase]) / sum(visit.samples[phase])]
            for kind, phase in whole.items()
            if phase in visit.samples
        }
        rates = visit.rates | (marked if self.sampler.follows_marks else {})
        return {
            f"{kind}_images_per_second": tuple(images * rate for rate in values)
            for kind, values in rates.items()
        }


def _tuples(samples: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    return {phase: tuple(values) for phase, values in samples.items()}


def time_phases(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build, call for the first time, warm up and sample; then sample per visit."""
    device = device_of(cell)
    observed = devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    if cell.keep_memory:
        keep_freed_memory()
    watch = Watch(cell.threads, device.index)
    clock = device.clock
    with cold_compile_cache() if cell.compiled else nullcontext():
        began = clock.begin()
        subject = _subject(cell, ranks, observed, watch)
        subject.sampler.warm_up()
        while True:
            visit = subject.sampler.visit()
            seconds = clock.between([began, clock.mark()])[0]
            watched = watch.end(visit.seconds)
            record = subject.samples(visit, seconds, watched)
            subject.workload.rest()
            device.release()
            yield record
            if subject.sampler.once:
                return
            began = clock.begin()


def _subject(
    cell: SpeedCell, ranks: Ranks, observed: Observed, watch: Watch
) -> _Subject:
    device, setting = device_of(cell), setting_of(cell)
    stops = count_stops()
    model, trained = seeded(builder_of(cell), cell.seed), trained_of(cell)
    compared = (cell.rung or cell.runtime) is not None and cell.infers
    images = trained.compared if trained else None
    reference = make_reference(model, setting, images) if compared else None
    workload = make_workload(
        model, setting, trains=cell.trains, infers=cell.infers, wrap=ranks.wrap
    )
    first = _first_calls(workload, device.clock, reference)
    if ranks.slowest(float(stops())) > 0:
        first = replace(
            first, step=None, inference=None, conversion=None, notes=(STOPPED_AT_FIRST,)
        )
    return _Subject(
        cell=cell,
        observed=observed,
        workload=workload,
        sampler=_sampler(cell, ranks, workload, watch, stops),
        first=first,
        weights_origin=(trained.origin if trained else FRESH) if compared else None,
    )


def _sampler(
    cell: SpeedCell,
    ranks: Ranks,
    workload: Workload,
    watch: Watch,
    stops: Callable[[], int],
) -> Sampler:
    """Return what takes the samples, by this project's rules or another's."""
    device, inference = device_of(cell), workload.inference
    settings: dict[str, Any] = {
        "units": workload.units,
        "clock": device.clock,
        "device_clock": device.device_clock,
        "agree": ranks.slowest,
        # What one rank finds out must not cost the others' blocks its time.
        "between": watch.between if ranks.alone else None,
        "before": watch.begin,
        "stops": stops,
        "streams": Streams(inference, cell.threads, cell.streams).calls_per_second
        if inference and cell.streams
        else None,
    }
    if cell.protocol is None:
        return Sampler(**settings)
    return ProtocolSampler(**settings, take=partial(TAKERS[cell.protocol], workload))


def _first_calls(
    workload: Workload, clock: Clock, reference: Reference | None
) -> _FirstCalls:
    """Make the first calls; answers are compared before a step changes weights."""
    conversion = workload.converted.seconds if workload.converted else None
    if reference is None or workload.inference is None:
        step = workload.first_step(clock)
        return _FirstCalls(step, workload.first_inference(clock), conversion)
    inference = workload.first_inference(clock)
    found = difference(reference, workload.inference)
    return _FirstCalls(
        step=workload.first_step(clock),
        inference=inference,
        conversion=conversion,
        logit_error=found.logit_error,
        top1_agreement=found.top1_agreement,
    )


#: How finely each kind of breakdown cuts the network.
DETAILS = {measure: detail for detail, measure in BREAKDOWNS.items()}


def time_parts(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build, cut into parts, warm up, then sample parts and whole per visit."""
    device = device_of(cell)
    devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    model = seeded(builder_of(cell), cell.seed)
    workload = make_workload(model, setting_of(cell), trains=True, infers=False)
    training = workload.trained
    pieces = CUTS[DETAILS[cell.measure]](training.model, cell.name)
    work = work_of_parts(pieces, cell.image_size or 1)
    names = tuple(piece.name for piece in pieces)
    sampler = Sampler(
        units=[SplitStep(training), PartedStep(training, pieces)],
        clock=device.clock,
        agree=ranks.slowest,
        stops=count_stops(),
    )
    sampler.warm_up()
    while True:
        visit = sampler.visit()
        workload.rest()
        device.release()
        samples = _tuples(visit.samples)
        yield BreakdownSamples(
            round=sampler.rounds - 1,
            own_seconds=visit.seconds,
            parts=names,
            forward_seconds={name: samples[forward_phase(name)] for name in names},
            backward_seconds={name: samples[backward_phase(name)] for name in names},
            whole_forward_seconds=samples["forward"],
            whole_backward_seconds=samples["backward"],
            multiply_adds={name: work[name].multiply_adds for name in names},
            activations={name: work[name].activations for name in names},
            dropped_visits=visit.dropped,
            flags=visit.flags,
        )


def measure_ceiling(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Time a product, a convolution and a copy, visit by visit."""
    device = device_of(cell)
    devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    clock = device.clock
    limits = ceiling.limits(device, devices.DTYPES[cell.dtype])
    sampler = Sampler(
        units=limits,
        clock=clock,
        device_clock=device.device_clock,
        agree=ranks.slowest,
        stops=count_stops(),
    )
    sampler.warm_up()
    while True:
        visit = sampler.visit()
        # On CUDA a call of 0.2 ms is no longer than waiting for its end.
        taken = visit.device or visit.samples
        rates = {
            limit.phases[0]: tuple(
                limit.amount / seconds for seconds in taken[limit.phases[0]]
            )
            for limit in limits
        }
        yield CeilingSamples(
            round=sampler.rounds - 1,
            own_seconds=visit.seconds,
            dropped_visits=visit.dropped,
            flags=visit.flags,
            **rates,
        )


#: Steps per block, and blocks per arm after one that is not kept.
STEPS = 4
BLOCKS = 8


def measure_scaling(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Take turns: a block on rank 0 while the others wait, a block on all ranks."""
    clock = device_of(cell).clock
    alone, together = _whole_step(cell, ALONE), _whole_step(cell, ranks)
    stops = count_stops()

    def pair() -> tuple[float, float]:
        one = _one_alone(alone, clock, ranks)
        return one, ranks.slowest(_block(together, clock))

    taken = [undisturbed(pair, stops, ranks.slowest) for _ in range(BLOCKS + 1)]
    pairs = [each for each, _ in taken]
    yield ScalingSamples(
        ranks=ranks.world_size,
        alone_step_seconds=tuple(one for one, _ in pairs[1:]),
        together_step_seconds=tuple(all_ for _, all_ in pairs[1:]),
        dropped_visits=sum(stopped for _, stopped in taken),
    )


def _whole_step(cell: SpeedCell, ranks: Ranks) -> WholeStep:
    setting = setting_of(cell)
    model = builder_of(cell)()
    workload = make_workload(model, setting, trains=True, infers=False, wrap=ranks.wrap)
    if workload.training is None:
        raise RuntimeError("a workload that trains has no training")
    return WholeStep(workload.training)


def _one_alone(step: WholeStep, clock: Clock, ranks: Ranks) -> float:
    """Return rank 0's seconds per step; until it is done the others wait."""
    return float(ranks.share(_block(step, clock) if ranks.writes else None))


def _block(step: WholeStep, clock: Clock) -> float:
    began = clock.begin()
    for _ in range(STEPS):
        step.work()
    return clock.between([began, clock.mark()])[0] / STEPS
