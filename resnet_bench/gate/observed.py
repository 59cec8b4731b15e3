"""What a stored run observed, by case and metric: the sides of a comparison."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.speed.cells import (
    MEMORY_KINDS,
    ROW_FIELDS,
    PeakMemory,
    SpeedSamples,
    phase_field,
)
from resnet_bench.experiments.speed.view.rows import (
    PHASES,
    RATES,
    SETTINGS,
    Measured,
    SpeedRow,
    described,
    rows_of,
)
from resnet_bench.gate.records import Accuracy, ExactMetrics, PairTiming
from resnet_bench.gate.spec import CONTROL
from resnet_bench.records import Measure, Record, measures
from resnet_bench.store.checking import naming
from resnet_bench.store.reading import Run

#: A record with one of these is one of several looks at the same thing.
REPEATED = frozenset({"round", "pair", "repeat"})

#: What a stored row carries besides the record's own fields.
BOOKKEEPING = frozenset({"type", "cell", "attempt"})

#: Metrics and kinds of records under another name than their own.
CALLED = {
    "moved_elements": "elements_moved",
    "head_seconds": "seconds",
    "ceiling_samples": "ceilings",
}

#: Seconds of the first call of a process.
FIRST_CALLS = ("first_step_seconds", "first_inference_seconds")

#: Told, but never judged: each run has one value, with noise.
TOLD_ONLY = (*FIRST_CALLS, "logit_error", "top1_agreement")

#: What a row of `speed` knows once: counts, the first calls, and what a ladder checks.
KNOWN_ONCE = (
    "parameters",
    "multiply_adds",
    "flop",
    "activations",
    "moved_elements",
    *TOLD_ONLY,
)

#: Parameters of a speed row that change nothing of what is measured in the same way.
NO_SETTING = ("seed", "mode")

Key = tuple[str, str]


@dataclass
class Observed:
    """All values of one metric of one case, one for each visit to it.

    `by_seed` keeps the values of each training seed apart; where there is none the
    seed is None. `identity` says in words and numbers what the case is, `verdict` what
    speaks against the row of a speed run (`ok`: nothing).
    """

    measure: Measure
    identity: Mapping[str, Any]
    by_seed: dict[int | None, list[Any]] = field(default_factory=dict)
    verdict: str = "ok"

    @property
    def values(self) -> list[Any]:
        """The known values of all seeds."""
        return [value for values in self.by_seed.values() for value in values]


def observations_of(run: Run) -> dict[Key, Observed]:
    """Return what a run observed, by case (its identity as JSON) and metric.

    Raises InputOutputError for a run of odd content.
    """
    with naming(run):
        return _observations_of(run)


def _observations_of(run: Run) -> dict[Key, Observed]:
    found: dict[Key, Observed] = {}
    if run.experiment == "speed":
        for timed in rows_of(run):
            if timed.status == "ok":
                found |= _of_a_speed_row(timed)
    counts = Counter((row["cell"], row["type"]) for row in run.records)
    for record_class, row in _rows(run):
        several = counts[row["cell"], row["type"]] > 1
        identity = identity_of(record_class, row, run, several=several)
        seed = row.get("seed", row.get("training_seed"))
        for metric, measure, values in _measured(record_class, row):
            key = (case_of(identity), metric)
            seen = found.setdefault(key, Observed(measure, identity))
            seen.by_seed.setdefault(seed, []).extend(values)
    return found


def case_of(identity: Mapping[str, Any]) -> str:
    """Return the identity as the text that is the same for equal ones."""
    return json.dumps(identity, sort_keys=True)


def _speed_identity(row: Measured) -> dict[str, Any]:
    names = [name for name in ROW_FIELDS if name not in NO_SETTING]
    return {name: row.parameters.get(name) for name in names}


def _of_a_speed_row(row: SpeedRow) -> dict[Key, Observed]:
    """Return what was measured of a row: a value per visit, and peaks by pass."""
    known = measures(SpeedSamples)
    sampled = [*map(phase_field, PHASES), *RATES]
    values: dict[str, list[Any]] = {
        name: list(row.settled(name).values()) for name in sampled
    }
    values |= {name: [row.known(name)] for name in KNOWN_ONCE}
    of = {name: known[name] for name in values}
    for kind in MEMORY_KINDS:
        name = f"{kind}_peak_memory_bytes"
        values[name], of[name] = row.peaks(kind), measures(PeakMemory)["peak_bytes"]
    identity = _speed_identity(row)
    case = case_of(identity)
    return {
        (case, CALLED.get(name, name)): Observed(
            of[name], identity, {None: taken}, row.verdict
        )
        for name, taken in values.items()
        if taken and taken != [None]
    }


def unfinished_of(run: Run) -> dict[str, str]:
    """Return why cases of a speed run have no times: failed, oom or missing."""
    if run.experiment != "speed":
        return {}
    rows = [row for row in rows_of(run) if row.status != "ok"]
    return {case_of(_speed_identity(row)): row.status for row in rows}


def _measured(
    record_class: type[Record], row: Mapping[str, Any]
) -> Iterator[tuple[str, Measure, list[Any]]]:
    """Yield each metric that a record knows, with its measure and values."""
    for name, measure in measures(record_class).items():
        value = row.get(name)
        if value is None or (measure.better == "neither" and not measure.exact):
            continue
        parts = value.items() if isinstance(value, Mapping) else [("", value)]
        for part, taken in parts:
            called = CALLED.get(name, name) + (f" of {part}" if part else "")
            if isinstance(taken, list) and not measure.exact:
                if taken:
                    yield called, measure, [median(taken)]
            else:
                yield called, measure, [taken]


def _rows(run: Run) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    """Yield the records besides the rows of a speed run."""
    if run.experiment not in EXPERIMENTS:
        yield from _rows_of_a_check(run)
        return
    for record_class in EXPERIMENTS[run.experiment].records:
        if record_class not in (SpeedSamples, PeakMemory):
            yield from ((record_class, row) for row in run.rows(record_class))


def _rows_of_a_check(run: Run) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    """Yield what a check observed of its working tree."""
    for row in run.rows(PairTiming):
        if row["case"] != CONTROL.text:
            yield PairTiming, {**row, "base_seconds": None}
    for record_class in (ExactMetrics, Accuracy):
        for row in run.rows(record_class):
            if row["side"] == "head" and not row["problem"]:
                # Predictions may differ: how many are right is judged.
                yield record_class, {**row, "fingerprint": None}


def identity_of(
    record_class: type[Record], row: Mapping[str, Any], run: Run, *, several: bool
) -> dict[str, Any]:
    """Return what identifies a row, apart from its seed.

    That is the cell's parameters, but for those that name another cell; and the
    record's own plain fields where a cell has `several` of its kind that are not
    merely repeated looks.
    """
    if run.experiment not in EXPERIMENTS:
        return {"case": row["case"]}
    own = dict(run.grid.get(row["cell"], {}))
    if several and not REPEATED & row.keys():
        ignored = measures(record_class).keys() | BOOKKEEPING
        own |= {
            name: value
            for name, value in row.items()
            if name not in ignored and isinstance(value, (int, str, list))
        }
    identity = {
        name: value
        for name, value in own.items()
        if name not in REPEATED
        and value is not None  # what an older run did not have yet
        and not (isinstance(value, str) and value in run.grid)
    }
    return {"record": record_class.type_name(), **_without_seed(identity)}


def _without_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_seed(value) if isinstance(value, Mapping) else value
        for name, value in parameters.items()
        if name != "seed"
    }


def labels_of(identities: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a short name for each identity: only what differs.

    Keyed by the identity as JSON.
    """
    everything = list(identities)
    kinds = dict.fromkeys(identity.get("record") for identity in everything)
    alike = [[each for each in everything if each.get("record") == k] for k in kinds]
    telling = sorted({name for kind in alike for name in _differing(kind)})
    if len(kinds) > 1:
        telling = ["record", *telling]
    return {case_of(identity): _label(identity, telling) for identity in everything}


def _differing(identities: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the fields that are not the same in all records of one kind."""
    names = {name for identity in identities for name in identity}
    return {
        name
        for name in names
        if len({json.dumps(identity.get(name)) for identity in identities}) > 1
    }


def _label(identity: Mapping[str, Any], telling: Iterable[str]) -> str:
    if "case" in identity and "record" not in identity:
        return str(identity["case"])
    if "record" not in identity:
        setting = described(identity, [name for name in telling if name in SETTINGS])
        named = identity["variant"] or identity["model"]
        name = Measured(identity).name if named else "all"
        return f"{name} {setting.replace(',', '')}".strip()
    kind = str(identity["record"])
    record = CALLED.get(kind, kind).replace("_", " ")
    parts = [
        record if name == "record" else _part(name, identity[name])
        for name in telling
        if identity.get(name) is not None
    ]
    return " ".join(parts) or record


def _part(name: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{name}={value}"
    return f"{name}({' '.join(_part(*item) for item in value.items())})"
