from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.experiments.degradation.claims.claims import CLAIMS
from resnet_bench.experiments.degradation.claims.evidence import Evidence
from resnet_bench.experiments.degradation.claims.judging import (
    Case,
    Judged,
    Scale,
    claim_row,
    judge_all,
)
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.studies import STUDIES
from resnet_bench.reports.blocks import filled
from resnet_bench.statistics.verdicts import Verdict
from resnet_bench.store.reading import Run
from tests.experiments.degradation.synthetic import (
    Of,
    World,
    synthetic_run,
    textbook_error,
)

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict
CLAIM = {claim.name: claim for claim in CLAIMS}


def options_of(name: str, **options: Any) -> dict[str, Any]:
    """Return the smallest grid on which a claim can be judged."""
    longer = name.startswith(("budget", "landscape"))
    defaults = {
        "profile": "standard" if longer else "quick",
        "study": (CLAIM[name].study,),
        "depths": (20, 56) if longer else (8, 20, 56),
        "seeds": 3,
        "epochs": 1,
    }
    return {**defaults, **options}


def judged_claims(run: Run) -> list[Judged]:
    return judge_all(CLAIMS, Evidence(run))


def judge_claim(name: str, world: World | None = None, **options: Any) -> Judged:
    run = synthetic_run(world, **options_of(name, **options))
    return next(each for each in judged_claims(run) if each.claim.name == name)


def by_seed(*values: float) -> Of:
    """Return a quantity that depends on the seed alone."""
    return lambda cell: values[cell.seed % len(values)]


def only(applies: Any, value: Of, otherwise: Of = lambda cell: 0.0) -> Of:
    return lambda cell: value(cell) if applies(cell) else otherwise(cell)


def plain_and_deep(cell: DegradationCell) -> bool:
    return cell.shortcut == "plain" and cell.depth > 20


def longer_and_deep(cell: DegradationCell) -> bool:
    return plain_and_deep(cell) and cell.budget > 1


FLAT: Of = by_seed(0.0)
WIDE: Of = by_seed(0.0, 10.0, 40.0)

TEXTBOOK = World()

#: For each claim a world in which it is so, one in which it is not, and one in
#: which seeds disagree; None where no seeds can disagree.
WORLDS: dict[str, tuple[World, World, World | None]] = {
    "depth-degradation": (
        TEXTBOOK,
        World(error=FLAT),
        World(error=only(plain_and_deep, WIDE)),
    ),
    "depth-helps-at-first": (
        TEXTBOOK,
        World(error=lambda cell: cell.depth / 10),
        World(error=FLAT),
    ),
    "budget-untrainable": (
        TEXTBOOK,
        World(error=only(plain_and_deep, lambda cell: 50 / cell.budget**4)),
        World(error=only(plain_and_deep, WIDE)),
    ),
    "budget-shrinks": (
        TEXTBOOK,
        World(error=only(plain_and_deep, by_seed(50.0))),
        World(error=only(longer_and_deep, by_seed(0.0, 40.0, 78.0), textbook_error)),
    ),
    "overfitting-absent": (
        TEXTBOOK,
        World(gap=lambda cell: 30.0 if cell.train_images else cell.depth / 8),
        World(gap=only(plain_and_deep, WIDE, lambda c: 30.0 * bool(c.train_images))),
    ),
    "overfitting-control": (
        TEXTBOOK,
        World(gap=FLAT),
        World(gap=only(lambda cell: cell.train_images, by_seed(0.0, 0.5, 4.0))),
    ),
    "gradients-vanish": (
        World(gradient=by_seed(1e-3, 2e-3)),
        TEXTBOOK,
        World(gradient=by_seed(1e-3, 1.0)),
    ),
    "gradients-explode": (
        TEXTBOOK,
        World(gradient=by_seed(1.0, 1.1)),
        World(gradient=by_seed(1.0, 100.0)),
    ),
    "gradients-healthy": (
        World(gradient=by_seed(0.5, 1.1)),
        TEXTBOOK,
        World(gradient=by_seed(1.0, 100.0)),
    ),
    "identity-exact": (TEXTBOOK, World(inserted_difference=by_seed(0, 1e-7)), None),
    "identity-never-worse": (
        TEXTBOOK,
        World(later_loss=by_seed(0.5, 0.51)),
        World(later_loss=by_seed(0.0, 0.5)),
    ),
    "identity-plain-control": (
        TEXTBOOK,
        World(inserted_error=FLAT),
        World(inserted_error=WIDE),
    ),
    "response-small": (
        TEXTBOOK,
        World(response=lambda cell: float(cell.depth)),
        World(response=by_seed(1.0)),
    ),
    "lesion-residual-robust": (
        TEXTBOOK,
        World(deletion=by_seed(50.0)),
        World(deletion=WIDE),
    ),
    "landscape-rougher": (
        TEXTBOOK,
        World(wiggles=by_seed(0.1)),
        World(wiggles=only(plain_and_deep, by_seed(0.01, 0.04, 1.0), by_seed(0.03))),
    ),
    "landscape-rough-control": (
        TEXTBOOK,
        World(folded_wiggles=FLAT),
        World(folded_wiggles=by_seed(0.01, 0.04, 1.0)),
    ),
    "landscape-same-control": (
        TEXTBOOK,
        World(odd_lines=by_seed(40.0, 41.0)),
        World(odd_lines=by_seed(1.0, 4.0, 40.0)),
    ),
    "constructed-exists": (
        TEXTBOOK,
        World(constructed_difference=by_seed(0.0, 1.0)),
        World(error=FLAT),
    ),
    "thousand-hundred": (TEXTBOOK, World(error=by_seed(50.0)), World(error=WIDE)),
    "thousand-layers": (TEXTBOOK, World(error=by_seed(50.0)), None),
    "thousand-control": (TEXTBOOK, World(error=FLAT), World(error=WIDE)),
    "shortcut-identity-best": (
        TEXTBOOK,
        World(error=lambda cell: 4.0 if cell.treatment == "standard" else 1.0),
        World(error=FLAT),
    ),
    "controls-necessary": (
        TEXTBOOK,
        World(error=only(lambda cell: cell.treatment != "wide", textbook_error)),
        World(error=WIDE),
    ),
    "anysize-pooling": (
        TEXTBOOK,
        World(adaptive_accepts=lambda size: size > 32),
        None,
    ),
    "anysize-flatten": (TEXTBOOK, World(flatten_accepts=lambda size: True), None),
}
each_claim = pytest.mark.parametrize("name", [claim.name for claim in CLAIMS])


