from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with the tool's defaults, whatever the caller's shell sets."""
    colours = {"NO_COLOR", "FORCE_COLOR"}
    for name in os.environ:
        if name.startswith("RESNET_BENCH_") or name in colours:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def torch_is_left_as_it_was() -> Iterator[None]:
    """Put back what a training sets for its whole process."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads or torch.get_num_threads())
