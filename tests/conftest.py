from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with the tool's defaults, whatever the caller's shell sets."""
    colours = {"NO_COLOR", "FORCE_COLOR"}
    for name in os.environ:
        if name.startswith("RESNET_BENCH_") or name in colours:
            monkeypatch.delenv(name)
