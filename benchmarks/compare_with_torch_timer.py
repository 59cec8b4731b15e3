"""Compares the times of `speed` with torch.utils.benchmark.Timer in a plain process.

Both time the same statements on the same network: a forward pass in training mode, and
a whole step (forget gradients, forward, loss, backward, optimizer). Ours are visits of
a cell of `speed`, in a child of its executor, as any run makes them; Timer runs in a
process that was started with nothing set. The two take turns (ours, Timer, Timer,
ours), one asleep while the other works, so that drift of the machine hits both. Turns
go on until the 95 % interval of both ratios is narrow enough.

Exits with 1 unless both intervals contain 1 and lie within 0.95 to 1.05.

    python -m benchmarks.compare_with_torch_timer --variant 18
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_bench.engine.cpu import usable_cores
from resnet_bench.execution.base import Event, Job, Recorded, Task
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.experiments.speed.cells import TIME
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.statistics.estimates import time_interval
from resnet_bench.statistics.intervals import Interval

ALLOWED = (0.95, 1.05)
HALF_WIDTH = 0.025
FEWEST_TURNS, MOST_TURNS = 10, 60

#: The ordinary program: it times when told on stdin, and answers in one line.
PROGRAM = """
import json, sys, torch, torchvision
from torch.utils.benchmark import Timer
variant, batch, side, threads, calls = map(int, sys.argv[1:])
torch.manual_seed(0)
model = getattr(torchvision.models, f"resnet{variant}")()
images = torch.randn(batch, 3, side, side)
targets = torch.randint(1000, (batch,))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
cross_entropy = torch.nn.functional.cross_entropy
forward = "model(images)"
step = (
    "optimizer.zero_grad(set_to_none=True); "
    "cross_entropy(model(images), targets).backward(); optimizer.step()"
)
def seconds(statement):
    return Timer(statement, globals=globals(), num_threads=threads).timeit(calls).mean
for line in sys.stdin:
    print(json.dumps({"forward": seconds(forward), "step": seconds(step)}), flush=True)
"""


class OrdinaryProcess:
    """A Python process with default settings that times with torch's own Timer."""

    def __init__(self, *arguments: int) -> None:
        command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self) -> dict[str, float]:
        """Let it time both statements, and return the seconds of a call."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer


@dataclass
class Turns:
    """Asks for a visit, then for Timer twice, then for another visit, and again."""

    ordinary: OrdinaryProcess
    ours: list[dict[str, float]] = field(default_factory=list)
    theirs: list[dict[str, float]] = field(default_factory=list)

    def next(self, living: Sequence[str]) -> str | None:
        """Return the cell, after Timer's two calls where it is their turn."""
        if len(self.ours) % 2 == 1:
            self.theirs += [self.ordinary.seconds() for _ in range(2)]
        elif self.ours:
            print(f"turn {len(self.ours) // 2}: {self.said}", file=sys.stderr)
            if self.enough:
                return None
        return living[0]

    def hear(self, event: Event) -> None:
        """Record the means of a visit; the first, a warm-up, does not count."""
        if isinstance(event, Recorded) and event.content["round"] > 0:
            self.ours.append(
                {
                    phase: statistics.fmean(event.content[f"{phase}_seconds"])
                    for phase in ("forward", "step")
                }
            )

    @property
    def enough(self) -> bool:
        """Whether both ratios are precise enough, or time is up."""
        turns = len(self.ours) // 2
        widths = [ratio.relative_spread for ratio in self.ratios.values()]
        return turns >= MOST_TURNS or (
            turns >= FEWEST_TURNS and max(widths) <= HALF_WIDTH
        )

    @property
    def ratios(self) -> dict[str, Interval]:
        """Ours over Timer's, turn by turn, with the interval over turns."""
        return {
            phase: time_interval(self._turns(phase)) for phase in ("forward", "step")
        }

    def _turns(self, phase: str) -> list[float]:
        return [
            (self.ours[i][phase] + self.ours[i + 1][phase])
            / (self.theirs[i][phase] + self.theirs[i + 1][phase])
            for i in range(0, len(self.ours) - 1, 2)
        ]

    @property
    def said(self) -> str:
        """The ratios in one line."""
        return ", ".join(
            f"{phase} ours / Timer = {r.estimate:.3f} [{r.low:.3f}, {r.high:.3f}]"
            for phase, r in self.ratios.items()
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the turns, print the ratios with their intervals; returns the exit code."""
    asked = _parse(arguments)
    experiment = EXPERIMENTS["speed"]
    config = resolved(
        Config(
            variants=(asked.variant,),
            batch_size=(asked.batch_size,),
            image_size=(asked.image_size,),
            mode="train",
            device="cpu",
        ),
        "cpu",
        asked.threads,
    )
    (cell,) = (cell for cell in expand(config) if cell.measure == TIME)
    turns = Turns(
        OrdinaryProcess(
            asked.variant,
            asked.batch_size,
            asked.image_size,
            asked.threads,
            asked.calls,
        )
    )
    executor = ProcessExecutor()
    executor.warm(experiment.preload)
    job = Job(experiment.run, "rounds", (Task(cell),), visits=turns)
    for event in executor.run(job):
        _refuse_failure(event)
    print(turns.said)
    lowest, highest = ALLOWED
    agreed = all(
        lowest <= ratio.low <= 1 <= ratio.high <= highest
        for ratio in turns.ratios.values()
    )
    return 0 if agreed else 1


def _refuse_failure(event: Any) -> None:
    error = getattr(event, "error", None)
    if error:
        raise RuntimeError(error)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", type=int, default=18)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--calls", type=int, default=2, help="calls per half turn")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
