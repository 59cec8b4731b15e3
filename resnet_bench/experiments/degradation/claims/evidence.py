"""What a run says about its networks, as one number for every seed."""

import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from resnet_bench.experiments.degradation.grid import middle_depth, reference_depth
from resnet_bench.experiments.degradation.records import (
    Construction,
    GradientSummary,
    IdentityInsertion,
    LayerResponse,
    Lesion,
    LossLine,
    Shortcut,
    SizeCheck,
    TrainingResult,
)
from resnet_bench.records import Record
from resnet_bench.statistics.estimates import geometric_mean, roughness
from resnet_bench.store.reading import Run

BySeed = Mapping[int, float]

#: Clean training error in percent below which a network counts as trained.
TRAINED_PERCENT = 5.0


@dataclass(frozen=True)
class Network:
    """A network of the grid, whatever its seed."""

    shortcut: Shortcut
    depth: int
    treatment: str = "standard"
    budget: int = 1
    train_images: int | None = None

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of a run is about this network."""
        return row["task"] == "train" and all(
            row[name] == value for name, value in vars(self).items()
        )


class Evidence:
    """A run on one of its data sets, asked for one quantity of one network at a time.

    The data set is the run's own unless another one is named.
    """

    def __init__(self, run: Run, dataset: str | None = None) -> None:
        self.run = run
        self.dataset = dataset or str(run.config["dataset"])
        self.cells = [c for c in run.grid.values() if c["dataset"] == self.dataset]
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def rows(self, record: type[Record]) -> list[dict[str, Any]]:
        """Return the rows of a record class."""
        name = record.type_name()
        if name not in self._rows:
            rows = self.run.rows(name)
            self._rows[name] = [r for r in rows if r["dataset"] == self.dataset]
        return self._rows[name]

    @property
    def harder(self) -> "Evidence | None":
        """What the run says of its harder data; None where it has none."""
        names = {cell["dataset"] for cell in self.run.grid.values()} - {self.dataset}
        return Evidence(self.run, min(names)) if names else None

    @property
    def studies(self) -> set[str]:
        """The studies that the run was asked for."""
        return {name for cell in self.cells for name in cell.get("studies", ())}

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the grid, ascending."""
        return tuple(self.run.config["depths"])

    @property
    def reference(self) -> int:
        """The depth that deeper networks are held against."""
        return reference_depth(self.depths)

    @property
    def deep(self) -> tuple[int, ...]:
        """The depths judged: the deepest, and before it the deepest up to 56."""
        judged = sorted({middle_depth(self.depths), max(self.depths)})
        return tuple(depth for depth in judged if depth > self.reference)

    @property
    def middle(self) -> int:
        """The depth of the studies that vary the network."""
        return middle_depth(self.depths)

    @property
    def extreme(self) -> int:
        """The deepest network of the whole run."""
        return max(int(cell["depth"]) for cell in self.cells)

    @property
    def few_images_depth(self) -> int:
        """The depth of the network that learned a few images by heart."""
        depths = {cell["depth"] for cell in self.cells if cell.get("train_images")}
        return max(depths, default=self.reference)

    @property
    def multiples(self) -> tuple[int, ...]:
        """The longer budgets of the run, in multiples of the plain one."""
        budgets = {cell["budget"] for cell in self.cells}
        return tuple(sorted(budgets - {1}))

    def budget_depths(self, multiple: int) -> list[int]:
        """Return the depths that a longer budget trains, ascending."""
        cells = self.cells
        return sorted({cell["depth"] for cell in cells if cell["budget"] == multiple})

    @property
    def steps(self) -> int | None:
        """The steps of one budget; None before any network has ended."""
        results = self.rows(TrainingResult)
        steps = {row["steps"] for row in results if row["budget"] == 1}
        return max(steps, default=None)

    def rows_of(
        self, record: type[Record], network: Network, field: str
    ) -> list[dict[str, Any]]:
        """Return the rows about a network in which a field is known."""
        return [
            row
            for row in self.rows(record)
            if network.matches(row) and row[field] is not None
        ]

    def by_seed(self, record: type[Record], network: Network, field: str) -> BySeed:
        """Return a field of the network's only row per seed, where it is known."""
        rows = self.rows_of(record, network, field)
        return {row["seed"]: float(row[field]) for row in rows}

    def error(self, network: Network) -> BySeed:
        """Return the endpoint: clean recalibrated training error in percent.

        A diverged network stands at chance.
        """
        field = "train_error_recalibrated_percent"
        return self.by_seed(TrainingResult, network, field)

    def trained_error(self, network: Network) -> BySeed:
        """As `error`, without the seeds whose network diverged.

        For what others are held against: two networks at chance are no less bad for
        being equally bad.
        """
        diverged = self.by_seed(TrainingResult, network, "diverged")
        found = self.error(network)
        return {seed: value for seed, value in found.items() if not diverged[seed]}

    def gap(self, network: Network) -> BySeed:
        """Return test error minus training error in percentage points."""
        test = self.by_seed(TrainingResult, network, "test_error_percent")
        return minus(test, self.error(network))

    def deepest_trained(self, shortcut: Shortcut) -> int | None:
        """Return the deepest depth at which every seed's network trained."""
        trained = [
            depth
            for depth in self.depths
            if (errors := self.error(Network(shortcut, depth)))
            and max(errors.values()) < TRAINED_PERCENT
        ]
        return max(trained, default=None)

    def gradient_ratio(self, network: Network) -> BySeed:
        """Return ||dL/dx|| at the bottom over that at the top, before training."""
        return {
            row["seed"]: float(row["bottom_over_top"])
            for row in self.rows_of(GradientSummary, network, "bottom_over_top")
            if row["moment"] == "0" and row["bottom_over_top"]
        }

    def response(self, network: Network) -> BySeed:
        """Return the mean over the network's blocks of ||F(x)|| / ||x||."""
        field = "relative_response"
        rows = self.rows_of(LayerResponse, network, field)
        return grouped(rows, field, statistics.fmean)

    def deletion(self, network: Network) -> BySeed:
        """Return the median rise of the error over deletions of one block."""
        field = "error_rise_percent"
        rows = self.rows_of(Lesion, network, field)
        single = [row for row in rows if row["damage"] == "delete"]
        return grouped(single, field, statistics.median)

    def depths_of(self, study: str) -> list[int]:
        """Return the depths at which a study looks at networks, ascending."""
        grid = self.run.grid.values()
        looked_at = [cell for cell in grid if study in cell.get("studies", ())]
        return sorted({cell["depth"] for cell in looked_at})

    def roughness(
        self, network: Network, field: str = "losses", parity: int | None = None
    ) -> BySeed:
        """Return the geometric mean over random lines of the loss's roughness.

        `parity` limits it to the even (0) or the odd (1) lines.
        """
        found = [
            {"seed": row["seed"], "roughness": rough}
            for row in self.rows_of(LossLine, network, field)
            if parity in (None, row["line"] % 2)
            and (rough := roughness(row[field])) is not None
        ]
        return grouped(found, "roughness", geometric_mean)

    def insertion(self, network: Network, field: str) -> BySeed:
        """Return a quantity of the identity study."""
        return self.by_seed(IdentityInsertion, network, field)

    def construction(self, deep: int, field: str) -> BySeed:
        """Return a quantity of the net extended by identity layers to `deep`."""
        return {
            row["seed"]: float(row[field])
            for row in self.rows(Construction)
            if row["deep_depth"] == deep
        }

    def refused_sizes(self, pooling: str) -> list[bool]:
        """Return for each image size whether a network so pooled raised an error."""
        rows = self.rows(SizeCheck)
        return [not row["accepted"] for row in rows if row["pooling"] == pooling]


def grouped(
    rows: Collection[Mapping[str, Any]],
    field: str,
    statistic: Callable[[list[float]], float],
) -> BySeed:
    """Return `statistic` of a field over the rows of each seed."""
    samples: dict[int, list[float]] = {}
    for row in rows:
        samples.setdefault(row["seed"], []).append(float(row[field]))
    return {seed: statistic(values) for seed, values in samples.items()}


def minus(left: BySeed, right: BySeed) -> BySeed:
    """Return the difference for the seeds that both have."""
    return {seed: left[seed] - right[seed] for seed in sorted(left.keys() & right)}


def over(left: BySeed, right: BySeed) -> BySeed:
    """Return the ratio for the seeds that both have."""
    common = sorted(left.keys() & right)
    return {seed: left[seed] / right[seed] for seed in common if right[seed]}
