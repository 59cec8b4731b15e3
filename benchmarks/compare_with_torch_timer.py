"""Sets this project's forward and backward times against torch.utils.benchmark.Timer.

Both time the same model on the same inputs with the same threads in one process,
turn by turn (ours, Timer, Timer, ours), so that drift of the machine hits both.
Timer cannot take backward alone: it is the difference of two of its statements.
What our `backward` leaves out is in neither of them: gradients are forgotten in the
set-up of a statement, before every call.

The process starts itself again with the memory settings of `speed`'s children.
Without them forward in the longer statement finds its memory given back to the
kernel, and forward in the shorter one does not (3,000 page faults against none with
ResNet-18): their difference is then backward and those faults.

Ends with 1 when a median ratio lies more than 3 % off.

    python -m benchmarks.compare_with_torch_timer --variant 18 --turns 10
"""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from torch.utils.benchmark import Timer

from resnet_bench.engine import devices
from resnet_bench.engine.cpu import usable_cores
from resnet_bench.engine.models.resnets import variant_builder
from resnet_bench.engine.timing.clock import Clock
from resnet_bench.engine.timing.phases import Setting, SplitStep, Training
from resnet_bench.engine.timing.workload import make_workload
from resnet_bench.execution.processes import VARIABLE, fix_allocator
from resnet_bench.statistics.intervals import median_interval

ALLOWED_DEVIATION = 0.03

FORWARD = "training.forward()"
FORWARD_LOSS = "training.loss(training.forward())"
FORWARD_LOSS_BACKWARD = "training.backward(training.loss(training.forward()))"
FORGET = "training.forget()"


@dataclass(frozen=True)
class Times:
    """Seconds of one call by one of the two instruments."""

    forward: float
    backward: float

    def with_second(self, other: "Times") -> "Times":
        """Return the mean of two measurements that enclose the other instrument's."""
        return Times(
            (self.forward + other.forward) / 2, (self.backward + other.backward) / 2
        )


def ours(training: Training, clock: Clock, calls: int) -> Times:
    """Time `calls` steps the way `speed` does; the first one is not counted.

    Timer divides the time of a whole block by its calls, which is a mean. So is this:
    a median beside it would read low, since delays only ever lengthen a call.
    """
    unit = SplitStep(training)
    unit.work()
    samples = [unit.call(clock) for _ in range(calls)]
    forward, _, backward, _ = (
        statistics.fmean(phase) for phase in zip(*samples, strict=True)
    )
    return Times(forward, backward)


def timers(training: Training, threads: int, calls: int) -> Times:
    """Time `calls` calls of each statement with torch's own instrument."""
    training.model.train()

    def mean(statement: str) -> float:
        timer = Timer(
            statement, FORGET, globals={"training": training}, num_threads=threads
        )
        # The set-up comes before each call only where one call is asked for.
        return statistics.fmean(timer.timeit(1).median for _ in range(calls))

    forward_and_loss = mean(FORWARD_LOSS)
    return Times(mean(FORWARD), mean(FORWARD_LOSS_BACKWARD) - forward_and_loss)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the turns, print the ratios with their intervals; returns the exit code."""
    asked = _parse(arguments)
    device = devices.choose(asked.device)
    devices.settle(device, threads=asked.threads, tf32=False)
    setting = Setting(device, asked.batch_size, asked.image_size)
    workload = make_workload(
        variant_builder(asked.variant)(), setting, trains=True, infers=False
    )
    training = workload.trained
    ours(training, device.clock, 3 * asked.calls)
    ratios: dict[str, list[float]] = {"forward": [], "backward": []}
    for turn in range(asked.turns):
        first = ours(training, device.clock, asked.calls)
        theirs = timers(training, asked.threads, asked.calls).with_second(
            timers(training, asked.threads, asked.calls)
        )
        mine = first.with_second(ours(training, device.clock, asked.calls))
        ratios["forward"].append(mine.forward / theirs.forward)
        ratios["backward"].append(mine.backward / theirs.backward)
        print(
            f"turn {turn + 1}: forward {mine.forward * 1e3:.2f} ms to "
            f"{theirs.forward * 1e3:.2f} ms, backward {mine.backward * 1e3:.2f} ms to "
            f"{theirs.backward * 1e3:.2f} ms",
            file=sys.stderr,
        )
    return report(ratios)


def report(ratios: dict[str, list[float]]) -> int:
    """Print each median ratio with its interval; returns the exit code."""
    agreed = True
    for phase, values in ratios.items():
        interval = median_interval(values)
        inside = abs(interval.estimate - 1) <= ALLOWED_DEVIATION
        agreed = agreed and inside
        print(
            f"{phase}: ours / Timer = {interval.estimate:.4f} "
            f"[{interval.low:.4f}, {interval.high:.4f}] over {interval.samples} turns, "
            f"{'within' if inside else 'outside'} {ALLOWED_DEVIATION:.0%}"
        )
    return 0 if agreed else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", type=int, default=18)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--calls", type=int, default=4, help="calls per half turn")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if VARIABLE not in os.environ:
        fix_allocator(os.environ)
        command = [sys.executable, "-m", "benchmarks.compare_with_torch_timer"]
        os.execv(sys.executable, [*command, *sys.argv[1:]])
    sys.exit(main())
