"""Which of a checkpoint's tensors are a network's: found by their names and shapes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torchvision.models import get_model

from resnet_bench.catalogue import VARIANTS

#: Containers within containers that a checkpoint may have.
DEEPEST = 8

#: Parts of torchvision's longest names: layer2.0.downsample.0.weight.
MOST_PARTS = 5


@dataclass(frozen=True)
class Matched:
    """A network's tensors under its own names, and how many others there were."""

    state: Mapping[str, Tensor]
    others: int


def tensors_in(content: object) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of a checkpoint, its name with those of its containers.

    Parts of a name that begin with an underscore are left out: what compiles or
    shards a network puts them between its own (`_orig_mod`). A container that stands
    in several places is read in the first one.
    """
    return _tensors_in(content, 0, set())


def _tensors_in(
    content: object, depth: int, seen: set[int]
) -> Iterator[tuple[str, Tensor]]:
    own_id = id(content)
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or depth > DEEPEST or own_id in seen:
        return
    seen.add(own_id)
    for key, value in content.items():
        own = ".".join(part for part in str(key).split(".") if part[:1] != "_")
        if isinstance(value, Tensor):
            yield own, value
        for name, tensor in _tensors_in(value, depth + 1, seen):
            yield f"{own}.{name}" if own else name, tensor


def match(tensors: Mapping[str, Tensor], variant: int) -> Matched:
    """Return the variant's tensors: those below the prefix under which most fit.

    Of several copies the first one is taken. Tensors below the prefix that belong to
    a part of the network are returned even where they do not fit, so that another
    architecture is noticed.
    """
    best: dict[str, str] = {}
    most = 0
    for own_names in _spellings(variant):
        votes = _votes(tensors, own_names, variant)
        prefix, count = max(votes.items(), key=lambda vote: vote[1], default=("", 0))
        if count > most:
            parts = {name.partition(".")[0]: own for name, own in own_names.items()}
            best, most = _below(tensors, prefix, parts), count
    state = {own: tensors[name] for name, own in best.items()}
    return Matched(state, len(tensors) - len(state))


def _votes(
    tensors: Mapping[str, Tensor], own_names: Mapping[str, str], variant: int
) -> Counter[str]:
    """Count for each prefix the names that fit, and once more the shapes that do."""
    votes: Counter[str] = Counter()
    wanted = shapes(variant)
    for name, tensor in tensors.items():
        for own in _endings(name):
            if own in own_names:
                fits = tensor.shape == wanted[own_names[own]]
                votes[name.removesuffix(own)] += 1 + fits
    return votes


def _endings(name: str) -> Iterator[str]:
    """Yield the endings of a name that are no longer than a network's own names."""
    parts = name.rsplit(".", MOST_PARTS)[-MOST_PARTS:]
    for start in range(len(parts)):
        yield ".".join(parts[start:])


def _below(
    tensors: Mapping[str, Tensor], prefix: str, parts: Mapping[str, str]
) -> dict[str, str]:
    """Map the names below a prefix that are of the network's parts to its own."""
    found = {}
    for name in tensors:
        part, _, rest = name.removeprefix(prefix).partition(".")
        if name.startswith(prefix) and part in parts:
            own = parts[part].partition(".")[0]
            found[name] = f"{own}.{rest}" if rest else own
    return found


def _spellings(variant: int) -> Sequence[Mapping[str, str]]:
    """Return the network's names as they are, and as nn.Sequential numbers its parts.

    Both map what stands in a file to the network's own name.
    """
    names = shapes(variant)
    numbers = {part: str(n) for n, part in enumerate(_parts(variant))}
    numbered = {
        ".".join([numbers[name.partition(".")[0]], name.partition(".")[2]]): name
        for name in names
    }
    return {name: name for name in names}, numbered


@cache
def _network(variant: int) -> torch.nn.Module:
    """Return the variant without memory for its tensors."""
    with torch.device("meta"):
        network: torch.nn.Module = get_model(VARIANTS[variant].builder, weights=None)
    return network


def _parts(variant: int) -> list[str]:
    return [name for name, _ in _network(variant).named_children()]


def shapes(variant: int) -> dict[str, torch.Size]:
    """Return the shapes of torchvision's network by the names of its tensors."""
    return {name: t.shape for name, t in _network(variant).state_dict().items()}
