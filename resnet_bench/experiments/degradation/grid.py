"""Which networks each study needs; a network that several need is trained once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from resnet_bench.experiments.degradation.plan import (
    CONTROL_VARIANTS,
    FEW_IMAGES,
    SHORTCUT_VARIANTS,
    TREATMENTS,
    Profile,
    middle_depth,
    reference_depth,
)
from resnet_bench.experiments.degradation.records import Arm, DegradationCell

ARMS: tuple[Arm, Arm] = ("plain", "residual")


@dataclass(frozen=True)
class Request:
    """What the studies are planned from: a bare cell, sizes and seeds."""

    base: DegradationCell
    sizes: Profile
    seeds: Sequence[int]

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
        """The depth of the studies that vary the network."""
        return middle_depth(self.depths)

    def networks(
        self,
        depths: Sequence[int],
        arms: Sequence[Arm] = ARMS,
        variant: str = "standard",
        seeds: int | None = None,
    ) -> Iterator[DegradationCell]:
        """Yield a cell for every seed, depth and arm."""
        treatment = TREATMENTS[variant]
        treated = replace(
            self.base,
            variant=variant,
            width=self.base.width * treatment.width_factor,
            learning_rate=treatment.learning_rate or self.base.learning_rate,
        )
        if variant != "standard":
            seeds = self.sizes.variant_seeds
        for seed in self.seeds[:seeds]:
            for depth in depths:
                for arm in arms:
                    yield replace(treated, seed=seed, depth=depth, arm=arm)


def depth_cells(request: Request) -> Iterator[DegradationCell]:
    """Both arms at every depth, and again with longer budgets."""
    yield from request.networks(request.depths)
    for budget in request.sizes.budgets:
        depths = [depth for depth in budget.depths if depth in request.depths]
        for cell in request.networks(depths, seeds=budget.seeds):
            yield replace(cell, budget=budget.multiple)


def overfitting_cells(request: Request) -> Iterator[DegradationCell]:
    """Both arms at every depth; as positive control, a few images by heart.

    The control is of the plain arm, as the claim is, and of the shallowest network:
    any that learns them will do.
    """
    yield from request.networks(request.depths)
    for cell in request.networks([min(request.depths)], ("plain",)):
        yield replace(cell, train_images=FEW_IMAGES)


def constructed_cells(request: Request) -> Iterator[DegradationCell]:
    """A shallow plain network to extend, and the deep ones trained by SGD."""
    yield from request.networks(request.depths, arms=("plain",))


def gradient_cells(request: Request) -> Iterator[DegradationCell]:
    """Both arms at every depth; some without batch norm or with zero gamma."""
    yield from request.networks(request.depths)
    if request.base.family == "cifar":
        wanted = request.sizes.gradient_variant_depths
        depths = [depth for depth in wanted if depth in request.depths]
        depths = depths or [request.reference]
        yield from request.networks(depths, variant="no-batch-norm")
        yield from request.networks(depths, ("residual",), variant="zero-gamma")


def identity_cells(request: Request) -> Iterator[DegradationCell]:
    """The reference depth in both arms; the plain one is the negative control."""
    yield from request.networks([request.reference])


def every_depth(request: Request) -> Iterator[DegradationCell]:
    """Both arms at every depth."""
    yield from request.networks(request.depths)


def thousand_cells(request: Request) -> Iterator[DegradationCell]:
    """110 layers in both arms where the grid has them; 1202 residual, narrow."""
    sizes = request.sizes
    hundred = max(request.depths)
    yield from request.networks([hundred])
    extreme = request.networks(
        [sizes.extreme_depth], ("residual",), seeds=sizes.extreme_seeds
    )
    for cell in extreme:
        yield replace(cell, width=min(cell.width, sizes.extreme_width))


def shortcut_cells(request: Request) -> Iterator[DegradationCell]:
    """The scaled and the convolutional shortcuts; plain and residual are the ends."""
    yield from request.networks([request.middle])
    for variant in SHORTCUT_VARIANTS:
        yield from request.networks([request.middle], ("residual",), variant)


def control_cells(request: Request) -> Iterator[DegradationCell]:
    """Plain networks with other remedies, beside both arms without."""
    yield from request.networks([request.middle])
    for variant in CONTROL_VARIANTS:
        yield from request.networks([request.middle], ("plain",), variant)


def anysize_cells(request: Request) -> Iterator[DegradationCell]:
    """One cell that trains nothing."""
    yield replace(request.base, task="anysize", depth=request.reference)


CELLS: dict[str, Callable[[Request], Iterator[DegradationCell]]] = {
    "depth": depth_cells,
    "overfitting": overfitting_cells,
    "constructed": constructed_cells,
    "gradients": gradient_cells,
    "identity": identity_cells,
    "response": every_depth,
    "lesion": every_depth,
    "thousand": thousand_cells,
    "shortcut": shortcut_cells,
    "controls": control_cells,
    "anysize": anysize_cells,
}


def expand_grid(
    base: DegradationCell,
    sizes: Profile,
    seeds: Sequence[int],
    studies: Sequence[str],
) -> list[DegradationCell]:
    """Return every network that the studies need, each once, the longest first."""
    request = Request(base, sizes, seeds)
    wanted: dict[DegradationCell, list[str]] = {}
    for study in studies:
        for cell in CELLS[study](request):
            wanted.setdefault(cell, []).append(study)
    cells = [
        replace(
            cell, studies=tuple(names), deep_depths=_deep_depths(cell, names, request)
        )
        for cell, names in wanted.items()
    ]
    return sorted(cells, key=lambda cell: -cell.cost)


def _deep_depths(
    cell: DegradationCell, studies: Sequence[str], request: Request
) -> tuple[int, ...]:
    """Return the depths to which the constructed study extends this network."""
    if "constructed" not in studies or cell.depth != request.reference:
        return ()
    return tuple(depth for depth in request.depths if depth > cell.depth)
