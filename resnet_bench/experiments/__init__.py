"""The experiments, one row each."""

from typing import TYPE_CHECKING, Any

from resnet_bench.registry import Row, Rows

if TYPE_CHECKING:
    from resnet_bench.experiments.base import Experiment

HOME = "resnet_bench.experiments"

EXPERIMENTS: "Rows[Experiment[Any, Any]]" = Rows(
    Row(
        "speed",
        "Time forward, backward and training step of each ResNet.",
        f"{HOME}.speed:Speed",
    ),
    Row(
        "degradation",
        "Compare plain and residual networks of several depths.",
        f"{HOME}.degradation:Degradation",
    ),
    Row(
        "finetune",
        "Measure accuracy after transfer, by fine-tuning strategy.",
        f"{HOME}.finetune:Finetune",
    ),
    Row(
        "pretrain",
        "Train checkpoints from which finetune can start.",
        f"{HOME}.pretrain:Pretrain",
    ),
    Row(
        "describe",
        "Show stages, layer counts and the last layer.",
        f"{HOME}.describe:Describe",
    ),
)
