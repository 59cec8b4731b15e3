"""`recommend`: the most accurate ResNet within a budget, from this machine's runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_bench.catalogue import VARIANTS
from resnet_bench.errors import InputOutputError, NotComparableError
from resnet_bench.experiments.speed.settings import setting_options
from resnet_bench.gate.compare import ASSUMED_PROCESS_SPREAD
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.present.tables import Table
from resnet_bench.reports.budgets import (
    CALLS,
    HEADERS,
    RULE_NOTE,
    Accuracies,
    Budget,
    Candidate,
    best_settings,
    candidates,
    certainty,
    described,
    finetuned_accuracies,
    published_accuracies,
    recommended,
    setting,
    spread_note,
)
from resnet_bench.reports.shown import shown
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_run

Row = Mapping[str, Any]


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
        return min(self.found, key=lambda each: float(each.seconds["estimate"]))

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
        low, high = (candidate.seconds[end] for end in ("low", "high"))
        bounds = f" [{1e3 * low:.3g}, {1e3 * high:.3g}]" if low and high else ""
        per = "per image" if self.budget.per_image else "a call"
        verdict = candidate.row.get("verdict", "ok")
        caveat = "" if verdict == "ok" else f" (measured as {verdict})"
        return (
            f"{VARIANTS[candidate.row['variant']].title}, {setting(candidate.row)}: "
            f"{1e3 * candidate.seconds['estimate']:.3g} ms{bounds} {per}{caveat}, "
            f"{self._how_sure(candidate)} to {self.budget.words}; "
            f"{candidate.accuracy_percent:.1f} % ({candidate.accuracy.origin})."
        )

    def _how_sure(self, candidate: Candidate) -> str:
        chance = self.chance(candidate)
        percent = min(99.0, max(1.0, 100 * chance))
        side = {99.0: "over ", 1.0: "under "}.get(percent, "")
        return f"{certainty(chance)} ({side}{percent:.0f} %)"

    @property
    def _headline(self) -> str:
        best = self.chosen
        if best is None:
            return "nothing fits"
        return f"{VARIANTS[best.row['variant']].title}, {self._how_sure(best)}"

    def _more_accurate(self, chosen: Candidate) -> Iterator[str]:
        for candidate in best_settings(self.found):
            chance = self.chance(candidate)
            better = candidate.accuracy_percent > chosen.accuracy_percent
            if better and certainty(chance) == "borderline":
                yield f"More accurate but not sure enough: {self._sentence(candidate)}"

    @property
    def table(self) -> Table:
        """Each variant in its fastest setting, the most accurate first."""
        per = "image" if self.budget.per_image else "call"
        lines = [
            {
                **described(candidate, per),
                "sure": certainty(self.chance(candidate)),
                "chance_percent": 100 * self.chance(candidate),
                "command": command(candidate.row, self.budget.goal),
            }
            for candidate in best_settings(self.found)
        ]
        return Table(
            name="recommend",
            title=f"To {self.budget.words} on {self.machine.title}: {self._headline}",
            frame=pd.DataFrame(lines, dtype=object),
            narrow=[
                "model",
                "setting",
                f"{per}_seconds",
                "sure",
                "top1_percent",
            ],
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
            "variant": candidate.row["variant"],
            "seconds": dict(candidate.seconds),
            "chance": chance,
            "certainty": certainty(chance),
            "top1_percent": candidate.accuracy_percent,
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


@dataclass(frozen=True, kw_only=True)
class Question:
    """A budget of one of two kinds, and which times and accuracies count.

    `mode` is infer or train; `batch_size` names the only batches that count, if any;
    `accuracy` is published or finetune.
    """

    results: Path
    latency_ms: float | None = None
    images_per_second: float | None = None
    mode: str = "infer"
    batch_size: tuple[int, ...] = ()
    accuracy: str = "published"


def recommend(question: Question, machine: Machine) -> Recommendation:
    """Answer from the runs of this machine.

    Raises NotComparableError where they hold nothing to answer from.
    """
    budget = _budget(question)
    runs = stored(question.results, "speed")
    rows = _rows(runs, question, machine)
    accuracies = _accuracies(question, machine)
    found = candidates(rows, budget, accuracies)
    if not found:
        raise NotComparableError(_nothing(question, machine, runs, rows, accuracies))
    spread = known_process_spread(question.results, machine.key)
    return Recommendation(machine, budget, found, spread)


def _budget(question: Question) -> Budget:
    if question.latency_ms is not None:
        return Budget(question.latency_ms / 1e3, question.mode)
    return Budget(
        1 / float(question.images_per_second or 1), question.mode, per_image=True
    )


def stored(results: Path, experiment: str) -> list[Run]:
    """Return the readable runs of an experiment in the order of time."""
    runs = []
    for folder in run_folders(results, experiment):
        try:
            runs.append(read_run(folder))
        except InputOutputError:
            continue  # `list` names it; a damaged run answers nothing
    return runs


def _rows(
    runs: Sequence[Run], question: Question, machine: Machine
) -> list[dict[str, Any]]:
    """Return what this machine's device took, the newest of each setting."""
    newest: dict[str, dict[str, Any]] = {}
    for run in runs:
        device = str(run.config.get("device") or "cpu")
        if run.machine_key != machine.key or device != machine.device:
            continue
        for row in shown(run).json["rows"]:
            if row[CALLS[question.mode]] and _wanted(row, question):
                same = f"{row['shortcut']} {command(row, question.mode)}"
                newest[same] = {**row, "run": run.id}
    return list(newest.values())


def _wanted(row: Row, question: Question) -> bool:
    return not question.batch_size or row["batch_size"] in question.batch_size


def _accuracies(question: Question, machine: Machine) -> Accuracies:
    if question.accuracy == "published":
        return published_accuracies()
    runs = stored(question.results, "finetune")
    return finetuned_accuracies([run for run in runs if run.machine_key == machine.key])


def _nothing(
    question: Question,
    machine: Machine,
    runs: Sequence[Run],
    rows: Sequence[Row],
    accuracies: Accuracies,
) -> str:
    """Return why there is no answer, and what to run first."""
    if not accuracies:
        return (
            f"recommend: no finetune run of this machine ({machine.key}) in "
            f"{question.results}: run 'resnet-bench finetune' first"
        )
    sizes = sorted({accuracy.image_size for accuracy in accuracies.values()})
    size = f" --image-size {sizes[0]}" if sizes != [224] else ""
    batch = "".join(f" --batch-size {each}" for each in question.batch_size)
    first = f"speed --variants all --device {machine.device}{size}{batch}"
    if rows:
        what = f"no timed ResNet at {sizes[0]} px, which the accuracies are for,"
    else:
        what = (
            f"no timed {'training step' if question.mode == 'train' else 'inference'}"
        )
    others = sum(run.machine_key != machine.key for run in runs)
    foreign = f"; {others} of another machine not used" if others else ""
    where = f" -o {question.results}" if question.results != Path("results") else ""
    return (
        f"recommend: {what} of {machine.device} of this machine ({machine.key}) in "
        f"{question.results}{foreign}: run 'resnet-bench {first}{where}' first"
    )
