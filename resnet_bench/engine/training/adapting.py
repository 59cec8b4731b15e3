"""Carrying a strategy out on a network: what trains, at which rate, in which mode."""

from collections.abc import Callable, Iterator

from torch import nn

from resnet_bench.engine.training.strategies import Strategy
from resnet_bench.engine.training.trainer import ParameterGroup

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def apply_strategy(network: nn.Module, strategy: Strategy) -> None:
    """Set `requires_grad` of every parameter as the strategy says."""
    norms = set(_norm_parameters(network)) if strategy.norms else set()
    for name, parameter in network.named_parameters():
        chosen = any(name.startswith(prefix) for prefix in strategy.trains)
        parameter.requires_grad = chosen or name in norms


def training_mode(strategy: Strategy) -> Callable[[nn.Module], None]:
    """Return what puts a network in train mode, its frozen batch norms in eval.

    A batch norm in train mode follows the batches even when its parameters are
    frozen; only a strategy that drifts lets that happen.
    """

    def set_mode(network: nn.Module) -> None:
        network.train()
        if not strategy.drift:
            for module in network.modules():
                if isinstance(module, NORMS) and not module.weight.requires_grad:
                    module.eval()

    return set_mode


def parameter_groups(network: nn.Module, strategy: Strategy) -> list[ParameterGroup]:
    """Return the trainable parameters by their factor on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = strategy.learning_rate_factor(name)
            groups.setdefault(factor, []).append(parameter)
    return [ParameterGroup(members, factor) for factor, members in groups.items()]


def _norm_parameters(network: nn.Module) -> Iterator[str]:
    for prefix, module in network.named_modules():
        if isinstance(module, NORMS):
            for name, _ in module.named_parameters(prefix=prefix, recurse=False):
                yield name
