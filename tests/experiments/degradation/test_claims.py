from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.experiments.degradation.claims.claims import CLAIMS
from resnet_bench.experiments.degradation.claims.evidence import Case, Evidence
from resnet_bench.experiments.degradation.claims.judging import (
    Judged,
    claim_row,
    judge_all,
)
from resnet_bench.experiments.degradation.claims.rules import Rule
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

SUPPORTED, REFUTED, INCONCLUSIVE, NO_DIFFERENCE, AT_FLOOR, NO_VERDICT, _ = Verdict
CLAIM = {claim.name: claim for claim in CLAIMS}


def options_of(name: str, **options: Any) -> dict[str, Any]:
    """Return the smallest grid on which a claim can be judged."""
    longer = name.startswith(("budget", "landscape"))
    defaults = {
        "profile": "standard" if longer else "quick",
        "study": (CLAIM[name].study,),
        "depths": (20, 56) if longer else (8, 20, 56),
        "seeds": 5,
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

#: Five seeds, two of which fail.
SOME: Of = by_seed(0.0, 0.0, 40.0, 0.0, 60.0)
NOISY: Of = by_seed(0.0, 10.0, 40.0)

TEXTBOOK = World()


def slow(cell: DegradationCell) -> float:
    """Plain networks train, but slowly."""
    return 50 / cell.budget**4 if plain_and_deep(cell) else 0.0


def some_convolutions(cell: DegradationCell) -> float:
    """Half of x never trains, a convolution of x in some seeds."""
    errors = {"lambda-0.5": 80.0, "convolution-shortcut": SOME(cell)}
    return errors.get(cell.treatment, 0.0)


#: For each claim a world in which it is so, one in which it is not, and one in
#: which seeds disagree; None where no seeds can disagree.
WORLDS: dict[str, tuple[World, World, World | None]] = {
    "depth-residual-trains": (
        TEXTBOOK,
        World(error=lambda cell: 60.0 * (cell.shortcut == "residual")),
        World(error=only(plain_and_deep, SOME)),
    ),
    "depth-residual-keeps": (
        World(error=FLAT),
        World(error=lambda cell: cell.depth / 10),
        World(error=only(lambda cell: cell.depth > 20, SOME)),
    ),
    "depth-degradation": (
        TEXTBOOK,
        World(error=only(plain_and_deep, by_seed(5.0))),
        World(error=only(plain_and_deep, SOME)),
    ),
    "depth-helps-at-first": (
        TEXTBOOK,
        World(error=lambda cell: cell.depth / 10),
        World(error=only(lambda cell: cell.depth < 20, SOME)),
    ),
    "budget-untrainable": (
        TEXTBOOK,
        World(error=slow),
        World(error=only(plain_and_deep, SOME)),
    ),
    "budget-shrinks": (
        TEXTBOOK,
        World(error=only(plain_and_deep, by_seed(50.0))),
        World(error=only(longer_and_deep, SOME, only(plain_and_deep, by_seed(40.0)))),
    ),
    "overfitting-absent": (
        TEXTBOOK,
        World(gap=lambda cell: 30.0 if cell.train_images else cell.depth / 8),
        World(gap=only(plain_and_deep, SOME, lambda c: 30.0 * bool(c.train_images))),
    ),
    "overfitting-control": (
        TEXTBOOK,
        World(gap=FLAT),
        World(gap=only(lambda cell: cell.train_images, SOME)),
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
        World(inserted_error=NOISY),
    ),
    "response-small": (
        TEXTBOOK,
        World(response=lambda cell: float(cell.depth)),
        World(response=by_seed(1.0)),
    ),
    "lesion-residual-robust": (
        TEXTBOOK,
        World(deletion=by_seed(50.0)),
        World(deletion=NOISY),
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
        World(error=only(plain_and_deep, SOME)),
    ),
    "thousand-hundred": (TEXTBOOK, World(error=by_seed(50.0)), World(error=SOME)),
    "thousand-layers": (TEXTBOOK, World(error=by_seed(50.0)), World(error=SOME)),
    "thousand-control": (TEXTBOOK, World(error=FLAT), World(error=SOME)),
    "shortcut-identity-best": (
        TEXTBOOK,
        World(error=lambda cell: 4.0 if cell.treatment == "standard" else 1.0),
        World(error=some_convolutions),
    ),
    "controls-necessary": (
        TEXTBOOK,
        World(error=only(lambda cell: cell.treatment != "wide", textbook_error)),
        World(error=SOME),
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
def test_claim_is_inconclusive_where_seeds_disagree(name: str) -> None:
    judged = judge_claim(name, WORLDS[name][2])
    assert judged.verdict is INCONCLUSIVE
    assert any(word in judged.why for word in ("5 needed", "p = "))


@each_claim
def test_claim_has_no_verdict_where_nothing_has_finished(name: str) -> None:
    run = replace(synthetic_run(**options_of(name)), records=[])
    judged = next(each for each in judged_claims(run) if each.claim.name == name)
    assert judged.verdict is NO_VERDICT
    assert "no seed has all networks" in judged.why or "trained" in judged.why
    assert claim_row(judged, run.id)["estimate"] is None


def has_rule(name: str, *rules: Rule) -> bool:
    return any(part.statistic.rule in rules for part in CLAIM[name].criteria)


@pytest.mark.parametrize("name", [n for n in CLAIM if not has_rule(n, Rule.WORST)])
def test_one_seed_decides_nothing_and_says_what_would(name: str) -> None:
    judged = judge_claim(name, WORLDS[name][0], seeds=1)
    assert judged.verdict is NO_VERDICT
    counted = has_rule(name, Rule.COUNTED, Rule.FISHER)
    assert judged.why.endswith(f"--seeds {5 if counted else 3} could decide")


def test_four_seeds_are_listed_without_a_verdict() -> None:
    judged = judge_claim("depth-degradation", seeds=4)
    assert judged.verdict is NO_VERDICT
    assert judged.findings[0].measured == [
        "76.8, 76.8, 76.8, 76.8 pp",
        "5 seeds needed",
    ]


def test_how_long_more_seeds_take_is_told_from_the_cells_of_the_run() -> None:
    options: dict[str, Any] = {"study": ("depth",), "depths": (8, 20), "device": "cpu"}
    run = synthetic_run(seeds=2, epochs=1, **options)
    ends = {key: replace(end, seconds=30.0) for key, end in run.cells.items()}
    judged = judged_claims(replace(run, cells=ends))
    # Four networks of five seeds on two cores.
    assert judged[0].why.endswith("--seeds 5 could decide, about 5 min 00 s")


def test_more_seeds_of_some_networks_are_never_fewer_of_others() -> None:
    run = synthetic_run(study=("depth", "landscape"), depths=(8, 20, 56), epochs=1)
    rough = next(e for e in judged_claims(run) if e.claim.name == "landscape-rougher")
    assert rough.seeds == 1
    assert rough.why.endswith("--seeds 5 could decide")


def test_seeds_that_disagree_ask_for_as_many_as_decide() -> None:
    four_of_five = by_seed(50.0, 50.0, 50.0, 50.0, 0.0)
    world = World(error=only(plain_and_deep, four_of_five))
    judged = judge_claim("depth-degradation", world)
    assert judged.verdict is INCONCLUSIVE
    assert judged.wanted_seeds == 11
    halves = World(error=only(plain_and_deep, by_seed(50.0, 0.0)))
    assert judge_claim("depth-degradation", halves, seeds=8).wanted_seeds is None


@pytest.mark.parametrize(
    "name", ["depth-residual-trains", "depth-helps-at-first", "shortcut-identity-best"]
)
def test_networks_that_both_reach_zero_are_at_the_floor(name: str) -> None:
    judged = judge_claim(name, World(error=by_seed(0.0, 0.3)))
    assert judged.verdict is AT_FLOOR
    assert "both at 0 %" in judged.why


@pytest.mark.parametrize("name", ["depth-residual-trains", "depth-degradation"])
def test_equal_errors_above_the_floor_are_no_difference(name: str) -> None:
    judged = judge_claim(name, World(error=by_seed(8.0, 9.0)))
    assert judged.verdict is NO_DIFFERENCE


def test_a_claim_of_being_no_worse_is_supported_at_zero() -> None:
    assert judge_claim("depth-residual-keeps", World(error=FLAT)).verdict is SUPPORTED


def test_trained_seeds_are_told_before_anything_else() -> None:
    run = synthetic_run(**options_of("depth-residual-trains"))
    first = judged_claims(run)[0]
    assert first.findings[0].measured == ["0/5 trained against 5/5"]


def test_four_of_five_trained_against_none_is_enough_and_three_are_not() -> None:
    def verdict(*residual: float) -> Verdict:
        errors = only(plain_and_deep, by_seed(80.0), by_seed(*residual))
        return judge_claim("depth-residual-trains", World(error=errors)).verdict

    assert verdict(0.0, 0.0, 0.0, 0.0, 60.0) is SUPPORTED
    assert verdict(0.0, 0.0, 0.0, 60.0, 60.0) is INCONCLUSIVE


def test_a_small_test_set_leaves_a_gap_open_that_its_images_could_close() -> None:
    small = World(gap=lambda cell: 30.0 if cell.train_images else 2.0, test_images=20)
    judged = judge_claim("overfitting-absent", small)
    assert judged.verdict is INCONCLUSIVE
    assert "test images ±" in judged.why


def test_p_values_of_t_tests_are_corrected_within_their_study() -> None:
    together = judge_claim("gradients-explode")
    run = synthetic_run(**options_of("gradients-explode"))
    alone = judge_all([CLAIM["gradients-explode"]], Evidence(run))[0]
    assert together.deciding.p_value is not None
    assert alone.deciding.p_value is not None
    assert together.deciding.p_value >= 2 * alone.deciding.p_value


def test_the_shallow_network_is_held_against_the_reference_on_harder_data_too() -> None:
    run = synthetic_run(profile="standard", study=("depth",), depths=(8, 20), epochs=1)
    titles = [each.title for each in judged_claims(run)]
    assert "plain-20 beats plain-8" in titles
    assert "plain-20 beats plain-8 (photo-digits)" in titles
    (harder,) = [each for each in judged_claims(run) if each.case.dataset]
    assert harder.seeds == 5
    assert "digits on photographs" in harder.sentence


def test_every_study_has_a_claim_and_every_claim_a_study() -> None:
    assert {claim.study for claim in CLAIMS} == set(STUDIES)


def test_a_study_that_was_not_run_gives_no_claim() -> None:
    run = synthetic_run(**options_of("lesion-residual-robust"))
    assert {each.claim.study for each in judged_claims(run)} == {"lesion"}


def test_claims_without_longer_budgets_say_nothing_of_them() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    names = {each.claim.name for each in judged_claims(run)}
    assert not any(name.startswith("budget") for name in names)
    assert "depth-degradation" in names


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
    (degradation,) = CLAIM["depth-degradation"].criteria
    assert degradation.margin_for("digits") == 10.0
    assert degradation.margin_for("cifar10") == 1.0


def test_a_grid_without_deeper_networks_leaves_the_claim_open() -> None:
    judged = judge_claim("depth-degradation", depths=(8, 14, 20))
    assert judged.verdict is NO_VERDICT
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
    assert judged.verdict is NO_VERDICT
    assert "no seed has all networks" in judged.why


def test_a_diverged_network_stands_at_chance() -> None:
    judged = judge_claim("depth-degradation", World(FLAT, diverged=plain_and_deep))
    assert judged.verdict is SUPPORTED
    assert judged.deciding.estimate == 90.0


def test_only_seeds_that_have_every_network_are_paired() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    lost = next(
        key
        for key, cell in run.grid.items()
        if (cell["shortcut"], cell["depth"], cell["seed"]) == ("residual", 56, 1)
    )
    records = [row for row in run.records if row["cell"] != lost]
    judged = judged_claims(replace(run, records=records))
    assert judged[0].seeds == 4


def row_of(name: str, run: Run) -> dict[str, Any]:
    rows = [claim_row(each, run.id) for each in judged_claims(run)]
    return next(row for row in rows if row["name"] == name)


def test_a_row_of_claims_has_what_the_contract_names() -> None:
    run = synthetic_run(**options_of("depth-degradation"))
    row = row_of("depth-degradation", run)
    contract = ["study", "claim", "statistic", "estimate", "low", "high", "margin"]
    assert {*contract, "seeds", "verdict"} <= row.keys()
    assert row["margin"] == 10.0
    assert (row["test"], row["holding"], row["n"]) == ("counted", 5, 5)
    assert row["tutorial_sentence"].startswith("50层网络反而比20层差了")
    assert row["run"] == run.id


def test_bounds_are_those_of_a_mean_and_none_where_there_is_none() -> None:
    ratio = row_of("gradients-explode", synthetic_run(study=("gradients",)))
    assert ratio["low"] < ratio["estimate"] < ratio["high"]
    for name, seeds in (("depth-degradation", 5), ("gradients-explode", 1)):
        options = options_of(name, seeds=seeds)
        row = row_of(name, synthetic_run(**options))
        assert (row["low"], row["high"]) == (None, None)


def test_the_conclusion_follows_the_verdict() -> None:
    supported = judge_claim("depth-degradation")
    assert supported.conclusion == supported.sentence
    refuted = judge_claim("gradients-vanish")
    assert refuted.conclusion.endswith("does not vanish on its way down.")
    assert judge_claim("depth-degradation", seeds=1).conclusion.startswith("Open: ")


def test_networks_that_the_grid_lacks_are_described_in_words() -> None:
    studies = ("depth", "lesion", "constructed")
    run = synthetic_run(None, study=studies, depths=(8,), seeds=2)
    found = {each.claim.name: each for each in judged_claims(run)}
    degrades, beats = found["depth-degradation"], found["depth-helps-at-first"]
    assert degrades.title == "only a deeper plain net degrades"
    assert "more layers instead of 8" in degrades.sentence
    assert beats.title == "plain-8 beats a shallower plain net"
    assert found["constructed-exists"].title == "a deeper plain net can be good"
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
