"""Checks training on a CUDA device, logs the card, and judges an acceptance's figures.

    python3 -m benchmarks.cuda_check measure OUT/check.json
    python3 -m benchmarks.cuda_check watch OUT/card.csv     (until it is terminated)
    python3 -m benchmarks.cuda_check judge OUT

`benchmarks/cuda_acceptance.sh` calls all three. With `--rehearse` they run on the CPU,
in small sizes, and figures are printed beside their bounds without a judgement.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from resnet_bench.engine import devices
from resnet_bench.engine.data import Split
from resnet_bench.engine.data.splits import Normalisation
from resnet_bench.engine.devices import Device
from resnet_bench.engine.models.cifar import build_cifar_network
from resnet_bench.engine.models.design import NetworkDesign
from resnet_bench.engine.seeding import compute_deterministically, generator
from resnet_bench.engine.timing.conditions import Driver
from resnet_bench.engine.training.trainer import Schedule, Trainer, TrainingPlan
from resnet_bench.experiments.speed.view.rows import SpeedRow, rows_of
from resnet_bench.statistics.intervals import Interval
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run
from tests.engine.fake_graphs import FakeGraphs

BATCH = 128
SIDE = 32
NEUTRAL = Normalisation((0.5,) * 3, (0.25,) * 3)

#: Depth of the network whose gradients are compared, and the depths that are timed.
CHECKED_DEPTH = 20
DEPTHS = (20, 56, 110)
REHEARSED_DEPTHS = (8,)

#: Steps of a training that is timed, and of one that is compared.
TIMED_STEPS = 40
COMPARED_STEPS = 50
REHEARSED_STEPS = 2

#: Seconds between two looks at the card.
LOOK_SECONDS = 0.5
GIBIBYTE = 2**30


@dataclass(frozen=True)
class Sizes:
    """How large a check is; `graphs` is `torch.cuda` or a stand-in for its graphs."""

    device: Device
    graphs: Any
    depths: Sequence[int]
    timed_steps: int
    compared_steps: int
    images: int = 4 * BATCH


def sizes_of(rehearse: bool) -> Sizes:
    """Return the sizes of a check on CUDA, or of a rehearsal on the CPU."""
    if rehearse:
        few = REHEARSED_STEPS
        cpu, stand_in = Device("cpu"), FakeGraphs()
        return Sizes(cpu, stand_in, REHEARSED_DEPTHS, few, few, images=2 * BATCH)
    cuda = devices.choose("cuda")
    return Sizes(cuda, torch.cuda, DEPTHS, TIMED_STEPS, COMPARED_STEPS)


def random_split(images: int, device: torch.device) -> Split:
    """Return images as CIFAR-10 stores them, drawn at random, on the device."""
    draw = generator(0, "images of a check")
    pixels = torch.randint(
        256, (images, 3, SIDE, SIDE), generator=draw, dtype=torch.uint8
    )
    labels = torch.randint(10, (images,), generator=draw)
    return Split(pixels, labels).to(device)


def network_of(depth: int, device: torch.device) -> torch.nn.Module:
    """Return a residual network of the CIFAR family with fresh weights."""
    design = NetworkDesign(depth=depth, channels=3, classes=10)
    return build_cifar_network(design, generator(0, "weights")).to(device)


def gradients(device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return all gradients of one batch, as one vector on the CPU."""
    split = random_split(BATCH, device)
    network = network_of(CHECKED_DEPTH, device).to(dtype)
    images = NEUTRAL.apply(split.images).to(dtype)
    loss = cross_entropy(network(images), split.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    found = (each.grad for each in network.parameters())
    return torch.cat([each.flatten() for each in found if each is not None]).cpu()


def _relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def gradient_errors(device: Device) -> dict[str, float]:
    """Return how far gradients are from those in float64 on the CPU (relative 2-norm).

    An input of ReLU near 0 may round to its other side, which changes the gradient by
    far more than the rounding: so the device's error is held against the CPU's own.
    """
    cpu = torch.device("cpu")
    exact = gradients(cpu, torch.float64)
    own = _relative(gradients(cpu), exact)
    found = {"gradient error of the CPU": own}
    for name, tf32 in (("float32", False), ("tf32", True)):
        devices.set_float32_precision(tf32=tf32)
        found[f"gradient error {name}"] = _relative(gradients(device.torch), exact)
    devices.set_float32_precision(tf32=False)
    found["gradient error over the CPU's"] = found["gradient error float32"] / own
    return found


def convolution_error(device: Device) -> dict[str, float]:
    """Return how far a 3x3 convolution is from float64: its ceiling seems high."""
    draw = generator(0, "a convolution")
    images = torch.randn(8, 256, 28, 28, generator=draw)
    kernels = torch.randn(256, 256, 3, 3, generator=draw)
    exact = torch.conv2d(images.double(), kernels.double(), padding=1)
    inputs = [
        each.to(device.torch, memory_format=torch.channels_last)
        for each in (images, kernels)
    ]
    return {
        "convolution error float32": _relative(
            torch.conv2d(*inputs, padding=1).cpu(), exact
        )
    }


def trainer_of(
    depth: int,
    steps: int,
    sizes: Sizes,
    *,
    graphs: Any,
    channels_last: bool = True,
    autocast: torch.dtype | None = None,
) -> Trainer:
    """Return a prepared training with the paper's recipe, on random images."""
    plan = TrainingPlan(
        schedule=Schedule(shape="constant", steps=steps, peak=0.1),
        batch_size=BATCH,
        augmentation="crop-flip",
        channels_last=channels_last,
        autocast=autocast,
    )
    split = random_split(sizes.images, sizes.device.torch)
    network = network_of(depth, sizes.device.torch)
    trainer = Trainer(network, split, NEUTRAL, plan, graphs=graphs)
    trainer.prepare()
    return trainer


def step_milliseconds(sizes: Sizes) -> dict[str, float]:
    """Return the milliseconds of a step by depth and by how it is computed."""
    ways: dict[str, dict[str, Any]] = {
        "eager": {"graphs": None},
        "graph": {"graphs": sizes.graphs},
        "graph NCHW": {"graphs": sizes.graphs, "channels_last": False},
        "graph bfloat16": {"graphs": sizes.graphs, "autocast": torch.bfloat16},
    }
    found = {}
    for depth in sizes.depths:
        for name, way in ways.items():
            steps = sizes.timed_steps
            trainer = trainer_of(depth, steps + 1, sizes, **way)
            trainer.advance(1)
            before = trainer.seconds
            trainer.advance(steps)
            seconds = (trainer.seconds - before) / steps
            found[f"step depth {depth} {name}"] = 1000 * seconds
    return found


#: Kernels that are listed, those that take longest.
LISTED_KERNELS = 15


def kernels_of_a_step(sizes: Sizes) -> dict[str, float]:
    """Print the kernels of a replayed step, and return how many there are."""
    steps = sizes.timed_steps
    trainer = trainer_of(CHECKED_DEPTH, steps + 1, sizes, graphs=sizes.graphs)
    trainer.advance(1)
    with torch.profiler.profile() as profile:
        trainer.advance(steps)
    rows = [
        (each.self_device_time_total / steps / 1000, each.count / steps, each.key)
        for each in profile.key_averages()
        if each.self_device_time_total
    ]
    for milliseconds, count, name in sorted(rows, reverse=True)[:LISTED_KERNELS]:
        print(f"check: {milliseconds:.3f} ms in {count:.0f} calls a step: {name[:90]}")
    return {
        "kernels of a step": sum(count for _, count, _ in rows),
        "kernel ms of a step": sum(milliseconds for milliseconds, _, _ in rows),
    }


def differing_weights(sizes: Sizes) -> dict[str, float]:
    """Return how many weights differ between ordinary and replayed steps."""
    compute_deterministically()
    trained = []
    for graphs in (None, sizes.graphs):
        trainer = trainer_of(CHECKED_DEPTH, sizes.compared_steps, sizes, graphs=graphs)
        trainer.train()
        state = trainer.model.state_dict().values()
        trained.append(torch.cat([each.flatten().double() for each in state]))
    return {"weights changed by graphs": float((trained[0] != trained[1]).sum())}


def measure(file: Path, rehearse: bool) -> None:
    """Take every figure of the check; a failure is printed, and the rest go on."""
    # Before CUDA starts: it makes cuBLAS's products the same each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    sizes = sizes_of(rehearse)
    devices.settle(sizes.device, threads=torch.get_num_threads(), tf32=False)
    parts: tuple[Callable[[], dict[str, float]], ...] = (
        lambda: gradient_errors(sizes.device),
        lambda: convolution_error(sizes.device),
        lambda: step_milliseconds(sizes),
        lambda: kernels_of_a_step(sizes),
        lambda: differing_weights(sizes),
    )
    figures: dict[str, float] = {}
    failed = False
    for part in parts:
        try:
            figures |= part()
        except RuntimeError as error:
            failed = True
            print(f"check: {' '.join(str(error).split())[:500]}")
        file.write_text(json.dumps(figures, indent=1))
    for name, value in figures.items():
        print(f"check: {name} {value:.4g}")
    if failed:
        sys.exit(1)


def watch(file: Path) -> None:
    """Log every card's clock, power and memory until this process is terminated."""
    # Every line is written by then.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    cards = list(_cards())
    began = time.monotonic()
    with file.open("w", buffering=1) as log:
        log.write("seconds,card,clock_mhz,power_watts,used_gib,reasons\n")
        while True:
            for number, card in enumerate(cards):
                state = card.state()
                used = (state.used_bytes or 0) / GIBIBYTE
                log.write(
                    f"{time.monotonic() - began:.1f},{number},{state.clock_mhz},"
                    f"{state.power_watts},{used:.2f},{' '.join(state.reasons)}\n"
                )
            time.sleep(LOOK_SECONDS)


def _cards() -> Iterator[Driver]:
    try:
        import pynvml
    except ImportError:
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    for index in range(pynvml.nvmlDeviceGetCount()):
        yield Driver(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index))


