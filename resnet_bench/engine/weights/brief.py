"""A brief training of the timed networks, where random weights would mean nothing.

How far int8 changes answers depends on weights and activations that training makes:
logits of random weights hardly differ from image to image.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import ResNet

from resnet_bench.engine.cache import cache_folder, locked
from resnet_bench.engine.data.loading import DataRequest, load_data, resized
from resnet_bench.engine.data.splits import ImageData, Normalisation, Split
from resnet_bench.engine.models.resnets import build_residual
from resnet_bench.engine.seeding import derived_seed
from resnet_bench.engine.training.evaluation import evaluate
from resnet_bench.engine.training.finetuning import FitSettings, make_trainer
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.weights.files import load_tensors, read_metadata, save_tensors
from resnet_bench.errors import ResnetBenchError

#: Images of the training and of the test half of the digits. Digits on photographs
#: would say more, but brief they are not: enlarged to 224 px, after as much work as 800
#: images of that size, ResNet-18 had 9 to 16 % of 256 test images right and ResNet-50 7
#: to 11 % (27 trainings on an H200 in float32, by way of 32, 64 and 112 px or not,
#: batch 16 or 32; chance is 10 %).
TRAINING_IMAGES, TEST_IMAGES = 1_024, 128

#: Most steps are taken on single digits of this side in pixels, the last ones at the
#: size that is timed, which the same digit fills again and again: larger digits would
#: be new to the network, and training at 224 px takes twelve times as long.
SIDE, EPOCHS, RATE = 64, 4, 0.1
LAST_IMAGES, LAST_RATE = 192, 0.03
BATCH_SIZE = 32

#: Images that int8's scales are taken from (of the training half), and that answers
#: are compared on (of the test half).
CALIBRATION_IMAGES, COMPARED_IMAGES = 64, 64

#: Raised when the same request would give other weights than before.
VERSION = 2

DIVERGED = "the brief training before int8 diverged: its weights are not kept"

_TOLD, _WEIGHTS = "resnet_bench_brief", "weights."


@dataclass(frozen=True)
class BriefTraining:
    """Which network is wanted: a variant with its 7x7 stem, for images of that size."""

    variant: int
    image_size: int

    @property
    def path(self) -> Path:
        """Where its weights are kept."""
        name = f"resnet{self.variant}_brief_{self.image_size}px_v{VERSION}.safetensors"
        return cache_folder() / name


@dataclass(frozen=True)
class BrieflyTrained:
    """Weights with normalised images (N, 3, H, W) to calibrate and to compare on."""

    state: dict[str, Tensor]
    calibration: Tensor
    compared: Tensor
    accuracy_percent: float

    @property
    def origin(self) -> str:
        """Where the weights are from, in words."""
        return f"trained briefly on digits, test accuracy {self.accuracy_percent:.1f} %"


def briefly_trained(wanted: BriefTraining, device: str = "cpu") -> BrieflyTrained:
    """Return the weights from the cache, trained first where they are not there.

    Two processes that want the same ones wait for each other. Raises InputOutputError
    where the cache cannot be written or was altered.
    """
    with locked(wanted.path):
        if not wanted.path.exists():
            _train(wanted, device)
    told = json.loads(read_metadata(wanted.path)[_TOLD])
    tensors = load_tensors(wanted.path)
    normalisation = Normalisation(*map(tuple, told["normalisation"].values()))
    return BrieflyTrained(
        state={
            name.removeprefix(_WEIGHTS): tensor
            for name, tensor in tensors.items()
            if name.startswith(_WEIGHTS)
        },
        calibration=normalisation.apply(tensors["calibration"]),
        compared=normalisation.apply(tensors["compared"]),
        accuracy_percent=told["accuracy_percent"],
    )


def _train(wanted: BriefTraining, device: str) -> None:
    stored = load_data(DataRequest(name="digits", channels=3))
    data = replace(
        stored,
        train=stored.train.first(TRAINING_IMAGES),
        test=stored.test.first(TEST_IMAGES),
    )
    torch.manual_seed(derived_seed(0, "brief training"))
    network = build_residual(wanted.variant).to(device)
    for block in network.modules():
        # Each block starts as the identity (Goyal et al. 2017, arXiv 1706.02677).
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if last is not None:
            torch.nn.init.zeros_(last.weight)
    single = resized(data, SIDE)
    _fit(network, single.to(device), EPOCHS, RATE)
    shorter = replace(single, train=single.train.first(LAST_IMAGES))
    large = shorter.changed(lambda half: _tiled(half, wanted.image_size)).to(device)
    _fit(network, large, 1, LAST_RATE)
    found = evaluate(network, large.test, large.normalisation)
    told = {
        "normalisation": asdict(large.normalisation),
        "accuracy_percent": found.accuracy_percent,
    }
    state = network.state_dict()
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise ResnetBenchError(DIVERGED)
    tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in state.items()}
    tensors["calibration"] = _some(large.train, CALIBRATION_IMAGES)
    tensors["compared"] = _some(large.test, COMPARED_IMAGES)
    save_tensors(wanted.path, tensors, {_TOLD: json.dumps(told)})


def _tiled(half: Split, side: int) -> Split:
    times = -(-side // half.images.shape[-1])
    images = half.images.repeat(1, 1, times, times)[:, :, :side, :side]
    return Split(images.contiguous(), half.labels)


def _some(split: Split, count: int) -> Tensor:
    return split.first(count, seed=1).images


def _fit(network: ResNet, data: ImageData, epochs: int, rate: float) -> None:
    """Train in float32: in bfloat16 it became NaN, in some processes only.

    A CPU without instructions for bfloat16 would take many times as long, too.
    """
    settings = FitSettings(
        epochs=epochs,
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        seed=0,
        channels_last=True,
    )
    trainer = make_trainer(network, STRATEGIES["scratch"], data, settings)
    trainer.train()
    if trainer.diverged:
        raise ResnetBenchError(DIVERGED)
