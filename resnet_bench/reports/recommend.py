"""`recommend`: the most accurate ResNet within a budget, from this machine's runs."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_bench.catalogue import RUNTIMES, TORCH, VARIANTS
from resnet_bench.errors import NotComparableError
from resnet_bench.experiments.speed.settings import setting_options
from resnet_bench.gate.noise import known_process_spread
from resnet_bench.present.numbers import percent, rounded
from resnet_bench.present.tables import Table
from resnet_bench.reports.budgets import (
    HEADERS,
    IMAGENET_SIZE,
    Accuracies,
    Budget,
    Candidate,
    best_settings,
    candidates,
    finetuned_accuracies,
    images,
    judged_on,
    published_accuracies,
    quantised,
    recommended,
)
from resnet_bench.reports.pooling import Observed, Row, observed_in
from resnet_bench.reports.stored import ShownRun, StoredRuns
from resnet_bench.store.checking import OddContentError


@dataclass(frozen=True)
class Machine:
    """The machine, by its key, and device that are asked about.

    `day` (as `2026-11-27`, UTC) and `commit` are those of the question; `absent` are
    the runtimes that are not installed.
    """

    key: str | None
    device: str
    title: str
    day: str = ""
    commit: str | None = None
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Recommendation:
    """What fits the budget among the candidates, and what else there is.

    `quantised` are candidates in int8, which are no answer, since their accuracy is not
    known; `notes` say what the reader may want to know beside it.
    """

    machine: Machine
    budget: Budget
    found: Sequence[Candidate]
    quantised: Sequence[Candidate] = ()
    notes: Sequence[str] = ()

    @cached_property
    def chosen(self) -> Candidate | None:
        """The answer; None where nothing is at least borderline."""
        return recommended(self.found, self.budget.seconds)

    @cached_property
    def in_int8(self) -> Candidate | None:
        """What int8 could gain: a more accurate variant in time, or a shorter time."""
        best, chosen = recommended(self.quantised, self.budget.seconds), self.chosen
        if best is None or chosen is None:
            return best
        more = best.accuracy.percent > chosen.accuracy.percent
        same = best.variant == chosen.variant
        faster = best.expected.seconds < chosen.expected.seconds
        return best if more or (same and faster) else None

    @property
    def closest(self) -> Candidate:
        """What exceeds the budget by the least where nothing fits."""
        return min(self.found, key=lambda each: each.expected.seconds)

    @property
    def sentences(self) -> list[str]:
        """The answer as a person reads it."""
        chosen = self.chosen
        if chosen is None:
            return [
                f"Nothing measured here can {self.budget.words}; the closest is "
                f"{self._sentence(self.closest)}",
                *self._caveats(self.closest),
                *self._quantised(),
            ]
        return [
            self._sentence(chosen),
            *self._caveats(chosen),
            f"Reproduce: {command(chosen.row, self.budget.goal)}",
            *self._more_accurate(chosen),
            *self._quantised(),
        ]

    @property
    def _variants(self) -> list[Candidate]:
        """Each variant in its fastest setting, but the answer's in that of the answer.

        The most accurate first.
        """
        chosen = self.chosen
        return [
            chosen if chosen and each.variant == chosen.variant else each
            for each in best_settings(self.found)
        ]

    def _caveats(self, answer: Candidate) -> Iterator[str]:
        """Say what the answer rests on and what it leaves out."""
        yield from origin(answer, self.machine)
        yield from self.notes

    def _sentence(self, candidate: Candidate) -> str:
        return (
            f"{self._kept(candidate)}; {candidate.accuracy.percent:.1f} % "
            f"({candidate.accuracy.origin})."
        )

    def _kept(self, candidate: Candidate) -> str:
        """Say what a candidate takes, and how surely it keeps the budget."""
        verdict = candidate.pool.verdict
        caveat = "" if verdict in (None, "ok") else f" (measured as {verdict})"
        return (
            f"{candidate.title}, {candidate.setting}: {self._time(candidate)}{caveat}, "
            f"{self._how_sure(candidate)} to {self.budget.words}"
        )

    def _quantised(self) -> Iterator[str]:
        """Say what int8 could gain, and what is known of its answers."""
        if self.in_int8 is not None:
            row = self.in_int8.row
            same = percent(row["top1_agreement"])
            error = percent(row["logit_error"], 1)
            yield (
                f"In int8, whose accuracy is unknown: {self._kept(self.in_int8)}; the "
                f"top-1 prediction equals that of float32 on {same} of the images "
                f"compared, logits differ by {error}. Check the accuracy on your own "
                "images."
            )
            yield f"Reproduce in int8: {command(row, self.budget.goal)}"

    def _time(self, candidate: Candidate) -> str:
        """Return the time in words, with what is known of other processes and calls."""
        seconds, visits = candidate.seconds, candidate.pool.visits
        of_visits = "1 visit" if visits == 1 else f"{visits} visits"
        known = f"{of_visits}, too few for bounds"
        if seconds.bounded:
            low, high = rounded(1e3 * seconds.low), rounded(1e3 * seconds.high)
            known = f"{low} to {high} in 95 % of processes"
        per = "per image" if self.budget.per_image else "a call"
        p90 = candidate.p90_seconds
        tenth = f", nine of ten calls within {rounded(1e3 * p90)} ms" if p90 else ""
        return f"{rounded(1e3 * seconds.estimate)} ms {per} ({known}){tenth}"

    def _how_sure(self, candidate: Candidate) -> str:
        word = candidate.certainty(self.budget.seconds)
        chance = candidate.known_chance(self.budget.seconds)
        if chance is None:
            return f"{word} (few visits)"
        percent = min(99.0, max(1.0, 100 * chance))
        side = {99.0: "over ", 1.0: "under "}.get(percent, "")
        return f"{word} ({side}{percent:.0f} %)"

    def _more_accurate(self, chosen: Candidate) -> Iterator[str]:
        for candidate in self._variants:
            better = candidate.accuracy.percent > chosen.accuracy.percent
            if better and candidate.certainty(self.budget.seconds) == "borderline":
                yield f"More accurate but not sure enough: {self._sentence(candidate)}"

    @property
    def table(self) -> Table:
        """The answer, and other variants in their fastest setting, by accuracy."""
        column, chosen = self.budget.column, self.chosen
        answer = f"{chosen.title}, {self._how_sure(chosen)}" if chosen else ""
        lines = []
        for candidate in self._variants:
            chance = candidate.known_chance(self.budget.seconds)
            lines.append(
                {
                    **candidate.columns(column, candidate.seconds),
                    "sure": candidate.certainty(self.budget.seconds),
                    "chance_percent": None if chance is None else 100 * chance,
                    "command": command(candidate.row, self.budget.goal),
                }
            )
        judged = [judged_on([chosen or self.closest])] * (not self.budget.per_image)
        spread = self.found[0].spread.sentence
        return Table(
            name="recommend",
            title=f"To {self.budget.words} on {self.machine.title}: "
            f"{answer or 'nothing fits'}",
            frame=pd.DataFrame(lines, dtype=object),
            narrow=["model", "setting", column, "sure", "top1_percent"],
            notes=[*self.sentences, *judged, spread],
            headers=HEADERS,
        )

    @property
    def json(self) -> dict[str, Any]:
        """The answer for machines; SI units, unknown values null.

        `machine_key`, `device`; `goal` (infer, train), `budget_seconds`,
        `budget_is_per_image` and `batch_size` say what was asked. `process_spread` is
        the standard deviation of a time's logarithm from one process to the next,
        `process_spread_measured` whether `noise` ever measured it here,
        `degrees_of_freedom` how well it is known. `recommended` is the answer, or null
        and `closest` what misses the budget by the least; `candidates` holds each
        variant in its fastest setting, or the answer. Of each of these: `variant`;
        `seconds` (`estimate`, `low` and `high`, between which 95 % of processes lie,
        null below six visits, and `n`, the visits); `p90_seconds` of the calls, by
        which it was judged, null where it is not known; `chance` to stay within the
        budget, null below six visits; `certainty` (sure, likely, borderline, unlikely);
        `top1_percent`, its `weights`, and whether it is published
        (`accuracy_published`); `command`, which times it again; `verdict` and `runs`,
        those pooled, the newest first. `int8` is what int8 could gain, or null: its
        `top1_percent` is null, `top1_agreement` the share of images with the first
        choice of float32, `logit_error` how far logits are off.
        """
        budget, spread = self.budget, self.found[0].spread
        return {
            "machine_key": self.machine.key,
            "device": self.machine.device,
            "goal": budget.goal,
            "budget_seconds": budget.seconds,
            "budget_is_per_image": budget.per_image,
            "batch_size": budget.batch_size,
            "process_spread": spread.deviation,
            "process_spread_measured": spread.by_noise,
            "degrees_of_freedom": spread.freedom,
            "recommended": None if self.chosen is None else self._json(self.chosen),
            "closest": self._json(self.closest) if self.chosen is None else None,
            "candidates": [self._json(each) for each in self._variants],
            "int8": self.in_int8 and self._int8_json(self.in_int8),
        }

    def _int8_json(self, candidate: Candidate) -> dict[str, Any]:
        known = {
            name: candidate.row[name] for name in ("top1_agreement", "logit_error")
        }
        return {**self._json(candidate), "top1_percent": None, **known}

    def _json(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "variant": candidate.variant,
            "seconds": candidate.seconds.json,
            "p90_seconds": candidate.p90_seconds,
            "chance": candidate.known_chance(self.budget.seconds),
            "certainty": candidate.certainty(self.budget.seconds),
            "top1_percent": candidate.accuracy.percent,
            "weights": candidate.accuracy.weights,
            "accuracy_published": candidate.accuracy.published,
            "command": command(candidate.row, self.budget.goal),
            "verdict": candidate.pool.verdict,
            "runs": candidate.pool.runs,
        }


def origin(candidate: Candidate, machine: Machine) -> list[str]:
    """Return what must be known of the runs behind a time.

    Which they are and how old, where none of them is of this day, or of this commit,
    as those that come with a clone; and why newer ones do not count.
    """
    timed = [each.observed for each in candidate.pool.timed]
    other = [
        "day" if machine.day not in ("", *(each.day for each in timed)) else "",
        "commit" if machine.commit not in (None, *_commits(timed)) else "",
    ]
    newer = candidate.pool.newer
    notes = []
    if any(other):
        runs = "a run" if len(timed) == 1 else f"{len(timed)} runs"
        named = ", ".join(f"{each.run} ({_age(each, machine)})" for each in timed)
        # --measure takes torch in float32 and nothing else.
        again = "the command below times it again"
        if not setting_options(candidate.row):
            again = f"--measure times all {'again' if newer else 'now'}"
        notes.append(
            f"This is based on {runs} from another "
            f"{' and '.join(filter(None, other))}: {named}; {again}"
            f"{', best on a quiet machine' if newer else ''}."
        )
    if newer:
        were = "run of this setting was" if len(newer) == 1 else "runs were"
        why = sorted({flaw for each in newer for flaw in each.flaws})
        notes.append(f"{len(newer)} newer {were} not used: {', '.join(why)}.")
    return notes


def _commits(timed: Sequence[Observed]) -> list[str]:
    return [each.commit for each in timed if each.commit]


def _age(observed: Observed, machine: Machine) -> str:
    """Return how many days old a run is; its own day where that is not known."""
    try:
        then, now = map(date.fromisoformat, (observed.day, machine.day))
    except ValueError:
        return observed.day
    days = (now - then).days
    return f"{days} day{'' if days == 1 else 's'} old" if days else "of today"


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
    """A budget, and which accuracies count: published or finetune."""

    results: Path
    budget: Budget
    accuracy: str = "published"


def recommend(question: Question, machine: Machine) -> Recommendation:
    """Answer from the runs of this machine.

    Raises NotComparableError where they hold nothing to answer from.
    """
    stored = StoredRuns(question.results)
    accuracies = known_accuracies(stored, question, machine)
    speed = list(stored.readable("speed"))
    everything = _observed(speed, machine)
    observed = [each for each in everything if _runtime(each) not in machine.absent]
    spread = known_process_spread(question.results, machine.key)
    found = candidates(observed, accuracies, spread, question.budget)
    batch = question.budget.batch_size
    alike = [each for each in found if each.batch_size == batch]
    others = sorted({each.batch_size for each in found} - {batch})
    known = [f"timed at other batches (-b): {', '.join(map(str, others))}"]
    if alike:
        notes = [*_untimed(alike, accuracies), *_absent(everything, machine)]
        in_int8 = quantised(observed, accuracies, spread, question.budget)
        in_int8 = [each for each in in_int8 if each.batch_size == batch]
        return Recommendation(machine, question.budget, alike, in_int8, notes)
    if foreign := sum(view.run.machine_key != machine.key for view in speed):
        known.append(f"{foreign} of other machines are not used")
    size = min(accuracy.image_size for accuracy in accuracies.values())
    raise _refusal(question, machine, size, known if others else known[1:])


def _refusal(
    question: Question, machine: Machine, size: int, known: Sequence[str]
) -> NotComparableError:
    """Return why there is no answer, with what is known instead and what to run."""
    budget = question.budget
    what = f"{_CALLED[budget.goal]} on {images(budget.batch_size)} of {size} px"
    where = f"the {machine.device} of this machine ({machine.key})"
    untimed = f"{what} was never timed on {where} in {question.results}"
    words = " ".join(["resnet-bench", *measurement(question, machine, size)])
    return NotComparableError(
        f"recommend: {'; '.join([untimed, *known])}: add "
        f"--measure to time it now, or run '{words}' first"
    )


def _untimed(found: Sequence[Candidate], accuracies: Accuracies) -> list[str]:
    """Return a sentence that names the variants without a time, if there are any."""
    missing = sorted(accuracies.keys() - {each.variant for each in found})
    if not missing:
        return []
    names = ", ".join(VARIANTS[variant].title for variant in missing)
    return [f"Not considered, because not timed here: {names}; --measure times all."]


_CALLED = {"infer": "inference", "train": "training step"}


def measurement(question: Question, machine: Machine, image_size: int) -> list[str]:
    """Return the command that measures what the question needs."""
    budget = question.budget
    words = ["speed", "--variants", "all", "--device", machine.device]
    words += ["--batch-size", str(budget.batch_size), "--mode", budget.goal]
    if image_size != IMAGENET_SIZE:
        words += ["--image-size", str(image_size)]
    if question.results != Path("results"):
        words += ["-o", str(question.results)]
    return words


def known_accuracies(
    stored: StoredRuns, question: Question, machine: Machine
) -> Accuracies:
    """Return the accuracies that the question asks for.

    Raises NotComparableError where this machine has measured none.
    """
    if question.accuracy == "published":
        return published_accuracies()
    runs = (view.run for view in stored.readable("finetune"))
    found = finetuned_accuracies(run for run in runs if run.machine_key == machine.key)
    if not found:
        raise NotComparableError(
            f"recommend: no finetune run of this machine ({machine.key}) in "
            f"{question.results}: run 'resnet-bench finetune' first"
        )
    return found


def _observed(speed: Sequence[ShownRun], machine: Machine) -> list[Observed]:
    """Return every row of this machine's device; `report` names odd runs."""
    found: list[Observed] = []
    for view in speed:
        if view.run.machine_key == machine.key and view.run.device == machine.device:
            with contextlib.suppress(OddContentError):
                found += observed_in(view.run, view.rows)
    return found


def _runtime(observed: Observed) -> str:
    return observed.row.get("runtime") or TORCH


def _absent(observed: Sequence[Observed], machine: Machine) -> list[str]:
    """Return a sentence on runtimes that were timed and are not installed, if any."""
    absent = sorted({_runtime(each) for each in observed} & machine.absent)
    if not absent:
        return []
    titles = " and ".join(RUNTIMES[name].title for name in absent)
    return [f"Not considered, because not installed: {titles} (extra 'runtimes')."]
