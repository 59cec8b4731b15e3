"""depth, overfitting, thousand, shortcut, controls: errors of trained networks.

These studies differ in which networks they train (see grid.py), not in what they
read off them: clean errors at the last step, and the course of the training.
"""

from collections.abc import Iterator

from resnet_bench.engine.models.work import parameter_count
from resnet_bench.engine.training.evaluation import Evaluation, evaluate, recalibrate
from resnet_bench.experiments.degradation.records import (
    CurvePoint,
    TrainingResult,
)
from resnet_bench.experiments.degradation.studies.subject import Subject

#: Points of a training's curve that are kept.
CURVE_POINTS = 200


def finish(subject: Subject) -> TrainingResult:
    """Evaluate a trained network, recalibrating its batch norm on the way."""
    if subject.trainer.diverged:
        return _result(subject, None, None, None)
    normalisation = subject.data.normalisation
    running = evaluate(subject.model, subject.train, normalisation)
    subject.recalibration_images = recalibrate(
        subject.model, subject.train, normalisation
    )
    exact = evaluate(subject.model, subject.train, normalisation)
    subject.learned = exact.error_percent < _chance_percent(subject) / 2
    test = evaluate(subject.model, subject.data.test, normalisation)
    return _result(subject, running, exact, test)


def _result(
    subject: Subject,
    running: Evaluation | None,
    exact: Evaluation | None,
    test: Evaluation | None,
) -> TrainingResult:
    trainer = subject.trainer
    chance = _chance_percent(subject)
    return TrainingResult(
        diverged=trainer.diverged,
        diverged_at_step=trainer.diverged_at_step,
        train_images_used=len(subject.train),
        test_images=len(subject.data.test),
        classes=len(subject.data.classes),
        skipped_images=subject.data.skipped_images,
        recalibration_images=subject.recalibration_images,
        data_sha256=subject.data.sha256(),
        steps=trainer.step,
        parameters=parameter_count(subject.model),
        chance_error_percent=chance,
        train_error_percent=running.error_percent if running else chance,
        train_error_recalibrated_percent=exact.error_percent if exact else chance,
        test_error_percent=test.error_percent if test else chance,
        train_loss=exact.loss if exact else None,
        test_loss=test.loss if test else None,
        seconds=trainer.seconds,
        step_seconds=trainer.seconds / max(1, trainer.step),
    )


def _chance_percent(subject: Subject) -> float:
    return 100 * (1 - 1 / len(subject.data.classes))


def curve(subject: Subject) -> Iterator[CurvePoint]:
    """Yield the course of the training, at most 200 points, the last one always."""
    points = subject.trainer.curve
    stride = -(-len(points) // CURVE_POINTS)
    for number, point in enumerate(points, start=1):
        if number % stride == 0 or number == len(points):
            yield CurvePoint(
                step=point.step,
                epoch=point.epoch,
                learning_rate=point.learning_rate,
                running_loss=point.loss,
                running_error_percent=point.error_percent,
            )
