"""A results folder with a run of everything that a report can show, none measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_bench.store.reading import CellEnd, Run
from tests.experiments.degradation.synthetic import synthetic_run
from tests.experiments.finetune.stored import resolved as finetune_config
from tests.experiments.finetune.stored import stored_run
from tests.toys.speed_runs import (
    ENVIRONMENT,
    FACTORS,
    UNSUPPORTED,
    breakdown_run,
    speed_run,
    store,
    times_by,
)

#: Small enough to be drawn in seconds, with every study that has a figure.
DEGRADATION: dict[str, Any] = {
    "depths": (8, 20),
    "seeds": 2,
    "study": ("depth", "gradients", "response", "lesion", "anysize", "identity"),
}


def runs_of_everything() -> dict[str, Run]:
    """Return a run per thing that the page has to show, by the end of its id."""
    ladder: dict[str, Any] = {
        "ladder": True,
        "unsupported": UNSUPPORTED,
        "change": times_by(FACTORS),
    }
    return {
        "0001": speed_run(variants=(18, 34, 50, 101, 152)),
        "0002": speed_run(variants=(18, 50), batch_size=(1, 2, 4, 8, 16, 32)),
        "0003": speed_run(variants=(18,), **ladder),
        "0004": breakdown_run(Path("unused")),
        "0005": synthetic_run(**DEGRADATION),
        "0006": stored_run(finetune_config(variants=(18, 50))),
    }


#: Words of the format itself; every other string of a run file may be anything.
FORMAT = frozenset(
    {
        *("type", "cell", "run", "experiment", "kind", "moment", "damage", "task"),
        *("shortcut", "studies", "study", "part", "parts", "strategy", "measure"),
        *("rung", "device", "mode", "breakdown", "source_key", "pooling"),
        *("right_answers", "png"),  # packed: anything else is damage
    }
)


def spoiled(value: Any, text: str, name: str = "") -> Any:
    """Return run content with `text` behind every string that is not of the format."""
    if name in FORMAT:
        return value
    if isinstance(value, dict):
        return {key: spoiled(each, text, key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [spoiled(each, text, name) for each in value]
    return value + text if isinstance(value, str) else value


def store_spoiled(results: Path, text: str) -> None:
    """Write a run of everything, with `text` in every string, a failed cell each."""
    environment = spoiled(ENVIRONMENT, text)
    for end, run in runs_of_everything().items():
        bad = replace(
            run,
            header=spoiled(run.header, text),
            records=spoiled(run.records, text),
            cells={key: _failing(cell, key, text) for key, cell in run.cells.items()},
        )
        run_id = f"20260203T040506Z_abcdef0_{end}"
        store(results, bad, run_id, environment, argv=["speed", text])


def _failing(cell: CellEnd, key: str, text: str) -> CellEnd:
    """Return a cell's end; one in sixteen, by its key, has failed."""
    failed = key.endswith("0")
    return CellEnd("failed", 1, f"ValueError: {text}") if failed else cell


def store_everything(results: Path) -> None:
    """Write all of them below `results`, on one machine."""
    for number, (end, run) in enumerate(runs_of_everything().items()):
        store(results, run, f"20260102T03040{number}Z_abcdef0_{end}", ENVIRONMENT)
