"""Damaged files of weights: each loads, or is refused in one line."""

import io
import random
import re
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from resnet_bench.engine.weights.files import file_weights
from resnet_bench.errors import ResnetBenchError

Damage = Callable[[random.Random, bytearray], bytearray]


def originals() -> dict[str, bytes]:
    """Return small files of weights as people have them, by name."""
    state = {"conv1.weight": torch.ones(64, 3, 7, 7), "bn1.bias": torch.ones(64)}
    content = {"net": state, "args": Namespace(lr=0.1), "loss": [torch.ones(2)]}
    made = {"net.safetensors": save(state, {"origin": "fuzz"})}
    for name, new in (("zip.pth", True), ("legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        made[name] = buffer.getvalue()
    return made


def change_bytes(draw: random.Random, content: bytearray) -> bytearray:
    for _ in range(draw.choice((1, 1, 3, 30))):
        # What is not a tensor's value stands at the beginning or the end.
        near = draw.randrange(min(len(content), 2000))
        content[draw.choice((near, -1 - near))] = draw.randrange(256)
    return content


def cut(draw: random.Random, content: bytearray) -> bytearray:
    begin = draw.randrange(len(content))
    del content[begin : draw.choice((len(content), begin + draw.randrange(1, 200)))]
    return content


def repeat(draw: random.Random, content: bytearray) -> bytearray:
    begin = draw.randrange(len(content))
    piece = content[begin : begin + draw.randrange(1, 400)]
    content[begin:begin] = piece * draw.choice((1, 100))
    return content


def change_numbers(draw: random.Random, content: bytearray) -> bytearray:
    """Change a number that is written in digits, as in a safetensors header."""
    found = list(re.finditer(rb"\d+", bytes(content[:2000])))
    if found:
        place = draw.choice(found)
        text = draw.choice((b"-1", b"0", b"9" * 30, b"1e400", b"null", b"[" * 500))
        content[place.start() : place.end()] = text
    return content


DAMAGES: tuple[Damage, ...] = (change_bytes, cut, repeat, change_numbers)


def inside_archive(draw: random.Random, content: bytes, damage: Damage) -> bytes:
    """Damage one entry of a zip archive, whose checksums then fit."""
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(changed, "w") as after,
    ):
        chosen = draw.choice([*before.namelist(), *["zip/data.pkl"] * 8])
        for name in before.namelist():
            entry = before.read(name)
            if name.rpartition("/")[2] == chosen.rpartition("/")[2] and entry:
                entry = bytes(damage(draw, bytearray(entry)))
            after.writestr(name, entry)
    return changed.getvalue()


def damaged_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` damaged files, the same ones each time: name and content."""
    known = originals()
    for number in range(count):
        draw = random.Random(number)
        name = draw.choice(list(known))
        damage = draw.choice(DAMAGES)
        if name == "zip.pth" and draw.random() < 0.7:
            yield name, inside_archive(draw, known[name], damage)
        else:
            yield name, bytes(damage(draw, bytearray(known[name])))


def try_damaged_files(folder: Path, count: int) -> int:
    """Load damaged files; returns how many were refused, each in one line."""
    refused = 0
    for number, (name, content) in enumerate(damaged_files(count)):
        path = folder / name
        path.write_bytes(content)
        message = refusal(path)
        assert "\n" not in message, f"file {number}"
        assert len(message) < 500, f"file {number}"
        refused += bool(message)
    return refused


def refusal(path: Path) -> str:
    """Return why a file is refused, nothing where it loads."""
    try:
        file_weights(path, 18, verify=True)
    except ResnetBenchError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_of_weights_loads_or_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    assert try_damaged_files(tmp_path, 60) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_files_of_weights_load_or_are_refused_in_one_line(
    tmp_path: Path,
) -> None:
    assert try_damaged_files(tmp_path, 700) > 200
