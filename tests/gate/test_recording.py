import pytest

from resnet_bench.gate import recording


class Executor:
    def __init__(self) -> None:
        self.closed = False

    def call(self, module: str, function: str) -> dict[str, str]:
        return {"asked": f"{module}:{function}"}

    def close(self) -> None:
        self.closed = True


def test_the_environment_is_read_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Executor()
    monkeypatch.setattr(recording, "make_executor", lambda name: executor)
    found = recording.collect_environment()
    assert found == {"asked": "resnet_bench.engine.machine:collect"}
    assert executor.closed
