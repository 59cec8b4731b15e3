"""What is said about a run of degradation: titles, a summary, and caveats."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from resnet_bench.catalogue import DATASETS
from resnet_bench.experiments.degradation.claims.evidence import Evidence
from resnet_bench.experiments.degradation.claims.judging import Judged
from resnet_bench.experiments.degradation.claims.rules import Verdict
from resnet_bench.experiments.degradation.records import (
    DegradationCell,
    TrainingResult,
)
from resnet_bench.present.machines import machine_title
from resnet_bench.store.reading import Run

#: Claims that a short summary tells, in this order.
HEADLINES = (
    "depth-degradation",
    "overfitting-absent",
    "gradients-vanish",
    "gradients-explode",
    "identity-exact",
    "lesion-residual-robust",
    "budget-shrinks",
    "thousand-layers",
)


#: Networks that a caveat lists by name before it counts the others.
LISTED = 6


def setting(run: Run) -> str:
    """Return data, budget, seeds, machine and origin of the weights, for titles."""
    evidence = Evidence(run)
    named = DATASETS.get(evidence.dataset)
    cells = run.grid.values()
    seeds = len({cell["seed"] for cell in cells})
    device = next(iter(cells), {}).get("device", "cpu")
    parts = [
        named.title if named else evidence.dataset,
        "no steps yet" if evidence.steps is None else f"{evidence.steps:,} steps",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        machine_title(run.environment, device),
        "random initial weights (He)",
    ]
    return " · ".join(parts)


def summary(judged: Sequence[Judged]) -> list[str]:
    """Return what a run shows, a sentence per headline claim that is decided."""
    told = [
        each.conclusion
        for name in HEADLINES
        for each in judged
        if each.claim.name == name and each.verdict is not Verdict.INCONCLUSIVE
    ]
    return [*told, counted(judged)] if judged else []


def counted(judged: Sequence[Judged]) -> str:
    """Return how many claims have which verdict."""
    counts = {
        verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict
    }
    named = ", ".join(f"{count} {verdict.lower()}" for verdict, count in counts.items())
    return f"{len(judged)} claims: {named}."


def caveats(run: Run) -> list[str]:
    """Return what a reader must know before believing a run's numbers."""
    results = run.rows(TrainingResult)
    said = []
    diverged = [_name(row) for row in results if row["diverged"]]
    if diverged:
        more = len(diverged) - LISTED
        listed = diverged[:LISTED] + ([f"{more} more"] if more > 0 else [])
        said.append(f"diverged, counted as chance: {', '.join(listed)}")
    skipped = max((row["skipped_images"] for row in results), default=0)
    if skipped:
        said.append(f"{skipped} images could not be decoded and were left out")
    unfinished = len(run.missing) + len(run.failed)
    if unfinished:
        said.append(
            f"{unfinished} of {len(run.grid)} networks have no result; claims use the "
            "seeds that have every network they need"
        )
    if len({row["seed"] for row in results}) == 1:
        said.append("one seed gives no interval: claims stay open; try --seeds 3")
    return said


def _name(row: Mapping[str, Any]) -> str:
    """Return which network a row is about, as progress lines call it."""
    names = (field.name for field in fields(DegradationCell))
    cell = DegradationCell(**{name: row[name] for name in names if name in row})
    return f"{cell.label} (step {row['diverged_at_step']})"
