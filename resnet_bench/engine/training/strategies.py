"""The fine-tuning strategies as rows: what trains, at which rate, in which mode.

Plain data without torch; `finetuning` and `fits` carry them out.
"""

import math
from dataclasses import dataclass
from typing import Literal

#: Evaluations of a training, evenly spread: with few training images and many test
#: images one after every epoch would take longer than the training.
EVALUATIONS = 4


def enough_epochs(epochs: int, least_steps: int, batches: int) -> int:
    """Return the epochs asked for, or more where these give fewer than the steps."""
    return max(epochs, math.ceil(least_steps / batches))


@dataclass(frozen=True)
class Strategy:
    """One way to adapt a network to a new task.

    `trains` lists prefixes of parameter names ("" is all of them); `norms` adds the
    scale and shift of every batch norm. `rates` gives prefixes and the factor on the
    learning rate, first match wins, 1 otherwise. `head` says whether fc starts random
    or at the logistic regression on the frozen features. With `drift` frozen batch
    norms keep updating their statistics: the pitfall, measured. `counts_source` adds
    the steps that training the source took. `learning_rate` is the peak used unless
    another is asked for: values of a pilot with two seeds on the built-in task.
    """

    name: str
    summary: str
    pretrained: bool = True
    trains: tuple[str, ...] = ("",)
    norms: bool = False
    rates: tuple[tuple[str, float], ...] = ()
    head: Literal["random", "logistic"] = "random"
    drift: bool = False
    counts_source: bool = False
    learning_rate: float = 0.01

    @property
    def fits_features(self) -> bool:
        """Whether it is logistic regression on cached features, without steps."""
        return not self.trains

    @property
    def needs_source(self) -> bool:
        """Whether it starts from a source's weights, or counts what they took."""
        return self.pretrained or self.counts_source

    def learning_rate_factor(self, name: str) -> float:
        """Return the factor on the learning rate of the parameter `name`."""
        return next((f for prefix, f in self.rates if name.startswith(prefix)), 1.0)


STRATEGIES = {
    row.name: row
    for row in (
        Strategy("probe", "logistic regression on frozen features", trains=()),
        Strategy(
            "freeze",
            "SGD on fc, the rest frozen in eval mode",
            trains=("fc.",),
            learning_rate=0.1,
        ),
        Strategy(
            "freeze-drift",
            "SGD on fc, frozen batch norms left in train mode",
            trains=("fc.",),
            drift=True,
            learning_rate=0.1,
        ),
        Strategy("last-stage", "layer4 and fc", trains=("layer4.", "fc.")),
        Strategy("full", "every layer"),
        Strategy(
            "discriminative",
            "every layer; layer4 at a third of fc's rate, the rest at a tenth",
            rates=(("fc.", 1.0), ("layer4.", 1 / 3), ("", 1 / 10)),
        ),
        Strategy(
            "probe-then-full",
            "fc from the probe, then every layer",
            head="logistic",
        ),
        Strategy(
            "batchnorm-only",
            "batch norm's scale and shift, and fc",
            trains=("fc.",),
            norms=True,
        ),
        Strategy(
            "scratch",
            "every layer from random, equal epochs",
            pretrained=False,
            learning_rate=0.1,
        ),
        Strategy(
            "scratch-equal-compute",
            "every layer from random, the source's steps added",
            pretrained=False,
            counts_source=True,
            learning_rate=0.1,
        ),
    )
}
