"""The run's budget: who is visited next, and when it is enough."""

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from resnet_bench.execution.base import Recorded
from resnet_bench.experiments.speed.budget import FIRST_VISITS, WIDE, RunBudget


@dataclass
class Machine:
    """Takes made-up times on a clock of its own."""

    seconds: dict[str, float]
    noise: dict[str, float]
    random: Random = field(default_factory=lambda: Random(1))
    time: float = 0.0
    visits: dict[str, int] = field(default_factory=dict)
    disturbed: int = 0

    def now(self) -> float:
        return self.time

    def visit(self, key: str) -> Recorded:
        self.visits[key] = self.visits.get(key, 0) + 1
        factor = math.exp(self.random.gauss(0, self.noise.get(key, 0.0)))
        self.time += self.seconds[key]
        content: dict[str, Any] = {"type": "other"}
        if key in self.noise:
            content["step_seconds"] = [self.seconds[key] * factor]
        if self.visits[key] <= self.disturbed:
            content["waiting_share"] = 0.5
        return Recorded(key, 1, content)


def carried_out(machine: Machine, budget: RunBudget, *groups: list[str]) -> None:
    for group in groups:
        while (key := budget.next(group)) is not None:
            budget.hear(machine.visit(key))
            if key not in machine.noise:  # ends by itself
                group.remove(key)


def budget_for(machine: Machine, seconds: float, precision: float = 0.02) -> RunBudget:
    return RunBudget(seconds, precision, len(machine.seconds), now=machine.now)


def test_the_first_round_follows_the_grid_and_takes_one_visit_of_each() -> None:
    machine = Machine({"a": 1.0, "b": 1.0, "memory": 1.0}, {"a": 0.0, "b": 0.0})
    budget = budget_for(machine, 100.0)
    living = ["a", "b", "memory"]
    first = []
    for _ in range(3):
        key = budget.next(living)
        assert key is not None
        first.append(key)
        budget.hear(machine.visit(key))
    assert first == ["a", "b", "memory"]


def test_quiet_cells_are_visited_six_times_and_no_more() -> None:
    machine = Machine({"a": 1.0, "b": 2.0}, {"a": 0.001, "b": 0.001})
    carried_out(machine, budget_for(machine, 1_000.0), ["a", "b"])
    assert machine.visits == {"a": FIRST_VISITS, "b": FIRST_VISITS}


def test_a_first_visit_that_took_long_to_prepare_leaves_time_for_others() -> None:
    machine = Machine({"a": 1.0}, {"a": 0.0})
    budget = budget_for(machine, 40.0)
    budget.next(["a"])
    first = machine.visit("a")
    first.content["visit_seconds"] = 1.0
    machine.time += 30.0
    budget.hear(first)
    carried_out(machine, budget, ["a"])
    assert machine.visits == {"a": FIRST_VISITS}


def test_a_disturbed_visit_does_not_count() -> None:
    machine = Machine({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 0.0}, disturbed=2)
    carried_out(machine, budget_for(machine, 100.0), ["a", "b"])
    assert machine.visits == {"a": FIRST_VISITS + 2, "b": FIRST_VISITS + 2}


def test_time_goes_to_the_cell_that_needs_it() -> None:
    machine = Machine({"quiet": 1.0, "loud": 1.0}, {"quiet": 0.001, "loud": 0.1})
    carried_out(machine, budget_for(machine, 60.0), ["quiet", "loud"])
    assert machine.visits["quiet"] == FIRST_VISITS
    assert machine.visits["loud"] > 3 * FIRST_VISITS


def test_a_run_ends_at_the_precision_that_was_asked_for() -> None:
    def visits(precision: float) -> int:
        machine = Machine({"a": 1.0}, {"a": 0.1})
        carried_out(machine, budget_for(machine, 1_000.0, precision), ["a"])
        return machine.visits["a"]

    assert FIRST_VISITS < visits(0.05) < visits(WIDE) < visits(0.02)


@pytest.mark.parametrize("seconds", [0.5, 10.0, 30.0])
def test_no_visit_ends_after_the_budget_but_the_first_of_a_cell(seconds: float) -> None:
    machine = Machine({"a": 1.0, "b": 3.0}, {"a": 0.2, "b": 0.2})
    carried_out(machine, budget_for(machine, seconds), ["a", "b"])
    assert machine.time <= max(seconds, 1.0 + 3.0)


def test_cells_that_come_later_for_want_of_memory_get_their_share() -> None:
    machine = Machine({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5})
    carried_out(machine, budget_for(machine, 40.0), ["a"], ["b"])
    assert 18 <= machine.visits["a"] <= 20
    assert 18 <= machine.visits["b"] <= 20


def test_a_cell_that_ends_by_itself_is_not_waited_for() -> None:
    machine = Machine({"a": 1.0, "memory": 5.0}, {"a": 0.001})
    carried_out(machine, budget_for(machine, 100.0), ["a", "memory"])
    assert machine.visits["memory"] == 1


def test_the_order_of_later_rounds_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[str]:
        machine = Machine(dict.fromkeys("abcdef", 1.0), dict.fromkeys("abcdef", 0.1))
        budget = RunBudget(60.0, 0.02, 6, seed, machine.now)
        found = []
        while (key := budget.next(list("abcdef"))) is not None:
            found.append(key)
            budget.hear(machine.visit(key))
        return found

    assert order(1) == order(1)
    assert order(1) != order(2)
