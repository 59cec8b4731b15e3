"""Networks built by name: torchvision's ResNets, plain twins, users' own models."""

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, resnet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.models.design import STEMS, Stem
from resnet_bench.engine.models.small_maps import compute_small_maps_densely
from resnet_bench.engine.models.work import device_of
from resnet_bench.engine.seeding import derived_seed
from resnet_bench.engine.weights.files import RANDOM, Weights, load_backbone
from resnet_bench.errors import UsageError
from resnet_bench.interrupts import Interrupted, Terminated

Builder = Callable[[], nn.Module]

OPTION = "--model"
#: Characters of somebody's error that are quoted.
LONGEST_CAUSE = 500

FORM = "PACKAGE.MODULE:FUNCTION"


class PlainBasicBlock(BasicBlock):  # type: ignore[misc] # torchvision has no types
    """torchvision's basic block with y = relu(F(x)): everything but the addition."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x)) for images (N, C, H, W)."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(hidden)))


class PlainBottleneck(Bottleneck):  # type: ignore[misc] # torchvision has no types
    """torchvision's bottleneck with y = relu(F(x)): everything but the addition."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x)) for images (N, C, H, W)."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        return torch.relu_(self.bn3(self.conv3(hidden)))


#: The plain block that stands for each of torchvision's.
PLAIN_BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": PlainBasicBlock,
    "bottleneck": PlainBottleneck,
}


def build_plain_twin(variant: int, classes: int = 1000) -> ResNet:
    """Return torchvision's ResNet of a variant without shortcuts.

    Its `state_dict` has the residual network's keys and shapes but for those of the
    projection shortcuts (`downsample`).
    """
    row = VARIANTS[variant]
    return ResNet(PLAIN_BLOCKS[row.block], list(row.blocks), num_classes=classes)


def build_residual(variant: int, classes: int = 1000) -> ResNet:
    """Return torchvision's ResNet of a variant with fresh weights."""
    return getattr(resnet, VARIANTS[variant].builder)(num_classes=classes)


def copy_shared_weights(source: nn.Module, target: nn.Module) -> None:
    """Give a plain network the weights of its residual twin, or the reverse.

    Weights that only one of them has (projection shortcuts) stay as they are.
    """
    wanted = target.state_dict()
    weights = source.state_dict()
    wanted.update({key: weights[key] for key in wanted if key in weights})
    target.load_state_dict(wanted)


#: By shortcut: what builds a variant with fresh weights.
BUILDERS: dict[str, Callable[[int], ResNet]] = {
    "residual": build_residual,
    "plain": build_plain_twin,
}


def variant_builder(variant: int, shortcut: str = "residual") -> Builder:
    """Return a builder of that ResNet, torchvision's own or without shortcuts."""
    return lambda: BUILDERS[shortcut](variant)


def meta_variant(variant: int, shortcut: str = "residual") -> ResNet:
    """Return that ResNet with shapes and no numbers, for questions about shapes."""
    with torch.device("meta"):
        return BUILDERS[shortcut](variant)


def seeded(build: Builder, seed: int) -> nn.Module:
    """Build the model with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return build()


def replace_stem(network: ResNet, stem: Stem) -> None:
    """Give the network another stem, freshly initialised; `imagenet` changes nothing.

    Call it before weights are loaded. Initialisation as torchvision's: He normal,
    fan out.
    """
    if stem.name == "imagenet":
        return
    old = network.conv1
    network.conv1 = nn.Conv2d(
        old.in_channels,
        old.out_channels,
        stem.kernel_size,
        stem.stride,
        padding=stem.kernel_size // 2,
        bias=False,
    )
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if not stem.pool:
        network.maxpool = nn.Identity()


def replace_head(network: ResNet, classes: int) -> None:
    """Put a new, trainable fc for `classes` outputs in place of the old one.

    Load weights first: a later load would put the old classes back.
    """
    network.fc = nn.Linear(network.fc.in_features, classes)


def trainable_parameters(network: nn.Module) -> int:
    """Count the numbers that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@dataclass(frozen=True, kw_only=True)
