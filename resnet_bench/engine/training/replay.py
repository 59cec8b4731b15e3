"""Work recorded once as a CUDA graph and replayed: one launch instead of a thousand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

#: Calls before the recording, in which libraries choose their kernels (torch's notes on
#: CUDA graphs take three).
WARM_UP_CALLS = 3

Work = Callable[..., tuple[Tensor, ...]]


class Replay:
    """Runs a function on tensors; from the second call on it replays the first.

    The work must not wait for the device, and it may change nothing but `changed()`:
    tensors that live on. Recording leaves these as they were; tensors that the work
    creates start at 0, as momentum does. Inputs of other shapes than the first ones are
    worked on without the graph. `cuda` is `torch.cuda` or a stand-in.
    """

    def __init__(
        self, work: Work, changed: Callable[[], Sequence[Tensor]], cuda: Any
    ) -> None:
        self._work = work
        self._changed = changed
        self._cuda = cuda
        self.forget()

    def forget(self) -> None:
        """Record again at the next call: tensors may have been replaced."""
        self._graph: Any = None
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Do the work; the tensors returned are overwritten by the next call."""
        if self._graph is None:
            self.record(*inputs)
        if [each.shape for each in inputs] != [each.shape for each in self._inputs]:
            return self._work(*inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._outputs

    def record(self, *inputs: Tensor) -> None:
        """Warm up and record with inputs like these, leaving everything as it was."""
        self._inputs = [each.clone() for each in inputs]
        stream = self._cuda.Stream()
        stream.wait_stream(self._cuda.current_stream())
        with self._cuda.stream(stream):
            leave_as_it_was(self._warm_up, self._changed)
        self._cuda.current_stream().wait_stream(stream)
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(graph, stream=stream):
            self._outputs = self._work(*self._inputs)
        self._graph = graph

    def _warm_up(self) -> None:
        for _ in range(WARM_UP_CALLS):
            self._work(*self._inputs)


@torch.no_grad()
def leave_as_it_was(
    work: Callable[[], object], changed: Callable[[], Sequence[Tensor]]
) -> None:
    """Do the work and restore what it changed; tensors that it created become 0."""
    before = [(each, each.detach().clone()) for each in changed()]
    with torch.enable_grad():
        work()
    known = {id(each) for each, _ in before}
    for each, value in before:
        each.copy_(value)
    for each in changed():
        if id(each) not in known:
            each.zero_()
