"""Baselines: named runs that only an explicit accept replaces.

A check against a baseline measures the baseline's commit anew, beside the working
tree; so a second slow change is held against the same old commit and fails again.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet_bench.errors import (
    ExitCode,
    InputOutputError,
    NotComparableError,
    UsageError,
)
from resnet_bench.gate.spec import BaselineConfig
from resnet_bench.output import Output, check_writable
from resnet_bench.store.checking import odd_fields
from resnet_bench.store.folders import find_run
from resnet_bench.store.reading import Run, read_bytes, read_run, read_text, run_file
from resnet_bench.store.writing import replace_files

FOLDER = "baselines"


@dataclass(frozen=True)
class Baseline:
    """The data of a baseline, beside a copy of its run file."""

    name: str
    run: str
    experiment: str
    commit: str | None
    machine_key: str | None
    saved: str


def place_of(results: Path, name: str) -> Path:
    """Return the file that describes a baseline; its run lies beside it."""
    return results / FOLDER / f"{name}.json"


def run_file_of(results: Path, name: str) -> Path:
    """Return the copy of the baseline's run file."""
    return place_of(results, name).with_suffix(".jsonl")


def exists(results: Path, name: str) -> bool:
    """Whether a baseline of that name was saved."""
    return place_of(results, name).is_file()


def read_baseline(results: Path, name: str) -> Baseline:
    """Return a saved baseline; raises NotComparableError when there is none."""
    if not exists(results, name):
        raise NotComparableError(
            f"no baseline {name!r} in {results / FOLDER}: "
            f"'resnet-bench baseline save {name}' makes one"
        )
    return _parsed(place_of(results, name))


def _parsed(path: Path) -> Baseline:
    try:
        content: Mapping[str, Any] = json.loads(read_text(path))
        found = Baseline(**content)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputOutputError(f"cannot read baseline {path}: {error}") from error
    if odd := odd_fields(Baseline, content):
        raise InputOutputError(f"cannot read baseline {path}: its {odd[0]} is invalid")
    return found


def commit_of(results: Path, name: str) -> str:
    """Return the commit that a baseline stands for.

    Raises NotComparableError when there is no such baseline or it has no commit.
    """
    baseline = read_baseline(results, name)
    if baseline.commit is None:
        raise NotComparableError(
            f"baseline {name!r} was measured outside git: expected one of a commit"
        )
    return baseline.commit


def keep_baseline(config: BaselineConfig, output: Output) -> ExitCode:
    """Run one of the three `baseline` commands; returns the exit code."""
    actions = {"save": _save, "accept": _accept, "list": _list}
    return actions[config.action](config, output)


def _save(config: BaselineConfig, output: Output) -> ExitCode:
    if exists(config.results, config.name):
        raise UsageError(
            f"baseline {config.name!r} exists: 'resnet-bench baseline accept "
            f"{config.name}' replaces it"
        )
    return _keep(config, output)


def _accept(config: BaselineConfig, output: Output) -> ExitCode:
    read_baseline(config.results, config.name)
    return _keep(config, output)


def _keep(config: BaselineConfig, output: Output) -> ExitCode:
    experiment = "check" if config.run == "latest" else None
    run = read_run(find_run(config.results, config.run, experiment))
    _refuse_unfit(run)
    baseline = Baseline(
        name=config.name,
        run=run.id,
        experiment=run.experiment,
        commit=run.header.get("commit"),
        machine_key=run.machine_key,
        saved=f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    check_writable(config.results / FOLDER)
    content = json.dumps(asdict(baseline), indent=2) + "\n"
    replace_files(
        {
            run_file_of(config.results, config.name): read_bytes(run_file(run.folder)),
            place_of(config.results, config.name): content.encode(),
        }
    )
    output.say(f"baseline {config.name}: run {run.id}")
    return ExitCode.OK


def _refuse_unfit(run: Run) -> None:
    if run.status != "complete":
        raise UsageError(f"run {run.id} is partial: expected a complete one")
    if run.experiment == "check" and run.header.get("dirty"):
        raise UsageError(
            f"run {run.id} measured uncommitted changes: commit them and check again, "
            "so that the baseline can be measured again"
        )


def _list(config: BaselineConfig, output: Output) -> ExitCode:
    found = []
    for place in sorted((config.results / FOLDER).glob("*.json")):
        try:
            found.append(_parsed(place))
        except InputOutputError as error:
            output.warn(str(error))
    if config.json:
        output.write(json.dumps({"baselines": [asdict(row) for row in found]}))
        return ExitCode.OK
    for row in found:
        commit = (row.commit or "unknown")[:12]
        output.write(f"{row.name}  {row.experiment}  {commit}  {row.saved}  {row.run}")
    if not found:
        output.say(f"no baselines in {config.results / FOLDER}")
    return ExitCode.OK