@dataclass(frozen=True)
class Bound:
    """The bounds of a figure on one H100 or H200; a figure outside is a defect.

    Published or computed; where the source is a person's own estimate, it says so.
    """

    figure: str
    low: float
    high: float
    source: str = ""


INFINITY = math.inf
BOUNDS = (
    Bound("gradient error over the CPU's", 0, 3),
    Bound("gradient error tf32", 1e-4, 3e-2),
    Bound("convolution error float32", 0, 5e-5, "TF32: 3e-4"),
    Bound("weights changed by graphs", 0, 0),
    Bound("step depth 20 eager", 0, 10, "estimate 7 ms"),
    Bound("step depth 56 eager", 0, 26, "estimate 18 ms"),
    Bound("step depth 110 eager", 0, 50, "estimate 35 ms"),
    Bound("step depth 20 graph", 0.23, 6, "memory traffic; kernels in float32"),
    Bound("step depth 56 graph", 0.66, 15, "memory traffic; kernels in float32"),
    Bound("step depth 110 graph", 1.3, 30, "memory traffic; kernels in float32"),
    Bound("product bfloat16 TFLOP/s", 700, 820),
    Bound("product tf32 TFLOP/s", 300, 450),
    Bound("product float32 TFLOP/s", 40, 60),
    Bound("copy TB/s", 2.6, 4.8, "H100 3.35, H200 4.8 by their data sheets"),
    Bound("resnet50 float32 inference img/s", 2000, 5500, "above 8,190 TF32 leaked"),
    Bound("resnet50 float32 training img/s", 700, 1700, "V100 367; cap 2,730"),
    Bound("resnet50 float32 over the product", 0.4, 0.9),
    Bound("resnet50 float32 closure", 0.98, 1.03),
    Bound("resnet50 float32 peak GiB", 9.8, 12.5, "20.9 M saved elements an image"),
    Bound(
        "resnet50 bfloat16 inference img/s",
        9000,
        25000,
        "RTX PRO 6000 11,413; RTX 4090 AMP 8,039",
    ),
    Bound("resnet50 bfloat16 efficiency", 0.1, 0.35, "above 1 is a defect"),
    Bound("resnet50 batch 1 ms", 3, 6),
    Bound("resnet50 batch 1 host-bound", 1, 1),
    Bound("ladder tf32 over float32", 1, INFINITY),
    Bound("ladder compiled over eager", 1, INFINITY),
    Bound("ladder graphs over compiled", 0.98, INFINITY, "at least compiled"),
    Bound("logit difference eager", 0, 1e-4),
    Bound("logit difference channels-last", 0, 1e-4),
    Bound("logit difference tf32", 2e-4, 1e-2),
    Bound("logit difference float16", 5e-4, 1e-2),
    Bound("logit difference bfloat16", 3e-3, 1e-1),
)


