"""The part of docs/claims.md that is rendered from the rows of claims."""

from collections.abc import Iterator
from textwrap import fill

from resnet_bench.experiments.degradation.claims.claims import CLAIMS
from resnet_bench.experiments.degradation.claims.judging import Claim, Criterion
from resnet_bench.experiments.degradation.studies import STUDIES

#: What stands on the page for what every run fills in.
WORDS = {
    "steps": "B",
    "dataset": "the data",
    "deep": "N",
    "other": "M",
    "reference": "R",
    "multiple": "K",
    "recipe": "a recipe",
    "plain_error": "E %",
    "residual_error": "F %",
}
LINE_LENGTH = 92


def rendered() -> str:
    """Return a section per study, and in it each claim with its margins and papers."""
    parts: list[str] = []
    for study in STUDIES.values():
        parts.append(f"## {study.name}: {study.question}")
        for claim in CLAIMS:
            if claim.study == study.name:
                parts += [f"### {claim.name}", *_explained(claim)]
    return "\n\n".join(parts)


def _explained(claim: Claim) -> Iterator[str]:
    yield _wrapped(f"Tutorial: {claim.lesson.original} ({claim.lesson.translation})")
    yield _wrapped(" ".join([claim.sentence.format(**WORDS), claim.explained]))
    yield "\n".join(map(_rule, claim.criteria))
    if claim.control:
        yield f"Needs `{claim.control}`."
    if claim.supporting:
        yield _wrapped(f"For: {claim.supporting}")
    if claim.contradicting:
        yield _wrapped(f"Against: {claim.contradicting}")


def _rule(criterion: Criterion) -> str:
    """Return what is measured and the margins that it must clear, as a list item."""
    words = criterion.statistic.words.format(**WORDS)
    rule = criterion.rule(criterion.margin)
    by_margin: dict[float, list[str]] = {}
    for dataset, margin in criterion.margins.items():
        by_margin.setdefault(margin, []).append(dataset)
    exceptions = [
        f" (`{criterion.rule(margin)}` on {', '.join(names)})"
        for margin, names in by_margin.items()
    ]
    return _wrapped(f"- {words}: `{rule}`{''.join(exceptions)}", indent="  ")


def _wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph in lines; none begins with a table's number, as lists do."""
    return fill(
        text.strip().replace("Table ", "Table\N{NO-BREAK SPACE}"),
        LINE_LENGTH,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
