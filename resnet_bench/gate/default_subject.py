"""What the gate measures unless a project names its own subject: our ResNets.

Timed cases use small images, so that a leg holds several calls; the exact metrics
do not depend on that. `resnet18-openvino:forward` and the like time the network in
another runtime. The accuracy case trains a small network on the digits that come with
scikit-learn.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from resnet_bench.catalogue import RUNTIMES, TORCH, VARIANTS
from resnet_bench.engine.data.batches import steps_per_epoch
from resnet_bench.engine.data.loading import DataRequest, load_data
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.models.resnets import variant_builder
from resnet_bench.engine.runtimes.base import Terms, check_runtime, convert
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.timing.phases import Setting, Training, WholeStep, make_batch
from resnet_bench.engine.training.evaluation import predict
from resnet_bench.engine.training.trainer import Trainer, TrainingPlan, schedule_for

SUBJECT_API = 1

CASES = (
    "resnet18:forward",
    "resnet18:step",
    "resnet50:forward",
    "resnet34:exact",
    "resnet101:exact",
    "resnet152:exact",
    "digits:accuracy",
)

BATCH_SIZE = 2
IMAGE_SIZE = 64
CLASSES = 1000

#: The accuracy case: deep enough to have every kind of block, and done in seconds.
DIGITS_NETWORK = NetworkDesign(depth=8, width=8)
DIGITS_EPOCHS = 6
DIGITS_BATCH_SIZE = 64


class TrainedNetwork:
    """A network in training mode with fixed inputs, taken apart as `speed` does."""

    def __init__(self, depth: int) -> None:
        setting = Setting(Device("cpu"), BATCH_SIZE, IMAGE_SIZE)
        self.module = variant_builder(depth)().train()
        batch = make_batch(setting, CLASSES)
        self.training = Training(self.module, batch, setting)
        self.whole_step = WholeStep(self.training)

    def forward(self) -> Tensor:
        """Return the logits of the fixed images."""
        return self.training.forward()

    def step(self) -> None:
        """Take one training step."""
        self.whole_step.work()


class ExportedNetwork:
    """The same network in another runtime, for inference on the same inputs."""

    def __init__(self, depth: int, runtime: str) -> None:
        setting = Setting(Device("cpu"), BATCH_SIZE, IMAGE_SIZE)
        terms = Terms(runtime, "float32", torch.get_num_threads())
        check_runtime(terms)
        self.module = convert(variant_builder(depth), setting.shape, terms)
        self.images = make_batch(setting, CLASSES).images

    def forward(self) -> Tensor:
        """Return the logits of the fixed images."""
        with torch.inference_mode():
            logits: Tensor = self.module(self.images)
        return logits


class DigitsTraining:
    """Trains a small residual network on the digits, from a given seed."""

    def evaluate(self, seed: int) -> tuple[Sequence[int], Sequence[int]]:
        """Return the predicted and the right classes of the test images."""
        data = load_data(DataRequest(name="digits"))
        model = build_cifar_network(DIGITS_NETWORK, generator(seed, "weights"))
        steps = DIGITS_EPOCHS * steps_per_epoch(len(data.train), DIGITS_BATCH_SIZE)
        schedule = schedule_for("one-cycle", steps, 0.1)
        plan = TrainingPlan(schedule=schedule, batch_size=DIGITS_BATCH_SIZE, seed=seed)
        Trainer(model, data.train, data.normalisation, plan).train()
        logits = predict(model, data.test, data.normalisation)
        return logits.argmax(1).tolist(), data.test.labels.tolist()


def _network(depth: int) -> Callable[[], TrainedNetwork]:
    return lambda: TrainedNetwork(depth)


#: What a case can measure.
Subject = TrainedNetwork | ExportedNetwork | DigitsTraining

BUILDERS: dict[str, Callable[[], Subject]] = {
    **{row.builder: _network(row.depth) for row in VARIANTS.values()},
    **{
        f"{row.builder}-{name}": partial(ExportedNetwork, row.depth, name)
        for row in VARIANTS.values()
        for name in RUNTIMES
        if name != TORCH
    },
    "digits": DigitsTraining,
}


def subject(case: str) -> Subject:
    """Return the object that a case measures; raises KeyError for no case."""
    return BUILDERS[case]()
