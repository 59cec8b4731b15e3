"""Sweeps over one setting: images per second, and where throughput levels off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_bench.experiments.speed.cells import PLAIN
from resnet_bench.experiments.speed.view.drawing import BLACK, spread
from resnet_bench.experiments.speed.view.rows import (
    SETTINGS,
    SpeedRow,
    described,
    place,
    unusual,
    varying,
)
from resnet_bench.present import theme
from resnet_bench.present.numbers import percent
from resnet_bench.present.tables import Table
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.reading import Run

#: The knee is the smallest value whose throughput reaches this share of the best.
KNEE_SHARE = 0.95

#: With fewer values there is no curve to have a knee; two cores have no more threads.
LEAST_VALUES = {"batch_size": 3, "image_size": 3, "threads": 2}

#: What can be swept, and what a figure calls it.
SWEPT = {
    "batch_size": "images per call",
    "image_size": "height and width of the images (px)",
    "threads": "CPU threads",
}
#: Width of a line and how much of its markers is filled, by setting in the order of
#: the options: widths alone would not tell more than three apart.
LOOKS = tuple(
    (width, fill)
    for fill in ("full", "none", "top", "left", "right", "bottom")
    for width in (1.0, 2.2, 3.4)
)

#: How the knee is marked.
RING: dict[str, Any] = {"s": 150, "facecolor": "none", "edgecolor": BLACK}

#: `requested_batch_size` goes with the batch.
WITH = {"batch_size": ("batch_size", "requested_batch_size")}

#: The modes of a sweep, each with the field of its images per second.
MODES = {"train": "train_images_per_second", "inference": "inference_images_per_second"}


@dataclass(frozen=True)
class Sweep:
    """Images per second of one model by the value of one setting, all others alike.

    `rates` are in the order of the values; `row` is the first of the rows.
    """

    name: str
    mode: str
    row: SpeedRow
    rates: Mapping[int, Interval]

    def throughput(self, value: int) -> float:
        """Return images per second, or pixels where the images' size is swept."""
        pixels = value**2 if self.name == "image_size" else 1
        return self.rates[value].estimate * pixels

    @property
    def best(self) -> int:
        """The value with the highest throughput."""
        return max(self.rates, key=self.throughput)

    @property
    def knee(self) -> int:
        """The first value that reaches KNEE_SHARE of the best."""
        enough = KNEE_SHARE * self.throughput(self.best)
        return next(value for value in self.rates if self.throughput(value) >= enough)

    def setting(self, *said_elsewhere: str) -> str:
        """Return what else is set, in words."""
        left_out = {"device", *said_elsewhere}
        rest = [name for name in _others(self.name) if name not in left_out]
        return described(self.row.parameters, unusual(self.row.parameters, rest))

    @property
    def json(self) -> dict[str, Any]:
        """The sweep as one object; where it ends at its best, more may give more."""
        return {
            **self.row.model,
            "setting": self.setting(),
            "swept": self.name,
            "mode": self.mode,
            "values": list(self.rates),
            "knee": self.knee,
            "best": self.best,
            "best_is_last": self.best == max(self.rates),
        }


def _others(swept: str) -> list[str]:
    """Return the settings that stay the same in a sweep."""
    return [name for name in SETTINGS if name not in WITH.get(swept, (swept,))]


def sweeps_of(rows: Sequence[SpeedRow]) -> list[Sweep]:
    """Return every sweep with enough values, by setting, then mode."""
    return [
        Sweep(name, mode, together[0], rates)
        for name in SWEPT
        for together in _alike(rows, name)
        for mode in MODES
        if len(rates := _rates(together, name, mode)) >= LEAST_VALUES[name]
    ]


def _alike(rows: Sequence[SpeedRow], swept: str) -> list[list[SpeedRow]]:
    """Return the rows in groups that differ in one setting alone."""
    groups: dict[str, list[SpeedRow]] = {}
    for row in rows:
        others = [row.parameters.get(name) for name in ("rung", *_others(swept))]
        groups.setdefault(str([row.name, *others]), []).append(row)
    return list(groups.values())


def _rates(rows: Sequence[SpeedRow], name: str, mode: str) -> dict[int, Interval]:
    rates = {int(row.parameters[name]): row.interval(MODES[mode]) for row in rows}
    return {value: rate for value in sorted(rates) if (rate := rates[value])}


def _distinct(sweeps: Sequence[Sweep], name: str) -> list[str]:
    """Return the other settings in which the sweeps over one setting differ."""
    firsts = [sweep.row for sweep in sweeps if sweep.name == name]
    return [each for each in varying(firsts) if each in _others(name)]


