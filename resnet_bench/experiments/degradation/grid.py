"""Which networks each study needs; a network that several need is trained once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from resnet_bench.experiments.degradation.records import DegradationCell, Shortcut

#: Every study with the question that it answers.
STUDIES = {
    "depth": "does training error grow with depth, and do shortcuts stop it?",
    "overfitting": "is the deep plain network's problem one of generalisation?",
    "constructed": "could the deep plain network be as good as the shallow one?",
    "gradients": "does the gradient fade, explode or shatter on its way down?",
    "identity": "is a block that learned nothing the identity?",
    "response": "how much does each block change what it is given?",
    "lesion": "what does a trained network lose with one block?",
    "thousand": "do networks of 100 and of 1000 layers train?",
    "shortcut": "must the shortcut be the identity?",
    "controls": "do other remedies than shortcuts work?",
    "anysize": "what image sizes does a network accept?",
}

#: Studies that torchvision's networks (family "imagenet") can take part in.
IMAGENET_STUDIES = ("depth", "overfitting", "gradients", "response", "lesion")


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What a treatment changes; None leaves it as it is in a standard network."""

    shortcut_kind: str | None = None
    shortcut_scale: float | None = None
    batch_norm: bool = True
    zero_last_scale: bool = False
    pre_activation: bool = False
    initialisation: str = "he"
    optimizer: str = "sgd"
    learning_rate: float | None = None
    width_factor: int = 1


#: Treatments by the name that cells carry. "wide" doubles the channels; Adam's rate is
#: its customary one (Kingma and Ba 2015, section 2).
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
    "adam": Treatment(optimizer="adam", learning_rate=1e-3),
}

#: Treatments of the shortcut study, all of residual networks; its lambda 0 is the plain
#: network's "standard" and its lambda 1 the residual one's, of the depth study.
SHORTCUT_TREATMENTS = (
    "lambda-0.25",
    "lambda-0.5",
    "lambda-0.75",
    "convolution-shortcut",
    "option-b",
    "pre-activation",
)

#: Treatments of the controls study, all on the plain shortcut.
CONTROL_TREATMENTS = ("dirac", "wide", "adam")

#: Images of the overfitting study's positive control: few enough to learn by heart.
FEW_IMAGES = 100


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A longer training: `multiple` times the steps, for these depths and seeds."""

    multiple: int
    depths: tuple[int, ...]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Defaults of one size of the experiment.

    `gradient_depths` are those at which the gradients study also trains
    without batch norm and with zero gamma. `treated_seeds` limits the seeds of every
    network that is not "standard". `extreme_depth` is the thousand study's
    deepest network, at `extreme_width` channels (16 is the paper's) and
    `extreme_seeds` seeds.
    """

    depths: tuple[int, ...]
    seeds: int
    epochs: int
    studies: tuple[str, ...]
    dataset: str = "digits"
    recipe: str = "one-cycle"
    budgets: tuple[Budget, ...] = ()
    gradient_depths: tuple[int, ...] = (20, 56)
    treated_seeds: int = 3
    extreme_depth: int = 1202
    extreme_width: int = 8
    extreme_seeds: int = 1


PROFILES = {
    "quick": Profile(
        depths=(8, 20, 32, 56),
        seeds=3,
        epochs=10,
        studies=(
            "depth",
            "overfitting",
            "gradients",
            "identity",
            "lesion",
            "response",
        ),
        # Here even those without batch norm train, in a third of depth 20's time.
        gradient_depths=(8,),
    ),
    # Long budgets cost most, so they have fewer seeds; every row shows how many.
    "standard": Profile(
        depths=(8, 20, 32, 44, 56, 110),
        seeds=5,
        epochs=40,
        studies=tuple(STUDIES),
        budgets=(
            Budget(multiple=4, depths=(20, 56), seeds=3),
            Budget(multiple=16, depths=(20, 56), seeds=2),
        ),
    ),
    # 164 epochs of 390 full batches are 64k iterations (He et al. 2015, section 4.2).
    "paper": Profile(
        depths=(20, 32, 44, 56, 110),
        seeds=5,
        epochs=164,
        studies=("depth", "overfitting", "gradients", "lesion", "thousand"),
        dataset="cifar10",
        recipe="paper",
        extreme_width=16,
    ),
}

