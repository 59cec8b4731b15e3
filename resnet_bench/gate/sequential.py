"""Looking at the pairs while they come in, without erring more often for it."""

from collections.abc import Mapping, Sequence

from resnet_bench.gate.decide import (
    Decision,
    PairedSeconds,
    Plan,
    TimingRule,
    Verdict,
    decide,
)


def planned_looks(plan: Plan, measured: int) -> tuple[int, ...]:
    """Return the looks that `measured` pairs have reached."""
    return tuple(look for look in plan.looks if look <= measured)


def final_looks(plan: Plan, measured: int) -> tuple[int, ...]:
    """Return the looks of a check that ends after `measured` pairs.

    Pairs beyond the last planned look get one more, paid for by a look that the
    budget did not allow.
    """
    reached = planned_looks(plan, measured)
    ends_on_a_look = reached[-1:] == (measured,)
    if ends_on_a_look or not measured or len(reached) == len(plan.looks):
        return reached
    return (*reached, measured)


def decide_in_turn(
    pairs: Mapping[str, PairedSeconds],
    rules: Mapping[str, TimingRule],
    plan: Plan,
    looks: Sequence[int],
) -> dict[str, Decision]:
    """Replay the looks over all pairs; a case that one look decides stays so.

    The same pairs give the same decisions, whether a check ran through or was
    resumed. A case without a pair is left out.
    """
    decided: dict[str, Decision] = {}
    for look in looks:
        still_open = {
            name: _first(series, look)
            for name, series in pairs.items()
            if series.base and not _is_decided(decided, name)
        }
        decided.update(decide(still_open, rules, plan, _regressions(decided)))
    return decided


def open_cases(
    pairs: Mapping[str, PairedSeconds],
    rules: Mapping[str, TimingRule],
    plan: Plan,
    measured: int,
) -> list[str]:
    """Return the cases that the next pair must measure."""
    decided = decide_in_turn(pairs, rules, plan, planned_looks(plan, measured))
    return [name for name in rules if not _is_decided(decided, name)]


def _first(series: PairedSeconds, count: int) -> PairedSeconds:
    return PairedSeconds(series.base[:count], series.head[:count])


def _is_decided(decided: Mapping[str, Decision], name: str) -> bool:
    return name in decided and decided[name].verdict.decided


def _regressions(decided: Mapping[str, Decision]) -> int:
    return sum(row.verdict is Verdict.REGRESSION for row in decided.values())
