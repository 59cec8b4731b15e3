"""What is said about a run of finetune: titles, the weights' origin, caveats."""

import math
from collections.abc import Sequence

from resnet_bench.catalogue import DATASETS, VARIANTS
from resnet_bench.experiments.finetune.spec import RAW_PIXELS, TransferResult
from resnet_bench.experiments.finetune.view.groups import (
    NO_GAIN_MARGIN_POINTS,
    ControlGain,
    Group,
)
from resnet_bench.experiments.pretrain.spec import SourceResult
from resnet_bench.present.machines import machine_title
from resnet_bench.store.reading import Run

#: Origins that say that nothing was pre-trained.
UNTRAINED = ("random", "none")


def origins(run: Run) -> list[str]:
    """Return where the run's trained weights come from; empty when there are none."""
    found = {row["weights_origin"] for row in run.rows(TransferResult)}
    return sorted(found - set(UNTRAINED))


def setting(run: Run) -> str:
    """Return data, weights origin, seeds and machine, for titles."""
    config = run.config
    named = DATASETS.get(str(config.get("dataset")))
    seeds = config.get("seeds")
    parts = [
        named.title if named else str(config.get("dataset")),
        f"weights {', '.join(origins(run)) or 'random'}",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        machine_title(run.environment, str(config.get("device", "cpu"))),
    ]
    return " · ".join(parts)


def origin_sentence(run: Run) -> str:
    """Return the sentence about the weights that nobody may miss."""
    found = origins(run)
    if not found:
        return "WEIGHTS: random; nothing here was pre-trained."
    origin = ", ".join(found)
    if any(name.startswith("suite") for name in found):
        source = str(run.config.get("source"))
        return (
            f"WEIGHTS: {origin}, trained by this suite on {source}; "
            "nothing here was pre-trained on ImageNet."
        )
    if any("unverified" in name for name in found):
        return f"WEIGHTS: {origin}; the file's hash was not checked."
    return f"WEIGHTS: {origin}."


def accuracy_sentences(groups: Sequence[Group]) -> list[str]:
    """Return what each network reached with the whole data, by strategy."""
    largest = max((group.fraction for group in groups), default=1.0)
    told: dict[str, list[str]] = {}
    for group in groups:
        if group.fraction == largest and not group.is_control:
            words = f"{group.strategy} {group.accuracy.estimate:.1f}"
            told.setdefault(group.name, []).append(words)
    return [
        f"{name}, test accuracy in percent: {', '.join(words)}."
        for name, words in told.items()
    ]


def share_images(dataset: str, source: str) -> bool:
    """Whether two data sets hold some of the same images."""
    both = {dataset, source}
    return len(both) == 1 or (
        "digits" in both and all(name.startswith("digits") for name in both)
    )


def caveats(run: Run, groups: Sequence[Group]) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    rows = run.rows(TransferResult)
    said = [origin_sentence(run)]
    dataset, source = str(run.config.get("dataset")), str(run.config.get("source"))
    if run.rows(SourceResult) and share_images(dataset, source):
        said.append(
            f"{source}, on which the backbone was trained, shares training images with "
            f"{dataset}: this is no transfer to unseen data"
        )
    diverged = sorted({row["cell"] for row in rows if row["diverged"]})
    if diverged:
        said.append(f"{len(diverged)} trainings diverged and count as they ended")
    skipped = max((row["skipped_images"] for row in rows), default=0)
    if skipped:
        said.append(f"{skipped} images could not be decoded and were left out")
    unfinished = len(run.missing) + len(run.failed)
    if unfinished:
        said.append(f"{unfinished} of {len(run.grid)} cells have no result")
    if len({row["seed"] for row in rows}) == 1:
        said.append("one seed gives no interval; try --seeds 3")
    return [*said, *_beaten_by_pixels(groups)]


def _beaten_by_pixels(groups: Sequence[Group]) -> list[str]:
    """Say which networks do no better than logistic regression on raw pixels."""
    said = []
    for control in groups:
        if control.strategy != RAW_PIXELS or control.permuted:
            continue
        level = control.accuracy.estimate
        rivals = [
            group
            for group in groups
            if not group.is_control and group.fraction == control.fraction
        ]
        below = [group for group in rivals if group.accuracy.estimate <= level]
        if below:
            said.append(
                f"logistic regression on raw pixels reaches {level:.1f} % with "
                f"{100 * control.fraction:g} % of the data; {len(below)} of "
                f"{len(rivals)} rows do no better"
            )
    return said


def control_sentence(gains: Sequence[ControlGain]) -> str:
    """Return what the negative control says, in one sentence; empty without one."""
    if not gains:
        return ""
    pooled = gains[0]
    low, high = pooled.gain.low, pooled.gain.high
    known = f"[{low:+.1f}, {high:+.1f}]" if math.isfinite(low) else "[no interval]"
    pairs = f"{pooled.gain.samples} pair{'s' if pooled.gain.samples != 1 else ''}"
    return (
        f"Negative control, pixels permuted: pre-training gains a probe "
        f"{pooled.gain.estimate:+.1f} pp {known} over {pairs}; "
        f"no gain (below {NO_GAIN_MARGIN_POINTS:g} pp, half-width at most that): "
        f"{pooled.verdict}{_exceptions(gains)}."
    )


def _exceptions(gains: Sequence[ControlGain]) -> str:
    """Name the networks whose own verdict is another than that of all together."""
    pooled, *each = gains
    other = [
        f"{VARIANTS[gain.variant].title} {gain.verdict}"
        for gain in each
        if gain.variant and gain.verdict is not pooled.verdict
    ]
    return f"; alone: {', '.join(other)}" if other else ""


def source_sentences(run: Run) -> list[str]:
    """Return what the source checkpoints reached, and whether they were cached."""
    rows = run.rows(SourceResult)
    if not rows:
        return []
    accuracies = [row["source_accuracy_percent"] for row in rows]
    reused = sum(row["reused"] for row in rows)
    return [
        f"Source checkpoints: {len(rows)} ({reused} from the cache), test accuracy "
        f"{min(accuracies):.1f} to {max(accuracies):.1f} % on "
        f"{run.config.get('source')}."
    ]
