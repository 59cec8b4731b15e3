"""What a run says about its networks, as one number for every seed."""

import re
import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from resnet_bench.statistics.estimates import (
    geometric_mean,
    points_over_images,
    right_shares,
    roughness,
)
from resnet_bench.store.reading import Run

BySeed = Mapping[int, float]

#: Clean training error in percent below which a network counts as trained. Garments
#: are harder: a linear classifier reaches 16 % (Xiao et al. 2017, Table 3).
TRAINED_PERCENT = 5.0
TRAINED_PERCENTS = {"fashionmnist": 15.0}

#: What stands for a depth that the grid lacks: of a network, and of its layers.
MISSING = {"deep": ("deeper", "more"), "other": ("shallower", "fewer")}


@dataclass(frozen=True)
class Case:
    """The networks that a claim is judged on; depth 0 where the run lacks them.

    `dataset` is another one than the run's; `words` fill the places in the claim's
    sentences; `lacks` says what is missing.
    """

    deep: int = 0
    other: int = 0
    multiple: int = 1
    treatment: str = "standard"
    dataset: str | None = None
    words: Mapping[str, object] = field(default_factory=dict)
    lacks: str = ""

    def fill(self, text: str) -> str:
        """Return `text` with this case's depths and words in their places.

        A network that the grid lacks is described: "a deeper plain net".
        """
        for name, depth in (("deep", self.deep), ("other", self.other)):
            if not depth:
                text = _describe_missing(text, name)
        depths = {"deep": self.deep, "other": self.other, "multiple": self.multiple}
        return text.format(**{**depths, **self.words})


def _describe_missing(text: str, name: str) -> str:
    """Describe in words the networks that `name` would have named."""
    adjective, count = MISSING[name]
    place = rf"\{{{name}\}}"
    text = re.sub(rf"the trained (plain|residual)-{place}", r"a trained \1 net", text)
    text = re.sub(rf"(plain|residual)-{place}", rf"a {adjective} \1 net", text)
    return re.sub(place, count, text)


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
        self.own = dataset is None
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

    def on(self, dataset: str | None) -> "Evidence":
        """Return what the run says on one of its data sets; None is its own."""
        return self if dataset is None else Evidence(self.run, dataset)

    @property
    def harder(self) -> str | None:
        """The other data set that some of the run's networks are trained on."""
        names = {cell["dataset"] for cell in self.run.grid.values()} - {self.dataset}
        return min(names, default=None)

    @property
    def most_seeds(self) -> int:
        """The seeds of the network that has most."""
        return len({cell["seed"] for cell in self.cells})

    def seconds_with(self, seeds: int) -> float | None:
        """Return about how long the run takes with so many seeds of every network.

        From the times of its own cells; None where none is known.
        """
        times: dict[str, list[float]] = {}
        for key, end in self.run.cells.items():
            if end.status == "ok" and end.seconds is not None:
                network = {**self.run.grid[key], "seed": None, "studies": None}
                times.setdefault(repr(network), []).append(end.seconds)
        on_cpu = all(cell["device"] == "cpu" for cell in self.cells)
        cores = (self.run.environment.get("cpu") or {}).get("usable_cores") or 1
        total = seeds * sum(map(statistics.fmean, times.values()))
        return total / (cores if on_cpu else 1) if times else None

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
    def steps_by_budget(self) -> Mapping[int, int]:
        """The steps of each budget that was trained; one that diverged took fewer."""
        rows = sorted(self.rows(TrainingResult), key=lambda row: int(row["steps"]))
        return {row["budget"]: row["steps"] for row in rows}

    @property
    def steps(self) -> int | None:
        """The steps of one budget; None before any network has ended."""
        return self.steps_by_budget.get(1)

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

        For what others are compared with: against a network at chance, a deeper one at
        chance would look no worse.
        """
        diverged = self.by_seed(TrainingResult, network, "diverged")
        found = self.error(network)
        return {seed: value for seed, value in found.items() if not diverged[seed]}

    def gap(self, network: Network) -> BySeed:
        """Return test error minus training error in percentage points."""
        test = self.by_seed(TrainingResult, network, "test_error_percent")
        return minus(test, self.error(network))

    def gap_image_points(self, left: Network, right: Network) -> float | None:
        """Return the sampling error of the test images in the difference of two gaps.

        Half of a 95 % interval over the images of the mean over seeds, in percentage
        points; None where the answers were not kept.
        """
        wrong = [self._wrong_shares(network) for network in (left, right)]
        if wrong[0] is None or wrong[1] is None:
            return None
        return points_over_images(wrong[0] - wrong[1])

    def _wrong_shares(self, network: Network) -> NDArray[np.float64] | None:
        """Return how often each test image was answered wrongly, over the seeds.

        A diverged network stands at chance on every image.
        """
        rows = self.rows_of(TrainingResult, network, "test_error_percent")
        answered = [row for row in rows if not row["diverged"]]
        packed = [str(row.get("right_test_answers") or "") for row in answered]
        if not rows or not all(packed):
            return None
        images = int(rows[0]["test_images"])
        chance = float(rows[0]["chance_error_percent"]) / 100
        wrong = np.full(images, chance * (len(rows) - len(answered)))
        if answered:
            wrong = wrong + len(answered) * (1 - right_shares(packed, images))
        return wrong / len(rows)

    @property
    def trained_percent(self) -> float:
        """The training error below which a network counts as trained on these data."""
        return TRAINED_PERCENTS.get(self.dataset, TRAINED_PERCENT)

    def deepest_trained(self, shortcut: Shortcut) -> int | None:
        """Return the deepest depth at which every seed's network trained."""
        trained = [
            depth
            for depth in self.depths
            if (errors := self.error(Network(shortcut, depth)))
            and max(errors.values()) < self.trained_percent
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
        looked_at = [cell for cell in self.cells if study in cell.get("studies", ())]
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
