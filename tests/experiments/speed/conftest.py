from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.experiments.speed.grid import resolved
from resnet_bench.experiments.speed.spec import Config
from resnet_bench.store.reading import Run, assemble
from tests.toys.speed_runs import Change, header_of, lines_of, unchanged

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Build a run of `speed` in memory, from options and what befell it."""

    def make(
        *,
        rounds: int = 8,
        change: Change = unchanged,
        failing: Mapping[Any, str] | None = None,
        keep: Callable[[dict[str, Any]], bool] = lambda _: True,
        committed_only: bool = True,
        **options: Any,
    ) -> Run:
        config = resolved(Config(**options), options.get("device", "cpu"), 2)
        lines = lines_of(config, rounds, change, failing or {})
        end = {"kind": "end", "status": "complete"}
        kept = [line for line in [*lines, end] if keep(line)]
        header = header_of(config)
        return assemble(tmp_path, [header, *kept], committed_only=committed_only)

    return make
