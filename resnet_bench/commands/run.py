"""One command of an experiment, from its options to the files it writes."""

import importlib
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resnet_bench.commands.progress import (
    Display,
    LiveDisplay,
    PlainDisplay,
    Tracker,
    counted,
    trying,
)
from resnet_bench.engine.cpu import usable_cores
from resnet_bench.errors import ExitCode, InputOutputError, UsageError
from resnet_bench.execution.base import (
    Ended,
    Event,
    Executor,
    Job,
    Place,
    Recorded,
    Task,
    machine_environment,
)
from resnet_bench.execution.choice import EXECUTORS, make_executor
from resnet_bench.execution.ranks import follow, launch, rank_of, this_command
from resnet_bench.experiments.base import Experiment, Note
from resnet_bench.interrupts import Terminated
from resnet_bench.options import (
    WHERE,
    ExportOptions,
    ResultsOptions,
    check,
    flag_name,
    option,
    option_fields,
    restore,
)
from resnet_bench.output import Output, check_writable, to_stderr
from resnet_bench.present.exports import check_exports, conclude
from resnet_bench.present.numbers import duration
from resnet_bench.present.shown import Shown
from resnet_bench.records import Cell, to_json
from resnet_bench.store.checking import naming, odd_fields
from resnet_bench.store.folders import find_run, names_of_own_runs
from resnet_bench.store.format import portable
from resnet_bench.store.reading import RUN_FILE, Run, read_run
from resnet_bench.store.recording import (
    Beginning,
    Recorder,
    go_on,
    refuse_a_different,
    start,
)

#: Row verdicts that say a cell gave no result.
WITHOUT_RESULT = frozenset({"failed", "oom"})


@dataclass(frozen=True, kw_only=True)
class RunRequest(ResultsOptions, ExportOptions):
    """The options that every experiment has besides its own."""

    heading = WHERE

    dry_run: bool = option(
        False,
        help="List the cells (single measurements or trainings) and the "
        "estimated time, without running them.",
    )
    resume: str | None = option(
        None,
        bare="latest",
        suggest=names_of_own_runs,
        metavar="[RUN]",
        help="Resume a partial run with its own options; without RUN, the latest.",
    )
    jobs: int | None = option(
        None,
        help="Cells to run at the same time; timed cells always run alone [default: "
        "cores].",
        minimum=1,
    )
    executor: str = option(
        "processes",
        choices=tuple(EXECUTORS),
        help="Where cells run: in child processes, in this "
        "process, or on a Ray cluster.",
    )
    ray_address: str | None = option(
        None, help="Ray cluster for --executor ray: auto or HOST:PORT."
    )
    cpus_per_cell: float | None = option(
        None,
        help="Cores per cell on a Ray node [default: its threads].",
        minimum=0,
    )
    gpus_per_cell: float | None = option(
        None,
        help="GPUs per cell on a Ray node [default: 1 on CUDA].",
        minimum=0,
    )
    gpus: int = option(
        1,
        help="GPUs of this machine that work on each cell together, as with torchrun.",
        minimum=1,
    )
    strict: bool = option(False, help="Exit with code 5 if a row's verdict is not ok.")

    @property
    def place(self) -> Place:
        """Where a cluster is and what a cell takes of it."""
        return Place(self.ray_address, self.cpus_per_cell, self.gpus_per_cell)


@dataclass(frozen=True)
class Plan:
    """What will be run: the resolved config, its grid, and where."""

    experiment: Experiment[Any, Any]
    config: Any
    cells: tuple[Cell, ...]
    environment: dict[str, Any]
    #: The environments of a cluster's nodes.
    nodes: dict[str, Any] = field(default_factory=dict)
    #: How many processes share one cell.
    ranks: int = 1

    @property
    def beginning(self) -> Beginning:
        """What the run file begins with."""
        git = self.environment.get("git") or {}
        several = {"ranks": self.ranks} if self.ranks > 1 else {}
        return Beginning(
            experiment=self.experiment.name,
            config={**to_json(self.config), **several},
            cells={cell.key: cell.parameters for cell in self.cells},
            environment=self.environment,
            commit=git.get("commit"),
            dirty=git.get("dirty"),
            one_machine=self.experiment.schedule == "rounds",
            nodes=self.nodes,
        )

    def tasks_left(self, recorder: Recorder) -> tuple[Task, ...]:
        """Return what is still to be run: cells that are not committed, or failed."""
        return tuple(
            Task(cell, attempt=recorder.next_attempt(cell.key))
            for cell in self.cells
            if not recorder.holds(cell.key)
        )


