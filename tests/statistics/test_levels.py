import sys
from itertools import pairwise
from math import log

import pytest

from benchmarks.level_changes import (
    PROMISED_PLACED,
    PROMISED_QUIET,
    Shares,
    Situation,
    kept,
    simulated,
)
from resnet_bench.statistics.levels import Line, Ratio

NAMES = [str(number) for number in range(12)]


@pytest.mark.slow
@pytest.mark.parametrize("situation", [*PROMISED_QUIET, *PROMISED_PLACED])
def test_changes_are_found_and_false_ones_are_rare_as_promised(
    situation: Situation,
) -> None:
    assert kept(situation, simulated(situation))


@pytest.mark.parametrize(
    "situation", [Situation("runs", 0.03), Situation("runs", 0.03, 0.10)]
)
def test_single_runs_show_a_step_of_ten_percent_and_no_other(
    situation: Situation,
) -> None:
    assert kept(situation, simulated(situation, series=60))


def test_a_promise_that_is_not_kept_is_noticed() -> None:
    assert not kept(PROMISED_QUIET[0], Shares(any=0.06, one=0.06, placed=0.0))
    assert not kept(PROMISED_PLACED[0], Shares(any=1.0, one=1.0, placed=0.94))


def wobble(number: int) -> float:
    return 0.004 * ((number * 7) % 5 - 2)


def chain(step_at: int, size: float, pairs: int = 4) -> list[Ratio]:
    return [
        Ratio(base, head, (int(head) == step_at) * log(size) + wobble(pair + int(head)))
        for base, head in pairwise(NAMES)
        for pair in range(pairs)
    ]


def test_levels_add_up_the_ratios_of_neighbours() -> None:
    exact = [Ratio(base, head, log(1.02)) for base, head in pairwise(NAMES)]
    line = Line(exact, NAMES)
    moves = [move.estimate for move in line.moves]
    assert moves == pytest.approx([log(1.02)] * 11)
    first, last = line.levels[0].estimate, line.levels[-1].estimate
    assert last - first == pytest.approx(11 * log(1.02))


def test_a_change_has_its_size_and_the_place_where_it_began() -> None:
    (change,) = Line(chain(5, 1.25), NAMES).changes()
    assert change.place == change.first == change.last == 5
    assert change.size.low < 1.25 < change.size.high
    assert change.size.estimate == pytest.approx(1.25, rel=0.02)


def test_the_newest_commit_alone_can_be_a_change_where_pairs_were_measured() -> None:
    (change,) = Line(chain(11, 1.25), NAMES).changes()
    assert change.place == 11


def test_one_slow_run_of_a_commit_is_no_change() -> None:
    runs = [Ratio(None, name, wobble(int(name) * 3)) for name in NAMES]
    runs[6] = Ratio(None, "6", log(1.4))
    assert Line(runs, NAMES).changes() == []


def test_two_changes_are_told_apart() -> None:
    ratios = [
        Ratio(row.base, row.head, row.logarithm - (row.head == "9") * log(1.25))
        for row in chain(3, 1.25)
    ]
    found = [(c.place, c.size.estimate > 1) for c in Line(ratios, NAMES).changes()]
    assert found == [(3, True), (9, False)]


def test_a_commit_beside_the_line_joins_two_of_its_parts() -> None:
    ratios = [Ratio("a", "b", 0.1), Ratio("b", "beside", 0.1), Ratio("c", "beside", 0)]
    line = Line([*ratios, Ratio("c", "d", 0.1)], ["a", "b", "c", "d"])
    assert line.order == ["a", "b", "c", "d"]
    assert [move.estimate for move in line.moves] == pytest.approx([0.1] * 3)


def test_commits_that_nothing_joins_are_left_out() -> None:
    ratios = [Ratio("a", "b", 0.1), Ratio("b", "c", 0.1), Ratio("x", "y", 0.1)]
    assert Line(ratios, ["a", "b", "c", "x", "y"]).order == ["a", "b", "c"]


def test_too_few_commits_or_equal_times_show_no_change() -> None:
    assert Line([Ratio("a", "b", 0.1)], ["a", "b"]).changes() == []
    equal = [Ratio(None, name, 0.0) for name in NAMES]
    assert Line(equal, NAMES).changes() == []


def test_without_the_extra_looking_for_changes_says_which_module_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(ModuleNotFoundError):
        Line(chain(5, 1.25), NAMES).changes()
