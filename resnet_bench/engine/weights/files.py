"""Files of weights: found or fetched, checked before they are used, and written."""

import argparse
import contextlib
import datetime as dt
import hashlib
import pickle
import re
import socket
import struct
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import ResNet, WeightsEnum, get_model_weights

from resnet_bench.catalogue import VARIANTS
from resnet_bench.engine.weights.checking import (
    archive_entries,
    check_size,
    check_tensors,
)
from resnet_bench.engine.weights.matching import match, shapes, tensors_in
from resnet_bench.errors import InputOutputError, ResnetBenchError, UsageError

#: torch.hub's convention: the beginning of the sha256 ends the file's name.
_HASH_SUFFIX = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")

#: What numpy calls to read its own scalars and arrays back.
_NUMPY_READERS = {
    "scalar": np.float64(0).__reduce__()[0],
    "_reconstruct": np.empty(0).__reduce__()[0],
}


def _plain_dictionary(_factory: object = None) -> dict[object, object]:
    """Stand in for defaultdict, which torch refuses to fill."""
    return {}


#: Classes that hold values and run no code: trainers keep their settings in them.
#: Paths are read as pure ones, which touch no file.
_INERT: tuple[Any, ...] = (
    argparse.Namespace,
    types.SimpleNamespace,
    (_plain_dictionary, "collections.defaultdict"),
    dt.datetime,
    dt.date,
    dt.timedelta,
    dt.timezone,
    *((kind, f"builtins.{kind.__name__}") for kind in (dict, float, int, list, str)),
    *(
        (kind, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for kind in (PurePosixPath, PureWindowsPath)
        for name in (kind.__name__, kind.__name__.removeprefix("Pure"))
    ),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSUMm"},
    *(
        (reader, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, reader in _NUMPY_READERS.items()
    ),
)

#: What torch.load raises for files that are cut or changed.
_LOADING_ERRORS = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
)

_EXPORTED = ("a program of torch.export", "torch.export.load({}).module()")

#: By the file that only its archive has: a program, and what loads it.
PROGRAMS = {
    "constants.pkl": (
        "a TorchScript program",
        "torch.jit.load({}, map_location='cpu')",
    ),
    "archive_format": _EXPORTED,
    "serialized_exported_program.json": _EXPORTED,  # of torch 2.7
}

_HEAD = "fc."
_NO_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Weights:
    """A state dict with its origin; random weights have no state and no sha256."""

    origin: str
    sha256: str | None = None
    state: Mapping[str, Tensor] | None = None


RANDOM = Weights("random")


def torchvision_weights(variant: int, version: str) -> WeightsEnum:
    """Return torchvision's own entry for the variant: URL, transforms, metadata."""
    return get_model_weights(VARIANTS[variant].builder)[f"IMAGENET1K_{version}"]


def hub_file(variant: int, version: str) -> Path:
    """Return where torch.hub keeps, or would keep, the file of these weights."""
    url: str = torchvision_weights(variant, version).url
    name = url.rpartition("/")[2]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def imagenet_weights(variant: int, version: str, *, verify: bool) -> Weights:
    """Load torchvision's ImageNet weights through torchvision's own loader.

    It downloads only what is not in torch.hub's folder. torch.hub checks a hash only
    while it downloads, so the file is hashed here; without `verify` the origin says
    "(unverified)". Raises InputOutputError when the download fails or the file is not
    what its name says.
    """
    entry = torchvision_weights(variant, version)
    path = hub_file(variant, version)
    if not path.exists():
        _download(entry, path)
    sha256 = sha256_of(path)
    if verify:
        check_hash(path, sha256)
    origin = f"imagenet:{version}" + ("" if verify else " (unverified)")
    with _readable(path), contextlib.redirect_stdout(sys.stderr):
        state = entry.get_state_dict(progress=False, weights_only=True)
    return Weights(origin, sha256, dict(state))


def file_weights(path: Path, variant: int, *, verify: bool) -> Weights:
    """Load a variant's weights from a safetensors file, or a pickle of data alone.

    They are found by their names and shapes, whatever container and prefix they have.
    A hash in the file's name (`name-0123abcd.pth`) must fit unless `verify` is off.
    Raises UsageError when the file is missing or holds no tensors, InputOutputError
    when it is truncated, has another hash, is a pickle that would run code, or holds
    what no network can be computed with.
    """
    if not path.is_file():
        raise UsageError(f"--weights file:{path}: there is no such file")
    check_size(path)
    sha256 = sha256_of(path)
    if verify:
        check_hash(path, sha256)
    plain = path.suffix == ".safetensors"
    tensors = dict(tensors_in(load_tensors(path) if plain else _unpickled(path)))
    if not tensors:
        raise UsageError(f"{path}: it holds no state dict")
    found = match(tensors, variant)
    check_tensors(path, found.state, shapes(variant))
    origin = f"file:{path.name}"
    if found.others:
        origin += f" (other tensors left out: {found.others})"
    return Weights(origin, sha256, found.state)


def _unpickled(path: Path) -> object:
    """Load what torch.save wrote, unless it holds code; raises InputOutputError."""
    entries = {each.filename.rpartition("/")[2] for each in archive_entries(path)}
    for entry, (what, call) in PROGRAMS.items():
        if entry in entries:
            raise _not_a_state_dict(path, what, call.format(repr(path.name)))
    with _readable(path), torch.serialization.safe_globals(list(_INERT)):
        return torch.load(path, map_location="cpu", weights_only=True)


def _not_a_state_dict(path: Path, what: str, call: str) -> InputOutputError:
    """Return the error that shows the two statements that make a state dict."""
    made = f"{path.stem}-state-dict.pth"
    return InputOutputError(
        f"{path}: it is {what}, not a state dict; if you trust it, convert it in "
        f"Python: model = {call}; torch.save(model.state_dict(), {made!r})"
    )


def check_hash(path: Path, sha256: str) -> None:
    """Raise InputOutputError when the name carries a hash that the file has not."""
    found = _HASH_SUFFIX.search(path.name)
    if found and not sha256.startswith(found[1]):
        raise InputOutputError(
            f"{path}: its sha256 begins {sha256[: len(found[1])]}, its name says "
            f"{found[1]}; delete it and fetch it again, or use it anyway with "
            "--no-verify-weights"
        )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputOutputError(
            f"cannot read {path}: {error.strerror or error}"
        ) from error


def load_backbone(network: ResNet, weights: Weights) -> None:
    """Load everything but fc, strictly: each tensor must be there and fit.

    Load before the head is replaced. Random weights leave the network as it is.
    Raises UsageError that names the first difference.
    """
    if weights.state is None:
        return
    given = {k: v for k, v in weights.state.items() if not k.startswith(_HEAD)}
    wanted = {k: v for k, v in network.state_dict().items() if not k.startswith(_HEAD)}
    for name in [*wanted, *given]:
        problem = _difference(name, wanted.get(name), given.get(name))
        if problem:
            raise UsageError(
                f"weights {weights.origin} are of another architecture: {problem}"
            )
    network.load_state_dict(given, strict=False)


def _difference(name: str, wanted: Tensor | None, given: Tensor | None) -> str:
    if wanted is not None and given is None:
        # Files older than torch 0.4.1 lack these counters; torch fills them in.
        counter = name.endswith("num_batches_tracked")
        return "" if counter else f"{name} is missing"
    if wanted is None or given is None:
        return f"{name} is unknown"
    if wanted.shape != given.shape:
        return f"{name} is {list(given.shape)}, expected {list(wanted.shape)}"
    return ""


def _download(entry: WeightsEnum, path: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NO_ANSWER_SECONDS)  # torch.hub itself waits for ever
    try:
        with contextlib.redirect_stdout(sys.stderr):
            entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise InputOutputError(
            f"cannot download {entry.url} ({error}): put {path.name} into "
            f"{path.parent}, or use --weights suite"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what torch.load raises on a bad file into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # unusual pickle protocols
            yield
    except ResnetBenchError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except _LOADING_ERRORS as error:
        raise _unreadable(path) from error


def _refused(path: Path, reason: str) -> InputOutputError:
    if _holds_a_module(path):
        call = f"torch.load({path.name!r}, map_location='cpu', weights_only=False)"
        what = "a whole pickled model, which could run code"
        return _not_a_state_dict(path, what, call)
    asked = re.search(r"GLOBAL (\S+)", reason)
    with path.open("rb") as file:
        is_pickle = file.read(1) == pickle.PROTO
    if asked or is_pickle:
        what = f"asks for {asked[1]} and could" if asked else "could"
        return InputOutputError(
            f"{path}: refused, because it is a pickle that {what} run code; save a "
            "plain state dict with torch.save, or a safetensors file"
        )
    return _unreadable(path)


#: Of a pickled model, this much surely names a class of torch.
PICKLE_HEAD_BYTES = 2**20


def _holds_a_module(path: Path) -> bool:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (*_LOADING_ERRORS, pickle.UnpicklingError):
        # Before torch 1.6 files were no archives; a pickle names classes as text.
        with path.open("rb") as file:
            head = file.read(PICKLE_HEAD_BYTES)
        return head[:1] == pickle.PROTO and b"torch.nn.modules." in head
    return any(name.startswith("torch.nn.modules.") for name in names)


def _unreadable(path: Path) -> InputOutputError:
    return InputOutputError(
        f"{path}: truncated, or not a file of weights; fetch it again"
    )


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and text metadata to a safetensors file, replaced in one step.

    Raises InputOutputError when the folder cannot be written.
    """
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(plain, unfinished, dict(metadata))
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputOutputError(f"cannot write {path}: {_reason(error)}") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file onto the CPU.

    Raises InputOutputError when the file cannot be read, is truncated or is not of
    this format.
    """
    with _safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text metadata of a safetensors file; raises as `load_tensors`."""
    with _safetensors(path) as file:
        return file.metadata() or {}


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise InputOutputError(f"cannot read {path}: {_reason(error)}") from error
    except SafetensorError as error:
        raise InputOutputError(
            f"{path}: truncated, or not a safetensors file; copy or train it again"
        ) from error


def _reason(error: Exception) -> str:
    """Return what the system says, without the file's name."""
    return getattr(error, "strerror", None) or str(error)