#: Depth of the network that deeper ones are held against: the paper's shallowest.
REFERENCE_DEPTH = 20

#: The deepest network that shortcut and controls studies train.
MIDDLE_DEPTH = 56


def reference_depth(depths: tuple[int, ...]) -> int:
    """Return 20 where it is among the depths, else the shallowest of them."""
    return REFERENCE_DEPTH if REFERENCE_DEPTH in depths else min(depths)


def middle_depth(depths: tuple[int, ...]) -> int:
    """Return the deepest depth up to 56, else the shallowest."""
    within = [depth for depth in depths if depth <= MIDDLE_DEPTH]
    return max(within) if within else min(depths)


SHORTCUTS: tuple[Shortcut, Shortcut] = ("plain", "residual")


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
        shortcuts: Sequence[Shortcut] = SHORTCUTS,
        treatment: str = "standard",
        seeds: int | None = None,
    ) -> Iterator[DegradationCell]:
        """Yield a cell for every seed, depth and shortcut."""
        changes = TREATMENTS[treatment]
        treated = replace(
            self.base,
            treatment=treatment,
            width=self.base.width * changes.width_factor,
            learning_rate=changes.learning_rate or self.base.learning_rate,
        )
        if treatment != "standard":
            seeds = self.sizes.treated_seeds
        for seed in self.seeds[:seeds]:
            for depth in depths:
                for shortcut in shortcuts:
                    yield replace(treated, seed=seed, depth=depth, shortcut=shortcut)


def depth_cells(request: Request) -> Iterator[DegradationCell]:
    """Plain and residual at every depth, and again with longer budgets."""
    yield from request.networks(request.depths)
    for budget in request.sizes.budgets:
        depths = [depth for depth in budget.depths if depth in request.depths]
        for cell in request.networks(depths, seeds=budget.seeds):
            yield replace(cell, budget=budget.multiple)


def overfitting_cells(request: Request) -> Iterator[DegradationCell]:
    """Plain and residual at every depth; as positive control, a few images by heart.

    The control is plain, as the claim's network is, and of the shallowest depth: any
    that learns them will do.
    """
    yield from request.networks(request.depths)
    for cell in request.networks([min(request.depths)], ("plain",)):
        yield replace(cell, train_images=FEW_IMAGES)


def constructed_cells(request: Request) -> Iterator[DegradationCell]:
    """A shallow plain network to extend, and the deep ones trained by SGD."""
    yield from request.networks(request.depths, shortcuts=("plain",))


def gradient_cells(request: Request) -> Iterator[DegradationCell]:
    """Plain and residual at every depth; some without batch norm or with zero gamma."""
    yield from request.networks(request.depths)
    if request.base.family == "cifar":
        wanted = request.sizes.gradient_depths
        depths = [depth for depth in wanted if depth in request.depths]
        depths = depths or [request.reference]
        yield from request.networks(depths, treatment="no-batch-norm")
        yield from request.networks(depths, ("residual",), treatment="zero-gamma")


def identity_cells(request: Request) -> Iterator[DegradationCell]:
    """The reference depth, plain and residual; the plain one is the control."""
    yield from request.networks([request.reference])


def every_depth(request: Request) -> Iterator[DegradationCell]:
    """Plain and residual at every depth."""
    yield from request.networks(request.depths)


def thousand_cells(request: Request) -> Iterator[DegradationCell]:
    """The deepest of the grid, plain and residual; 1202 residual, narrow."""
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
    for treatment in SHORTCUT_TREATMENTS:
        yield from request.networks([request.middle], ("residual",), treatment)


def control_cells(request: Request) -> Iterator[DegradationCell]:
    """Plain networks with other remedies, beside plain and residual without."""
    yield from request.networks([request.middle])
    for treatment in CONTROL_TREATMENTS:
        yield from request.networks([request.middle], ("plain",), treatment)


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
