"""`recommend`: the most accurate ResNet within a budget, from this machine's runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_bench.errors import NotComparableError
from resnet_bench.experiments.speed.settings import setting_options
from resnet_bench.gate.compare import ASSUMED_PROCESS_SPREAD
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.present.numbers import rounded
from resnet_bench.present.tables import Table
from resnet_bench.reports.budgets import (
    CALLS,
    HEADERS,
    IMAGENET_SIZE,
    RULE_NOTE,
    Accuracies,
    Budget,
    Candidate,
    Row,
    best_settings,
    candidates,
    certainty,
    finetuned_accuracies,
    published_accuracies,
    recommended,
    spread_note,
)
from resnet_bench.reports.shown import ShownRun, StoredRuns


@dataclass(frozen=True)
class Machine:
    """What is asked about: a machine by its key, and one of its devices."""

    key: str | None
    device: str
    title: str


@dataclass(frozen=True)
class Recommendation:
    """What fits the budget among the candidates, and what else there is.

    `measured_spread` is what `noise` found of this machine, None where it never ran.
    """

    machine: Machine
    budget: Budget
    found: Sequence[Candidate]
    measured_spread: float | None

    @property
    def spread(self) -> float:
        """The standard deviation of log-ratios from one process to the next."""
        return self.measured_spread or ASSUMED_PROCESS_SPREAD

    @cached_property
    def chosen(self) -> Candidate | None:
        """The answer; None where nothing is at least borderline."""
        return recommended(self.found, self.budget.seconds, self.spread)

    @property
    def closest(self) -> Candidate:
        """What exceeds the budget by the least where nothing fits."""
        return min(self.found, key=lambda each: each.seconds.estimate)

    def chance(self, candidate: Candidate) -> float:
        """Return the probability that another process stays within the budget."""
        return candidate.chance(self.budget.seconds, self.spread)

    @property
    def sentences(self) -> list[str]:
        """The answer as a person reads it."""
        chosen = self.chosen
        if chosen is None:
            return [
                f"Nothing measured here can {self.budget.words}; the closest is "
                f"{self._sentence(self.closest)}"
            ]
        return [
            self._sentence(chosen),
            f"Reproduce: {command(chosen.row, self.budget.goal)}",
            *self._more_accurate(chosen),
        ]

    def _sentence(self, candidate: Candidate) -> str:
        seconds = candidate.seconds
        bounds = ""
        if math.isfinite(seconds.high):
            bounds = f" [{rounded(1e3 * seconds.low)}, {rounded(1e3 * seconds.high)}]"
        per = "per image" if self.budget.per_image else "a call"
        verdict = candidate.row.get("verdict", "ok")
        caveat = "" if verdict == "ok" else f" (measured as {verdict})"
        return (
            f"{candidate.title}, {candidate.setting}: "
            f"{rounded(1e3 * seconds.estimate)} ms{bounds} {per}{caveat}, "
            f"{self._how_sure(candidate)} to {self.budget.words}; "
            f"{candidate.accuracy.percent:.1f} % ({candidate.accuracy.origin})."
        )

    def _how_sure(self, candidate: Candidate) -> str:
        chance = self.chance(candidate)
        percent = min(99.0, max(1.0, 100 * chance))
        side = {99.0: "over ", 1.0: "under "}.get(percent, "")
        return f"{certainty(chance)} ({side}{percent:.0f} %)"

    def _more_accurate(self, chosen: Candidate) -> Iterator[str]:
        for candidate in best_settings(self.found):
            better = candidate.accuracy.percent > chosen.accuracy.percent
            if better and certainty(self.chance(candidate)) == "borderline":
                yield f"More accurate but not sure enough: {self._sentence(candidate)}"

    @property
    def table(self) -> Table:
        """Each variant in its fastest setting, the most accurate first."""
        column, chosen = self.budget.column, self.chosen
        answer = f"{chosen.title}, {self._how_sure(chosen)}" if chosen else ""
        lines = [
            {
                **candidate.columns(column, candidate.seconds),
                "sure": certainty(self.chance(candidate)),
                "chance_percent": 100 * self.chance(candidate),
                "command": command(candidate.row, self.budget.goal),
            }
            for candidate in best_settings(self.found)
        ]
        return Table(
            name="recommend",
            title=f"To {self.budget.words} on {self.machine.title}: "
            f"{answer or 'nothing fits'}",
            frame=pd.DataFrame(lines, dtype=object),
            narrow=["model", "setting", column, "sure", "top1_percent"],
            notes=[*self.sentences, RULE_NOTE, spread_note(self.measured_spread)],
            headers=HEADERS,
        )

    @property
    def json(self) -> dict[str, Any]:
        """The answer for machines; SI units, unknown values null."""
        budget = self.budget
        return {
            "machine_key": self.machine.key,
            "device": self.machine.device,
            "goal": budget.goal,
            "budget_seconds": budget.seconds,
            "budget_is_per_image": budget.per_image,
            "process_spread": self.spread,
            "process_spread_measured": self.measured_spread is not None,
            "recommended": None if self.chosen is None else self._json(self.chosen),
            "closest": self._json(self.closest) if self.chosen is None else None,
            "candidates": [self._json(each) for each in best_settings(self.found)],
        }

    def _json(self, candidate: Candidate) -> dict[str, Any]:
        chance = self.chance(candidate)
        return {
            "variant": candidate.variant,
            "seconds": candidate.seconds.json,
            "chance": chance,
            "certainty": certainty(chance),
            "top1_percent": candidate.accuracy.percent,
            "weights": candidate.accuracy.weights,
            "accuracy_published": candidate.accuracy.published,
            "command": command(candidate.row, self.budget.goal),
            "verdict": candidate.row.get("verdict"),
            "run": candidate.row["run"],
        }


def command(row: Row, goal: str) -> str:
    """Return the command line that times a row's setting again."""
    sizes = {
        "--variants": row["variant"],
        "--device": row["device"],
        "--batch-size": row["batch_size"],
        "--image-size": row["image_size"],
        "--threads": row["threads"],
        "--mode": goal,
    }
    words = [f"{name} {value}" for name, value in sizes.items()]
    return " ".join(["resnet-bench speed", *words, setting_options(row)]).strip()


