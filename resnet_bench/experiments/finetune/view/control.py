"""The negative control: what pre-training gains a probe on permuted pixels.

No structure of the image is left there to transfer, so that it must gain nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.cells import PROBE, RANDOM_PROBE
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    Row,
    beside,
    points,
    setting,
    whole,
)
from resnet_bench.present import theme
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics.answers import (
    Answers,
    difference_interval,
    mean_of,
    p_values,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import ERROR, Verdict, holm
from resnet_bench.store.reading import Run

#: A gain on permuted pixels within this, in percentage points, counts as none. Fixed
#: before any run.
NO_GAIN_MARGIN_POINTS = 3.0

#: Fewer seeds meet the margin by chance only: their gain has to lie below that with the
#: pixels in their places.
SEEDS_FOR_MARGIN = 6

INTACT, PERMUTED = "#4477AA", "#EE6677"


@dataclass(frozen=True, kw_only=True)
class ControlGain:
    """What pre-training gains a probe over random backbones, in percentage points.

    Both probes see the same permutation; `variant` None is the mean over all variants.
    `intact` is the gain with the pixels in their places. `differs` and `within` are the
    p of no gain and of one as large as the margin, adjusted for several networks.
    """

    variant: int | None
    gain: Interval
    intact: Interval | None = None
    differs: float = 1.0
    within: float = 1.0

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "all"

    @property
    def has_margin(self) -> bool:
        """Whether there are seeds enough to hold the gain against the margin."""
        return self.gain.samples >= SEEDS_FOR_MARGIN

    @property
    def verdict(self) -> Verdict:
        """What it says of "no gain", by rules fixed beforehand."""
        if not self.has_margin:
            if self.intact is None:
                return Verdict.INCONCLUSIVE
            less = self.gain.high < self.intact.estimate
            return Verdict.SUPPORTED if less else Verdict.INCONCLUSIVE
        if self.within <= ERROR:
            return Verdict.SUPPORTED
        if self.differs > ERROR:
            return Verdict.INCONCLUSIVE
        return Verdict.REFUTED if self.gain.estimate > 0 else Verdict.LOSS

    @property
    def json(self) -> Row:
        """The gain as the JSON object holds it."""
        return {
            "variant": self.variant,
            "gain_points": self.gain.json,
            "intact_gain_points": self.intact and self.intact.json,
            "p_no_gain": self.differs,
            "p_margin": self.within,
            "verdict": str(self.verdict),
        }


def control_gains(groups: Sequence[Group]) -> list[ControlGain]:
    """Return the gain on permuted pixels for all variants together, then for each."""
    differences: dict[int | None, Answers] = {}
    for probe in groups:
        random = beside(probe, RANDOM_PROBE, groups)
        if probe.permuted and probe.strategy == PROBE and random is not None:
            difference = probe.answers.minus(random.answers)
            if difference is not None:
                differences[probe.variant] = difference
    if not differences:
        return []
    intact = {variant: _intact(variant, groups) for variant in differences}
    alone = [
        _gain(variant, difference, intact[variant])
        for variant, difference in differences.items()
    ]
    differs = holm([each.differs for each in alone])
    within = holm([each.within for each in alone])
    adjusted = [
        replace(each, differs=p, within=q)
        for each, p, q in zip(alone, differs, within, strict=True)
    ]
    mean = mean_of(list(differences.values()))
    if len(alone) == 1 or mean is None:
        return adjusted
    known = [each for each in intact.values() if each is not None]
    return [_gain(None, mean, mean_of(known)), *adjusted]


def _gain(
    variant: int | None, difference: Answers, intact: Answers | None
) -> ControlGain:
    differs, within = p_values(difference, NO_GAIN_MARGIN_POINTS / 100)
    return ControlGain(
        variant=variant,
        gain=difference_interval(difference).times(100),
        intact=difference_interval(intact).times(100) if intact else None,
        differs=differs,
        within=within,
    )


def _intact(variant: int | None, groups: Sequence[Group]) -> Answers | None:
    """Return by how much a probe beats one on random backbones, pixels in place."""
    both = {g.strategy: g for g in whole(groups) if g.variant == variant}
    if PROBE not in both or RANDOM_PROBE not in both:
        return None
    return both[PROBE].answers.minus(both[RANDOM_PROBE].answers)


def control_table(run: Run, gains: Sequence[ControlGain]) -> Table:
    """Return the gain on permuted pixels, pooled and by variant, with verdicts."""
    rows = [
        {
            "network": each.name,
            "seeds": each.gain.samples,
            **interval_columns("gain_points", each.gain),
            **interval_columns("intact_points", each.intact),
            "verdict": str(each.verdict),
        }
        for each in gains
    ]
    return Table(
        name="negative-control",
        detail=True,
        title=f"Negative control: pixels permuted\n{setting(run)}",
        frame=pd.DataFrame(rows, dtype=object),
        narrow=[name for name in rows[0] if not name.endswith(("_low", "_high"))],
        notes=[
            "Gain: probe on the trained backbone minus probe on a random one (the "
            "mean of several draws), on pixels moved by one fixed permutation; in "
            "place: the same on unpermuted pixels. Verdict on: no gain where there is "
            f"no image structure to transfer, {_rule(gains)}."
        ],
        headers={"gain_points": "gain", "intact_points": "in place"},
    )


def _rule(gains: Sequence[ControlGain]) -> str:
    """Return by which of the two rules the verdicts are made."""
    if gains and gains[0].has_margin:
        return f"within {NO_GAIN_MARGIN_POINTS:g} pp, adjusted for several networks"
    return "its interval below the gain in place"


def control_sentences(gains: Sequence[ControlGain]) -> list[str]:
    """Return in one sentence what the control says; empty without one."""
    if not gains:
        return []
    first, *others = gains
    alone = [f"{g.name} {g.verdict}" for g in others if g.verdict != first.verdict]
    exceptions = f"; alone: {', '.join(alone)}" if alone else ""
    intact = first.intact
    in_place = f" ({intact.estimate:+.1f} pp in place)" if intact else ""
    return [
        "Negative control, pixels permuted: pre-training changes a probe's accuracy by "
        f"{points(first.gain)}{in_place}; no gain ({_rule(gains)}): "
        f"{first.verdict}{exceptions}."
    ]


def control_figure(run: Run, gains: Sequence[ControlGain]) -> Figure | None:
    """Draw the gains with their intervals; None without the negative control."""
    lines = list(_lines(gains))
    if not lines:
        return None
    title = "What pre-training gains a probe over random backbones, 95 % intervals"
    height = 1.9 + 0.32 * len(lines)
    made = theme.figure(f"{title}\n{setting(run)}", width=7.6, height=height)
    axes = theme.axes(made, x="gain (percentage points)", y="")
    axes.grid(axis="x")
    axes.axvline(0, color=theme.NEUTRAL, linewidth=0.9)
    for y, (_, gain, colour) in enumerate(lines):
        _draw(axes, y, gain, colour)
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    if gains[0].has_margin:
        _mark_margin(axes)
    return made


def _lines(gains: Sequence[ControlGain]) -> Iterator[tuple[str, Interval, str]]:
    for each in sorted(gains, key=lambda gain: gain.variant or 0):
        if each.intact is not None:
            yield f"{each.name}, pixels intact", each.intact, INTACT
    for each in gains:
        yield f"{each.name}, pixels permuted: {each.verdict}", each.gain, PERMUTED


def _draw(axes: Axes, y: int, gain: Interval, colour: str) -> None:
    spread = [[gain.estimate - gain.low], [gain.high - gain.estimate]]
    axes.errorbar([gain.estimate], [y], xerr=spread, fmt="o", capsize=3, color=colour)


def _mark_margin(axes: Axes) -> None:
    """Mark from which gain or loss on it would count as one."""
    style: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (1, 2))}
    for margin in (-NO_GAIN_MARGIN_POINTS, NO_GAIN_MARGIN_POINTS):
        axes.axvline(margin, color=theme.NEUTRAL, **style)
    axes.annotate(
        "counts as none between these",
        (NO_GAIN_MARGIN_POINTS, 0.01),
        (-3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=theme.NEUTRAL,
    )
