"""Stands in for the graphs of `torch.cuda`: writes operators down and repeats them.

What is recorded must not wait for the device, and must work on the same memory each
time: reading a number back is refused, and only operators are repeated, no Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Operators that write to arguments without saying so, and to which.
SILENT = {"aten::native_batch_norm": (3, 4)}
#: Operators that hand a number to Python.
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}


class FakeStream:
    def wait_stream(self, other: FakeStream) -> None:
        pass


@dataclass
class Recorder(TorchDispatchMode):
    """Writes operators down; at the end nothing has happened to outer tensors."""

    calls: list[tuple[Any, Any, Any, Any]] = field(default_factory=list)
    before: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func._schema.name in WAITING:
            raise RuntimeError(f"{func._schema.name} waits for the device")
        kwargs = kwargs or {}
        for each in self._written(func, args, kwargs):
            self.before.setdefault(each.data_ptr(), (each, each.clone()))
        found = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, found))
        return found

    def _written(self, func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
        names = [argument.name for argument in func._schema.arguments]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        silent = SILENT.get(func._schema.name, ())
        written = [
            given.get(argument.name)
            for place, argument in enumerate(func._schema.arguments)
            if place in silent or (argument.alias_info and argument.alias_info.is_write)
        ]
        return [each for each in tree_leaves(written) if torch.is_tensor(each)]

    def undo(self) -> None:
        for tensor, value in reversed(self.before.values()):
            tensor.copy_(value)


class FakeGraph:
    recorder: Recorder

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, before in self.recorder.calls:
                again = func(*args, **kwargs)
                pairs = zip(tree_leaves(before), tree_leaves(again), strict=True)
                for place, value in pairs:
                    if torch.is_tensor(place) and place.data_ptr() != value.data_ptr():
                        place.copy_(value)


class FakeGraphs:
    """The part of `torch.cuda` that graphs need."""

    CUDAGraph = FakeGraph
    Stream = FakeStream

    def current_stream(self) -> FakeStream:
        return FakeStream()

    def stream(self, stream: FakeStream) -> Any:
        return nullcontext()

    @contextmanager
    def graph(self, graph: FakeGraph, stream: FakeStream) -> Iterator[None]:
        graph.recorder = Recorder()
        with graph.recorder:
            yield
        with torch.no_grad():
            graph.recorder.undo()
