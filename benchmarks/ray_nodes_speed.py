"""Compares a study on a Ray cluster of two one-core nodes with one such node.

Both run the depth study of degradation from the command line, turn by turn, start-up
included; the nodes are processes of this machine. The rows have to equal those of the
inline executor bit for bit. Exits with 1 where they do not, or where two nodes need
more than 0.65 of the time of one.

    python -m benchmarks.ray_nodes_speed --turns 1
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.cluster_utils import Cluster

ALLOWED_SHARE = 0.65

#: Fields of a row that describe the run, not the training.
OF_THE_RUN = frozenset({"seconds", "step_seconds"})


@dataclass(frozen=True)
class Timed:
    """A finished study: its wall time, and its rows without times."""

    seconds: float
    rows: list[dict[str, Any]]


def study(grid: Sequence[str], *where: str) -> Timed:
    """Run the study in its own process and return its result."""
    command = [sys.executable, "-m", "resnet_bench", "degradation", "--study", "depth"]
    with tempfile.TemporaryDirectory() as results:
        begin = time.perf_counter()
        finished = subprocess.run(
            [*command, *grid, *where, "--json", "-q", "-o", results],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds = time.perf_counter() - begin
    rows = [
        {name: value for name, value in row.items() if name not in OF_THE_RUN}
        for row in json.loads(finished.stdout)["rows"]
    ]
    # Rows stand in the order in which cells ended.
    return Timed(seconds, sorted(rows, key=repr))


def on_nodes(count: int, grid: Sequence[str]) -> Timed:
    """Run the study on a cluster of that many nodes with one core each."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        return study(grid, "--executor", "ray", "--ray-address", cluster.address)
    finally:
        cluster.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both clusters turn by turn, print the share and whether rows agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--depths", default="8,20,32,56")
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--epochs", default="10")
    asked = parser.parse_args(arguments)
    grid = ["--depths", asked.depths, "--seeds", asked.seeds, "--epochs", asked.epochs]
    inline = study(grid, "--executor", "inline")
    print(f"inline: {inline.seconds:.1f} s, {len(inline.rows)} rows", flush=True)
    shares, equal = [], True
    for turn in range(asked.turns):
        one, two = on_nodes(1, grid), on_nodes(2, grid)
        equal = equal and one.rows == two.rows == inline.rows
        shares.append(two.seconds / one.seconds)
        print(
            f"turn {turn + 1}: one node {one.seconds:.1f} s, two {two.seconds:.1f} s, "
            f"share {shares[-1]:.2f}",
            flush=True,
        )
    share = statistics.median(shares)
    verdict = "equal" if equal else "NOT equal"
    print(f"two nodes take {share:.2f} of the time of one (at most {ALLOWED_SHARE})")
    print(f"rows are {verdict} to the inline executor's")
    return int(share > ALLOWED_SHARE or not equal)


if __name__ == "__main__":
    sys.exit(main())
