"""What speaks against a row of `speed`: the flags, their rules and what they mean."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from resnet_bench.experiments.speed.cells import NOISE_PHASES, NOISY_SPREAD
from resnet_bench.present.numbers import percent
from resnet_bench.statistics.intervals import SAMPLES_FOR_ORDER_STATISTICS, Interval

#: A planned cell that no attempt has finished, in a partial run.
MISSING = "missing"

#: A sum of the parts outside of this share of the whole fails the closure check.
CLOSURE_RANGE = (0.95, 1.05)

#: Device time below this share of wall time makes a CUDA row `host-bound`.
HOST_BOUND_SHARE = 0.8

#: Relative errors of the logits beyond which a network computes something else, by
#: whether it is in exact float32. Orders of addition give 1e-6 there; bfloat16 gives
#: 0.5 %, and logits that have nothing to do with each other 1.4.
LARGEST_ERRORS = {True: 1e-3, False: 0.5}

#: What speaks against a row, worst first: the first is its verdict, `ok` without any.
EXPLANATIONS = {
    "failed": "the cell raised an error",
    "oom": "out of memory; the batch is never made smaller",
    "wrong-answers": "the logits differ from those of float32 torch by more than the "
    "number format explains",
    "closure-failed": "forward, loss, backward and optimizer do not add up to the "
    "step within 5 %",
    "not-warmed-up": "times still fell while they were taken",
    "drifting": "times rose while they were taken",
    "stopped": "the process was stopped again and again (SIGSTOP or Ctrl-Z)",
    "throttled": "the processor's clock was reduced",
    "oversubscribed": "threads waited for a core: other programs ran, or there were "
    "more threads than cores",
    "host-bound": "the GPU waited for the CPU",
    "noisy": f"an interval is wider than ±{percent(NOISY_SPREAD)}, or there were fewer "
    "than 6 visits",
    MISSING: "not measured yet",
}


class Judged(Protocol):
    """What the rules ask of a row."""

    @property
    def closure(self) -> Interval | None:
        """The phases' sum over the step."""

    @property
    def has_wrong_answers(self) -> bool:
        """Whether logits differ by more than the number format explains."""

    @property
    def trends(self) -> Sequence[float]:
        """By how much phases still fall (above 0) or rise."""

    @property
    def disturbed(self) -> bool:
        """Whether other work took a core from it."""

    @property
    def device_share(self) -> float | None:
        """The device's own time over wall time."""

    def phase(self, phase: str) -> Interval | None:
        """Return the seconds of a phase."""


def contradicts(closure: Interval | None) -> bool:
    """Return whether the parts certainly do not add up to the whole."""
    lowest, highest = CLOSURE_RANGE
    return closure is not None and (closure.high < lowest or closure.low > highest)


def host_bound(row: Judged) -> bool:
    """Return whether the device waited for the host."""
    return row.device_share is not None and row.device_share < HOST_BOUND_SHARE


def noisy(row: Judged) -> bool:
    """Return whether an interval is too wide, or rests on too few samples."""
    intervals = [row.phase(phase) for phase in NOISE_PHASES]
    return any(
        interval.samples < SAMPLES_FOR_ORDER_STATISTICS
        or interval.relative_spread > NOISY_SPREAD
        for interval in intervals
        if interval is not None
    )


RULES: dict[str, Callable[[Judged], bool]] = {
    "wrong-answers": lambda row: row.has_wrong_answers,
    "closure-failed": lambda row: contradicts(row.closure),
    "not-warmed-up": lambda row: any(trend > 0 for trend in row.trends),
    "drifting": lambda row: any(trend < 0 for trend in row.trends),
    "oversubscribed": lambda row: row.disturbed,
    "host-bound": host_bound,
    "noisy": noisy,
}


def worst_first(flags: Iterable[str]) -> list[str]:
    """Return flags in the order of EXPLANATIONS, unknown ones last."""
    known = list(EXPLANATIONS)
    return sorted(flags, key=lambda f: known.index(f) if f in known else len(known))
