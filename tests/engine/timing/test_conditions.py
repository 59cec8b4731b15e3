from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from resnet_bench.engine.timing.conditions import (
    Driver,
    GpuState,
    Watch,
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


def test_the_share_of_time_that_threads_wait_for_a_core_is_told() -> None:
    counts = iter([1.0, 5.0])
    watch = Watch(threads=2, cores=2, waiting=lambda: next(counts))
    watch.begin()
    assert watch.end(10.0).waiting_share == pytest.approx(0.2)


def test_waiting_is_unknown_where_the_kernel_does_not_count_it() -> None:
    watch = Watch(threads=2, cores=2, waiting=lambda: None)
    watch.begin()
    assert watch.end(10.0).waiting_share is None


class FakeDriver:
    """Tells the reasons of each moment, and takes a second to answer."""

    def __init__(self, reasons: dict[float, str]) -> None:
        self.reasons = reasons
        self.seconds = 0.0
        self.asked: list[float] = []

    def now(self) -> float:
        return self.seconds

    def look(self, index: int) -> GpuState:
        self.asked.append(self.seconds)
        reason = self.reasons.get(self.seconds)
        reasons = (reason,) if reason else ()
        return GpuState(clock_mhz=1980 - self.seconds, reasons=reasons)


def visited(driver: FakeDriver, looks: list[float], end: float) -> list[str]:
    """Return the notes of a visit with looks at these seconds."""
    watch = Watch(1, 0, 2, no_waiting, driver.look, driver.now)
    watch.begin()
    for driver.seconds in looks:
        watch.between()
    driver.seconds = end
    return [condition.note for condition in watch.end(end).conditions]


@pytest.mark.parametrize("moment", [0.0, 1.0, 3.0])
def test_a_gpu_is_throttled_whenever_it_was_held_back(moment: float) -> None:
    driver = FakeDriver({moment: "hw_thermal_slowdown"})
    assert visited(driver, [1.0, 2.0], 3.0) == ["GPU throttled by hw_thermal_slowdown"]
    assert driver.asked == [0.0, 1.0, 2.0, 3.0]


def test_each_reason_of_a_visit_is_said_once() -> None:
    driver = FakeDriver(
        {0.0: "hw_slowdown", 1.0: "sw_thermal_slowdown", 3.0: "hw_slowdown"}
    )
    (note,) = visited(driver, [1.0, 2.0], 3.0)
    assert note == "GPU throttled by hw_slowdown, sw_thermal_slowdown"


def test_the_driver_is_not_asked_again_at_once() -> None:
    driver = FakeDriver({})
    visited(driver, [0.1, 0.4, 0.6, 0.7, 1.2], 1.3)
    assert driver.asked == [0.0, 0.6, 1.2, 1.3]


def test_what_an_earlier_visit_saw_is_not_said_of_the_next() -> None:
    driver = FakeDriver({0.0: "hw_slowdown"})
    watch = Watch(1, 0, 2, no_waiting, driver.look, driver.now)
    watch.begin()
    driver.seconds = 1.0
    assert len(watch.end(1.0).conditions) == 1
    watch.begin()
    assert watch.end(1.0).conditions == ()


def test_without_a_gpu_no_driver_is_asked() -> None:
    driver = FakeDriver({})
    watch = Watch(1, None, 2, no_waiting, driver.look, driver.now)
    watch.begin()
    watch.between()
    watch.end(1.0)
    assert driver.asked == []


def test_the_clock_of_each_look_and_an_ordinary_power_limit_are_kept() -> None:
    driver = FakeDriver({1.0: "sw_power_cap"})
    watch = Watch(1, 0, 2, no_waiting, driver.look, driver.now)
    watch.begin()
    driver.seconds = 1.0
    seen = watch.end(1.0)
    assert list(seen.clocks_mhz) == [1980, 1979]
    assert list(seen.reasons) == ["sw_power_cap"]
    assert not seen.conditions


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


class FakeError(Exception):
    pass


class FakeLibrary(ModuleType):
    """Stands in for pynvml on a machine whose second GPU is the first that is shown."""

    NVMLError = FakeError
    NVML_CLOCK_SM = 1
    known = ("GPU-aaaa", "GPU-bbbb")
    runs = True

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own name
        if not self.runs:
            raise FakeError("no driver")

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        if name not in self.known:
            raise FakeError("not found")
        return name

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return 1755 if handle == "GPU-bbbb" else 0

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 650_000

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        raise FakeError("not supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(  # noqa: N802
        self, handle: str
    ) -> int:
        return 0x01 | 0x04 | 0x40


class ShownOne:
    """Stands in for `torch.cuda` where CUDA_VISIBLE_DEVICES names a GPU by UUID."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(uuid=self.uuid)


def test_the_driver_tells_clock_power_and_reasons_of_the_gpu_that_torch_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeLibrary("pynvml"))
    driver = Driver.of(0, ShownOne("bbbb"))
    assert driver is not None
    assert driver.state() == GpuState(
        clock_mhz=1755,
        power_watts=650.0,
        used_bytes=None,
        reasons=("sw_power_cap", "hw_thermal_slowdown"),
    )
    assert Driver.of(0, ShownOne("cccc")) is None


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_driver_nothing_is_known_of_a_gpu(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeLibrary("pynvml")
    library.runs = False
    monkeypatch.setitem(sys.modules, "pynvml", library if installed else None)
    assert Driver.of(0, ShownOne("aaaa")) is None