def shortened_paths(config: Any) -> dict[str, str]:
    """Return the options with paths that a run file does not keep as they were given.

    A path may stand behind its kind, as in `file:/home/someone/net.pth`.
    """
    values = {name: getattr(config, name) for name in option_fields(type(config))}
    texts = {n: str(v) for n, v in values.items() if isinstance(v, (Path, str))}
    return {name: text for name, text in texts.items() if portable(text) != text}


def make_plan(
    experiment: Experiment[Any, Any],
    config: Any,
    executor: Executor,
    *,
    note: Note,
    dry: bool = False,
) -> Plan:
    """Resolve the config where cells will run, expand it, and note the environment.

    With `dry` nothing is tried out that takes long; `note` is called with each attempt.

    Raises UsageError when the config asks for what that machine cannot do.
    """
    resolved = experiment.prepared(config, executor)
    if not dry:
        resolved = experiment.fitted(resolved, executor, note)
    environment = executor.call(machine_environment)
    cells = tuple(experiment.expand(resolved))
    if not cells:
        raise UsageError(
            f"{experiment.name}: with these options there is nothing to run"
        )
    return Plan(
        experiment, resolved, cells, environment, executor.nodes(), executor.ranks
    )


def is_complete(plan: Plan, run: Run) -> bool:
    """Return whether nothing of the plan is left to do in a run.

    Raises UsageError when its experiment or config differs.
    """
    refuse_a_different(plan.beginning, run)
    return run.status == "complete" and not run.failed and not run.missing


def run_cells(
    plan: Plan,
    recorder: Recorder,
    executor: Executor,
    workers: int,
    listener: Callable[[Event], None],
) -> None:
    """Run what is left and keep every result; the listener hears each event."""
    job = Job(
        run=plan.experiment.run,
        schedule=plan.experiment.schedule,
        tasks=plan.tasks_left(recorder),
        workers=workers,
        visits=plan.experiment.visits(plan.config, plan.cells),
        memory_bytes=plan.experiment.memory_left(plan.config, plan.cells, executor),
    )
    try:
        for event in executor.run(job):
            _keep(event, recorder)
            listener(event)
    finally:
        executor.close()


def _keep(event: Event, recorder: Recorder) -> None:
    if isinstance(event, Recorded):
        recorder.record(event.key, event.attempt, event.content)
    elif isinstance(event, Ended):
        details = {
            "seconds": event.seconds,
            "error": event.error,
            "group": event.group,
            **({"node": event.node} if event.node else {}),
        }
        recorder.commit(event.key, event.attempt, event.status, **details)


def import_what_shows() -> None:
    """Import pandas and matplotlib, free while another process imports torch.

    At the end of a run it would take 3 s (two cores).
    """
    importlib.import_module("resnet_bench.reports.runs")


