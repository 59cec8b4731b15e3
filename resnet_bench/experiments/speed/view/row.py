"""One row of `speed`: samples pooled over rounds, judged and set in ratio.

Nothing is rounded here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from statistics import mean, median
from typing import Any

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.speed.cells import (
    INFERENCE_PHASES,
    TRAIN_PHASES,
    title_of,
)
from resnet_bench.experiments.speed.protocols import statistic_of
from resnet_bench.experiments.speed.records import (
    CLOSURE_RANGE,
    HOST_BOUND_SHARE,
    MEMORY_KINDS,
    NOISE_PHASES,
    NOISY_HALF_WIDTH,
    STEP_PARTS,
    VERDICTS,
    phase_field,
)
from resnet_bench.statistics.estimates import (
    mean_interval,
    ratio_by_key,
    ratio_interval,
    ratio_of_means,
)
from resnet_bench.statistics.intervals import (
    SAMPLES_FOR_ORDER_STATISTICS,
    Interval,
    median_interval,
)

#: A planned cell that no attempt has finished, in a partial run.
MISSING = "missing"

#: Phases whose ratio to the first row's is taken.
RATIO_PHASES = ("forward", "backward", "step", "inference")

#: Phases and rates in the order of JSON and of tables.
PHASES = TRAIN_PHASES + INFERENCE_PHASES
RATES = ("train_images_per_second", "inference_images_per_second")

#: What is set of a row besides its model, in the order in which it is said.
SETTINGS = (
    "device",
    "batch_size",
    "requested_batch_size",
    "image_size",
    "dtype",
    "amp",
    "tf32",
    "channels_last",
    "compiled",
    "cuda_graphs",
    "threads",
    "protocol",
)

Visit = Mapping[str, Any]


@dataclass(frozen=True)
class SpeedRow:
    """One setting of one model, with everything that was observed of it.

    `status` is "ok", "failed", "oom" or "missing"; `visits` are its SpeedSamples in
    the order of rounds; `memory` its PeakMemory by kind of pass, in the order of
    repeats; `ceilings` the intervals
    of what the machine can do, by kind; `error` says why it failed.
    """

    parameters: Mapping[str, Any]
    status: str
    visits: Sequence[Visit] = ()
    memory: Mapping[str, Sequence[Visit]] = field(default_factory=dict)
    ceilings: Mapping[str, Interval] = field(default_factory=dict)
    error: str | None = None

    @property
    def identity(self) -> int | str:
        """What decides the row's colour: the variant, or the user model's name."""
        variant = self.parameters["variant"]
        return int(variant) if variant is not None else str(self.parameters["model"])

    @property
    def name(self) -> str:
        """What tables and figures call the model."""
        variant = self.parameters["variant"]
        if variant in VARIANTS:
            return title_of(variant, self.parameters.get("architecture"))
        return str(self.parameters["model"] or variant)

    def samples(self, name: str) -> list[float]:
        """Return one field's samples, pooled over the rounds."""
        return list(chain.from_iterable(visit[name] or () for visit in self.visits))

    @property
    def statistic(self) -> str:
        """What its times are: `median`, or `mean` by a protocol that says so."""
        return statistic_of(self.parameters.get("protocol"))

    def interval(self, name: str) -> Interval | None:
        """Return the median (mean) of a field with its interval, None without any."""
        values = self.samples(name)
        if not values:
            return None
        if self.statistic == "mean":
            return mean_interval(values)
        return median_interval(values)

    def phase(self, phase: str) -> Interval | None:
        """Return the median (mean) seconds of a phase with its interval."""
        return self.interval(phase_field(phase))

    def rounds(self, phase: str) -> dict[int, float]:
        """Return the phase's median (mean) of each round."""
        name = phase_field(phase)
        middle = mean if self.statistic == "mean" else median
        return {
            visit["round"]: middle(visit[name]) for visit in self.visits if visit[name]
        }

    @cached_property
    def closure(self) -> Interval | None:
        """The phases' sum over the step, paired by round."""
        parts = [self.rounds(phase) for phase in STEP_PARTS]
        steps = self.rounds("step")
        common = [key for key in steps if all(key in part for part in parts)]
        if not common:
            return None
        sums = [sum(part[key] for part in parts) for key in common]
        return ratio_interval(sums, [steps[key] for key in common])

    def ratio_to(self, other: "SpeedRow", phase: str) -> Interval | None:
        """Return this row's time over another's, paired by round (or by means)."""
        if self.statistic == other.statistic == "mean":
            mine, theirs = (each.samples(phase_field(phase)) for each in (self, other))
            return ratio_of_means(mine, theirs) if mine and theirs else None
        return ratio_by_key(self.rounds(phase), other.rounds(phase))

    def known(self, name: str) -> Any:
        """Return the first value of a field that some visit knew, else None."""
        values = (visit.get(name) for visit in self.visits)
        return next((value for value in values if value is not None), None)

    @property
    def warmup_converged(self) -> bool | None:
        """Whether every phase had settled; None when too few calls told."""
        values = [visit["warmup_converged"] for visit in self.visits]
        known = [value for value in values if value is not None]
        return known[-1] if known else None

    @property
    def ceiling(self) -> Interval | None:
        """The most FLOP/s that a product or a convolution reached here."""
        found = [
            self.ceilings[kind]
            for kind in ("matrix_product", "convolution")
            if kind in self.ceilings
        ]
        return max(found, key=lambda interval: interval.estimate, default=None)

    def achieved(self, phase: str) -> Interval | None:
        """Return the FLOP/s of a phase that does the work of a forward pass."""
        time, flop = self.phase(phase), self.known("flop")
        if time is None or flop is None:
            return None
        work = float(flop) * int(self.parameters["batch_size"])
        low, high = work / time.high, work / time.low
        return Interval(work / time.estimate, low, high, time.samples)

    @property
    def efficiency(self) -> float | None:
        """FLOP/s of the forward pass, or of inference, over the same run's ceiling."""
        achieved = self.achieved("forward") or self.achieved("inference")
        if achieved is None or self.ceiling is None:
            return None
        return achieved.estimate / self.ceiling.estimate

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters that are neither the model nor how it was measured."""
        return {name: self.parameters.get(name) for name in SETTINGS}

    @property
    def work(self) -> dict[str, Any]:
        """Parameters, and forward work per image in units of 1e9."""
        counts = {"gmac": self.known("multiply_adds"), "gflop": self.known("flop")}
        scaled = {name: count and count / 1e9 for name, count in counts.items()}
        return {"parameters": self.known("parameters"), **scaled}

    @property
    def first_call_seconds(self) -> float | None:
        """Seconds of the first training step, or of the first inference."""
        first = self.known("first_step_seconds")
        seconds = self.known("first_inference_seconds") if first is None else first
        return None if seconds is None else float(seconds)

    @property
    def peak_memory(self) -> dict[str, Any]:
        """The most bytes that training and inference needed, None if unknown.

        The median where it was measured more than once.
        """
        return {
            f"{kind}_peak_memory_bytes": median(peaks.values()) if peaks else None
            for kind, peaks in ((kind, self.peaks(kind)) for kind in MEMORY_KINDS)
        }

    def peaks(self, kind: str) -> dict[int, int]:
        """Return the peak bytes that are known of each repeat, the first being 1."""
        return {
            each.get("repeat") or 1: each["peak_bytes"]
            for each in self.memory.get(kind, ())
            if each["peak_bytes"]
        }

    @property
    def device_share(self) -> float | None:
        """The device's own time over wall time, of steps or of inference."""
        for phase in ("step", "inference"):
            device = [
                value
                for visit in self.visits
                for value in (visit.get("device_seconds") or {}).get(phase, ())
            ]
            wall = self.samples(phase_field(phase))
            if device and wall:
                return float(median(device) / median(wall))
        return None

    @property
    def notes(self) -> list[str]:
        """What the visits had to say, each sentence once."""
        said = chain.from_iterable(visit.get("notes") or () for visit in self.visits)
        return list(dict.fromkeys(said))

    @property
    def flags(self) -> list[str]:
        """Everything that speaks against the row, worst first."""
        if self.status != "ok":
            return [self.status]
        seen = set(chain.from_iterable(visit["flags"] for visit in self.visits))
        seen |= {flag for flag, applies in RULES.items() if applies(self)}
        return sorted(seen, key=_severity)

    @property
    def verdict(self) -> str:
        """The worst flag, `ok` without one."""
        return next(iter(self.flags), "ok")


