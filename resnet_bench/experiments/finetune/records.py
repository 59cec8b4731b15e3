"""What the cells of `finetune` yield."""

from dataclasses import dataclass

from resnet_bench.records import Record, measured


@dataclass(frozen=True, kw_only=True)
class TransferResult(Record):
    """A trained or fitted classifier on the target's test half, at the last epoch.

    `weights_sha256` is None for random weights. `learning_rate` is the peak that was
    used; `learning_rate_validation` maps each rate of a grid to its accuracy on held
    out training images. `seconds_to_target` is training time, evaluation excluded,
    and None when the target was not reached. `training_seconds` leaves evaluation
    out; `total_seconds` counts the source's training too and is None where nobody knows
    it (ImageNet). What a fit without steps
    does not have (a step time) is None. `right_answers` is kept on permuted pixels
    only: a bit per tested image, the first one highest, in hexadecimal.
    """

    weights_origin: str
    weights_sha256: str | None
    stem: str
    image_size: int
    train_images: int
    test_images: int
    skipped_images: int
    classes: int
    epochs: int
    steps: int
    diverged: bool
    learning_rate: float | None
    learning_rate_validation: dict[str, float] | None
    threads: int
    right_answers: str | None = None
    test_accuracy_percent: float = measured(unit="%", better="higher")
    class_mean_accuracy_percent: float = measured(unit="%", better="higher")
    nll: float | None = measured(unit="1", better="lower")
    calibration_error: float | None = measured(unit="1", better="lower")
    trainable_parameters: int = measured(unit="1", better="lower", exact=True)
    step_seconds: float | None = measured(unit="s", better="lower")
    images_per_second: float | None = measured(unit="1/s", better="higher")
    peak_memory_bytes: int | None = measured(unit="B", better="lower")
    seconds_to_target: float | None = measured(unit="s", better="lower")
    training_seconds: float = measured(unit="s", better="lower")
    total_seconds: float | None = measured(unit="s", better="lower")


@dataclass(frozen=True, kw_only=True)
class TransferEpoch(Record):
    """How a training stood after an epoch; nothing is chosen by it."""

    epoch: int
    step: int
    training_seconds: float = measured(unit="s", better="lower")
    train_loss: float | None = measured(unit="1", better="lower")
    test_accuracy_percent: float = measured(unit="%", better="higher")
