import importlib.util
from pathlib import Path

import pytest
import torch

from resnet_bench.engine.weights import files as tensor_files
from resnet_bench.errors import InputOutputError

TENSORS = {
    "conv1.weight": torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2),
    "bn1.num_batches_tracked": torch.tensor(7),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 4),
}
METADATA = {"seed": "0", "source": "digits-0-4"}


def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_files, "_library_installed", lambda: False)


def assert_same(read: dict[str, torch.Tensor]) -> None:
    assert set(read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("library", [True, False])
def test_tensors_and_metadata_survive_a_round_trip(
    library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:
        without_library(monkeypatch)
    path = tmp_path / "folder" / "weights.safetensors"
    tensor_files.save_tensors(path, TENSORS, METADATA)
    assert_same(tensor_files.load_tensors(path))
    assert tensor_files.read_metadata(path) == METADATA
    assert [p.name for p in path.parent.iterdir()] == ["weights.safetensors"]


@pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="the extra is absent"
)
def test_the_library_reads_what_the_own_writer_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_library(monkeypatch)
    path = tmp_path / "own.safetensors"
    tensor_files.save_tensors(path, TENSORS, METADATA)
    library = importlib.import_module("safetensors.torch")
    assert_same(library.load_file(str(path)))


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_truncated_file_is_named(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(tensor_files.encode(TENSORS, METADATA)[:kept])
    with pytest.raises(InputOutputError, match=r"cut\.safetensors: truncated"):
        tensor_files.load_tensors(path)


@pytest.mark.parametrize("header", [b"[1, 2]", b"not json", b'{"w": {"dtype": "X"}}'])
def test_a_header_that_describes_no_tensors_is_refused(
    header: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputOutputError, match="not a safetensors file"):
        tensor_files.load_tensors(path)


def test_a_missing_file_and_an_unwritable_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="No such file"):
        tensor_files.load_tensors(tmp_path / "absent.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match="cannot write"):
        tensor_files.save_tensors(tmp_path / "file" / "w.safetensors", TENSORS, {})
