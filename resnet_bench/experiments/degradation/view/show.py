"""What a degradation run shows: verdicts, tables, figures and sentences."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.degradation.claims.claims import CLAIMS
from resnet_bench.experiments.degradation.claims.evidence import Evidence
from resnet_bench.experiments.degradation.claims.judging import (
    Judged,
    claim_row,
    judge_all,
)
from resnet_bench.experiments.degradation.records import (
    DegradationCell,
    TrainingResult,
)
from resnet_bench.experiments.degradation.view.frames import Material, material
from resnet_bench.experiments.degradation.view.landscape import (
    landscape,
    landscape_where_both_train,
)
from resnet_bench.experiments.degradation.view.mechanism import (
    gradient_map,
    lesions,
    responses,
)
from resnet_bench.experiments.degradation.view.tables import published, run_tables
from resnet_bench.experiments.degradation.view.training import (
    budgets,
    error_by_depth,
    recipes,
    training_curves,
    treatments,
)
from resnet_bench.present.numbers import duration
from resnet_bench.present.shown import Shown
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run

#: Figures by file name; the one to look at first comes first.
FIGURES: dict[str, Callable[[Material], Figure | None]] = {
    "error-by-depth": error_by_depth,
    "training-curves": training_curves,
    "budgets": budgets,
    "recipes": recipes,
    "gradients": gradient_map,
    "responses": responses,
    "lesions": lesions,
    "landscape": landscape,
    "landscape-where-both-train": landscape_where_both_train,
    "treatments": treatments,
}

#: Claims that a short summary tells, in this order.
HEADLINES = (
    "depth-residual-trains",
    "depth-residual-keeps",
    "depth-degradation",
    "overfitting-absent",
    "gradients-vanish",
    "gradients-explode",
    "identity-exact",
    "lesion-residual-robust",
    "budget-shrinks",
    "thousand-layers",
)

#: Verdicts that a sentence can tell.
DECIDED = (Verdict.SUPPORTED, Verdict.REFUTED)

#: What is kept for claims and is nothing to read.
LEFT_OUT = frozenset({"right_test_answers"})

#: Networks that a caveat lists by name before it counts the others.
LISTED = 6


def show(run: Run, others: OtherRuns) -> Shown:
    """Return what the run shows."""
    made = material(run)
    judged = judge_all(CLAIMS, made.evidence)
    claims = [claim_row(each, run.id) for each in judged]
    headline = summary(judged)
    beside = published(made)
    results = run.rows(TrainingResult)
    return Shown(
        json={
            "run": run.id,
            "claims": claims,
            "rows": [plain_row(row) for row in results],
        },
        tables=run_tables(made, judged, claims, headline),
        notices=[*caveats(run, results), *too_few_seeds(judged, made.evidence)],
        headline=headline,
        published=[beside] if beside else [],
        draw=partial(figures, made),
    )


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without infinities and not-a-numbers, which JSON lacks."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
        if name not in LEFT_OUT
    }


def figures(made: Material) -> dict[str, Figure]:
    """Return the run's figures by name, leaving out what was not measured."""
    drawn = {name: draw(made) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def summary(judged: Sequence[Judged]) -> list[str]:
    """Return what a run shows, a sentence per headline claim that is decided."""
    told = [
        each.conclusion
        for name in HEADLINES
        for each in judged
        if each.claim.name == name and each.verdict in DECIDED
    ]
    return [*told, _counted(judged)] if judged else []


def _counted(judged: Sequence[Judged]) -> str:
    counts = {
        verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict
    }
    named = ", ".join(
        f"{count} {verdict.lower()}"
        for verdict, count in counts.items()
        if count or verdict in DECIDED
    )
    return f"{len(judged)} claim{'s' if len(judged) > 1 else ''}: {named}."


def caveats(run: Run, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader must know before believing a run's numbers."""
    said = []
    diverged = [_name(row) for row in results if row["diverged"]]
    if diverged:
        more = len(diverged) - LISTED
        listed = diverged[:LISTED] + ([f"{more} more"] if more > 0 else [])
        said.append(f"diverged, counted as chance: {', '.join(listed)}")
    skipped = max((row["skipped_images"] for row in results), default=0)
    if skipped:
        said.append(f"images left out because they could not be decoded: {skipped}")
    unfinished = len(run.missing) + len(run.failed)
    if unfinished:
        said.append(
            f"{unfinished} of {len(run.grid)} networks have no result; claims use only "
            "the seeds that have every network they need"
        )
    return said


def too_few_seeds(judged: Sequence[Judged], evidence: Evidence) -> list[str]:
    """Return in a sentence what a run that is too small for verdicts lacks."""
    few = [each for each in judged if each.verdict is Verdict.NO_VERDICT]
    seeds = max((each.wanted_seeds or 0 for each in few), default=0)
    if not seeds or not any(each.seeds for each in few):
        return []
    seeds = max(seeds, evidence.most_seeds)
    seconds = evidence.seconds_with(seeds)
    takes = "" if seconds is None else f" and takes about {duration(seconds)}"
    lacking = f"claims with too few seeds for a verdict: {len(few)}"
    return [f"{lacking}; --seeds {seeds} trains every network {seeds} times{takes}"]


def _name(row: Mapping[str, Any]) -> str:
    """Return which network a row is about, as progress lines call it."""
    names = (field.name for field in fields(DegradationCell))
    cell = DegradationCell(**{name: row[name] for name in names if name in row})
    return f"{cell.label} (step {row['diverged_at_step']})"
