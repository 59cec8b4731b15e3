from __future__ import annotations

import pytest
import torch

from resnet_bench.engine.ceiling import Sizes, limits
from resnet_bench.engine.devices import Device
from tests.engine.fake_time import FakeTime

SMALL = Sizes(matrix=8, batch=2, channels=4, side=5, copied_bytes=64)


def test_limits_say_how_much_one_call_achieves() -> None:
    amounts = {
        limit.phases[0]: limit.amount
        for limit in limits(Device("cpu"), torch.float32, SMALL)
    }
    assert amounts == {
        "matrix_product": 2 * 8**3,
        "convolution": 2 * (2 * 4 * 5 * 5) * (4 * 3 * 3),
        "copy": 2 * 64,
    }


def test_a_copy_of_half_as_wide_numbers_moves_as_many_bytes() -> None:
    wide, narrow = (
        limits(Device("cpu"), dtype, SMALL)[2].amount
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert wide == narrow


def test_limits_are_timed_by_the_clock_they_are_given() -> None:
    time = FakeTime()
    for limit in limits(Device("cpu"), torch.float32, SMALL):
        limit.work()
        assert list(limit.call(time.clock)) == pytest.approx([0.0])
