"""Sets `resnet-bench degradation` against the straightforward trainer, grid for grid.

Both train the depth study's networks (arms x depths x seeds, equal steps) and
evaluate them, start-up included, turn by turn in fresh processes. Ends with 1 when
the straightforward trainer needs less than twice as long.

    python -m benchmarks.degradation_grid_speed --turns 1
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from resnet_bench.engine.cores import usable_cores
from resnet_bench.experiments.degradation.plan import PROFILES

REQUIRED_RATIO = 2.0


def seconds(command: Sequence[str]) -> float:
    """Return how long a command takes; its own threads settings, nothing inherited."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def ours(grid: Sequence[str]) -> float:
    """Return the seconds of the command line's depth study, figures included."""
    with tempfile.TemporaryDirectory() as results:
        command = ["-m", "resnet_bench", "degradation", "--study", "depth", "-q"]
        return seconds([sys.executable, *command, "-o", results, *grid])


def straightforward(grid: Sequence[str]) -> float:
    """Return the seconds of the straightforward trainer."""
    return seconds([sys.executable, "-m", "benchmarks.straightforward_trainer", *grid])


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both turn by turn and print the ratio."""
    sizes = PROFILES["quick"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--depths", default=",".join(map(str, sizes.depths)))
    parser.add_argument("--seeds", default=str(sizes.seeds))
    parser.add_argument("--epochs", default=str(sizes.epochs))
    options = parser.parse_args(arguments)
    grid = ["--depths", options.depths, "--seeds", options.seeds]
    grid += ["--epochs", options.epochs]
    ratios = []
    for turn in range(options.turns):
        fast, slow = ours(grid), straightforward(grid)
        ratios.append(slow / fast)
        print(
            f"turn {turn + 1}: resnet-bench {fast:.1f} s, "
            f"straightforward {slow:.1f} s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    median = statistics.median(ratios)
    print(f"{median:.2f} times as fast on {usable_cores()} cores (at least 2 wanted)")
    return int(median < REQUIRED_RATIO)


if __name__ == "__main__":
    sys.exit(main())
