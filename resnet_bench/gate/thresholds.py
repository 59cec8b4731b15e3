"""Rules that a project changes for one case and metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import UsageError

#: The names that can be set, by metric.
SETTINGS = {
    "seconds": ("significant", "regression", "tolerated", "smallest_seconds"),
    "accuracy": ("margin", "floor"),
    "parameters": ("tolerated", "gate"),
    "flops": ("tolerated", "gate"),
    "forward_operations": ("tolerated", "gate"),
    "backward_operations": ("tolerated", "gate"),
    "state_dict_keys": ("gate",),
    "output_checksum": ("gate",),
}

#: Matches every case.
ANY_CASE = "*"


@dataclass(frozen=True)
class Threshold:
    """One changed setting of one rule; `gate` is 0 (report only) or 1."""

    case: str
    metric: str
    name: str
    value: float

    @property
    def text(self) -> str:
        """The threshold as it is written in a configuration."""
        return f"{self.case}/{self.metric}/{self.name}={self.value!r}"


def parse_threshold(text: str) -> Threshold:
    """Read `CASE/METRIC/NAME=VALUE`; raises UsageError."""
    path, separator, number = text.strip().partition("=")
    parts = path.rsplit("/", 2)
    if not separator or len(parts) != 3:
        raise UsageError(
            f"--threshold {text}: expected CASE/METRIC/NAME=VALUE, "
            "such as resnet18:forward/seconds/tolerated=0.2"
        )
    case, metric, name = parts
    if metric not in SETTINGS:
        raise UsageError(f"--threshold {text}: expected one of {', '.join(SETTINGS)}")
    if name not in SETTINGS[metric]:
        accepted = ", ".join(SETTINGS[metric])
        raise UsageError(f"--threshold {text}: {metric} has {accepted}")
    return Threshold(case, metric, name, _number(text, number))


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"--threshold {text}: expected a number of 0 or more")
    return value


def settings_for(case: str, metric: str, thresholds: Iterable[str]) -> dict[str, float]:
    """Return what was set for one case and metric; a named case beats `*`."""
    parsed = [parse_threshold(text) for text in thresholds]
    matching = [row for row in parsed if row.metric == metric]
    general = {row.name: row.value for row in matching if row.case == ANY_CASE}
    own = {row.name: row.value for row in matching if row.case == case}
    return general | own


def thresholds_in(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the thresholds of a `[tool.resnet-bench.check]` table.

    They stand below it as `[….thresholds."CASE".METRIC]` with `NAME = VALUE`.
    Raises UsageError for any other table, and for unknown names.
    """
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    thresholds = tables.pop("thresholds", {})
    if tables:
        raise UsageError(f"[check.{min(tables)}]: expected [check.thresholds]")
    return tuple(
        parse_threshold(f"{case}/{metric}/{name}={_as_number(value)}").text
        for case, metrics in thresholds.items()
        for metric, settings in _table(f'thresholds."{case}"', metrics).items()
        for name, value in _table(f'thresholds."{case}".{metric}', settings).items()
    )


def _table(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"[check.{name}]: expected a table")
    return value


def _as_number(value: object) -> object:
    return int(value) if isinstance(value, bool) else value
