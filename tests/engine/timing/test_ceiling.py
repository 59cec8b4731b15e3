from __future__ import annotations

import pytest
import torch

from resnet_bench.engine.devices import Device
from resnet_bench.engine.timing import ceiling
from resnet_bench.engine.timing.ceiling import Sizes, Source, limits, product

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


def test_a_tensor_larger_than_what_is_drawn_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ceiling, "DRAWN", 4)
    numbers = Source(Device("cpu"), torch.float32)(2, 5).flatten()
    assert torch.equal(numbers[:4], numbers[4:8])
    assert torch.equal(numbers[:2], numbers[8:])
    assert len(set(numbers.tolist())) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_that_of_two_matrices(dtype: torch.dtype) -> None:
    normal = Source(Device("cpu"), dtype)
    numbers = normal(8, 8)
    answer = product(normal, 8).action()
    assert isinstance(answer, torch.Tensor)
    dense = answer.to_dense() if answer.is_mkldnn else answer
    expected = (
        numbers.float() @ numbers.float().T
        if answer.is_mkldnn
        else numbers.float() @ numbers.float()
    )
    assert torch.allclose(dense.float(), expected, rtol=0.05, atol=0.2)


def test_a_format_that_onednn_cannot_compute_is_multiplied_by_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise RuntimeError("needs avx512bw")

    monkeypatch.setattr(torch.nn.functional, "linear", refuse)
    normal = Source(Device("cpu"), torch.float32)
    answer = product(normal, 8).action()
    assert isinstance(answer, torch.Tensor)
    assert not answer.is_mkldnn