def judge(folder: Path, rehearse: bool) -> int:
    """Print every figure beside its bound, and return how many lie outside."""
    figures = dict(collected(folder))
    (folder / "figures.json").write_text(json.dumps(figures, indent=1))
    outside = 0
    for bound in BOUNDS:
        value = figures.pop(bound.figure, None)
        word = "missing" if value is None else "ok"
        if value is not None and not bound.low <= value <= bound.high:
            word = "OUTSIDE"
        outside += word == "OUTSIDE"
        shown = "-" if value is None else f"{value:.4g}"
        print(
            f"{'' if rehearse else word:8} {bound.figure:36} {shown:>10}  "
            f"{bound.low:g} to {bound.high:g}  {bound.source}".rstrip()
        )
    for name, value in figures.items():
        print(f"{'':8} {name:36} {value:>10.4g}")
    print("rehearsed, not judged" if rehearse else f"{outside} figures outside")
    return 0 if rehearse else outside


def collected(folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the figures of all steps that wrote a run or a file."""
    check = folder / "check.json"
    if check.is_file():
        yield from json.loads(check.read_text()).items()
    rows = {step: _rows(folder / "runs" / step) for step in STEPS}
    for step, figures in STEPS.items():
        if rows[step]:
            yield from limits_of(rows[step])
            yield from figures(rows[step])


def _rows(results: Path) -> list[SpeedRow]:
    folders = run_folders(results, "speed") if results.is_dir() else []
    return [row for folder in folders for row in rows_of(read_run(folder))]


def _known(found: dict[str, float | None]) -> Iterator[tuple[str, float]]:
    yield from ((name, value) for name, value in found.items() if value is not None)


def _estimate(interval: Interval | None) -> float | None:
    return None if interval is None else interval.estimate


def _rate(row: SpeedRow, kind: str) -> float | None:
    """Return images per second of `train` or `inference`."""
    return _estimate(row.interval(f"{kind}_images_per_second"))


def of_training(rows: list[SpeedRow]) -> Iterator[tuple[str, float]]:
    """Yield the figures of ResNet-50 in float32.

    The ceiling of a 3x3 convolution counts products that Winograd's algorithm saves,
    and a ResNet-50 has mostly 1x1 ones: so it is held against the matrix product.
    """
    row = next((each for each in rows if each.parameters["variant"] == 50), rows[0])
    achieved = _estimate(row.achieved("forward"))
    product = _estimate(row.ceilings.get("matrix_product"))
    peak = row.peak_memory["train_peak_memory_bytes"]
    yield from _known(
        {
            "resnet50 float32 training img/s": _rate(row, "train"),
            "resnet50 float32 inference img/s": _rate(row, "inference"),
            "resnet50 float32 over the product": achieved
            and product
            and achieved / product,
            "resnet50 float32 closure": _estimate(row.closure),
            "resnet50 float32 peak GiB": peak and peak / GIBIBYTE,
        }
    )


def of_inference(rows: list[SpeedRow]) -> Iterator[tuple[str, float]]:
    """Yield the figures of compiled inference in bfloat16."""
    yield from _known(
        {
            "resnet50 bfloat16 inference img/s": _rate(rows[0], "inference"),
            "resnet50 bfloat16 efficiency": rows[0].efficiency,
        }
    )


def of_one_image(rows: list[SpeedRow]) -> Iterator[tuple[str, float]]:
    """Yield the figures of a single image."""
    seconds = _estimate(rows[0].phase("inference"))
    yield from _known({"resnet50 batch 1 ms": seconds and 1000 * seconds})
    yield "resnet50 batch 1 host-bound", float("host-bound" in rows[0].flags)


def limits_of(rows: list[SpeedRow]) -> Iterator[tuple[str, float]]:
    """Yield the machine's ceilings by number format, from any step's runs."""
    for row in rows:
        name = "tf32" if row.parameters["tf32"] else row.parameters["dtype"]
        product = _estimate(row.ceilings.get("matrix_product"))
        yield from _known({f"product {name} TFLOP/s": product and product / 1e12})
        if name == "float32":
            copy = _estimate(row.ceilings.get("copy"))
            yield from _known({"copy TB/s": copy and copy / 1e12})


def of_ladder(rows: list[SpeedRow]) -> Iterator[tuple[str, float]]:
    """Yield gains by rung, and how far logits differ from the first rung's."""
    by_rung = {row.parameters["rung"]: row for row in rows}
    rates = {rung: _rate(row, "inference") for rung, row in by_rung.items()}
    for name, faster, slower in (
        ("tf32 over float32", "tf32", "channels-last"),
        ("compiled over eager", "compiled", "bfloat16"),
        ("graphs over compiled", "cuda-graphs", "compiled"),
    ):
        above, below = rates.get(faster), rates.get(slower)
        if above and below:
            yield f"ladder {name}", above / below
    errors = {rung: row.known("logit_error") for rung, row in by_rung.items()}
    yield from _known(
        {f"logit difference {rung}": error for rung, error in errors.items()}
    )


#: The figures of each step's runs, by the step's folder.
STEPS: dict[str, Callable[[list[SpeedRow]], Iterator[tuple[str, float]]]] = {
    "speed": of_training,
    "all": of_training,
    "ladder": of_ladder,
    "inference": of_inference,
    "single": of_one_image,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("measure", "watch", "judge"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args(arguments)
    if options.action == "judge":
        return min(1, judge(options.path, options.rehearse))
    if options.action == "watch":
        watch(options.path)
    measure(options.path, options.rehearse)
    return 0


if __name__ == "__main__":
    sys.exit(main())