@each_claim
def test_claim_is_supported_where_it_is_so(name: str) -> None:
    assert judge_claim(name, WORLDS[name][0]).verdict is SUPPORTED


@each_claim
def test_claim_is_refuted_where_it_is_not_so(name: str) -> None:
    assert judge_claim(name, WORLDS[name][1]).verdict is REFUTED


@pytest.mark.parametrize("name", [name for name, row in WORLDS.items() if row[2]])
def test_claim_is_inconclusive_where_the_interval_holds_the_margin(name: str) -> None:
    judged = judge_claim(name, WORLDS[name][2])
    assert judged.verdict is INCONCLUSIVE
    assert "the interval holds the margin" in judged.why


@each_claim
def test_claim_is_inconclusive_where_nothing_has_finished(name: str) -> None:
    run = replace(synthetic_run(**options_of(name)), records=[])
    judged = next(each for each in judged_claims(run) if each.claim.name == name)
    assert judged.verdict is INCONCLUSIVE
    assert "no seed has every network" in judged.why or "trained" in judged.why
    assert claim_row(judged, run.id)["estimate"] is None


@pytest.mark.parametrize(
    "name",
    [
        claim.name
        for claim in CLAIMS
        if any(part.statistic.scale is not Scale.EXACT for part in claim.criteria)
    ],
)
def test_one_seed_decides_nothing_and_says_why(name: str) -> None:
    judged = judge_claim(name, WORLDS[name][0], seeds=1)
    assert judged.verdict is INCONCLUSIVE
    assert "at least two are needed" in judged.why


def test_every_study_has_a_claim_and_every_claim_a_study() -> None:
    assert {claim.study for claim in CLAIMS} == set(STUDIES)


def test_a_study_that_was_not_run_gives_no_claim() -> None:
    run = synthetic_run(**options_of("lesion-residual-robust"))
    assert {each.claim.study for each in judged_claims(run)} == {"lesion"}


def test_claims_without_longer_budgets_say_nothing_of_them() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    names = {each.claim.name for each in judged_claims(run)}
    assert names == {"depth-degradation", "depth-helps-at-first"}


def test_degradation_is_judged_at_56_layers_and_at_the_deepest() -> None:
    options = options_of("depth-degradation", depths=(8, 20, 56, 110))
    judged = judged_claims(synthetic_run(**options))
    titles = [each.title for each in judged if each.claim.name == "depth-degradation"]
    assert titles == [
        "only plain-56 degrades",
        "only plain-110 degrades",
    ]


def test_the_depth_claim_names_its_budget_and_its_data() -> None:
    sentence = judge_claim("depth-degradation").sentence
    assert "After 11 steps on digits" in sentence


def test_digits_must_degrade_ten_times_as_much_as_larger_data() -> None:
    (degradation, _) = CLAIM["depth-degradation"].criteria
    assert degradation.margin_for("digits") == 10.0
    assert degradation.margin_for("cifar10") == 1.0


def test_a_grid_without_deeper_networks_leaves_the_claim_open() -> None:
    judged = judge_claim("depth-degradation", depths=(8, 14, 20))
    assert judged.verdict is INCONCLUSIVE
    assert judged.why == "the grid has no network deeper than 20 layers"
    assert "more layers instead of 20" in judged.sentence


