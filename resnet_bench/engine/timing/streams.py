"""Concurrent calls of inference: throughput, not latency."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier

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

    def images_per_second(self) -> float:
        """Let all callers call for a while; return their throughput, summed."""
        ready = Barrier(self.count)
        share = threads_per_stream(self.threads, self.count)

        def stream(call: Call) -> float:
            # OpenMP's number of threads is of the thread that asks for it.
            torch.set_num_threads(share)
            try:
                call()
            finally:
                ready.wait()  # the others wait for it, even if this call failed
            return _calls_per_second(call)

        with ThreadPoolExecutor(self.count) as pool:
            rate = sum(pool.map(stream, self._calls()))
        torch.set_num_threads(self.threads)
        return rate * self.inference.setting.batch_size

    def _calls(self) -> Sequence[Call]:
        model, images = self.inference.model, self.inference.batch.images
        if isinstance(model, Converted):
            sessions = model.beside
            return [partial(each.call, images) for each in sessions]
        return [self.inference.work] * self.count


def _calls_per_second(call: Call) -> float:
    began, calls = time.perf_counter(), 0
    while calls < LEAST_CALLS or time.perf_counter() - began < SECONDS:
        call()
        calls += 1
    return calls / (time.perf_counter() - began)
