import pytest
import torch
from torch import nn

from resnet_bench.engine.training.finetuning import (
    apply_strategy,
    parameter_groups,
    training_mode,
)
from resnet_bench.engine.training.strategies import STRATEGIES
from tests.engine.tiny import tiny_network

BACKBONE = {"conv1.weight", "bn1.weight", "bn1.bias"}
LAST_STAGE = {"layer4.0.weight", "layer4.1.weight", "layer4.1.bias"}
HEAD = {"fc.weight", "fc.bias"}


def trained_names(strategy: str) -> set[str]:
    network = tiny_network()
    apply_strategy(network, STRATEGIES[strategy])
    return {name for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        ("probe", set()),
        ("freeze", HEAD),
        ("freeze-drift", HEAD),
        ("last-stage", LAST_STAGE | HEAD),
        ("full", BACKBONE | LAST_STAGE | HEAD),
        ("discriminative", BACKBONE | LAST_STAGE | HEAD),
        ("probe-then-full", BACKBONE | LAST_STAGE | HEAD),
        (
            "batchnorm-only",
            HEAD | {"bn1.weight", "bn1.bias", "layer4.1.weight", "layer4.1.bias"},
        ),
        ("scratch", BACKBONE | LAST_STAGE | HEAD),
        ("scratch-equal-compute", BACKBONE | LAST_STAGE | HEAD),
    ],
)
def test_each_strategy_trains_exactly_its_parameters(
    strategy: str, names: set[str]
) -> None:
    assert trained_names(strategy) == names


def test_every_strategy_has_a_row_in_the_test_above() -> None:
    assert len(STRATEGIES) == 10


def modes(strategy: str) -> dict[str, bool]:
    network = tiny_network()
    apply_strategy(network, STRATEGIES[strategy])
    training_mode(STRATEGIES[strategy])(network)
    return {
        name: module.training
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("freeze", {"bn1": False, "layer4.1": False}),
        ("freeze-drift", {"bn1": True, "layer4.1": True}),
        ("last-stage", {"bn1": False, "layer4.1": True}),
        ("batchnorm-only", {"bn1": True, "layer4.1": True}),
        ("full", {"bn1": True, "layer4.1": True}),
    ],
)
def test_batch_norms_train_only_where_their_parameters_do(
    strategy: str, expected: dict[str, bool]
) -> None:
    assert modes(strategy) == expected


def test_discriminative_rates_fall_towards_the_input() -> None:
    network = tiny_network()
    strategy = STRATEGIES["discriminative"]
    apply_strategy(network, strategy)
    groups = parameter_groups(network, strategy)
    sizes = {group.rate_factor: len(group.parameters) for group in groups}
    assert sizes == {1.0: 2, 1 / 3: 3, 1 / 10: 3}


def test_one_rate_makes_one_group_of_what_trains() -> None:
    network = tiny_network()
    apply_strategy(network, STRATEGIES["freeze"])
    (group,) = parameter_groups(network, STRATEGIES["freeze"])
    assert [p.shape for p in group.parameters] == [
        torch.Size([2, 8]),
        torch.Size([2]),
    ]
