"""Studies, profiles and treatments of the degradation experiment, as plain data."""

from dataclasses import dataclass

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
    """What a variant changes; None leaves it as the arm and the config have it."""

    shortcut: str | None = None
    shortcut_scale: float | None = None
    batch_norm: bool = True
    zero_last_scale: bool = False
    pre_activation: bool = False
    initialisation: str = "he"
    optimizer: str = "sgd"
    learning_rate: float | None = None
    width_factor: int = 1


#: Variants by the name that cells carry. "wide" doubles the channels; Adam's rate is
#: its customary one (Kingma and Ba 2015, section 2).
TREATMENTS = {
    "standard": Treatment(),
    "no-batch-norm": Treatment(batch_norm=False),
    "zero-gamma": Treatment(zero_last_scale=True),
    "pre-activation": Treatment(pre_activation=True),
    "option-b": Treatment(shortcut="option-b"),
    "convolution-shortcut": Treatment(shortcut="convolution"),
    "lambda-0.25": Treatment(shortcut_scale=0.25),
    "lambda-0.5": Treatment(shortcut_scale=0.5),
    "lambda-0.75": Treatment(shortcut_scale=0.75),
    "dirac": Treatment(initialisation="dirac"),
    "wide": Treatment(width_factor=2),
    "adam": Treatment(optimizer="adam", learning_rate=1e-3),
}

#: Variants of the shortcut study, all on the residual arm; its lambda 0 is the plain
#: arm's "standard" and its lambda 1 the residual arm's, trained for the depth study.
SHORTCUT_VARIANTS = (
    "lambda-0.25",
    "lambda-0.5",
    "lambda-0.75",
    "convolution-shortcut",
    "option-b",
    "pre-activation",
)

#: Variants of the controls study, all on the plain arm.
CONTROL_VARIANTS = ("dirac", "wide", "adam")

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

    `gradient_variant_depths` are those at which the gradients study also trains
    without batch norm and with zero gamma. `variant_seeds` limits the seeds of every
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
    gradient_variant_depths: tuple[int, ...] = (20, 56)
    variant_seeds: int = 3
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
        gradient_variant_depths=(8,),
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