class NetworkRequest:
    """Which network is wanted.

    `zero_gamma` starts each block as the identity (Goyal et al. 2017, arXiv
    1706.02677, section 5.1), which lets the deep variants train within few steps. A
    frozen random backbone needs it off: its blocks would compute nothing.
    """

    variant: int
    classes: int
    stem: str
    seed: int
    zero_gamma: bool = True


def build_network(request: NetworkRequest, weights: Weights = RANDOM) -> ResNet:
    """Return the network with `weights` loaded first and a new head put on after.

    The same request gives the same network; its convolutions of small maps are computed
    as dense layers on the CPU. Raises UsageError when the weights are of another
    architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(request.seed, "weights"))
        network: ResNet = get_model(
            VARIANTS[request.variant].builder,
            weights=None,
            zero_init_residual=request.zero_gamma,
        )
        replace_stem(network, STEMS[request.stem])
        load_backbone(network, weights)
        replace_head(network, request.classes)
    compute_small_maps_densely(network)
    return network


def model_builder(name: str) -> Builder:
    """Return a builder of a user's own model, named `package.module:function`.

    Modules are found as `python -m` finds them, the working folder included.
    Raises UsageError that says which part of the name is wrong.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name.isidentifier()):
        raise UsageError.for_option(OPTION, name, FORM)
    function = _function(name, module_name, function_name)

    def build() -> nn.Module:
        with _any_mistake(partial(_wrong, name, "a function")):
            model: object = function()
        if not isinstance(model, nn.Module):
            found = type(model).__name__
            raise UsageError.for_option(
                OPTION, name, f"a function that returns an nn.Module, not {found}"
            )
        return model

    return build


def _function(name: str, module_name: str, function_name: str) -> Builder:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with _any_mistake(partial(_wrong, name, "a module that can be imported")):
        module = importlib.import_module(module_name)
    function: Builder | None = getattr(module, function_name, None)
    if not callable(function):
        accepted = f"a function {function_name} in {module_name}"
        raise UsageError.for_option(OPTION, name, accepted)
    _check_needs_nothing(name, function)
    return function


def _check_needs_nothing(name: str, function: Builder) -> None:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError) as error:
        accepted = f"a function that takes no arguments ({error})"
        raise UsageError.for_option(OPTION, name, accepted) from error


@contextlib.contextmanager
def _any_mistake(refusal: Callable[[BaseException], UsageError]) -> Iterator[None]:
    """Turn whatever a user's code raises into an error, `sys.exit` included."""
    try:
        yield
    except (Interrupted, Terminated):
        raise
    except BaseException as error:
        raise refusal(error) from error


def _wrong(name: str, accepted: str, error: BaseException) -> UsageError:
    return UsageError.for_option(OPTION, name, f"{accepted} ({_cause(error)})")


def _cause(error: BaseException) -> str:
    """Return an error of a user's code in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_CAUSE]


def check_images(
    model: nn.Module, name: str, *, batch_size: int, image_size: int, training: bool
) -> None:
    """Try whether the model takes images of that size in batches of that size.

    The model runs where it is: on the meta device this costs next to nothing.
    Raises UsageError that names the option at fault.
    """
    shape = (batch_size, 3, image_size, image_size)
    images = torch.zeros(shape, device=device_of(model))
    with _any_mistake(partial(_refused, name, batch_size, image_size)), torch.no_grad():
        output = model.train(training)(images)
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        found = tuple(getattr(output, "shape", ())) or type(output).__name__
        accepted = f"a model that returns a tensor (images, classes), not {found}"
        raise UsageError.for_option(OPTION, name, accepted)


def _refused(
    name: str, batch_size: int, image_size: int, error: BaseException
) -> UsageError:
    if "more than 1 value per channel" in str(error):
        return UsageError.for_option(
            "--batch-size",
            batch_size,
            f"at least {batch_size + 1} at --image-size {image_size} in training: "
            f"the batch norm of {name} needs more than one value per channel",
        )
    return UsageError.for_option(
        "--image-size", image_size, f"a size that {name} can take ({_cause(error)})"
    )
