"""Trains the degradation grid as a first script would; kept for comparison.

TensorDataset and DataLoader without workers, `.item()` at each step, one process,
torch's default number of threads, an optimizer and a schedule from torch. Networks,
data, steps and the errors of each row are those of `resnet-bench degradation`: the
training half before and after batch norm is recalibrated (here by torch's `update_bn`,
batch by batch), and the test half.

    python -m benchmarks.straightforward_trainer --depths 8,20 --seeds 1
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

from resnet_bench.engine.data import DataRequest, ImageData, Split, load_data
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign, Shortcut
from resnet_bench.engine.seeding import generator
from resnet_bench.experiments.degradation.spec import PROFILES

BATCH_SIZE = 128
PEAK_RATE = 0.1
SHORTCUTS: tuple[Shortcut, Shortcut] = ("none", "option-a")


@dataclass(frozen=True)
class Outcome:
    """The errors of one training, in percent."""

    train_error: float
    train_error_recalibrated: float
    test_error: float


def dataset(split: Split, data: ImageData) -> TensorDataset:
    """Return the normalised images and labels of a half."""
    return TensorDataset(data.normalisation.apply(split.images), split.labels)


def train(model: nn.Module, data: ImageData, epochs: int, seed: int) -> Outcome:
    """Train with momentum 0.9 and a one-cycle rate, watching the loss at each step."""
    torch.manual_seed(seed)
    loader = DataLoader(
        dataset(data.train, data), BATCH_SIZE, shuffle=True, drop_last=True
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * len(loader)
    )
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        total, wrong = 0.0, 0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = criterion(logits, labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            wrong += count_errors(logits, labels)
    running = error_percent(model, dataset(data.train, data))
    update_bn(DataLoader(dataset(data.train, data), BATCH_SIZE), model)
    return Outcome(
        running,
        error_percent(model, dataset(data.train, data)),
        error_percent(model, dataset(data.test, data)),
    )


def count_errors(logits: Tensor, labels: Tensor) -> int:
    """Return the number of errors in a batch, read back from the device."""
    return int((logits.argmax(1) != labels).sum().item())


@torch.no_grad()
def error_percent(model: nn.Module, images: TensorDataset) -> float:
    """Return the error in percent, in eval mode."""
    model.eval()
    loader = DataLoader(images, BATCH_SIZE)
    wrong = sum(count_errors(model(batch), labels) for batch, labels in loader)
    return 100 * wrong / len(images)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train every depth and seed, plain and residual, one after the other."""
    sizes = PROFILES["quick"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", default=",".join(map(str, sizes.depths)))
    parser.add_argument("--seeds", type=int, default=sizes.seeds)
    parser.add_argument("--epochs", type=int, default=sizes.epochs)
    options = parser.parse_args(arguments)
    data = load_data(DataRequest(name="digits"))
    for depth in map(int, options.depths.split(",")):
        for shortcut in SHORTCUTS:
            for seed in range(options.seeds):
                design = NetworkDesign(depth=depth, shortcut=shortcut)
                model = build_cifar_network(design, generator(seed, "weights"))
                outcome = train(model, data, options.epochs, seed)
                print(
                    f"{shortcut} {depth} seed {seed}: "
                    f"train error {outcome.train_error:.1f} %, "
                    f"recalibrated {outcome.train_error_recalibrated:.1f} %, "
                    f"test error {outcome.test_error:.1f} %",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