@dataclass(frozen=True)
class Session:
    """An experiment with everything needed to carry it out.

    `present` prints what the run shows when it has ended.
    """

    experiment: Experiment[Any, Any]
    request: RunRequest
    output: Output
    argv: Sequence[str]
    present: Callable[[Shown, ExportOptions, Output], None] = conclude

    def carry_out(self, given: Mapping[str, Any]) -> ExitCode:
        """Run the experiment with the options given; returns the exit code.

        Raises ResnetBenchError for what cannot be done, KeyboardInterrupt and
        Terminated after the run file was closed as partial.
        """
        self._refuse_to_share()
        rank = rank_of(os.environ)
        if rank:
            return self._follow(given)
        if rank is None and self.request.gpus > 1:
            return self._launch()
        stored = self._resumed()
        config = self._config(given, stored)
        if not self.request.dry_run:
            check_exports(self.request, self.output)
        if self.experiment.kept:
            return self._carry_out(config, stored)
        with TemporaryDirectory() as aside:
            return self._aside(Path(aside))._carry_out(config, stored)

    def _aside(self, results: Path) -> "Session":
        """Return a session elsewhere that shows its result and says nothing else."""
        display = replace(self.output.display, quiet=True)
        return replace(
            self,
            request=replace(self.request, results=results),
            output=replace(self.output, display=display),
            present=lambda shown, how, _: self.present(shown, how, self.output),
        )

    def _carry_out(self, config: Any, stored: Run | None) -> ExitCode:
        if not self.request.dry_run:
            check_writable(self.request.results)
        executor = make_executor(self.request.executor, self.request.place)
        try:
            return self._with(executor, config, stored)
        finally:
            executor.close()

    def _with(self, executor: Executor, config: Any, stored: Run | None) -> ExitCode:
        executor.warm(self.experiment.preload)
        self.output.say(f"{self.experiment.name}: preparing")
        if not self.request.dry_run:
            import_what_shows()
        plan = self._plan(executor, config, stored)
        for line in self.experiment.announcements(plan.config):
            self.output.say(line)
        if self.request.dry_run:
            return self._list_cells(plan, executor)
        if stored and is_complete(plan, stored):
            self.output.say(f"run {stored.id} is complete: nothing to resume")
            return self._finish(stored, write=False)
        if self.experiment.schedule == "rounds":
            self._warn_of_load(plan)
        executor.call(self.experiment.rehearse, plan.config)
        recorder = (
            go_on(plan.beginning, stored.folder)
            if stored
            else start(plan.beginning, self.request.results, self.argv)
        )
        self._run(plan, recorder, executor)
        return self._finish(read_run(recorder.folder), write=self.experiment.kept)

    def _plan(self, executor: Executor, config: Any, stored: Run | None) -> Plan:
        """Return the plan; the options of a run to be resumed may be of anybody."""
        dry = self.request.dry_run
        resuming = naming(stored, "resumed") if stored else nullcontext()
        with trying(self.output) as note, resuming:
            return make_plan(self.experiment, config, executor, dry=dry, note=note)

    def _warn_of_load(self, plan: Plan) -> None:
        """Warn before timing that other programs may disturb it."""
        from resnet_bench.present.machines import load_warning

        if warning := load_warning(plan.environment):
            self.output.say(warning)

    def _follow(self, given: Mapping[str, Any]) -> ExitCode:
        """Run as a rank other than 0, with options that rank 0 accepts."""
        if self.request.resume is None:
            self._config(given, None)
        return follow()

    def _launch(self) -> ExitCode:
        import torch

        gpus, count = self.request.gpus, torch.cuda.device_count()
        check(gpus <= count, "--gpus", gpus, f"at most the {count} of this machine")
        return launch(gpus, this_command(self.argv))

    def _refuse_to_share(self) -> None:
        """Refuse to let timed cells share a device."""
        if self.experiment.schedule == "rounds":
            jobs, gpus = self.request.jobs, self.request.gpus_per_cell
            why = f"{self.experiment.name} times one cell at a time"
            check(jobs in (None, 1), "--jobs", jobs, f"1, because {why}")
            whole = gpus is None or gpus % 1 == 0
            check(whole, "--gpus-per-cell", gpus, f"whole GPUs, because {why}")

    def _resumed(self) -> Run | None:
        results, resumed = self.request.results, self.request.resume
        if resumed is None:
            return None
        return read_run(find_run(results, resumed, self.experiment.name))

    def _config(self, given: Mapping[str, Any], stored: Run | None) -> Any:
        config_class = self.experiment.config
        if stored is None:
            return config_class(**given)
        if stored.experiment != self.experiment.name:
            raise UsageError(f"run {stored.id} is a run of {stored.experiment}")
        if odd := odd_fields(config_class, stored.config):
            raise InputOutputError(
                f"{stored.folder}: this version cannot read its {flag_name(odd[0])}: "
                "start a new run"
            )
        with naming(stored, "resumed"):
            values = {**restore(config_class, stored.config), **given}
            self._ask_for_lost_paths(values)
            return config_class(**values)

    def _ask_for_lost_paths(self, values: Mapping[str, Any]) -> None:
        """Run files keep no absolute path: one of them may have to be given again."""
        for name, value in values.items():
            if isinstance(value, Path) and not value.exists():
                self.output.warn(
                    f"{flag_name(name)} {value} does not exist here: if it is "
                    "elsewhere, give its path"
                )

    def _list_cells(self, plan: Plan, executor: Executor) -> ExitCode:
        seconds = self._expected_seconds(plan, plan.cells, executor)
        for cell in plan.cells:
            self.output.write(cell.label)
        count = counted(len(plan.cells), "cell")
        self.output.write(f"{count}, estimated time: {duration(seconds)}")
        return ExitCode.OK

    def _expected_seconds(
        self, plan: Plan, cells: Sequence[Cell], executor: Executor
    ) -> float | None:
        """Return the estimate for one worker, shared evenly by all.

        On one GPU several cells take turns: they gain little (20 cells, eight at once
        on an H200: 168 s expected one by one, 170 s taken).
        """
        seconds = executor.call(self.experiment.estimate, plan.config, cells)
        taking_turns = not self._on_cpu(plan) and self.request.executor != "ray"
        if seconds is None or not cells or taking_turns:
            return seconds
        return seconds / min(self._workers(plan), len(cells))

    def _run(self, plan: Plan, recorder: Recorder, executor: Executor) -> None:
        cells = [task.cell for task in plan.tasks_left(recorder)]
        budget_seconds = self.experiment.budget_seconds(plan.config)
        tracker = Tracker(
            cells,
            side_by_side=self.experiment.schedule == "once",
            budget_seconds=budget_seconds,
            expected_seconds=self._expected_seconds(plan, cells, executor)
            if budget_seconds is None
            else None,
        )
        display = self._display(tracker, recorder)
        failures: Counter[str] = Counter()

        def listen(event: Event) -> None:
            tracker.hear(event)
            display.show(event)
            if isinstance(event, Ended) and event.error:
                failures[event.error] += 1
                if failures[event.error] == 1:
                    self._report_failure(tracker.label_of(event.key), event)

        try:
            with recorder, display:
                run_cells(plan, recorder, executor, self._workers(plan), listen)
        except (KeyboardInterrupt, Terminated):
            to_stderr(recorder.how_to_go_on(self._command(plan)))
            raise
        for error, count in failures.items():
            if count > 1:
                self.output.warn(f"{count} cells: {error}")

    def _report_failure(self, label: str, event: Ended) -> None:
        self.output.warn(f"{label}: {event.error}")
        if event.detail and self.output.display.verbose >= 2:
            to_stderr(event.detail.rstrip("\n"))

    def _command(self, plan: Plan) -> str:
        """Return the command that resumes a run, without its id."""
        where = self.request.results
        place = "" if where == Path("results") else f" -o {where}"
        command = f"resnet-bench {self.experiment.name}{place}"
        for name, text in shortened_paths(plan.config).items():
            command += f" {flag_name(name)} {shlex.quote(text)}"
        return command

    def _workers(self, plan: Plan) -> int:
        if self.experiment.schedule == "rounds":
            return 1
        if self.request.jobs is not None:
            return self.request.jobs
        if self.request.executor == "ray":
            return len(plan.cells)  # the cluster knows how many fit
        return usable_cores() if self._on_cpu(plan) else 1

    def _on_cpu(self, plan: Plan) -> bool:
        return str(getattr(plan.config, "device", "cpu")).startswith("cpu")

    def _display(self, tracker: Tracker, recorder: Recorder) -> Display:
        if not self.output.interactive:
            return PlainDisplay(tracker, self.output.say)
        console = self.output.console(sys.stderr)
        return LiveDisplay(
            tracker,
            console,
            lambda: self.experiment.live_table(recorder.live, tracker.running),
        )

    def _finish(self, run: Run, *, write: bool = True) -> ExitCode:
        from resnet_bench.reports.runs import publish
        from resnet_bench.reports.stored import ShownRun

        view = ShownRun(run)
        files = [run.folder / RUN_FILE, *publish(view)] if write else []
        self.present(view.shown, self.request, self.output)
        if self.output.display.verbose:
            for path in files:
                self.output.say(f"wrote {path}")
        elif files:
            pictures = [path.name for path in files if path.suffix == ".png"]
            first = f"; see figures/{pictures[0]} first" if pictures else ""
            self.output.say(f"Tables, figures and samples are in {run.folder}{first}")
        return self._exit_code(run, view.shown.verdicts)

    def _exit_code(self, run: Run, verdicts: Set[str]) -> ExitCode:
        if run.failed or run.missing or verdicts & WITHOUT_RESULT:
            return ExitCode.INCOMPLETE
        if self.request.strict and verdicts - {"ok"}:
            return ExitCode.NOT_COMPARABLE
        return ExitCode.OK
