"""Limits on a file of weights, checked before it is used."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resnet_bench.engine.cpu import bytes_left
from resnet_bench.errors import InputOutputError

#: Weights are random numbers, which hardly compress, and torch.save stores them as they
#: are: an archive that unpacks to more than so many times its size is made to harm.
MOST_UNPACKED = 4

#: Bytes of a pickle that names tensors; that of ResNet-152 with Adam's state takes
#: half a million. Larger ones hold something else and take minutes to read.
LARGEST_PICKLE = 64 * 2**20

#: What zipfile raises for archives that are cut or changed.
ARCHIVE_ERRORS = (zipfile.BadZipFile, OSError, ValueError, LookupError, RuntimeError)


def check_size(path: Path) -> None:
    """Raise InputOutputError for a file that does not fit into memory."""
    size, left = path.stat().st_size, bytes_left()
    if size > left:
        raise InputOutputError(
            f"{path}: {size / 1e9:.1f} GB do not fit into the {left / 1e9:.1f} GB of "
            "memory left; save the state dict alone, without the optimizer's state"
        )


def archive_entries(path: Path) -> Sequence[zipfile.ZipInfo]:
    """Return what a zip archive holds, nothing of another file.

    Raises InputOutputError for an archive that would unpack to a multiple of its size,
    or whose pickle is too long to be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except ARCHIVE_ERRORS:
        return ()
    unpacked, size = sum(each.file_size for each in entries), path.stat().st_size
    if unpacked > MOST_UNPACKED * size:
        raise InputOutputError(
            f"{path}: refused, because its {size} bytes unpack to {unpacked}; save a "
            "plain state dict with torch.save"
        )
    for each in entries:
        if each.filename.endswith(".pkl") and each.file_size > LARGEST_PICKLE:
            raise InputOutputError(
                f"{path}: refused, because it holds {each.file_size / 1e6:.0f} MB "
                f"besides tensors, more than {LARGEST_PICKLE / 1e6:.0f} MB; save the "
                "state dict alone"
            )
    return entries


def check_tensors(
    path: Path, state: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]
) -> None:
    """Raise InputOutputError for tensors that no network can be computed with.

    Only what has the shape that the network wants is read.
    """
    for name, tensor in state.items():
        if problem := _problem(tensor, shapes.get(name)):
            raise InputOutputError(f"{path}: {name} {problem}")


def _problem(tensor: Tensor, shape: Sequence[int] | None) -> str:
    plain = "expected a plain tensor of floating-point numbers"
    if tensor.is_quantized:
        return f"is quantised: {plain}"
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "without values" if tensor.is_meta else "sparse"
        return f"is {kind}: {plain}"
    if shape is None or tuple(tensor.shape) != tuple(shape):
        return ""
    if tensor.is_floating_point():
        bad = int((~tensor.float().isfinite()).sum())
        return (
            f"holds {bad} values that are not finite: the training that wrote it "
            "diverged, or the file is damaged; take an earlier one"
            if bad
            else ""
        )
    counter = not tensor.dim() and not tensor.is_complex()  # batches that a norm saw
    return "" if counter else f"is {str(tensor.dtype).rpartition('.')[2]}: {plain}"
