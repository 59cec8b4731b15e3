"""Runs of `speed` that were never measured, built record by record."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.speed.cells import (
    BREAKDOWN_STAGE,
    CEILING,
    TIME,
    SpeedCell,
)
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.settings import LADDER
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.experiments.speed.view.show import show
from resnet_bench.present.shown import Shown
from resnet_bench.records import to_json
from resnet_bench.store.reading import Run, assemble
from resnet_bench.store.writing import create_run

#: Seconds of a forward pass of one image, work per image and parameters.
COSTS: dict[Any, tuple[float, int, int]] = {
    18: (0.012, 1_814_073_344, 11_689_512),
    34: (0.021, 3_663_761_408, 21_797_672),
    50: (0.031, 4_089_184_256, 25_557_032),
    101: (0.055, 7_801_405_440, 44_549_160),
    152: (0.079, 11_513_626_624, 60_192_808),
}
USER_COST = (0.003, 400_000_000, 1_000_000)

#: Times of the phases over that of forward.
SHARES = {
    "forward": 1.0,
    "loss": 0.005,
    "backward": 2.0,
    "optimizer": 0.1,
    "step": 3.11,
    "inference": 0.9,
}

ENVIRONMENT = {
    "machine_key": "0123456789ab",
    "cpu": {"model": "AMD EPYC 7B13", "usable_cores": 2},
    "gpus": [{"name": "NVIDIA H100"}],
    "libraries": {"torch": "2.11.0"},
    "python": {"version": "3.11.2"},
}


def visit_of(cell: SpeedCell, round_: int, rng: random.Random) -> dict[str, Any]:
    seconds, multiply_adds, parameters = COSTS.get(cell.variant, USER_COST)
    batch = cell.batch_size or 1
    slow = rng.lognormvariate(0, 0.01)

    def samples(phase: str, count: int = 5) -> list[float]:
        base = seconds * batch * SHARES[phase] * slow
        return [base * rng.lognormvariate(0, 0.01) for _ in range(count)]

    rates = {
        "train": [batch / value for value in samples("step", 3)] * cell.trains,
        "inference": [batch / v for v in samples("inference", 3)] * cell.infers,
    }
    return {
        "type": "speed_samples",
        "round": round_,
        "own_seconds": 1.0,
        **{
            f"{phase}_seconds": samples(phase) if phase in cell.phases else []
            for phase in SHARES
        },
        **{f"{kind}_images_per_second": values for kind, values in rates.items()},
        "device_seconds": {},
        "warmup_seconds": {},
        "first_step_seconds": 0.5 if round_ == 0 and cell.trains else None,
        "first_inference_seconds": 0.2 if round_ == 0 and cell.infers else None,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "flop": 2 * multiply_adds,
        "activations": 1000,
        "observed_threads": cell.threads,
        "interop_threads": 1,
        "observed_tf32": False,
        "cudnn_benchmark": False,
        "denormals_flushed": True,
        "flags": [],
        "notes": [],
    }


def records_of(cell: SpeedCell, rounds: int, rng: random.Random) -> list[Any]:
    if cell.measure == TIME:
        return [visit_of(cell, round_, rng) for round_ in range(rounds)]
    if cell.measure == CEILING:
        return [
            {
                "type": "ceiling_samples",
                "round": round_,
                "own_seconds": 1.0,
                "matrix_product": [2.0e11, 2.1e11],
                "convolution": [1.8e11, 1.9e11],
                "copy": [1.2e10],
            }
            for round_ in range(rounds)
        ]
    size = 10**8 * (cell.batch_size or 1)
    peak = {"peak_bytes": size, "reserved_bytes": None, "baseline_bytes": 10**8}
    return [{"type": "peak_memory", **peak}]


Change = Callable[[SpeedCell, dict[str, Any]], dict[str, Any]]


def lines_of(
    config: Config, rounds: int, change: Change, failing: Mapping[Any, str]
) -> list[dict[str, Any]]:
    rng = random.Random(1)
    cells = expand(config)
    lines: list[dict[str, Any]] = []
    for cell in cells:
        end = {"kind": "cell", "cell": cell.key, "attempt": 1, "status": "ok"}
        if cell.measure == TIME and cell.variant in failing:
            end |= {"status": "failed", "error": failing[cell.variant]}
        for record in records_of(cell, rounds, rng):
            content = change(cell, record)
            lines.append({"kind": "record", "cell": cell.key, "attempt": 1, **content})
        lines.append(end)
    return lines


def unchanged(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
    return record


def header_of(config: Config, **changes: Any) -> dict[str, Any]:
    header = {
        "kind": "run",
        "schema_version": 1,
        "run": "20260102T030405Z_abcdef0_1234",
        "experiment": "speed",
        "config": to_json(config),
        "environment": ENVIRONMENT,
        "argv": ["speed", "--variants", "18,34"],
        "cells": {cell.key: cell.parameters for cell in expand(config)},
    }
    return {**header, **changes}


def shown_of(run: Run) -> Shown:
    """Return what a run shows that knows of no other."""
    return show(run, OtherRuns())


def speed_run(
    rounds: int = 8,
    change: Change = unchanged,
    failing: Mapping[Any, str] | None = None,
    **options: Any,
) -> Run:
    """Return a complete run of `speed` with the options given."""
    config = resolved(Config(**options), options.get("device", "cpu"), 2)
    lines = lines_of(config, rounds, change, failing or {})
    end = {"kind": "end", "status": "complete"}
    return assemble(Path("unused"), [header_of(config), *lines, end])


def store(
    results: Path, run: Run, run_id: str, environment: Any, **changes: Any
) -> Path:
    """Write a run below `results` under another id and machine; return its folder."""
    own = {"run": run_id, "environment": environment, **changes}
    header = {**run.header, **own}
    for name in ("kind", "schema_version"):
        header.pop(name, None)
    folder = results / run.experiment / run_id
    with create_run(folder, header) as writer:
        for key, end in run.cells.items():
            for record in run.records:
                if record["cell"] == key:
                    content = dict(record)
                    del content["cell"], content["attempt"]
                    writer.record(key, end.attempt, content)
            writer.commit(key, end.attempt, end.status, error=end.error)
        writer.end("complete")
    return folder


def store_speed_run(
    results: Path,
    run: str,
    environment: Any = None,
    rounds: int = 8,
    change: Change = unchanged,
    failing: Mapping[Any, str] | None = None,
    **options: Any,
) -> Path:
    """Write a complete run below `results` and return its folder."""
    made = speed_run(rounds, change, failing, **options)
    return store(results, made, run, environment or ENVIRONMENT)


#: By part: forward seconds, multiply-adds, activations; backward takes twice as long.
PARTS = {
    "stem": (0.010, 100_000_000, 800_000),
    "layer1": (0.046, 450_000_000, 1_000_000),
    "fc": (0.001, 500_000, 1_000),
}


def breakdown_record(round_: int, lost: float = 0.0) -> dict[str, Any]:
    forward = {name: [part[0]] for name, part in PARTS.items()}
    total = sum(part[0] for part in PARTS.values()) * (1 + lost)
    return {
        "type": "breakdown_samples",
        "round": round_,
        "own_seconds": 1.0,
        "parts": list(PARTS),
        "forward_seconds": forward,
        "backward_seconds": {name: [2 * v[0]] for name, v in forward.items()},
        "whole_forward_seconds": [total],
        "whole_backward_seconds": [2 * total],
        "multiply_adds": {name: part[1] for name, part in PARTS.items()},
        "activations": {name: part[2] for name, part in PARTS.items()},
    }


def breakdown_run(tmp_path: Path, lost: float = 0.0) -> Run:
    config = resolved(Config(variants=(18,), breakdown="stage"), "cpu", 2)
    (cell,) = [each for each in expand(config) if each.measure == BREAKDOWN_STAGE]
    lines: list[dict[str, Any]] = [header_of(config)]
    identity = {"cell": cell.key, "attempt": 1}
    lines += [
        {"kind": "record", **identity, **breakdown_record(n, lost)} for n in range(8)
    ]
    lines.append({"kind": "cell", **identity, "status": "ok"})
    lines.append({"kind": "end", "status": "complete"})
    return assemble(tmp_path, lines)


#: Times over those of the start, by step: autocast is slow here, bfloat16 fast.
FACTORS = {
    "eager": 1.0,
    "channels-last": 0.8,
    "compiled-float32": 0.8,
    "amp": 0.9,
    "bfloat16": 0.5,
    "compiled": 0.4,
    "keep-memory": 0.45,
}


UNSUPPORTED = tuple(
    (rung.name, "needs a CUDA device" if rung.needs_cuda else "is not installed")
    for rung in LADDER
    if rung.needs_cuda or rung.runtime
)


FIRST_CALL_SECONDS = 20.0


def times_by(
    factors: dict[str, float],
) -> Callable[[SpeedCell, dict[str, Any]], dict[str, Any]]:
    def change(cell: SpeedCell, record: dict[str, Any]) -> dict[str, Any]:
        if cell.rung is None or record["type"] != "speed_samples":
            return record
        scaled = {
            name: [factors[cell.rung] * value for value in values]
            for name, values in record.items()
            if name.endswith("_seconds") and isinstance(values, list)
        }
        ladder = {
            "first_inference_seconds": FIRST_CALL_SECONDS,
            "first_step_seconds": FIRST_CALL_SECONDS,
            "logit_error": 1e-6 if cell.dtype == "float32" else 0.01,
            "top1_agreement": 1.0,
        }
        return {**record, **scaled, **ladder}

    return change
