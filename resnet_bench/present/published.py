"""Published figures, each with its source and the protocol it was taken with.

A published figure says something about a measured one only as far as the two were
taken in the same way; every table that sets them side by side says in what they differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from resnet_bench.present.tables import Table

#: File names in resnet_bench/reference, without their ending.
NAMES = (
    "cifar_plain_vs_residual",
    "cifar_resnet_parameters",
    "imagenet_plain_vs_residual",
    "speed_reference",
    "torchvision_weights",
    "transfer_resnet50",
)

Row = Mapping[Any, Any]


@cache
def reference(name: str) -> pd.DataFrame:
    """Return one table of published figures; raises KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(f"no reference {name}: expected {', '.join(NAMES)}")
    file = resources.files("resnet_bench.reference") / f"{name}.csv"
    with file.open(encoding="utf-8") as stream:
        return pd.read_csv(stream, dtype={"variant": "Int64", "depth": "Int64"})


def imagenet_accuracy(variant: int, weights: str = "IMAGENET1K_V1") -> float | None:
    """Return torchvision's own ImageNet top-1 accuracy, in percent."""
    table = reference("torchvision_weights")
    found = table[(table["variant"] == variant) & (table["weights"] == weights)]
    return None if found.empty else float(found["acc1_percent"].iloc[0])


def beside_published(
    rows: Iterable[Row], name: str, keys: Mapping[str, str]
) -> Iterator[tuple[Row, Row]]:
    """Yield each of a run's rows with every published row of the same keys.

    `keys` maps the columns of a run's row to those of the reference `name`; rows
    without a published counterpart are left out.
    """
    published: dict[tuple[Any, ...], list[Row]] = {}
    for known in reference(name).to_dict("records"):
        key = tuple(known[column] for column in keys.values())
        published.setdefault(key, []).append(known)
    for row in rows:
        for found in published.get(tuple(row[column] for column in keys), []):
            yield row, found


def same_protocol(*differences: Mapping[str, bool]) -> str:
    """Return `yes`, or `no:` and in what a published figure was taken otherwise.

    Each mapping says of one of the run's rows in which words it differs, and whether
    it does; the row that differs least counts.
    """
    words = [
        [word for word, differs in each.items() if differs] for each in differences
    ]
    fewest = min(words, key=len)
    return f"no: {', '.join(fewest)}" if fewest else "yes"


def published_table(
    lines: Sequence[Row],
    *,
    title: str,
    narrow: Sequence[str],
    notes: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Table | None:
    """Return the table of a run beside published figures; None without a line.

    Every line holds `same_protocol`, which stands last.
    """
    if not lines:
        return None
    return Table(
        name="published",
        title=title,
        frame=pd.DataFrame(list(lines), dtype=object),
        narrow=[*narrow, "same_protocol"],
        notes=notes,
        headers={"same_protocol": "same protocol?", **(headers or {})},
    )
