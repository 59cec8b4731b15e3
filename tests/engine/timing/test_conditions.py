from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.engine.timing.conditions import (
    Watch,
    throttle_reasons,
    waiting_seconds,
)


def watched(watch: Watch, seconds: float = 10.0) -> list[str]:
    watch.begin()
    return [condition.flag for condition in watch.end(seconds).conditions]


def no_waiting() -> float:
    return 0.0


def test_a_quiet_machine_raises_no_flag() -> None:
    assert watched(Watch(threads=2, cores=2, waiting=no_waiting)) == []


def test_more_threads_than_cores_are_oversubscribed() -> None:
    watch = Watch(threads=3, cores=2, waiting=no_waiting)
    assert watched(watch) == ["oversubscribed"]


def test_threads_that_wait_for_a_core_are_oversubscribed() -> None:
    counts = iter([1.0, 5.0])
    watch = Watch(threads=2, cores=2, waiting=lambda: next(counts))
    watch.begin()
    seen = watch.end(10.0)
    assert seen.waiting_share == pytest.approx(0.2)
    assert [condition.flag for condition in seen.conditions] == ["oversubscribed"]


def test_a_little_waiting_is_normal() -> None:
    counts = iter([0.0, 1.0])
    assert watched(Watch(threads=2, cores=2, waiting=lambda: next(counts))) == []


def test_waiting_is_unknown_where_the_kernel_does_not_count_it() -> None:
    watch = Watch(threads=2, cores=2, waiting=lambda: None)
    watch.begin()
    assert watch.end(10.0).waiting_share is None


class Driver:
    """Tells the reasons of each moment, and takes a second to answer."""

    def __init__(self, reasons: dict[float, str]) -> None:
        self.reasons = reasons
        self.seconds = 0.0
        self.asked: list[float] = []

    def now(self) -> float:
        return self.seconds

    def throttled(self, index: int) -> tuple[str, ...]:
        self.asked.append(self.seconds)
        reason = self.reasons.get(self.seconds)
        return (reason,) if reason else ()


def visited(driver: Driver, looks: list[float], end: float) -> list[str]:
    """Return the notes of a visit with looks at these seconds."""
    watch = Watch(1, 0, 2, no_waiting, driver.throttled, driver.now)
    watch.begin()
    for driver.seconds in looks:
        watch.between()
    driver.seconds = end
    return [condition.note for condition in watch.end(end).conditions]


@pytest.mark.parametrize("moment", [0.0, 1.0, 3.0])
def test_a_gpu_is_throttled_whenever_it_was_held_back(moment: float) -> None:
    driver = Driver({moment: "hw_thermal_slowdown"})
    assert visited(driver, [1.0, 2.0], 3.0) == ["GPU held back by hw_thermal_slowdown"]
    assert driver.asked == [0.0, 1.0, 2.0, 3.0]


def test_each_reason_of_a_visit_is_said_once() -> None:
    driver = Driver(
        {0.0: "hw_slowdown", 1.0: "sw_thermal_slowdown", 3.0: "hw_slowdown"}
    )
    (note,) = visited(driver, [1.0, 2.0], 3.0)
    assert note == "GPU held back by hw_slowdown, sw_thermal_slowdown"


def test_the_driver_is_not_asked_again_at_once() -> None:
    driver = Driver({})
    visited(driver, [0.1, 0.4, 0.6, 0.7, 1.2], 1.3)
    assert driver.asked == [0.0, 0.6, 1.2, 1.3]


def test_what_an_earlier_visit_saw_is_not_said_of_the_next() -> None:
    driver = Driver({0.0: "hw_slowdown"})
    watch = Watch(1, 0, 2, no_waiting, driver.throttled, driver.now)
    watch.begin()
    driver.seconds = 1.0
    assert len(watch.end(1.0).conditions) == 1
    watch.begin()
    assert watch.end(1.0).conditions == ()


def test_without_a_gpu_no_driver_is_asked() -> None:
    driver = Driver({})
    watch = Watch(1, None, 2, no_waiting, driver.throttled, driver.now)
    watch.begin()
    watch.between()
    watch.end(1.0)
    assert driver.asked == []


def test_the_driver_is_asked_about_the_gpu_that_torch_was_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def note(index: int) -> tuple[str, ...]:
        asked.append(index)
        return ()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    for gpu in (0, 1, 2):
        watched(Watch(threads=1, gpu=gpu, cores=2, waiting=no_waiting, throttled=note))
    assert list(dict.fromkeys(asked)) == [3, 1, 2]


def test_waiting_is_summed_over_the_threads_of_the_process(tmp_path: Path) -> None:
    for thread, text in {"1": "5 2000000000 3", "2": "7 500000000 1"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "schedstat").write_text("")
    assert waiting_seconds(tmp_path) == pytest.approx(2.5)


def test_a_kernel_that_reports_only_zeros_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("0 0 0")
    assert waiting_seconds(tmp_path) is None
    assert waiting_seconds(tmp_path / "missing") is None


def test_reasons_are_read_from_the_drivers_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(command: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--id=2" in command
        text = "Not Active, Active, Not Active, Active\n"
        return subprocess.CompletedProcess(command, 0, text)

    monkeypatch.setattr(subprocess, "run", answer)
    assert throttle_reasons(2) == ("hw_thermal_slowdown", "sw_thermal_slowdown")


def test_without_a_driver_nothing_is_known_to_throttle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert throttle_reasons(0) == ()
