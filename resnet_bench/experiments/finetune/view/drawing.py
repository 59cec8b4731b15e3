"""What the figures of finetune share: colours and markers by strategy, whiskers."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.catalogue import VARIANTS
from resnet_bench.experiments.finetune.spec import RANDOM_PROBE, RAW_PIXELS
from resnet_bench.experiments.finetune.view.groups import Group
from resnet_bench.experiments.finetune.view.words import setting
from resnet_bench.present import theme
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: Paul Tol's bright and vibrant schemes (2021), apart under colour blindness; the
#: markers repeat what the colours say.
LOOKS = {
    "probe": ("#4477AA", "o"),
    "freeze": ("#66CCEE", "v"),
    "freeze-drift": ("#0077BB", "^"),
    "last-stage": ("#228833", "s"),
    "full": ("#EE6677", "D"),
    "discriminative": ("#AA3377", "P"),
    "probe-then-full": ("#CC3311", "X"),
    "batchnorm-only": ("#009988", "p"),
    "scratch": ("#CCBB44", "h"),
    "scratch-equal-compute": ("#EE7733", "H"),
    RAW_PIXELS: ("#555555", "d"),
    RANDOM_PROBE: ("#999999", "<"),
}


#: Width that the longest name of a legend takes.
LEGEND_ENTRY_INCHES = 2.0


def look(strategy: str) -> dict[str, Any]:
    """Return the colour and marker of a strategy or control."""
    colour, marker = LOOKS.get(strategy, (theme.NEUTRAL, theme.USER_MARKER))
    return {"color": colour, "marker": marker}


def titled(run: Run, title: str, *, width: float = 7.6, height: float = 4.4) -> Figure:
    """Return an empty figure with data, weights origin and machine in its title."""
    return theme.figure(f"{title}\n{setting(run)}", width=width, height=height)


def panels(on: Figure, variants: Sequence[int], *, x: str, y: str) -> dict[int, Axes]:
    """Return axes side by side, one per variant, that share the vertical axis."""
    made: dict[int, Axes] = {}
    columns = min(3, len(variants))
    rows = math.ceil(len(variants) / columns)
    for place, variant in enumerate(variants):
        first = next(iter(made.values()), None)
        axes = on.add_subplot(rows, columns, place + 1, sharey=first)
        axes.set_title(VARIANTS[variant].title)
        axes.set_xlabel(x)
        if place % columns == 0:
            axes.set_ylabel(y)
        else:
            axes.tick_params(labelleft=False)
        axes.grid(visible=True)
        made[variant] = axes
    return made


def whisker(
    axes: Axes, x: float, interval: Interval, strategy: str, **style: Any
) -> None:
    """Draw an accuracy with its interval, cut at 0 and 100 %."""
    low, high = max(interval.low, 0.0), min(interval.high, 100.0)
    known = math.isfinite(interval.low)
    spread = (
        [[interval.estimate - low], [max(0.0, high - interval.estimate)]]
        if known
        else None
    )
    axes.errorbar(
        [x],
        [interval.estimate],
        yerr=spread,
        capsize=3,
        linestyle="none",
        **{"markersize": 7, **look(strategy), **style},
    )


def strategies_of(groups: Sequence[Group]) -> list[str]:
    """Return the strategies and controls that occur, in the order of the groups."""
    return list(dict.fromkeys(group.strategy for group in groups))


def variants_of(groups: Sequence[Group]) -> list[int]:
    """Return the variants that occur, ascending."""
    return sorted({group.variant for group in groups if group.variant})


def legend_below(on: Figure, strategies: Sequence[str], controls: set[str]) -> None:
    """Name the strategies once for all panels, below them."""
    axes = on.axes[0]
    handles = [
        axes.plot(
            [],
            [],
            linestyle="none",
            markersize=7,
            label=f"{name} (control)" if name in controls else name,
            **look(name),
        )[0]
        for name in strategies
    ]
    most = max(1, min(len(handles), int(on.get_figwidth() / LEGEND_ENTRY_INCHES)))
    columns = math.ceil(len(handles) / math.ceil(len(handles) / most))
    on.legend(handles=handles, loc="outside lower center", ncols=columns)