def sweep_table(sweeps: Sequence[Sweep]) -> Table | None:
    """Return a line per sweep: its knee and its best; None without a sweep."""
    if not sweeps:
        return None
    distinct = {name: _distinct(sweeps, name) for name in SWEPT}
    return Table(
        name="sweeps",
        title="Where throughput levels off",
        frame=pd.DataFrame(
            [_line(sweep, distinct[sweep.name]) for sweep in sweeps], dtype=object
        ),
        narrow=[
            "model",
            *(["beside"] if any(distinct.values()) else []),
            "mode",
            "swept",
            "knee",
            "knee_images_per_second",
            "best",
            "best_images_per_second",
        ],
        notes=[
            f"Knee: the smallest value with {percent(KNEE_SHARE)} of the best "
            "throughput (images per second; pixels per second where the image size is "
            "swept). A best at the last value may not be the best there is."
        ],
        headers={
            "beside": "setting",
            "knee_images_per_second": "there",
            "best_images_per_second": "there",
        },
    )


def _line(sweep: Sweep, distinct: Sequence[str]) -> dict[str, Any]:
    return {
        "model": sweep.row.name,
        "beside": described(sweep.row.parameters, distinct),
        "setting": sweep.setting(),
        "mode": sweep.mode,
        "swept": sweep.name.replace("_", " "),
        "knee": str(sweep.knee),
        "knee_images_per_second": sweep.rates[sweep.knee].estimate,
        "best": str(sweep.best),
        "best_images_per_second": sweep.rates[sweep.best].estimate,
        "values": ", ".join(map(str, sweep.rates)),
    }


def sweep_figures(
    run: Run, rows: Sequence[SpeedRow], sweeps: Sequence[Sweep]
) -> dict[str, Figure]:
    """Return images per second against each swept setting, the knee ringed."""
    return {
        f"sweep-{name.replace('_', '-')}": _figure(run, rows, of_name)
        for name in SWEPT
        if (of_name := [sweep for sweep in sweeps if sweep.name == name])
    }


def _figure(run: Run, rows: Sequence[SpeedRow], sweeps: Sequence[Sweep]) -> Figure:
    name = sweeps[0].name
    distinct = _distinct(sweeps, name)
    # The place names the device, and the threads if all rows have the same.
    said = sweeps[0].setting("threads", *distinct)
    made = theme.figure(
        f"Throughput by {name.replace('_', ' ')} · {place(run, rows)}\n"
        f"{said}, random images and weights"
    )
    axes = theme.axes(made, x=SWEPT[name], y="images per second")
    axes.set_xscale("log", base=2)
    settings = [described(sweep.row.parameters, distinct) for sweep in sweeps]
    # A network without its shortcuts has the colour and marker of that with them.
    plain = [sweep.row.parameters["shortcut"] == PLAIN for sweep in sweeps]
    kinds = list(zip(plain, settings, strict=True))
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    for sweep, kind in zip(sweeps, kinds, strict=True):
        _curve(axes, sweep, kind[1], LOOKS[numbers[kind] % len(LOOKS)])
    values = sorted({value for sweep in sweeps for value in sweep.rates})
    axes.set_xticks(values, [str(value) for value in values], minor=False)
    axes.minorticks_off()
    axes.grid(visible=True)
    axes.set_ylim(bottom=0)
    axes.scatter([], [], **RING, label=f"knee ({KNEE_SHARE * 100:.0f} %)")
    made.legend(loc="outside lower center", ncols=2 if distinct else 3, frameon=False)
    return made


def _curve(axes: Axes, sweep: Sweep, setting: str, look: tuple[float, Any]) -> None:
    """Draw one sweep; width and markers tell settings apart, dashes the mode."""
    width, fill = look
    first, rates = sweep.row, list(sweep.rates.values())
    words = [first.name, sweep.mode, *([setting] if setting else [])]
    axes.errorbar(
        list(sweep.rates),
        [rate.estimate for rate in rates],
        yerr=spread(rates),
        capsize=3,
        marker=theme.marker_of(first.identity),
        color=theme.colour_of(first.identity),
        ls="-" if sweep.mode == "train" else (0, (4, 2)),
        lw=width,
        markersize=4 + width,
        fillstyle=fill,
        label=theme.drawable(", ".join(words)),
    )
    at_knee = sweep.rates[sweep.knee].estimate
    axes.scatter([sweep.knee], [at_knee], **RING, zorder=4)
