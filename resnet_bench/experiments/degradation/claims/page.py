"""The part of docs/claims.md that is rendered from the rows of claims."""

from collections.abc import Iterator
from textwrap import fill

from resnet_bench.experiments.degradation.claims.claims import CLAIMS
from resnet_bench.experiments.degradation.claims.judging import Claim
from resnet_bench.experiments.degradation.claims.rules import Criterion, Rule
from resnet_bench.experiments.degradation.studies import STUDIES
from resnet_bench.present.numbers import percent
from resnet_bench.statistics.verdicts import needed, power

#: What stands on the page for what every run fills in.
WORDS = {
    "steps": "B",
    "dataset": "the data",
    "deep": "N",
    "other": "M",
    "reference": "R",
    "multiple": "K",
    "recipe": "a recipe",
    "trained": "5",
    "plain_error": "E %",
    "residual_error": "F %",
    "data": "",
}
LINE_LENGTH = 92

#: How each rule comes to SUPPORTED and to REFUTED.
DECIDED = {
    Rule.COUNTED: (
        "SUPPORTED if the criterion holds in most seeds: {counts}; REFUTED if it fails "
        "in as many (exact binomial test, one-sided 5 % each way)."
    ),
    Rule.FISHER: (
        "SUPPORTED if it holds in more seeds of the second network than of the first, "
        "REFUTED if in fewer (Fisher's exact test, two-sided p ≤ 0.05)."
    ),
    Rule.T: (
        "SUPPORTED if it holds for the mean over seeds, REFUTED if it does not, "
        "provided that Student's t test against the margin gives p ≤ 0.05 after "
        "Holm's correction for all t tests of the study."
    ),
    Rule.LOG_T: "the same for the geometric mean.",
    Rule.WORST: "SUPPORTED if it holds for every value, REFUTED if it fails for one.",
}

#: Numbers of seeds that profiles have, and shares that the table of power names.
SEEDS = (5, 8, 11)
SHARES = (0.5, 0.8, 0.9, 0.95)

POWER = (
    "The table shows how often counting gives SUPPORTED, by the share of all possible "
    "seeds in which a criterion holds. At one half this would be wrong; it happens in "
    "at most 5 % of runs."
)


def rendered() -> str:
    """Return the rules, and by study each claim with its margins and papers."""
    counts = ", ".join(f"{needed(seeds)} of {seeds}" for seeds in SEEDS)
    rules = [
        _wrapped(f"- **{rule.value}**: {words.format(counts=counts)}", indent="  ")
        for rule, words in DECIDED.items()
    ]
    parts = ["## Rules", "\n".join(rules), _wrapped(POWER), _power()]
    for study in STUDIES.values():
        parts.append(f"## {study.name}: {study.question}")
        for claim in CLAIMS:
            if claim.study == study.name:
                parts += [f"### {claim.name}", *_explained(claim)]
    return "\n\n".join(parts)


def _power() -> str:
    """Return a table of how often "in most seeds" is SUPPORTED, by the true share."""
    head = [f"{percent(share)} of all seeds" for share in SHARES]
    lines = [["seeds", "needed", *head], ["---"] * (2 + len(head))]
    for seeds in SEEDS:
        powers = [percent(power(share, seeds)) for share in SHARES]
        lines.append([str(seeds), str(needed(seeds)), *powers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
    """Return what is measured, its margins and its rule, as a list item."""
    statistic = criterion.statistic
    rule = criterion.bound(criterion.margin)
    by_margin: dict[float, list[str]] = {}
    for dataset, margin in criterion.margins.items():
        by_margin.setdefault(margin, []).append(dataset)
    exceptions = [
        f" (`{criterion.bound(margin)}` on {', '.join(names)})"
        for margin, names in by_margin.items()
    ]
    alike = ", NO DIFFERENCE or AT FLOOR" if statistic.arms else ""
    text = f"- {statistic.words.format(**WORDS)}: `{rule}`{''.join(exceptions)}"
    return _wrapped(f"{text}; {statistic.rule.value}{alike}", indent="  ")


def _wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph in lines; none begins with a table's number, as lists do."""
    return fill(
        text.strip().replace("Table ", "Table\N{NO-BREAK SPACE}"),
        LINE_LENGTH,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
