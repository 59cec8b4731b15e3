"""One line of a run file: numbered JSON with a checksum, so that damage is seen."""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

CHECKSUM = "crc32"
#: Each line carries its place in the file: a lost or doubled line is noticed too.
NUMBER = "seq"


class DamagedLineError(ValueError):
    """A line that is no JSON object, or whose checksum or number does not fit."""


def encode(content: Mapping[str, Any], number: int) -> bytes:
    """Return line `number` (from 0) for `content`, checksum and line end included.

    JSON has no notation for not-a-number and the infinities; they are written as
    `{"_number": "NaN"}` and so on, because a diverged loss must not read as unknown.
    """
    plain = {**_plain(content), NUMBER: number}
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    checksum = zlib.crc32(text.encode())
    return f'{text[:-1]},"{CHECKSUM}":"{checksum:08x}"}}\n'.encode()


def decode(line: bytes, number: int) -> dict[str, Any]:
    """Return the content of what should be line `number`.

    Raises DamagedLineError.
    """
    content = _checked(line)
    if content.pop(NUMBER, None) != number:
        raise DamagedLineError("it is out of place")
    restored = _restored(content)
    return restored if isinstance(restored, dict) else content


def is_whole(line: bytes) -> bool:
    """Say whether a line is undamaged, wherever it belongs."""
    try:
        _checked(line)
    except DamagedLineError:
        return False
    return True


def _checked(line: bytes) -> dict[str, Any]:
    body, mark, tail = line.rstrip(b"\r\n").rpartition(f',"{CHECKSUM}":"'.encode())
    if not mark or tail[8:] != b'"}' or tail[:8] != _checksum(body + b"}"):
        raise DamagedLineError("the checksum does not fit")
    try:
        content = json.loads(body + b"}")
    except (ValueError, RecursionError) as error:
        raise DamagedLineError("not JSON") from error
    if not isinstance(content, dict):
        raise DamagedLineError("not a JSON object")
    return content


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_WRAPPER = "_number"


def _plain(value: Any) -> Any:
    """Wrap the floats that JSON has no notation for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        return {_WRAPPER: name}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        name = value.get(_WRAPPER)
        if value.keys() == {_WRAPPER} and isinstance(name, str) and name in _NOT_FINITE:
            return _NOT_FINITE[name]
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return value
