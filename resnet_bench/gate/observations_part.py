"""What a stored run observed, by case and metric, ready to be set against another."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.gate.observations import Accuracy, ExactMetrics, PairTiming
from resnet_bench.records import Measure, Record, measures
from resnet_bench.store.reading import Run

#: A record with one of these is one of several looks at the same thing.
REPEATED = frozenset({"round", "pair", "repeat"})

#: What a stored row carries besides the record's own fields.
BOOKKEEPING = frozenset({"type", "cell", "attempt"})

Key = tuple[str, str]


@dataclass
class Observed:
    """All values of one metric of one case.

    `by_seed` keeps the values of each training seed apart; where there is none the
    seed is None. `identity` says in words and numbers what the case is.
    """

    measure: Measure
    identity: Mapping[str, Any]
    by_seed: dict[int | None, list[Any]] = field(default_factory=dict)

    @property
    def values(self) -> list[Any]:
        """The known values of all seeds, samples one by one."""
        return [value for values in self.by_seed.values() for value in values]


def observations_of(run: Run) -> dict[Key, Observed]:
    """Return what a run observed, by case (its identity as JSON) and metric."""
    found: dict[Key, Observed] = {}
    counts = Counter((row["cell"], row["type"]) for row in run.records)
    for record_class, row in _rows(run):
        several = counts[row["cell"], row["type"]] > 1
        identity = identity_of(record_class, row, run, several=several)
        seed = row.get("seed", row.get("training_seed"))
        case = json.dumps(identity, sort_keys=True)
        for name, measure in measures(record_class).items():
            if measure.better == "neither" and not measure.exact:
                continue
            values = known(row.get(name), exact=measure.exact)
            if values:
                seen = found.setdefault((case, name), Observed(measure, identity))
                seen.by_seed.setdefault(seed, []).extend(values)
    return found


def known(value: Any, *, exact: bool) -> list[Any]:
    """Return the values that a field holds: none, one, or its samples."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) and not exact else [value]


def _rows(run: Run) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    if run.experiment in EXPERIMENTS:
        for record_class in EXPERIMENTS[run.experiment].spec.RECORDS:
            yield from ((record_class, row) for row in run.rows(record_class))
    else:
        yield from _head_rows(run)


def _head_rows(run: Run) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    """Yield what a check saw of its working tree, which is what it stands for."""
    for row in run.rows(PairTiming):
        yield PairTiming, {**row, "base_seconds": None}
    for record_class in (ExactMetrics, Accuracy):
        for row in run.rows(record_class):
            if row["side"] == "head" and not row["problem"]:
                yield record_class, row


def identity_of(
    record_class: type[Record], row: Mapping[str, Any], run: Run, *, several: bool
) -> dict[str, Any]:
    """Return what tells a row from the others, its seed apart.

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
    """Return a short name for each identity: only what tells them apart.

    Keyed by the identity as JSON.
    """
    everything = list(identities)
    telling = sorted(
        {name for kind in _by_record(everything) for name in _differing(kind)}
    )
    if len({identity.get("record") for identity in everything}) > 1:
        telling = ["record", *telling]
    return {
        json.dumps(identity, sort_keys=True): _label(identity, telling)
        for identity in everything
    }


def _by_record(
    identities: Iterable[Mapping[str, Any]],
) -> list[list[Mapping[str, Any]]]:
    kinds: dict[Any, list[Mapping[str, Any]]] = {}
    for identity in identities:
        kinds.setdefault(identity.get("record"), []).append(identity)
    return list(kinds.values())


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
    parts = [
        f"{name}={identity[name]}" for name in telling if identity.get(name) is not None
    ]
    return " ".join(parts) or str(identity.get("record", "all"))
