"""The rows of a run: what was measured of each setting, and how rows are told apart."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from math import inf
from statistics import mean, median
from typing import Any

from resnet_bench.catalogue import RUNTIMES, TORCH, VARIANTS
from resnet_bench.experiments.speed.cells import (
    INFERENCE_PHASES,
    MEMORY_KINDS,
    NOISE_PHASES,
    STEP_PARTS,
    TIME,
    TRAIN_PHASES,
    CeilingSamples,
    OutOfMemory,
    PeakMemory,
    SpeedSamples,
    ceiling_of,
    crowded,
    phase_field,
    row_of,
    title_of,
    undisturbed,
)
from resnet_bench.experiments.speed.settings import statistic_of
from resnet_bench.experiments.speed.view.verdicts import (
    LARGEST_ERRORS,
    MISSING,
    RULES,
    worst_first,
)
from resnet_bench.present.machines import machine_title
from resnet_bench.statistics.estimates import (
    mean_interval,
    ratio_by_key,
    ratio_of_means,
    ratio_of_visits,
    time_interval,
    trend_of,
)
from resnet_bench.statistics.intervals import (
    SAMPLES_FOR_ORDER_STATISTICS,
    Interval,
    median_interval,
)
from resnet_bench.store.reading import Run

#: Phases whose ratio to the first row's is taken.
RATIO_PHASES = ("forward", "backward", "step", "inference")

#: Phases and rates in the order of JSON and of tables.
PHASES = TRAIN_PHASES + INFERENCE_PHASES
RATES = (
    "train_images_per_second",
    "inference_images_per_second",
    "streams_images_per_second",
)

#: What is set of a row besides its model, in the order in which it is said.
SETTINGS = (
    "device",
    "batch_size",
    "requested_batch_size",
    "image_size",
    "runtime",
    "dtype",
    "amp",
    "tf32",
    "channels_last",
    "keep_memory",
    "compiled",
    "cuda_graphs",
    "threads",
    "streams",
    "protocol",
)

Visit = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """What was measured under a cell's parameters: a row, or the parts of a model."""

    parameters: Mapping[str, Any]

    @property
    def identity(self) -> int | str:
        """What decides the colour: the variant, or the user model's name."""
        variant = self.parameters["variant"]
        return int(variant) if variant is not None else str(self.parameters["model"])

    @property
    def name(self) -> str:
        """What tables and figures call the model."""
        variant = self.parameters["variant"]
        if variant in VARIANTS:
            return title_of(variant, self.parameters["shortcut"])
        return str(self.parameters["model"] or variant)

    @property
    def model(self) -> dict[str, Any]:
        """The parameters that say which model it is."""
        return {
            name: self.parameters[name] for name in ("variant", "model", "shortcut")
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters that are neither the model nor how it was measured."""
        settings = {name: self.parameters.get(name) for name in SETTINGS}
        return {**settings, "runtime": settings["runtime"] or TORCH}


@dataclass(frozen=True)
class SpeedRow(Measured):
    """One setting of one model, with everything that was observed of it.

    `status` is "ok", "failed", "oom" or "missing"; `visits` are its SpeedSamples in
    the order of rounds, without `left_out` ones that other work disturbed; `memory`
    its PeakMemory by kind of pass, in the order of repeats; `ceilings` the intervals
    of what the machine can do, by kind; `error` says why it failed.
    """

    status: str
    visits: Sequence[Visit] = ()
    left_out: int = 0
    memory: Mapping[str, Sequence[Visit]] = field(default_factory=dict)
    ceilings: Mapping[str, Interval] = field(default_factory=dict)
    error: str | None = None

    def samples(self, name: str) -> list[float]:
        """Return one field's samples, pooled over the rounds."""
        return list(chain.from_iterable(visit.get(name) or () for visit in self.visits))

    @property
    def statistic(self) -> str:
        """What its times are: `median`, or `mean` by a protocol that says so."""
        return statistic_of(self.parameters["protocol"])

    def interval(self, name: str) -> Interval | None:
        """Return a field's estimate with its interval over visits, None without any.

        By another project's protocol it is the median or mean of the calls.
        """
        if self.parameters["protocol"]:
            values = self.samples(name)
            interval = mean_interval if self.statistic == "mean" else _median_of_calls
            return interval(values) if values else None
        settled = self.settled(name)
        return time_interval(list(settled.values())) if settled else None

    def phase(self, phase: str) -> Interval | None:
        """Return the seconds of a phase with their interval."""
        return self.interval(phase_field(phase))

    def rounds(self, phase: str) -> dict[int, float]:
        """Return the phase's median (mean) of each round, without those of a trend."""
        return self.settled(phase_field(phase))

    def settled(self, name: str) -> dict[int, float]:
        """Return a field's value of each round; of a trend the first third is left out.

        One value per visit: its calls are not independent of each other.
        """
        middle = mean if self.statistic == "mean" else median
        values = {
            visit["round"]: middle(visit[name])
            for visit in self.visits
            if visit.get(name)
        }
        if trend_of(list(values.values())):
            return dict(list(values.items())[len(values) // 3 :])
        return values

    @cached_property
    def trends(self) -> list[float]:
        """By how much phases still fall (above 0) or rise once settled; else 0."""
        series = [list(self.rounds(phase).values()) for phase in NOISE_PHASES]
        return [trend_of(values) for values in series if values]

    @cached_property
    def closure(self) -> Interval | None:
        """The phases' sum over the step, paired by round.

        On CUDA by the GPU's own times: waiting between the parts would count as theirs.
        """
        own = {phase: self._device_rounds(phase) for phase in (*STEP_PARTS, "step")}
        of_host = {phase: self.rounds(phase) for phase in own}
        taken = own if all(own.values()) else of_host
        parts = [taken[phase] for phase in STEP_PARTS]
        steps = taken["step"]
        common = [key for key in steps if all(key in part for part in parts)]
        if not common:
            return None
        sums = [sum(part[key] for part in parts) for key in common]
        return ratio_of_visits(sums, [steps[key] for key in common])

    def _device_rounds(self, phase: str) -> dict[int, float]:
        """Return the median of each round by the device's clock; none on the CPU."""
        return {
            visit["round"]: median(visit["device_seconds"][phase])
            for visit in self.visits
            if visit["device_seconds"].get(phase)
        }

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
        return time.inverse.times(work)

    @property
    def efficiency(self) -> float | None:
        """FLOP/s of the forward pass, or of inference, over the same run's ceiling."""
        achieved = self.achieved("forward") or self.achieved("inference")
        if achieved is None or self.ceiling is None:
            return None
        return achieved.estimate / self.ceiling.estimate

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
        known = {kind: self.peaks(kind) for kind in MEMORY_KINDS}
        return {
            f"{kind}_peak_memory_bytes": median(peaks) if peaks else None
            for kind, peaks in known.items()
        }

    def peaks(self, kind: str) -> list[int]:
        """Return the peak bytes that are known of each pass."""
        passes = self.memory.get(kind, ())
        return [each["peak_bytes"] for each in passes if each["peak_bytes"]]

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

    @cached_property
    def waiting_share(self) -> float:
        """Share of the time that threads waited for a core; 0 where that is unknown."""
        known = [visit.get("waiting_share") for visit in self.visits]
        return float(mean([share for share in known if share is not None] or [0.0]))

    @property
    def disturbed(self) -> bool:
        """Whether other work took a core from visits that were not left out."""
        return any(map(crowded, self.visits))

    @property
    def has_wrong_answers(self) -> bool:
        """Whether its logits differ by more than its number format explains."""
        error = self.known("logit_error")
        exact = self.parameters["dtype"] == "float32" and not self.parameters["tf32"]
        return error is not None and not error <= LARGEST_ERRORS[exact]

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
        return worst_first(seen)

    @property
    def verdict(self) -> str:
        """The worst flag, `ok` without one."""
        return next(iter(self.flags), "ok")


def _median_of_calls(calls: Sequence[float]) -> Interval:
    """Return the median with its interval, without bounds where these are too few."""
    found = median_interval(calls)
    few = found.samples < SAMPLES_FOR_ORDER_STATISTICS
    return replace(found, low=-inf, high=inf) if few else found


def rows_of(run: Run) -> list[SpeedRow]:
    """Return the rows of a run in the order of its grid, whatever has finished."""
    visits = _latest(run.rows(SpeedSamples))
    memory, ceilings = _memory(run), _ceilings(run)
    full = {
        row["cell"]: f"out of memory: {row['message']}" for row in run.rows(OutOfMemory)
    }
    failed = {key: end.error for key, end in run.failed.items()}
    status = {
        **dict.fromkeys(visits, "ok"),
        **dict.fromkeys(full, "oom"),
        **dict.fromkeys(failed, "failed"),
    }
    kept = {key: undisturbed(each) for key, each in visits.items()}
    return [
        SpeedRow(
            parameters=parameters,
            status=status.get(key, MISSING),
            visits=kept.get(key, ()),
            left_out=len(visits.get(key, ())) - len(kept.get(key, ())),
            memory=memory.get(row_of(parameters), {}),
            ceilings=ceilings.get(ceiling_of(parameters), {}),
            error=failed.get(key) or full.get(key),
        )
        for key, parameters in run.grid.items()
        if parameters["measure"] == TIME
    ]


def _latest(rows: Sequence[Visit]) -> dict[str, list[Visit]]:
    """Group visits by cell, of its last attempt only, in the order of rounds."""
    last: dict[str, int] = {}
    for row in rows:
        last[row["cell"]] = max(row["attempt"], last.get(row["cell"], 0))
    grouped: dict[str, list[Visit]] = {}
    for row in sorted(rows, key=lambda row: int(row["round"])):
        if row["attempt"] == last[row["cell"]]:
            grouped.setdefault(row["cell"], []).append(row)
    return grouped


def _memory(run: Run) -> dict[tuple[Any, ...], dict[str, list[Visit]]]:
    kind_of = {measure: kind for kind, measure in MEMORY_KINDS.items()}
    latest = {row["cell"]: row for row in run.rows(PeakMemory)}
    found: dict[tuple[Any, ...], dict[str, list[Visit]]] = {}
    for row in sorted(latest.values(), key=lambda row: row.get("repeat") or 1):
        kinds = found.setdefault(row_of(row), {})
        kinds.setdefault(kind_of[row["measure"]], []).append(row)
    return found


def _ceilings(run: Run) -> dict[tuple[Any, ...], dict[str, Interval]]:
    visits: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in run.rows(CeilingSamples):
        if row.get("flags"):
            continue  # a ceiling that was stopped is none
        kinds = visits.setdefault(ceiling_of(row), {})
        for kind in ("matrix_product", "convolution", "copy"):
            kinds.setdefault(kind, []).extend([median(row[kind])] if row[kind] else [])
    return {
        key: {kind: time_interval(values) for kind, values in kinds.items() if values}
        for key, kinds in visits.items()
    }


#: Longer names of models take two lines beside an axis.
LONG_NAME = 16

#: Settings that are switched on or not mentioned.
SWITCHES = {
    "amp": "amp",
    "tf32": "TF32",
    "channels_last": "channels last",
    "keep_memory": "memory kept",
    "compiled": "compiled",
    "cuda_graphs": "CUDA graphs",
}


#: How other settings are said, where not by their value alone.
WORDS = {
    "batch_size": "batch {}",
    "image_size": "{} px",
    "threads": "{} threads",
    "streams": "{} streams",
    "protocol": "{} protocol",
}


def said(parameters: Mapping[str, Any], name: str) -> str:
    """Return one setting in words; nothing for what is off or as it was asked for."""
    value = parameters.get(name)
    if name == "runtime":
        return RUNTIMES[value].title if value in RUNTIMES else value or TORCH
    if name in SWITCHES:
        return SWITCHES[name] if value else ""
    if name == "requested_batch_size":
        return f"asked for {value}" if value != parameters["batch_size"] else ""
    if value is None:
        return ""
    words = WORDS.get(name, "{}").format(value)
    return "1 thread" if words == "1 threads" else words


def each_once(said: Iterable[tuple[SpeedRow, str]]) -> list[str]:
    """Return each sentence once, behind the rows that it is about.

    A sentence that came back with another figure is the same, and said as it was last.
    """
    about: dict[str, dict[int, str]] = {}
    last: dict[str, str] = {}
    for row, sentence in said:
        kind = re.sub(r"[\d.]+", "", sentence)
        about.setdefault(kind, {})[id(row)] = row.name
        last[kind] = sentence
    return [f"{_together(list(about[kind].values()))}: {last[kind]}" for kind in last]


def _together(names: Sequence[str]) -> str:
    """Return one or two names, or how many rows there are."""
    if len(names) > 2 or len(set(names)) < len(names):
        return f"{len(names)} rows"
    return " and ".join(names)


def varying(rows: Sequence[Measured]) -> list[str]:
    """Return the settings in which the rows differ."""
    return [
        name
        for name in SETTINGS
        if len({str(row.parameters.get(name)) for row in rows}) > 1
    ]


def described(parameters: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return some settings of a row in words."""
    words = [said(parameters, name) for name in names]
    return ", ".join(word for word in words if word)


def name_columns(each: Measured, differ: Sequence[str]) -> dict[str, Any]:
    """Return the columns that tell a table's rows apart: model and, if any, setting."""
    name = {"model": each.name}
    return {**name, "setting": described(each.parameters, differ)} if differ else name


def shared(rows: Sequence[Measured]) -> str:
    """Return in words what all rows have in common, threads and device left out."""
    differ = {*varying(rows), "device", "threads"}
    same = [name for name in SETTINGS if name not in differ]
    return described(rows[0].parameters, unusual(rows[0].parameters, same))


def unusual(parameters: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the settings that are worth saying: torch is, beside others, alone."""
    usual = {"runtime"} if parameters.get("runtime") is None else set()
    return [name for name in names if name not in usual]


def conditions(run: Run, rows: Sequence[SpeedRow]) -> str:
    """Return machine, settings, data and weights on two lines, for titles."""
    return f"{place(run, rows)}\n{shared(rows)}, random images and weights"


def machine_of(run: Run) -> str:
    """Return what titles call the run's machine."""
    return machine_title(run.environment, _device(run))


def _device(run: Run) -> str:
    return str(run.config.get("device") or "cpu")


def place(run: Run, rows: Sequence[Measured]) -> str:
    """Return the machine, and the threads where all rows have the same."""
    if "threads" in varying(rows) or _device(run).startswith("cuda"):
        return machine_of(run)
    return f"{machine_of(run)}, {said(rows[0].parameters, 'threads')}"


def labels(rows: Sequence[SpeedRow]) -> list[str]:
    """Return a name for each row of a figure, with what tells it apart."""
    names = varying(rows)
    lines = [[broken(row.name), described(row.parameters, names)] for row in rows]
    return ["\n".join(line for line in each if line) for each in lines]


def broken(name: str) -> str:
    """Return the name of a user model on two lines where it is long."""
    return name.replace(":", ":\n") if len(name) > LONG_NAME else name