@dataclass(frozen=True)
class Question:
    """A budget, and which times and accuracies count.

    `batch_size` names the only batches that count, if any; `accuracy` is published or
    finetune.
    """

    results: Path
    budget: Budget
    batch_size: tuple[int, ...] = ()
    accuracy: str = "published"


def recommend(question: Question, machine: Machine) -> Recommendation:
    """Answer from the runs of this machine.

    Raises NotComparableError where they hold nothing to answer from.
    """
    stored = StoredRuns(question.results)
    accuracies = _accuracies(stored, question, machine)
    if not accuracies:
        raise NotComparableError(
            f"recommend: no finetune run of this machine ({machine.key}) in "
            f"{question.results}: run 'resnet-bench finetune' first"
        )
    speed = list(stored.readable("speed"))
    rows = _rows(speed, question, machine)
    found = candidates(rows, accuracies, question.budget)
    if not found:
        size = min(accuracy.image_size for accuracy in accuracies.values())
        what = f"no timed {_CALLED[question.budget.goal]}"
        if rows:
            what = f"no timed ResNet at {size} px, which the accuracies are for,"
        others = sum(view.run.machine_key != machine.key for view in speed)
        raise NotComparableError(_nothing(what, others, size, question, machine))
    spread = known_process_spread(question.results, machine.key)
    return Recommendation(machine, question.budget, found, spread)


_CALLED = {"infer": "inference", "train": "training step"}


def _accuracies(stored: StoredRuns, question: Question, machine: Machine) -> Accuracies:
    if question.accuracy == "published":
        return published_accuracies()
    runs = (view.run for view in stored.readable("finetune"))
    return finetuned_accuracies(run for run in runs if run.machine_key == machine.key)


def _rows(
    speed: Sequence[ShownRun], question: Question, machine: Machine
) -> list[dict[str, Any]]:
    """Return what this machine's device took, the newest of each setting."""
    goal, batches = question.budget.goal, question.batch_size
    newest: dict[str, dict[str, Any]] = {}
    for view in speed:
        if view.run.machine_key != machine.key or view.device != machine.device:
            continue
        for row in view.shown.json["rows"]:
            if row[CALLS[goal]] and (not batches or row["batch_size"] in batches):
                same = f"{row['shortcut']} {command(row, goal)}"
                newest.setdefault(same, {**row, "run": view.run.id})
    return list(newest.values())


def _nothing(
    what: str, others: int, size: int, question: Question, machine: Machine
) -> str:
    """Return why there is no answer, and what to run first."""
    options = f" --image-size {size}" if size != IMAGENET_SIZE else ""
    options += "".join(f" --batch-size {each}" for each in question.batch_size)
    if question.results != Path("results"):
        options += f" -o {question.results}"
    foreign = f"; {others} of another machine not used" if others else ""
    return (
        f"recommend: {what} of {machine.device} of this machine ({machine.key}) in "
        f"{question.results}{foreign}: run 'resnet-bench speed --variants all "
        f"--device {machine.device}{options}' first"
    )
