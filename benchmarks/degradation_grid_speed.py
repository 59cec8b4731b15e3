"""Compares the degradation grid's trainings with the straightforward trainer's.

Both train and evaluate the depth study's networks (plain and residual, all depths and
seeds, equal steps, the same errors of each network), start-up included and nothing
drawn, turn by turn, each in fresh processes. Exits with 1 when the straightforward
trainer needs less than twice as long in the median turn.

    python -m benchmarks.degradation_grid_speed --turns 3
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from resnet_bench.engine.cpu import usable_cores
from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.base import Ended, Job, Task
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.degradation.spec import PROFILES, Config, expand

REQUIRED_RATIO = 2.0


def ours(config: Config) -> float:
    """Return the seconds in which the executor trains the grid on all cores."""
    experiment = EXPERIMENTS["degradation"]
    cells = expand(config)
    started = time.perf_counter()
    executor = ProcessExecutor()
    executor.warm(experiment.preload)
    job = Job(
        run=experiment.run,
        schedule="once",
        tasks=tuple(Task(cell) for cell in cells),
        workers=usable_cores(),
        memory_bytes=float("inf"),
    )
    for event in executor.run(job):
        if isinstance(event, Ended) and event.error:
            raise ResnetBenchError(event.error)
    return time.perf_counter() - started


def straightforward(config: Config) -> float:
    """Return the seconds of the straightforward trainer, with torch's own threads."""
    command = [sys.executable, "-m", "benchmarks.straightforward_trainer"]
    command += ["--depths", ",".join(map(str, config.depths))]
    command += ["--seeds", str(config.seeds), "--epochs", str(config.epochs)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both in turns and print the ratio."""
    sizes = PROFILES["quick"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--depths", default=",".join(map(str, sizes.depths)))
    parser.add_argument("--seeds", type=int, default=sizes.seeds)
    parser.add_argument("--epochs", type=int, default=sizes.epochs)
    options = parser.parse_args(arguments)
    config = Config(
        study=("depth",),
        depths=tuple(map(int, options.depths.split(","))),
        seeds=options.seeds,
        epochs=options.epochs,
        device="cpu",
    )
    ratios = []
    for turn in range(options.turns):
        fast, slow = ours(config), straightforward(config)
        ratios.append(slow / fast)
        print(
            f"turn {turn + 1}: resnet-bench {fast:.1f} s, "
            f"straightforward {slow:.1f} s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    median = statistics.median(ratios)
    print(
        f"{median:.2f} times as fast (turns {min(ratios):.2f} to {max(ratios):.2f}) "
        f"on {usable_cores()} cores; at least {REQUIRED_RATIO:g} wanted"
    )
    return int(median < REQUIRED_RATIO)


if __name__ == "__main__":
    sys.exit(main())
