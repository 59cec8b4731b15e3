"""A finetune run made of numbers that were chosen, not measured."""

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnet_bench.experiments.finetune.cells import (
    FinetuneCell,
    Samples,
    TransferEpoch,
    TransferResult,
)
from resnet_bench.experiments.finetune.grid import expand
from resnet_bench.experiments.finetune.spec import Config
from resnet_bench.experiments.pretrain.spec import PretrainCell, SourceResult
from resnet_bench.records import Cell, Record
from resnet_bench.store.reading import Run
from tests.experiments.assembled import assembled

#: Accuracy of each strategy and control with the most shots, in percent.
LEVELS = {
    "probe": 95.0,
    "full": 98.0,
    "scratch": 97.0,
    "raw-pixels": 96.0,
    "random-probe": 94.0,
}
SHOTS = (10, 200)
TEST_IMAGES = 1000


def resolved(**options: Any) -> Config:
    """Return a config as `prepare` leaves it."""
    return Config(
        **{
            "weights": "suite",
            "stem": "small",
            "image_size": 32,
            "variants": (18, 34),
            "shots": SHOTS,
            **options,
        },
        device="cpu",
    )


def stored_run(config: Config, **changes: Any) -> Run:
    """Return the complete run of a config; `changes` alter every result."""

    def records(cell: Cell) -> Sequence[Record]:
        return records_of(cell, changes)

    folder = Path("results/finetune/r1")
    return assembled(folder, config, expand(config), records)


def records_of(cell: Cell, changes: dict[str, Any]) -> Sequence[Record]:
    """Return what a cell would have yielded."""
    if isinstance(cell, PretrainCell):
        return [
            SourceResult(
                file="f",
                sha256=f"s{cell.seed}",
                data_sha256="d",
                reused=cell.seed == 0,
                steps=60,
                source_accuracy_percent=98.0 + cell.seed,
                training_seconds=6.0,
            )
        ]
    assert isinstance(cell, FinetuneCell)
    result = replace(_result(cell), **changes)
    if cell.shows_samples:
        return [_samples(), result]
    if result.steps == 0:
        return [result]
    levels = (result.test_accuracy_percent - 20, result.test_accuracy_percent)
    return [*(_epoch(n, level) for n, level in enumerate(levels, 1)), result]


def _samples() -> Samples:
    """Return two grey squares of two pixels."""
    picture = io.BytesIO()
    Image.new("RGB", (4, 2), "grey").save(picture, "PNG")
    png = base64.b64encode(picture.getvalue()).decode()
    return Samples(png=png, side=2, columns=2, class_names=["5", "6"])


def _epoch(number: int, level: float) -> TransferEpoch:
    return TransferEpoch(
        epoch=number,
        step=20 * number,
        training_seconds=4.0 * number,
        train_loss=1.0 / number,
        test_accuracy_percent=level,
    )


def answers_of(level: float) -> str:
    """Return as many right answers of the first images as an accuracy in percent."""
    right = np.arange(TEST_IMAGES) < round(level / 100 * TEST_IMAGES)
    return np.packbits(right).tobytes().hex()


def _result(cell: FinetuneCell) -> TransferResult:
    fewer = 0 if cell.shots in (None, SHOTS[-1]) else 10
    level = LEVELS[cell.strategy] - fewer + 0.5 * cell.seed
    level -= 8 * cell.permuted + (0.3 * cell.seed if cell.strategy == "probe" else 0)
    steps = 0 if cell.part == "control" or cell.strategy == "probe" else 40
    trained = cell.source_key is not None
    return TransferResult(
        weights_origin="suite:photo-digits-0-4" if trained else "random",
        weights_sha256=f"s{cell.seed}" if trained else None,
        stem="small",
        image_size=32,
        train_images=5 * (cell.shots or 1600),
        test_images=TEST_IMAGES,
        skipped_images=0,
        classes=5,
        class_names=list("56789"),
        epochs=steps // 20,
        steps=steps,
        diverged=False,
        learning_rate=0.01 if steps else None,
        learning_rate_validation=None,
        threads=1,
        right_answers=answers_of(level),
        confusion=[[0, 0, round(10 * level)], [0, 1, 1000 - round(10 * level)]],
        test_accuracy_percent=level,
        class_mean_accuracy_percent=level,
        nll=0.1,
        calibration_error=0.02,
        trainable_parameters=2565,
        step_seconds=0.05 * (cell.variant or 1) / 18 if steps else None,
        images_per_second=300.0,
        peak_memory_bytes=100 * 2**20 if steps else None,
        seconds_to_target=8.0 if level >= 90 else None,
        training_seconds=8.0 if steps else 0.5,
        total_seconds=14.0,
    )
