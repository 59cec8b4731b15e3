"""Studies of trained networks' errors: they differ in which networks they train."""

from collections.abc import Iterator
from dataclasses import replace

from resnet_bench.experiments.degradation.grid import BUDGET_DEPTHS, FEW_IMAGES, Grid
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.studies.base import Study


class Depth(Study):
    """Plain and residual at every depth; longer budgets; harder data."""

    name = "depth"
    question = "does training error grow with depth, and do shortcuts stop it?"
    takes_imagenet = True

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield every depth, some with longer budgets, and some on harder data."""
        yield from grid.networks(grid.depths)
        depths = [depth for depth in BUDGET_DEPTHS if depth in grid.depths]
        for multiple in grid.sizes.budgets:
            for cell in grid.networks(depths, seeds=grid.other_seeds):
                yield replace(cell, budget=multiple)
        yield from self._harder(grid)

    def _harder(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield two plain networks on data that the shallow one cannot fit at once."""
        if grid.sizes.harder is None or grid.base.family != "cifar":
            return
        dataset, epochs = grid.sizes.harder
        depths = sorted({min(grid.depths), grid.reference})
        for cell in grid.networks(depths, ("plain",), seeds=grid.other_seeds):
            # Digits have a right way round.
            yield replace(cell, dataset=dataset, epochs=epochs, augmentation="none")


class Overfitting(Study):
    """Every depth; as positive control, a few images learned by heart.

    The control is plain, as the claim's network is, and of the shallowest depth: any
    that learns them will do.
    """

    name = "overfitting"
    question = "is the deep plain network's problem one of generalisation?"
    takes_imagenet = True

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield every depth, and the control."""
        yield from grid.networks(grid.depths)
        for cell in grid.networks([min(grid.depths)], ("plain",)):
            yield replace(cell, train_images=FEW_IMAGES)


class Thousand(Study):
    """Recipes for very deep residual networks: the deepest of the grid, 1202 layers.

    First the last batch-norm scale of every block at zero, so that each starts as the
    identity (Goyal et al. 2017, section 5.1); second the paper's warm-up. Plain
    networks as they are, and with that warm-up, are the control; a plain network with
    zero scales would be cut off. The 1202 layers are narrow.
    """

    name = "thousand"
    question = "do networks of 100 and of 1000 layers train?"
    treatments = ("zero-gamma", "paper-warm-up")

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield the deepest of the grid and, residual only, one far deeper."""
        sizes = grid.sizes
        deepest = [max(grid.depths)]
        for treatment in ("standard", "paper-warm-up"):
            yield from grid.networks(deepest, ("plain",), treatment)
        for treatment in self.treatments:
            yield from grid.networks(deepest, ("residual",), treatment)
            extreme = [sizes.extreme_depth]
            for cell in grid.networks(extreme, ("residual",), treatment):
                yield replace(cell, width=min(cell.width, sizes.extreme_width))


class OtherShortcuts(Study):
    """Scaled and convolutional shortcuts, between plain and residual.

    Its lambda 0 is the plain network and its lambda 1 the residual one.
    """

    name = "shortcut"
    question = "must the shortcut be the identity?"
    treatments = (
        "lambda-0.25",
        "lambda-0.5",
        "lambda-0.75",
        "convolution-shortcut",
        "option-b",
        "pre-activation",
    )

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield the ends, and residual networks with every treatment."""
        yield from grid.networks([grid.middle], seeds=grid.other_seeds)
        for treatment in self.treatments:
            yield from grid.networks([grid.middle], ("residual",), treatment)


class Controls(Study):
    """Plain networks with other remedies, beside plain and residual without."""

    name = "controls"
    question = "do other remedies than shortcuts work?"
    treatments = ("dirac", "wide", "adam")

    def networks(self, grid: Grid) -> Iterator[DegradationCell]:
        """Yield both without remedy, and plain networks with each."""
        yield from grid.networks([grid.middle], seeds=grid.other_seeds)
        for treatment in self.treatments:
            yield from grid.networks([grid.middle], ("plain",), treatment)
