"""The commits of a line in order, and measuring the last of them against each other."""

import contextlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet_bench.errors import NotComparableError, ResnetBenchError, UsageError
from resnet_bench.gate import measuring, workers
from resnet_bench.gate.measuring import (
    Budget,
    keep,
    launch_of,
    live_pair,
    resumable,
    starting_budget,
)
from resnet_bench.gate.records import SIDES, Side, pair_cell, pair_order, pairs_of
from resnet_bench.gate.spec import FREE_TO_CHANGE, Case, HistoryConfig, parse_case
from resnet_bench.gate.trees import Tree, bytes_of, checked_out, git, require_subject
from resnet_bench.gate.workers import Launch, Start, WorkerError
from resnet_bench.output import Output
from resnet_bench.present.machines import load_warning
from resnet_bench.present.numbers import duration
from resnet_bench.records import Cell, to_json
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run, read_run
from resnet_bench.store.recording import Beginning, Recorder, go_on, start

EXPERIMENT = "history"


@dataclass(frozen=True)
class Commit:
    """A commit of a line; `when` is the committer's date, to the minute."""

    name: str
    when: str
    subject: str

    @property
    def short(self) -> str:
        """The beginning of its name, which people type."""
        return self.name[:7]


def line_of(folder: Path, last: int | None = None) -> list[Commit]:
    """Return the commits of HEAD by first parents, oldest first; raises GitError."""
    date = "--date=format:%Y-%m-%d %H:%M"
    form = ("--format=%H%x1f%cd%x1f%s", date, "--encoding=UTF-8")
    newest = [f"--max-count={last}"] if last else []
    # A subject may hold what Python takes for the end of a line.
    text = git(folder, "log", "-z", "--first-parent", *newest, *form, "HEAD")
    rows = text.removesuffix("\0").split("\0")
    return [Commit(*row.split("\x1f", 2)) for row in reversed(rows)]


def commits_in(run: Run) -> list[Commit]:
    """Return the commits that a history run is of."""
    return [Commit(**row) for row in run.header.get("commits") or ()]


@dataclass(frozen=True, kw_only=True)
class LinkCell(Cell):
    """One pair of fresh processes, of two commits."""

    pair: int
    base: str
    head: str
    blocks: str
    first_started: str
    threads: int


