from __future__ import annotations

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing.workload import Peak, peak_of, resident_high_water
from tests.engine.fake_cuda import FakeCuda


def test_peak_on_the_cpu_is_the_rise_of_the_high_water_mark() -> None:
    marks = iter([1000, 1750])
    peak = peak_of(lambda: None, Device("cpu"), lambda: next(marks))
    assert peak == Peak(peak_bytes=750, reserved_bytes=None, baseline_bytes=1000)


def test_a_mark_that_did_not_move_is_unknown_and_not_zero() -> None:
    assert peak_of(lambda: None, Device("cpu"), lambda: 1000).peak_bytes is None


def test_work_is_done_between_the_two_marks() -> None:
    events: list[str] = []

    def mark() -> int:
        events.append("mark")
        return len(events)

    peak_of(lambda: events.append("work"), Device("cpu"), mark)
    assert events == ["mark", "work", "mark"]


def test_peak_of_a_gpu_is_the_highest_point_and_not_what_is_left() -> None:
    cuda = FakeCuda(allocated=100, peak_allocated=9999)

    def work() -> None:
        cuda.allocate(500, reserved=1024)
        cuda.free(500)

    peak = peak_of(work, Device("cuda", 0, cuda))
    assert peak == Peak(peak_bytes=500, reserved_bytes=1024, baseline_bytes=100)


def test_a_gpu_that_allocated_nothing_has_an_unknown_peak() -> None:
    peak = peak_of(lambda: None, Device("cuda", 0, FakeCuda()))
    assert peak.peak_bytes is None
    assert peak.reserved_bytes is None


def test_high_water_mark_of_this_process_is_in_bytes() -> None:
    # An interpreter with torch loaded holds more than 50 MiB and less than 1 TiB.
    assert 50 * 2**20 < resident_high_water() < 2**40
