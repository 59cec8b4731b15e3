"""Concurrent calls of inference: throughput, not latency."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier

import numpy as np
import torch

from resnet_bench.engine.runtimes.base import Converted, threads_per_stream
from resnet_bench.engine.timing.phases import Inference

#: Each stream goes on calling for this long, and makes so many calls at least.
SECONDS = 0.5
LEAST_CALLS = 2

Call = Callable[[], object]


@dataclass(frozen=True)
class Streams:
    """Callers in threads of their own, each with its share of the CPU's threads.

    torch's callers share one network; another runtime has a session for each.
    """

    inference: Inference
    threads: int
    count: int
    now: Callable[[], float] = time.perf_counter

    def calls_per_second(self) -> float:
        """Let all callers call for a while; return how many calls a second end."""
        began: list[float] = []
        ready = Barrier(self.count, lambda: began.append(self.now()))
        share = threads_per_stream(self.threads, self.count)

        def stream(call: Call) -> list[float]:
            # OpenMP's number of threads is of the thread that asks for it.
            torch.set_num_threads(share)
            try:
                call()
            finally:
                ready.wait()  # the others wait for it, even if this call failed
            return self._ends_of(call, began[0])

        with ThreadPoolExecutor(self.count) as pool:
            ends = list(pool.map(stream, self._calls()))
        torch.set_num_threads(self.threads)
        return common_rate(began[0], ends)

    def _calls(self) -> Sequence[Call]:
        model, images = self.inference.model, self.inference.batch.images
        if isinstance(model, Converted):
            sessions = model.beside
            return [partial(each.call, images) for each in sessions]
        return [self.inference.work] * self.count

    def _ends_of(self, call: Call, began: float) -> list[float]:
        ends: list[float] = []
        while len(ends) < LEAST_CALLS or ends[-1] - began < SECONDS:
            call()
            ends.append(self.now())
        return ends


def common_rate(began: float, streams: Sequence[Sequence[float]]) -> float:
    """Return the calls per second of all streams while every one of them called.

    `streams` holds when the calls of each ended. The interval ends with the first
    stream's last call; of calls that are in the middle then, the share that is done
    counts.
    """
    until = min(ends[-1] for ends in streams)
    calls = sum(
        float(np.interp(until, [began, *ends], range(len(ends) + 1)))
        for ends in streams
    )
    return calls / (until - began)
