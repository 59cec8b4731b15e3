"""docs/claims.md explains every claim, with its margins, sentences and papers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resnet_bench.experiments.degradation.claims.all import CLAIMS
from resnet_bench.experiments.degradation.claims.judging import number
from resnet_bench.experiments.degradation.claims.rules import Claim, Criterion

PAGE = Path(__file__).resolve().parents[3] / "docs" / "claims.md"
each_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)


def sections() -> dict[str, str]:
    """Return the text below each claim's heading, on one line."""
    parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    return {
        name: " ".join(text.split())
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def rules(criterion: Criterion) -> list[str]:
    margins = {criterion.margin, *criterion.margins.values()}
    unit = f" {criterion.unit}".rstrip()
    return [f"{criterion.relation} {number(margin)}{unit}" for margin in margins]


def test_page_explains_exactly_the_claims_there_are_in_their_order() -> None:
    names = {claim.name for claim in CLAIMS}
    explained = [name for name in sections() if name in names]
    studies = [name.partition(":")[0] for name in sections() if ":" in name]
    assert sorted(explained) == sorted(names)
    assert set(studies) == {claim.study for claim in CLAIMS}


@each_claim
def test_page_quotes_the_sentence_that_the_claim_tests(claim: Claim) -> None:
    text = sections()[claim.name]
    assert claim.lesson.original in text
    assert claim.lesson.translation.rstrip(".") in text


@each_claim
def test_page_gives_every_margin_of_the_claim(claim: Claim) -> None:
    text = sections()[claim.name]
    for criterion in claim.criteria:
        for rule in rules(criterion):
            assert rule in text


@each_claim
def test_page_names_the_papers_for_and_against_the_claim(claim: Claim) -> None:
    text = sections()[claim.name]
    assert claim.supporting in text
    assert claim.contradicting in text