def planned_links(names: Sequence[str], rounds: int) -> list[tuple[str, str]]:
    """Return the pairs of commits to compare, in the order of measuring.

    A round compares each commit with the one 1, 2, 4, 8 … places before it, by turns,
    and the first commits with the last. Neighbours alone would make a chain, whose
    errors add up: over n commits to the square root of n times that of a link.
    """
    apart = [2**k for k in range(len(names)) if 2**k <= max(1, len(names) // 2)]
    links = []
    for distance in itertools.islice(itertools.cycle(apart), rounds):
        for place in range(len(names)):
            ends = sorted((place, (place + distance) % len(names)))
            links.append((names[ends[0]], names[ends[1]]))
    return links


def cells_of(config: HistoryConfig, names: Sequence[str]) -> list[LinkCell]:
    """Return a cell for each pair of processes."""
    return [
        LinkCell(base=base, head=head, **pair_cell(config, number).parameters)
        for number, (base, head) in enumerate(planned_links(names, config.pairs))
    ]


#: Why a commit, or a case of it, cannot be measured: by commit, then by case or "".
Problems = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Plan:
    """What is measured: which cases of which commits, found out before it begins."""

    config: HistoryConfig
    commits: Sequence[Commit]
    cases: Sequence[Case]
    problems: Problems
    libraries: Sequence[str]

    @property
    def measurable(self) -> list[str]:
        """The commits of which a case can be measured, oldest first."""
        return [row.name for row in self.commits if self.cases_of(row.name)]

    def cases_of(self, *names: str) -> list[Case]:
        """Return the cases that can be measured of all these commits."""
        troubles = [self.problems.get(name, {}) for name in names]
        whole = any("" in trouble for trouble in troubles)
        return [
            case
            for case in self.cases
            if not whole and not any(case.text in trouble for trouble in troubles)
        ]

    def beginning(self, environment: Mapping[str, Any]) -> Beginning:
        """Return what the run file begins with."""
        cells = cells_of(self.config, self.measurable)
        return Beginning(
            experiment=EXPERIMENT,
            config=to_json(self.config),
            cells={cell.key: cell.parameters for cell in cells},
            environment=environment,
            commit=self.commits[-1].name,
            dirty=False,
            one_machine=True,
            further={
                "commits": [asdict(commit) for commit in self.commits],
                "timed": [case.text for case in self.cases],
                "problems": self.problems,
                "libraries": list(self.libraries),
            },
            free_to_change=FREE_TO_CHANGE,
        )


def measure_history(config: HistoryConfig, output: Output) -> Run:
    """Measure the last commits against each other, or the rest of a run; return it.

    Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and Terminated
    after the run file was closed and the command to resume was printed.
    """
    here, budget = Path.cwd(), starting_budget(config.budget)
    resumed = config.resume and find_run(config.results, config.resume, EXPERIMENT)
    old = read_run(resumed) if resumed else None
    commits = commits_in(old) if old else _last(here, config)
    require_subject(here, config)
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(ThreadPoolExecutor(1))
        environment = reading.submit(measuring.collect_environment)
        _check_room(here, commits)
        if old is None:
            output.say(f"history: trying {len(commits)} commits")
        launches = _launches(config, commits, here, stack)
        plan = _stored(config, old) if old else _tried(config, commits, launches)
        _tell_problems(plan.problems, output)
        if warning := load_warning(environment.result()):
            output.say(warning)
        beginning = plan.beginning(environment.result())
        recorder = (
            go_on(beginning, resumed)
            if resumed
            else start(beginning, config.results, sys.argv[1:])
        )
        with resumable(recorder):
            _record(recorder, plan, launches, budget, output)
    return recorder.run()


def _last(here: Path, config: HistoryConfig) -> list[Commit]:
    commits = line_of(here, config.measure)
    if len(commits) < 2:
        raise UsageError(
            f"--measure {config.measure}: this branch has a single commit here: "
            "expected two (a shallow clone needs fetch-depth: 0)"
        )
    return commits


def _check_room(here: Path, commits: Sequence[Commit]) -> None:
    """Raise UsageError where the disk has no room to check every commit out."""
    place = Path(tempfile.gettempdir())
    each = max(1, bytes_of(here, commits[-1].name))
    most = shutil.disk_usage(place).free // each
    if len(commits) > most:
        accepted = (
            f"at most {most}: the commits are checked out in {place}, each takes "
            f"{each / 1e6:.3g} MB; TMPDIR may name another folder"
        )
        raise UsageError.for_option("--measure", len(commits), accepted)


Launches = Mapping[str, Launch]


def _launches(
    config: HistoryConfig,
    commits: Sequence[Commit],
    here: Path,
    stack: contextlib.ExitStack,
) -> Launches:
    """Check every commit out while the stack is open; return what starts a worker."""
    trees: dict[str, Tree] = {}
    for commit in commits:
        # One that lacks the folder is told when it is tried.
        with contextlib.suppress(NotComparableError):
            tree = checked_out(here, commit.name, config.source)
            trees[commit.name] = stack.enter_context(tree)
    return {name: launch_of(config, tree) for name, tree in trees.items()}


def _stored(config: HistoryConfig, run: Run) -> Plan:
    """Return the plan that a run was begun with."""
    header = run.header
    cases = [parse_case(text) for text in header["timed"]]
    return Plan(config, commits_in(run), cases, header["problems"], header["libraries"])


def _tried(
    config: HistoryConfig, commits: Sequence[Commit], launches: Launches
) -> Plan:
    """Return the plan of what can be measured, by trying each commit once.

    Raises UsageError where there is no case to measure, NotComparableError where
    fewer than two commits can be measured.
    """
    newest = launches.get(commits[-1].name)
    if newest is None:
        raise NotComparableError(
            f"--source {config.source}: HEAD has no such folder: commit it first"
        )
    with workers.WorkerProcess(newest) as worker:
        try:
            offered = worker.ask("open")["cases"]
            libraries = worker.ask("libraries")["libraries"]
        except WorkerError as error:
            raise NotComparableError(f"HEAD has no usable subject: {error}") from error
    asked = [parse_case(text) for text in config.cases or offered]
    cases = [case for case in dict.fromkeys(asked) if case.is_timed]
    if not cases:
        raise UsageError("--cases: expected NAME:forward or NAME:step")
    problems: Problems = {}
    with workers.nurseries(dict.fromkeys(SIDES, newest), libraries) as start_for:
        for number, commit in enumerate(commits):
            launch = launches.get(commit.name)
            if found := _problems(launch, cases, start_for(number)):
                problems[commit.name] = found
    plan = Plan(config, commits, cases, problems, libraries)
    if len(plan.measurable) < 2:
        told = [reason for found in problems.values() for reason in found.values()]
        raise NotComparableError(
            f"fewer than two commits can be measured: {'; '.join(dict.fromkeys(told))}"
        )
    return plan


def _problems(
    launch: Launch | None, cases: Sequence[Case], start: Start
) -> dict[str, str]:
    """Return why cases of a commit cannot be measured; "" stands for all cases."""
    if launch is None:
        return {"": "it lacks the folder of --source"}
    with workers.WorkerProcess(launch, start) as worker:
        try:
            workers.refuse_a_foreign("head", worker.ask("open"), launch.module)
        except ResnetBenchError as error:
            return {"": str(error)}
        for number, case in enumerate(cases, 1):
            try:
                worker.ask("prepare", name=case.name, method=case.method)
            except ResnetBenchError as error:
                # The worker ended with it; another one tries the other cases.
                return {case.text: str(error)} | _problems(
                    launch, cases[number:], start
                )
    return {}


def _tell_problems(problems: Problems, output: Output) -> None:
    """Print a line for each commit and case that cannot be measured, and why."""
    for name, found in problems.items():
        for case, reason in found.items():
            what = f"{case} of commit" if case else "commit"
            output.say(f"{what} {name[:7]} cannot be measured: {reason}")


def _record(
    recorder: Recorder, plan: Plan, launches: Launches, budget: Budget, output: Output
) -> None:
    """Measure pair after pair until the budget is spent; keep each at once."""
    cells = cells_of(plan.config, plan.measurable)
    left = [cell for cell in cells if not recorder.holds(cell.key)]
    pairs, longest = pairs_of(recorder.run()), 0.0
    newest = dict.fromkeys(SIDES, launches[plan.commits[-1].name])
    with workers.nurseries(newest, plan.libraries) as start_for:
        for done, cell in enumerate(left):
            if not budget.allows(longest):
                output.say(
                    f"the budget of {budget.seconds:g} s ended with {len(left) - done} "
                    "pairs left: --resume and a larger --budget measure them"
                )
                return
            began = budget.clock()
            both: dict[Side, Launch] = {
                "base": launches[cell.base],
                "head": launches[cell.head],
            }
            order = pair_order(plan.config.seed, cell.pair)
            cases = plan.cases_of(cell.base, cell.head)
            try:
                timings = live_pair(both, order, cases, pairs, start_for(cell.pair))
            except ResnetBenchError as error:
                attempt = recorder.next_attempt(cell.key)
                recorder.commit(cell.key, attempt, "failed", error=str(error))
                ends = f"{cell.base[:7]} and {cell.head[:7]}"
                output.say(f"pair {cell.pair} of {ends} failed: {error}")
                continue
            pairs.timings.append(timings)
            seconds = budget.clock() - began
            keep(recorder, cell, timings, seconds)
            longest = max(longest, seconds)
            _tell_progress(done + 1, len(left), len(plan.measurable), budget, output)


#: The time left is first printed after this many pairs.
TELLING = 4


def _tell_progress(
    done: int, all_of_them: int, per_round: int, budget: Budget, output: Output
) -> None:
    """Print the time left after the first few pairs, and after each round."""
    if done == TELLING or done % per_round == 0:
        spent = budget.clock() - budget.began
        rest = spent / done * (all_of_them - done)
        left = f", about {duration(rest)} left" if rest else ""
        output.say(f"pair {done} of {all_of_them}{left}")
