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
def denormals_are_kept() -> Iterator[None]:
    """Give the next test the numbers as they are: a training flushes denormals."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
