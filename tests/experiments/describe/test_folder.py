"""`describe --data`: what a person learns of a folder before training on it."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from resnet_bench.engine.ranks import Ranks
from resnet_bench.errors import UsageError
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.describe import run as describe
from resnet_bench.experiments.describe.spec import Config, expand
from resnet_bench.experiments.describe.view import show
from resnet_bench.present.shown import Shown
from tests.experiments.assembled import assembled


def write(path: Path, seed: int, size: tuple[int, int] = (20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (*size[::-1], 3), generator=draw).byte()
    Image.fromarray(pixels.numpy()).save(path)


def write_class(folder: Path, count: int, first: int = 0) -> None:
    for number in range(count):
        write(folder / f"{number}.png", first + number)


def report(folder: Path, stored_as: str | None = None) -> Shown:
    config = describe.prepare(Config(data=folder, image_size=16))
    carry_out = partial(describe.run, ranks=Ranks())
    run = assembled(Path("describe/r1"), config, expand(config), carry_out)
    if stored_as is not None:
        run.header["config"]["data"] = stored_as
    shown = show(run, OtherRuns())
    json.dumps(shown.json, allow_nan=False)
    return shown


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path / "cache"))


def test_classes_are_counted_as_they_will_be_divided(tmp_path: Path) -> None:
    write_class(tmp_path / "my data" / "cats", 30)
    write_class(tmp_path / "my data" / "dogs", 40, 100)
    write(tmp_path / "my data" / "dogs" / "wide.png", 7, (640, 12))
    shown = report(tmp_path / "my data")
    assert shown.json["train"] == {"cats": 24, "dogs": 33}
    assert shown.json["test"] == {"cats": 6, "dogs": 8}
    assert shown.json["held_out"]
    assert (shown.json["smallest_side"], shown.json["largest_side"]) == (12, 640)
    assert shown.json["decoded_bytes"] == 71 * 3 * 16**2
    assert "it takes 0 MB at 16 px" in shown.headline[1]
    assert f"--data-dir '{tmp_path}/my data' --save" in shown.headline[2]
    assert shown.tables[0].rows[1] == {"class": "dogs", "training": 33, "test": 8}
    assert not shown.notices


def test_a_folder_that_the_run_cannot_name_is_left_open(tmp_path: Path) -> None:
    write_class(tmp_path / "cats", 3)
    write_class(tmp_path / "dogs", 3, 10)
    # This is what is stored of a path outside of the working folder.
    shown = report(tmp_path, stored_as="elsewhere")
    assert shown.headline[2].endswith("--data-dir FOLDER --save-model networks")


def test_what_would_mislead_is_told(tmp_path: Path) -> None:
    for half, count, first in (("train", 9, 0), ("Valid", 6, 50)):
        write_class(tmp_path / half / "a", count, first)
        write_class(tmp_path / half / "b", count, first + 20)
    write(tmp_path / "Valid" / "b" / "copy.png", 3)
    (tmp_path / "Valid" / "a" / "1.png").unlink()
    (tmp_path / "Valid" / "a" / "2.png").unlink()
    (tmp_path / "train" / "b" / "bad.png").write_bytes(b"no image")
    (tmp_path / "train" / "b" / "notes.txt").touch()
    shown = report(tmp_path)
    assert not shown.json["held_out"]
    assert shown.json["bad_files"] == ["train/b/bad.png"]
    assert shown.json["twin_files"] == ["Valid/b/copy.png"]
    assert shown.json["left_out"] == {".txt": 1}
    bad, twins, left_out, few = shown.notices
    assert "images that cannot be decoded: 1" in bad
    assert "test images that are also in the training half: 1" in twins
    assert ".txt 1" in left_out
    assert "(a)" in few


@pytest.mark.parametrize("present", [False, True])
def test_a_folder_that_is_none_is_refused(present: bool, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    if present:
        folder.mkdir()
    with pytest.raises(UsageError, match="--data"):
        describe.prepare(Config(data=folder))
