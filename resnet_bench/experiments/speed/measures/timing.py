"""Times forward, loss, backward, optimizer, whole steps and inference, by visits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from resnet_bench.engine import devices
from resnet_bench.engine.devices import Observed
from resnet_bench.engine.models.resnets import seeded
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.conditions import Watch, Watched
from resnet_bench.engine.timing.difference import Reference, difference, make_reference
from resnet_bench.engine.timing.protocols import TAKERS, ProtocolSampler
from resnet_bench.engine.timing.sampling import Sampler, Visit
from resnet_bench.engine.timing.workload import (
    Workload,
    cold_compile_cache,
    make_workload,
)
from resnet_bench.errors import UsageError
from resnet_bench.experiments.speed.cells import (
    NOISE_PHASES,
    SpeedCell,
    SpeedSamples,
    phase_field,
)
from resnet_bench.experiments.speed.measures.subject import (
    builder_of,
    device_of,
    setting_of,
)
from resnet_bench.records import Record


@dataclass(frozen=True)
class _FirstCalls:
    """Seconds of the first calls and, on a ladder, how far the answers are off."""

    step: float | None
    inference: float | None
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

    def samples(self, visit: Visit, seconds: float, watched: Watched) -> SpeedSamples:
        """Return the record of a visit that has just ended."""
        first = self.sampler.rounds == 1
        work = self.workload.work
        return SpeedSamples(
            round=self.sampler.rounds - 1,
            own_seconds=seconds,
            device_seconds=_tuples(visit.device),
            warmup_seconds=self._warmup() if first else {},
            warmup_converged=self.sampler.converged,
            unsettled=self.sampler.unsettled,
            first_step_seconds=self.first.step,
            first_inference_seconds=self.first.inference,
            logit_error=self.first.logit_error,
            top1_agreement=self.first.top1_agreement,
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
            flags=tuple(dict.fromkeys(each.flag for each in watched.conditions)),
            notes=tuple(each.note for each in watched.conditions),
            within_precision=self.sampler.precise,
            **{phase_field(name): tuple(all_) for name, all_ in visit.samples.items()},
            **self._throughput(visit),
        )

    def _warmup(self) -> dict[str, tuple[float, ...]]:
        return {
            phase: tuple(series.warmup) for phase, series in self.sampler.series.items()
        }

    def _throughput(self, visit: Visit) -> dict[str, Any]:
        images = self.cell.batch_size or 1
        return {
            f"{kind}_images_per_second": tuple(images * rate for rate in rates)
            for kind, rates in visit.rates.items()
        }


def _tuples(samples: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    return {phase: tuple(values) for phase, values in samples.items()}


def time_phases(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build, call for the first time, warm up and sample; then sample per visit."""
    if cell.protocol is not None and not ranks.alone:
        raise UsageError(f"--protocol {cell.protocol}: expected with one process only")
    device = device_of(cell)
    observed = devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    watch = Watch(cell.threads, device.index)
    clock = device.clock
    with cold_compile_cache() if cell.compiled else nullcontext():
        watch.begin()
        began = clock.begin()
        subject = _subject(cell, ranks, observed, watch)
        subject.sampler.warm_up()
        while True:
            visit = subject.sampler.visit()
            seconds = clock.between([began, clock.mark()])[0]
            record = subject.samples(visit, seconds, watch.end(seconds))
            subject.workload.rest()
            device.release()
            yield record
            if subject.sampler.finished:
                return
            watch.begin()
            began = clock.begin()


def _subject(
    cell: SpeedCell, ranks: Ranks, observed: Observed, watch: Watch
) -> _Subject:
    device, setting = device_of(cell), setting_of(cell)
    model = seeded(builder_of(cell), cell.seed)
    compared = cell.rung is not None and cell.infers
    reference = make_reference(model, setting) if compared else None
    workload = make_workload(
        model, setting, trains=cell.trains, infers=cell.infers, wrap=ranks.wrap
    )
    return _Subject(
        cell=cell,
        observed=observed,
        workload=workload,
        sampler=_sampler(cell, ranks, workload, watch),
        first=_first_calls(workload, device.clock, reference),
    )


def _sampler(
    cell: SpeedCell, ranks: Ranks, workload: Workload, watch: Watch
) -> Sampler:
    """Return what takes the samples, by this project's rules or another's."""
    device = device_of(cell)
    settings: dict[str, Any] = {
        "units": workload.units,
        "clock": device.clock,
        "max_seconds": cell.max_time_seconds,
        "precision": cell.precision,
        "decisive": NOISE_PHASES,
        "device_clock": device.device_clock,
        "agree": ranks.slowest,
        # What one rank finds out must not cost the others' blocks its time.
        "between": watch.between if ranks.alone else None,
    }
    if cell.protocol is None:
        return Sampler(**settings)
    return ProtocolSampler(**settings, take=partial(TAKERS[cell.protocol], workload))


def _first_calls(
    workload: Workload, clock: Clock, reference: Reference | None
) -> _FirstCalls:
    """Make the first calls; answers are compared before a step changes weights."""
    if reference is None or workload.inference is None:
        step = workload.first_step(clock)
        return _FirstCalls(step, workload.first_inference(clock))
    inference = workload.first_inference(clock)
    found = difference(reference, workload.inference)
    return _FirstCalls(
        step=workload.first_step(clock),
        inference=inference,
        logit_error=found.logit_error,
        top1_agreement=found.top1_agreement,
    )
