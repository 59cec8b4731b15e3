"""The grid from which studies ask for networks: treatments, sizes, depths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from resnet_bench.experiments.degradation.records import DegradationCell, Shortcut


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What is changed in a network besides having shortcuts or not.

    `shortcut_kind` is that of a residual network; no rate and no recipe leave the
    config's.
    """

    shortcut_kind: Literal["option-a", "option-b", "convolution"] = "option-a"
    shortcut_scale: float = 1.0
    batch_norm: bool = True
    zero_last_scale: bool = False
    pre_activation: bool = False
    initialisation: Literal["he", "dirac"] = "he"
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float | None = None
    recipe: str | None = None
    width_factor: int = 1


#: Treatments by the name that cells carry. "wide" doubles the channels; Adam's rate is
#: its customary one (Kingma and Ba 2015, section 2). "paper-warm-up" is the recipe that
#: trains 110 layers in He et al. 2015, section 4.2, in the budget of the others.
TREATMENTS = {
    "standard": Treatment(),
    "no-batch-norm": Treatment(batch_norm=False),
    "zero-gamma": Treatment(zero_last_scale=True),
    "pre-activation": Treatment(pre_activation=True),
    "option-b": Treatment(shortcut_kind="option-b"),
    "convolution-shortcut": Treatment(shortcut_kind="convolution"),
    "lambda-0.25": Treatment(shortcut_scale=0.25),
    "lambda-0.5": Treatment(shortcut_scale=0.5),
    "lambda-0.75": Treatment(shortcut_scale=0.75),
    "dirac": Treatment(initialisation="dirac"),
    "wide": Treatment(width_factor=2),
    "paper-warm-up": Treatment(recipe="paper"),
    "adam": Treatment(optimizer="adam", learning_rate=1e-3),
}

#: Images of the overfitting study's positive control: few enough to learn by heart.
FEW_IMAGES = 100

#: Depth of the network that deeper ones are held against: the paper's shallowest.
REFERENCE_DEPTH = 20

#: The deepest network that shortcut and controls studies train.
MIDDLE_DEPTH = 56

#: A depth at which plain networks still train in short budgets (2.6 % error after 110
#: steps), so that two trained networks can be compared.
BOTH_TRAIN_DEPTH = 32

SHORTCUTS: tuple[Shortcut, Shortcut] = ("plain", "residual")


#: The depths that longer budgets train again.
BUDGET_DEPTHS = (20, 56)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Defaults of one size of the experiment.

    `seeds` are those of networks whose training is judged, `seeds_of` exceptions by
    shortcut and depth; `other_seeds` those of what looks inside networks, treats them
    or trains them for longer, `landscape_seeds` those of the landscape study.
    `budgets` are multiples of the steps. `gradient_depths` are those at which the
    gradients study also trains without batch norm and with zero gamma. `harder` names a
    data set on which the shallowest plain network and the reference are trained, too,
    and for how many epochs. `extreme_depth` is the thousand study's deepest network, at
    `extreme_width` channels (16 is the paper's).
    """

    depths: tuple[int, ...]
    seeds: int
    other_seeds: int
    epochs: int
    studies: tuple[str, ...]
    seeds_of: Mapping[tuple[Shortcut, int], int] = field(default_factory=dict)
    dataset: str = "digits"
    recipe: str = "one-cycle"
    budgets: tuple[int, ...] = ()
    gradient_depths: tuple[int, ...] = ()
    landscape_seeds: int = 5
    harder: tuple[str, int] | None = None
    extreme_depth: int = 1202
    extreme_width: int = 8


def reference_depth(depths: tuple[int, ...]) -> int:
    """Return 20 where it is among the depths, else the shallowest of them."""
    return REFERENCE_DEPTH if REFERENCE_DEPTH in depths else min(depths)


def middle_depth(depths: tuple[int, ...]) -> int:
    """Return the deepest depth up to 56, else the shallowest."""
    within = [depth for depth in depths if depth <= MIDDLE_DEPTH]
    return max(within) if within else min(depths)


@dataclass(frozen=True)
class Grid:
    """What the studies are planned from: a bare cell with the first seed, and sizes."""

    base: DegradationCell
    sizes: Profile

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the grid, ascending."""
        return self.sizes.depths

    @property
    def reference(self) -> int:
        """The depth that deeper networks are held against."""
        return reference_depth(self.depths)

    @property
    def middle(self) -> int:
        """The depth of the studies that treat the network."""
        return middle_depth(self.depths)

    @property
    def other_seeds(self) -> int:
        """The seeds of networks whose training is not what is judged."""
        return self.sizes.other_seeds

    def networks(
        self,
        depths: Sequence[int],
        shortcuts: Sequence[Shortcut] = SHORTCUTS,
        treatment: str = "standard",
        seeds: int | None = None,
    ) -> Iterator[DegradationCell]:
        """Yield a cell for every seed and depth, with shortcuts and without."""
        changes = TREATMENTS[treatment]
        treated = replace(
            self.base,
            treatment=treatment,
            width=self.base.width * changes.width_factor,
            learning_rate=changes.learning_rate or self.base.learning_rate,
            recipe=changes.recipe or self.base.recipe,
        )
        if treatment != "standard":
            seeds = self.other_seeds
        for depth in depths:
            for shortcut in shortcuts:
                usual = self.sizes.seeds_of.get((shortcut, depth), self.sizes.seeds)
                for number in range(usual if seeds is None else seeds):
                    seed = self.base.seed + number
                    yield replace(treated, seed=seed, depth=depth, shortcut=shortcut)
