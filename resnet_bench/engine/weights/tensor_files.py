"""Named tensors in a file: the safetensors format, with or without its library.

The format (github.com/huggingface/safetensors, README, "Format"): eight bytes
little-endian length of a JSON header, the header, then the raw tensors, row-major and
little-endian, at the offsets that the header gives. Nothing in it can run code.
"""

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_bench.errors import InputOutputError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_LENGTH_BYTES = 8


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and text metadata to `path`, replacing it in one step.

    The library is used where it is installed. Raises InputOutputError when the
    folder cannot be written.
    """
    plain = {
        name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()
    }
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _library_installed():
            library = importlib.import_module("safetensors.torch")
            library.save_file(plain, str(unfinished), metadata=dict(metadata))
        else:
            unfinished.write_bytes(encode(plain, metadata))
        unfinished.replace(path)
    except OSError as error:
        raise InputOutputError(
            f"cannot write {path}: {error.strerror or error}"
        ) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file.

    Raises InputOutputError when the file cannot be read, is truncated or is not of
    this format.
    """
    return decode(_read(path), path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text metadata of a safetensors file; empty when it has none."""
    header = _header(_read(path), path)
    return {str(k): str(v) for k, v in header.get("__metadata__", {}).items()}


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file; tensors on the CPU and contiguous."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in tensors.items():
        raw = _raw_bytes(tensor)
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        parts.append(raw)
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # tensors start at a multiple of 8
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])


def decode(content: bytes, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file's bytes; `path` names it in errors."""
    header = _header(content, path)
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    body = memoryview(content)[start:]
    try:
        return {
            name: _tensor(entry, body)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(path) from error


def _tensor(entry: Mapping[str, Any], body: memoryview) -> Tensor:
    dtype = _DTYPES[entry["dtype"]]
    shape = [int(size) for size in entry["shape"]]
    first, last = entry["data_offsets"]
    if last > len(body) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError("offsets do not fit the shape or the file")
    if first == last:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(body[first:last]), dtype=torch.uint8)
    return flat.view(dtype).reshape(shape)


def _raw_bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _header(content: bytes, path: Path) -> dict[str, Any]:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    text = content[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(content) < _LENGTH_BYTES or len(text) < length:
        raise _damaged(path)
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(header, dict):
        raise _damaged(path)
    return header


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputOutputError(
            f"cannot read {path}: {error.strerror or error}"
        ) from error


def _damaged(path: Path) -> InputOutputError:
    return InputOutputError(
        f"{path}: truncated, or not a safetensors file; copy or train it again"
    )


def _library_installed() -> bool:
    # The own writer assumes a little-endian machine, as the format is.
    return (
        importlib.util.find_spec("safetensors") is not None or sys.byteorder != "little"
    )