def test_a_grid_without_shallower_networks_leaves_the_claim_open() -> None:
    judged = judge_claim("depth-helps-at-first", depths=(20, 56))
    assert judged.why == "the grid has no network shallower than 20 layers"


def test_a_failed_control_withdraws_support() -> None:
    blind = World(gap=by_seed(2.0))
    judged = judge_claim("overfitting-absent", blind)
    assert judged.verdict is INCONCLUSIVE
    assert judged.why.startswith("the control overfitting-control is not supported")


def test_lesions_need_a_plain_network_that_trained() -> None:
    untrained = World(error=only(lambda cell: cell.shortcut == "plain", by_seed(80.0)))
    judged = judge_claim("lesion-residual-robust", untrained)
    assert judged.why == "no plain network trained"


def test_lesions_are_judged_at_the_deepest_depths_that_trained() -> None:
    judged = judge_claim("lesion-residual-robust")
    assert (judged.case.deep, judged.case.other) == (56, 20)


@pytest.mark.parametrize("name", ["depth-degradation", "depth-helps-at-first"])
def test_nothing_is_concluded_where_every_network_diverged(name: str) -> None:
    judged = judge_claim(name, World(diverged=lambda cell: True))
    assert judged.verdict is INCONCLUSIVE
    assert "no seed has every network" in judged.why


def test_a_diverged_network_stands_at_chance() -> None:
    judged = judge_claim("depth-degradation", World(FLAT, diverged=plain_and_deep))
    assert judged.verdict is SUPPORTED
    interval = judged.deciding.interval
    assert interval is not None
    assert interval.estimate == 90.0


def test_only_seeds_that_have_every_network_are_paired() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    lost = next(
        key
        for key, cell in run.grid.items()
        if (cell["shortcut"], cell["depth"], cell["seed"]) == ("residual", 56, 1)
    )
    records = [row for row in run.records if row["cell"] != lost]
    judged = judged_claims(replace(run, records=records))
    assert judged[0].seeds == 2


def test_the_sign_flip_p_is_given_from_six_seeds_on_and_never_decides() -> None:
    run = synthetic_run(
        WORLDS["depth-degradation"][2], **options_of("depth-degradation")
    )
    assert claim_row(judged_claims(run)[0], run.id)["sign_flip_p"] is None
    six = judge_claim("depth-degradation", seeds=6)
    assert six.deciding.p_value == 2 / 2**6
    noisy = World(error=only(plain_and_deep, by_seed(1.0, 50.0)))
    judged = judge_claim("depth-degradation", noisy, seeds=6)
    assert judged.deciding.p_value == 2 / 2**6
    assert judged.verdict is INCONCLUSIVE


def test_a_row_of_claims_has_what_the_contract_names() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    row = claim_row(judged_claims(run)[0], run.id)
    contract = ["study", "claim", "statistic", "estimate", "low", "high", "margin"]
    assert {*contract, "seeds", "verdict"} <= row.keys()
    assert row["margin"] == 10.0
    assert row["low"] <= row["estimate"] <= row["high"]
    assert row["tutorial_sentence"].startswith("50层网络反而比20层差了")
    assert row["run"] == run.id


def test_unknown_bounds_are_none_in_a_row() -> None:
    run = synthetic_run(**options_of("depth-degradation", seeds=1))
    row = claim_row(judged_claims(run)[0], run.id)
    assert (row["low"], row["high"]) == (None, None)


def test_the_conclusion_follows_the_verdict() -> None:
    supported = judge_claim("depth-degradation")
    assert supported.conclusion == supported.sentence
    refuted = judge_claim("gradients-vanish")
    assert refuted.conclusion.endswith("does not fade on its way down.")
    assert judge_claim("depth-degradation", seeds=1).conclusion.startswith("Open: ")


def test_networks_that_the_grid_lacks_are_described_in_words() -> None:
    run = synthetic_run(None, study=("depth", "lesion"), depths=(8,), seeds=2)
    found = {each.claim.name: each for each in judged_claims(run)}
    degrades, beats = found["depth-degradation"], found["depth-helps-at-first"]
    assert degrades.title == "only a deeper plain net degrades"
    assert "more layers instead of 8" in degrades.sentence
    assert beats.title == "plain-8 beats a shallower plain net"
    assert beats.sentence.endswith("a lower training error than that of fewer.")


def test_a_trained_network_that_is_missing_is_not_called_deeper() -> None:
    case = Case(lacks="no residual and no plain network trained")
    text = "the trained residual-{deep} and the trained plain-{other}"
    assert case.fill(text) == "a trained residual net and a trained plain net"


def test_the_page_of_claims_is_as_rendered_from_their_rows() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "claims.md"
    text = page.read_text(encoding="utf-8")
    assert filled(text, [], page.parent) == text
    assert all(f"### {claim.name}\n" in text for claim in CLAIMS)
