"""What can be asked: one row per experiment."""

from typing import Any

from resnet_bench.experiments.base import Experiment
from resnet_bench.experiments.degradation import Degradation
from resnet_bench.experiments.describe import Describe
from resnet_bench.experiments.finetune import Finetune
from resnet_bench.experiments.pretrain import Pretrain
from resnet_bench.experiments.speed import Speed

EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    row.name: row
    for row in (Speed(), Degradation(), Finetune(), Pretrain(), Describe())
}
