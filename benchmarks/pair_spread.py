"""Measures the spread of process pairs by setting, with identical code.

    python benchmarks/pair_spread.py --pairs 12 --output spread.jsonl
    python benchmarks/pair_spread.py --pairs 0 --output spread.jsonl   # only show

One pair of each setting after the other, so that a slow minute hits all. Every pair
is appended to the output at once; a later call adds to it. Run it on a quiet machine.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from resnet_bench.execution.processes import SETTING, VARIABLE, setting_of
from resnet_bench.gate import workers as channel
from resnet_bench.gate.measuring import live_pair
from resnet_bench.gate.records import Pairs, pair_order
from resnet_bench.gate.spec import CONTROL, Case
from resnet_bench.gate.workers import Launch, Nursery, Start, spawn

NET = Case("net", "step")

#: A network of convolutions, importing nothing but PyTorch, so that pairs start fast.
SUBJECT = """
import torch
from torch import nn
SUBJECT_API = 1
class Net:
    def __init__(self):
        layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        for i, o, s in ((64, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
            layers += [nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o)]
            layers += [nn.ReLU(), nn.Conv2d(o, o, 3, 1, 1, bias=False)]
            layers += [nn.BatchNorm2d(o), nn.ReLU()]
        self.module = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
        )
        self.images = torch.randn(4, 3, 128, 128)
        self.targets = torch.randint(1000, (4,))
        self.optimizer = torch.optim.SGD(self.module.parameters(), 1e-4, momentum=0.9)
    def forward(self):
        return self.module(self.images)
    def step(self):
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.forward(), self.targets).backward()
        self.optimizer.step()
def subject(case):
    return Net()
"""

#: What the subject makes a process import.
PRELOADED = ("torch", "torch._dynamo")

#: The gate's settings, one by one.
HUGE_PAGES = {VARIABLE: setting_of("hugetlb")}
KEEP_MEMORY = {VARIABLE: setting_of("mmap_threshold", "trim_threshold", "top_pad")}
BOTH = {VARIABLE: SETTING}


@dataclass(frozen=True)
class Setting:
    """A way to start both workers."""

    name: str
    variables: Mapping[str, str]
    threads: int = 1
    cores: frozenset[int] | None = None
    forked: bool = False


SETTINGS = (
    Setting("plain", {}),
    Setting("huge pages", HUGE_PAGES),
    Setting("keep memory", KEEP_MEMORY),
    Setting("huge pages, keep memory", BOTH),
    Setting("one arena", {"MALLOC_ARENA_MAX": "1"}),
    Setting("pinned to a core", {}, cores=frozenset({1})),
    Setting("two threads", {}, threads=2),
    Setting("two threads, active wait", {"OMP_WAIT_POLICY": "ACTIVE"}, threads=2),
    Setting("forked", BOTH, forked=True),
    Setting("forked, pinned", BOTH, cores=frozenset({1}), forked=True),
)


def measured(setting: Setting, number: int, tree: Path) -> dict[str, object]:
    """Return the legs of one pair of processes started in a setting."""
    launch = Launch(tree, "net_subject:subject", setting.threads, 0)
    before = os.sched_getaffinity(0)
    fixed = dict(channel.SETTINGS)
    del channel.SETTINGS[VARIABLE]
    channel.SETTINGS.update(setting.variables)
    if setting.cores:
        os.sched_setaffinity(0, setting.cores)
    began = time.perf_counter()
    sides = {"base": launch, "head": launch}
    try:
        with contextlib.ExitStack() as stack:
            start: Start = spawn
            if setting.forked:
                start = stack.enter_context(Nursery(setting.threads, PRELOADED)).fork
            timings = live_pair(sides, pair_order(0, number), [NET], Pairs(), start)
    finally:
        os.sched_setaffinity(0, before)
        channel.SETTINGS.clear()
        channel.SETTINGS.update(fixed)
    legs = {row.case: (row.base_seconds, row.head_seconds) for row in timings}
    seconds = time.perf_counter() - began
    return {"setting": setting.name, "pair": number, "seconds": seconds, **legs}


def spread_of(log_ratios: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the standard deviation with its 95 % interval (chi squared)."""
    deviation = statistics.stdev(log_ratios)
    degrees = len(log_ratios) - 1
    bounds = stats.chi2.ppf((0.975, 0.025), degrees)
    low, high = (deviation * math.sqrt(degrees / bound) for bound in bounds)
    return deviation, (low, high)


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a line per setting and case."""
    print(
        "| setting | case | pairs | ms | pair spread | interval | robust | "
        "between processes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(str(row["setting"]) for row in rows):
        for case in (NET.text, CONTROL.text):
            _show_case(name, case, [row for row in rows if row["setting"] == name])


def _show_case(name: str, case: str, rows: Sequence[Mapping[str, object]]) -> None:
    if len(rows) < 3:
        return
    sides = [[_logs(legs) for legs in row[case]] for row in rows]  # type: ignore[attr-defined]
    ratios = [head - base for base, head in sides]
    deviation, (low, high) = spread_of(ratios)
    # The median absolute deviation, scaled to a normal distribution's standard one.
    robust = float(stats.median_abs_deviation(ratios, scale="normal"))
    processes = statistics.stdev([value for pair in sides for value in pair])
    middle = math.exp(statistics.median(value for pair in sides for value in pair))
    print(
        f"| {name} | {case} | {len(rows)} | {1e3 * middle:.3g} | {deviation:.1%} | "
        f"{low:.1%} to {high:.1%} | {robust:.1%} | {processes:.1%} |"
    )


def _logs(legs: Sequence[float]) -> float:
    return statistics.fmean(math.log(seconds) for seconds in legs)


def main() -> None:
    """Measure, append, and show everything in the output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument(
        "--settings", default=",".join(str(i) for i in range(len(SETTINGS)))
    )
    parser.add_argument("--output", type=Path, default=Path("spread.jsonl"))
    asked = parser.parse_args()
    chosen = [SETTINGS[int(index)] for index in asked.settings.split(",")]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, asked.output.open("a") as output:
        tree = Path(scratch)
        (tree / "net_subject.py").write_text(SUBJECT)
        for number in range(asked.pairs):
            if time.perf_counter() - began > asked.seconds:
                break
            for setting in chosen:
                output.write(json.dumps(measured(setting, number, tree)) + "\n")
                output.flush()
    show([json.loads(line) for line in asked.output.read_text().splitlines()])


if __name__ == "__main__":
    main()
