import pytest

from resnet_bench.store.reading import Run
from tests.engine.tiny import small_resnets
from tests.experiments.finetune.stored import resolved, stored_run

__all__ = ["small_resnets"]


@pytest.fixture(scope="session")
def run() -> Run:
    """Two variants, three strategies, three seeds and two shares of the data."""
    return stored_run(resolved())
