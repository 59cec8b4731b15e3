"""What a file of weights may hold: each kind that cannot serve is told in one line."""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bench.engine.weights import checking
from resnet_bench.engine.weights.files import file_weights
from resnet_bench.errors import ResnetBenchError

CONVOLUTION = torch.ones(64, 3, 7, 7)


def saved(path: Path, convolution: Any, **others: Any) -> Path:
    torch.save({"conv1.weight": convolution, **others}, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ResnetBenchError) as caught:
        file_weights(path, 18, verify=True)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(
    value: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    convolution = CONVOLUTION.to(dtype, copy=True)
    convolution[3, 1, 2, :2] = value
    message = refusal(saved(tmp_path / "net.pth", convolution))
    assert "conv1.weight holds 2 values that are not finite" in message


def test_what_does_not_belong_may_hold_anything(tmp_path: Path) -> None:
    others = {"loss": torch.tensor(torch.nan), "mask": torch.ones(2, 2).to_sparse()}
    loaded = file_weights(
        saved(tmp_path / "net.pth", CONVOLUTION, **others), 18, verify=True
    )
    assert loaded.state is not None
    assert loaded.state.keys() == {"conv1.weight"}


@pytest.mark.parametrize(
    ("convolution", "what"),
    [
        (CONVOLUTION.to_sparse(), "sparse"),
        (CONVOLUTION.to(torch.complex64), "complex64"),
        (CONVOLUTION.to(torch.int8), "int8"),
        (CONVOLUTION.bool(), "bool"),
        (torch.ones(64, 3, 7, 7, device="meta"), "without values"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(
    convolution: torch.Tensor, what: str, tmp_path: Path
) -> None:
    message = refusal(saved(tmp_path / "net.pth", convolution))
    assert f"conv1.weight is {what}: expected a plain tensor" in message


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_tensors_are_refused(per_channel: bool, tmp_path: Path) -> None:
    quantised = (
        torch.quantize_per_channel(
            CONVOLUTION, torch.ones(64), torch.zeros(64), 0, torch.qint8
        )
        if per_channel
        else torch.quantize_per_tensor(CONVOLUTION, 0.1, 0, torch.quint8)
    )
    path = saved(tmp_path / "net.pth", quantised)
    assert "conv1.weight is quantised" in refusal(path)


def test_a_tensor_of_endless_shape_is_of_another_architecture(tmp_path: Path) -> None:
    """One number, told to be 10^15 of them, is never written out."""
    path = saved(tmp_path / "net.pth", torch.ones(1).expand(10**5, 10**5, 10**5))
    state = file_weights(path, 18, verify=True).state
    assert state is not None
    assert state["conv1.weight"].untyped_storage().nbytes() == 4


@pytest.mark.parametrize("size", [10**400, 2**63, -1])
def test_a_safetensors_header_of_impossible_sizes_is_refused(
    size: int, tmp_path: Path
) -> None:
    entry = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4]}
    header = json.dumps({"conv1.weight": entry}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    assert "not a safetensors file" in refusal(path)


@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_a_safetensors_header_nested_without_end_is_refused(
    opening: str, tmp_path: Path
) -> None:
    header = opening.encode() * 200_000
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "not a safetensors file" in refusal(path)


def test_an_archive_that_unpacks_to_a_multiple_of_its_size_is_refused(
    tmp_path: Path,
) -> None:
    stored = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, stored)
    path = tmp_path / "net.pth"
    with (
        zipfile.ZipFile(stored) as before,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in before.namelist():
            packed.writestr(name, before.read(name))
    assert "bytes unpack to" in refusal(path)


def test_entries_that_share_their_bytes_count_each(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}.")
        archive.writestr("net/data/0", bytes(1000))
        archive.filelist.extend([archive.filelist[-1]] * 50)
    assert "bytes unpack to" in refusal(path)


def test_a_pickle_of_many_settings_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "net.pth", CONVOLUTION, settings=["x" * 1000] * 20)
    file_weights(path, 18, verify=True)
    monkeypatch.setattr(checking, "LARGEST_PICKLE", 1000)
    assert "MB besides tensors" in refusal(path)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "net.pth", CONVOLUTION)
    monkeypatch.setattr(checking, "bytes_left", lambda: 1000)
    assert "do not fit into the 0.0 GB of memory left" in refusal(path)


@pytest.mark.timeout(20)
def test_containers_that_hold_themselves_are_read_once(tmp_path: Path) -> None:
    inside: dict[str, Any] = {"conv1.weight": CONVOLUTION}
    inside.update({f"again{number}": inside for number in range(50)})
    torch.save(inside, tmp_path / "net.pth")
    loaded = file_weights(tmp_path / "net.pth", 18, verify=True)
    assert loaded.state is not None
    assert loaded.state.keys() == {"conv1.weight"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a." * 300_000, "." * 300_000, "é" * 300_000])
def test_a_very_long_name_takes_no_time(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", CONVOLUTION, **{name: torch.ones(1)})
    assert "left out: 1" in file_weights(path, 18, verify=True).origin


def test_dictionaries_nested_without_end_are_no_state_dict(tmp_path: Path) -> None:
    inside: dict[str, Any] = {}
    for _ in range(150):
        inside = {"a": inside}
    path = saved(tmp_path / "net.pth", CONVOLUTION, deep=inside)
    assert file_weights(path, 18, verify=True).state is not None
