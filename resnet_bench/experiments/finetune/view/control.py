"""The negative control: what pre-training gains a probe on permuted pixels.

No structure of the image is left there to transfer, so that it must gain nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.spec import PROBE, RANDOM_PROBE
from resnet_bench.experiments.finetune.view.groups import (
    Group,
    Row,
    gain_of,
    paired,
    setting,
    whole,
)
from resnet_bench.present import theme
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics.estimates import (
    mean_interval,
    points_over_images,
    right_shares,
    stratified_interval,
)
from resnet_bench.statistics.intervals import Interval
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run

Answers = NDArray[np.float64]

#: A gain on permuted pixels below this, in percentage points, counts as none; an
#: interval with a wider half counts as undecided. Fixed before any run.
NO_GAIN_MARGIN_POINTS = 3.0

INTACT, PERMUTED = "#4477AA", "#EE6677"
#: An interval is drawn to this many points at most: of two seeds it is very wide.
WIDEST_POINTS = 40.0


@dataclass(frozen=True, kw_only=True)
class ControlGain:
    """What pre-training gains a probe over random backbones, in percentage points.

    Both probes see the same permutation; `variant` None pools all variants.
    `sampling_points` is half of the 95 % interval that so many test images leave,
    `intact` the gain with the pixels in their places.
    """

    variant: int | None
    gain: Interval
    sampling_points: float | None = None
    intact: Interval | None = None

    @property
    def name(self) -> str:
        """What tables call the network."""
        return VARIANTS[self.variant].title if self.variant else "all"

    @property
    def half_width(self) -> float:
        """Half the interval, in percentage points."""
        return (self.gain.high - self.gain.low) / 2

    @property
    def verdict(self) -> Verdict:
        """What it says of "no gain", by margins fixed beforehand."""
        if self.gain.low > 0:
            return Verdict.REFUTED
        narrow = self.half_width <= NO_GAIN_MARGIN_POINTS
        if narrow and self.gain.high < NO_GAIN_MARGIN_POINTS:
            return Verdict.SUPPORTED
        return Verdict.INCONCLUSIVE

    @property
    def json(self) -> Row:
        """The gain as the JSON object holds it."""
        return {
            "variant": self.variant,
            "gain_points": self.gain.json,
            "half_width_points": self.half_width
            if math.isfinite(self.half_width)
            else None,
            "test_set_sampling_points": self.sampling_points,
            "verdict": str(self.verdict),
        }


def control_gains(groups: Sequence[Group]) -> list[ControlGain]:
    """Return the gain on permuted pixels for all variants together, then for each."""
    both = {
        probe.variant: (probe, random)
        for probe in groups
        for random in groups
        if probe.permuted and random.permuted and probe.variant == random.variant
        if probe.strategy == PROBE and random.strategy == RANDOM_PROBE
        if paired(probe, random)
    }
    gains = {
        variant: [trained - random for trained, random in paired(*each)]
        for variant, each in both.items()
    }
    if not gains:
        return []
    images = {variant: gain_by_image(*each) for variant, each in both.items()}
    pooled = ControlGain(
        variant=None,
        gain=stratified_interval(list(gains.values())),
        sampling_points=sampling_points(list(images.values())),
    )
    return [pooled] + [
        ControlGain(
            variant=variant,
            gain=mean_interval(each),
            sampling_points=sampling_points([images[variant]]),
            intact=_intact_gain(variant, groups),
        )
        for variant, each in gains.items()
    ]


def _intact_gain(variant: int | None, groups: Sequence[Group]) -> Interval | None:
    both = {g.strategy: g for g in whole(groups) if g.variant == variant}
    if PROBE not in both or RANDOM_PROBE not in both:
        return None
    return gain_of(both[PROBE], both[RANDOM_PROBE])


def answers_of(group: Group) -> Answers | None:
    """Return the share of rows that answered each test image rightly, if kept."""
    kept = [str(row.get("right_answers") or "") for row in group.rows]
    images = int(group.rows[0]["test_images"])
    if not all(kept):
        return None
    return right_shares(kept, images)


def gain_by_image(probe: Group, random: Group) -> Answers | None:
    """Return how much more often each image is answered rightly, over all rows."""
    trained, drawn = answers_of(probe), answers_of(random)
    if trained is None or drawn is None or trained.shape != drawn.shape:
        return None
    return trained - drawn


def sampling_points(gains: Sequence[Answers | None]) -> float | None:
    """Return half of the 95 % interval over images of a mean gain, in points.

    Every entry holds a gain per image, of the same images; the normal interval of
    their mean. None where the answers were not kept.
    """
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains) or len({len(gain) for gain in known}) != 1:
        return None
    return points_over_images(np.mean(known, axis=0))


def control_table(run: Run, gains: Sequence[ControlGain]) -> Table:
    """Return the gain on permuted pixels, pooled and by variant, with verdicts."""
    rows = [
        {
            "network": each.name,
            "pairs": each.gain.samples,
            **interval_columns("gain_points", each.gain),
            "half_width_points": each.half_width,
            "sampling_points": each.sampling_points,
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
            "Gain: probe on the trained backbone less probe on a random one (the mean "
            "of several draws), both on pixels moved by one fixed permutation, every "
            "image of a small data set tested once (five folds). Its interval is over "
            "seeds, for all networks within networks; test set ±: half the 95 % "
            "interval over images. Verdict on: no gain where there is no image "
            "structure to transfer."
        ],
        headers={
            "gain_points": "gain",
            "half_width_points": "half-width",
            "sampling_points": "test set ±",
        },
    )


def control_sentences(gains: Sequence[ControlGain]) -> list[str]:
    """Return in one sentence what the control says; empty without one."""
    if not gains:
        return []
    pooled, *alone = gains
    low, high = pooled.gain.low, pooled.gain.high
    known = f"[{low:+.1f}, {high:+.1f}]" if math.isfinite(low) else "[no interval]"
    pairs = f"{pooled.gain.samples} pair{'s' if pooled.gain.samples != 1 else ''}"
    other = [f"{g.name} {g.verdict}" for g in alone if g.verdict != pooled.verdict]
    exceptions = f"; alone: {', '.join(other)}" if other else ""
    return [
        f"Negative control, pixels permuted: pre-training gains a probe "
        f"{pooled.gain.estimate:+.1f} pp {known} over {pairs}; "
        f"no gain (below {NO_GAIN_MARGIN_POINTS:g} pp, half-width at most that): "
        f"{pooled.verdict}{exceptions}."
    ]


def control_figure(run: Run, gains: Sequence[ControlGain]) -> Figure | None:
    """Draw the gains with their intervals; None without the negative control."""
    lines = list(_lines(gains))
    if not lines:
        return None
    title = "What pre-training gains a probe over random backbones, 95 % over seeds"
    height = 1.9 + 0.32 * len(lines)
    made = theme.figure(f"{title}\n{setting(run)}", width=7.6, height=height)
    axes = theme.axes(made, x="gain (percentage points)", y="")
    axes.grid(axis="x")
    axes.axvline(0, color=theme.NEUTRAL, linewidth=0.9)
    for y, (_, gain, colour) in enumerate(lines):
        _draw(axes, y, gain, colour)
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    _mark_margin(axes)
    return made


def _lines(gains: Sequence[ControlGain]) -> Iterator[tuple[str, Interval, str]]:
    for each in sorted(gains, key=lambda gain: gain.variant or 0):
        if each.intact is not None:
            yield f"{each.name}, pixels intact", each.intact, INTACT
    for each in gains:
        yield f"{each.name}, pixels permuted: {each.verdict}", each.gain, PERMUTED


def _draw(axes: Axes, y: int, gain: Interval, colour: str) -> None:
    spread = [
        [min(gain.estimate - gain.low, WIDEST_POINTS)],
        [min(gain.high - gain.estimate, WIDEST_POINTS)],
    ]
    axes.errorbar(
        [gain.estimate],
        [y],
        xerr=spread if math.isfinite(gain.low) else None,
        fmt="o",
        capsize=3,
        color=colour,
    )


def _mark_margin(axes: Axes) -> None:
    """Mark from which gain on it would count as one."""
    axes.axvline(
        NO_GAIN_MARGIN_POINTS,
        color=theme.NEUTRAL,
        linewidth=0.9,
        linestyle=(0, (1, 2)),
    )
    axes.annotate(
        "counts as none below this",
        (NO_GAIN_MARGIN_POINTS, 0.01),
        (-3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=theme.NEUTRAL,
    )