def _severity(flag: str) -> int:
    return VERDICTS.index(flag) if flag in VERDICTS else len(VERDICTS)


def closure_failed(row: SpeedRow) -> bool:
    """Return whether the phases certainly do not add up to the step."""
    lowest, highest = CLOSURE_RANGE
    closure = row.closure
    return closure is not None and (closure.high < lowest or closure.low > highest)


def not_warmed_up(row: SpeedRow) -> bool:
    """Return whether sampling began before the times had settled."""
    return row.warmup_converged is False


def host_bound(row: SpeedRow) -> bool:
    """Return whether the device waited for the host."""
    return row.device_share is not None and row.device_share < HOST_BOUND_SHARE


def noisy(row: SpeedRow) -> bool:
    """Return whether an interval is too wide, or rests on too few samples."""
    intervals = [row.phase(phase) for phase in NOISE_PHASES]
    return any(
        interval.samples < SAMPLES_FOR_ORDER_STATISTICS
        or interval.relative_half_width > NOISY_HALF_WIDTH
        for interval in intervals
        if interval is not None
    )


RULES: dict[str, Callable[[SpeedRow], bool]] = {
    "closure-failed": closure_failed,
    "not-warmed-up": not_warmed_up,
    "host-bound": host_bound,
    "noisy": noisy,
}
