from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.weights.origins import SourceRecipe
from resnet_bench.errors import InputOutputError
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.finetune import run as finetune
from resnet_bench.experiments.finetune.grid import expand as finetune_cells
from resnet_bench.experiments.finetune.spec import Config as FinetuneConfig
from resnet_bench.experiments.pretrain import run as pretrain
from resnet_bench.experiments.pretrain.spec import Config, SourceResult, expand
from resnet_bench.experiments.pretrain.view import show
from resnet_bench.present.tables import markdown
from resnet_bench.store.reading import Run
from tests.experiments.assembled import assembled

pytestmark = pytest.mark.usefixtures("small_resnets")

QUICK: dict[str, Any] = {
    "variants": (18,),
    "epochs": 1,
    "batch_size": 256,
    "image_size": 8,
    "device": "cpu",
    "dataset": "digits-0-4",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path / "cache"))


def stored(config: Config) -> Run:
    carry_out = partial(pretrain.run, ranks=Ranks())
    return assembled(Path("pretrain/r1"), config, expand(config), carry_out)


def test_finetune_finds_what_pretrain_left_in_the_cache() -> None:
    config = pretrain.prepare(Config(**QUICK, lr=0.03))
    (made,) = pretrain.run(expand(config)[0], Ranks())
    assert isinstance(made, SourceResult)
    assert not made.reused
    options = {**QUICK, "source_epochs": 1, "seeds": 1, "weights": "suite"}
    options["dataset"] = "digits-5-9"
    cells = finetune_cells(finetune.prepare(FinetuneConfig(**options)))
    (found,) = finetune.run(cells[0], Ranks())
    assert isinstance(found, SourceResult)
    assert found.reused
    assert found.sha256 == made.sha256


def test_tables_and_json_tell_file_hashes_and_accuracy() -> None:
    seen = show(stored(pretrain.prepare(Config(**QUICK, seeds=2))), OtherRuns())
    text = markdown(seen.tables[0])
    assert "digits-0-4" in text
    assert "--weights suite finds those" in text.replace("\\", "")
    assert {row["seed"] for row in seen.json["rows"]} == {0, 1}
    assert len({row["sha256"] for row in seen.json["rows"]}) == 2
    assert list(seen.notices) == []


def test_a_folder_of_ones_own_is_used_and_said(tmp_path: Path) -> None:
    run = stored(pretrain.prepare(Config(**QUICK, into=tmp_path / "own")))
    seen = show(run, OtherRuns())
    (row,) = seen.json["rows"]
    assert (tmp_path / "own" / row["file"]).is_file()
    assert "suite:FILE" in seen.tables[0].notes[0]


def test_a_run_without_results_is_told_as_such() -> None:
    config = Config(**QUICK)
    header = {
        "run": "p",
        "experiment": "pretrain",
        "cells": {cell.key: cell.parameters for cell in expand(config)},
    }
    empty = show(Run(Path("p"), header, [], {}, "partial"), OtherRuns())
    assert empty.tables == []
    assert list(empty.notices) == ["1 checkpoints could not be trained"]


def test_the_defaults_are_the_checkpoints_that_finetune_trains() -> None:
    cell = expand(Config())[0]
    recipe = SourceRecipe(variant=cell.variant)
    assert (cell.epochs, cell.learning_rate, cell.batch_size, cell.stem) == (
        recipe.epochs,
        recipe.learning_rate,
        recipe.batch_size,
        recipe.stem,
    )
    finetuned = FinetuneConfig(weights="suite", stem="small", image_size=32)
    assert finetune_cells(finetuned)[0].key == expand(Config(variants=(18,)))[0].key


def test_another_source_has_its_own_epochs_and_rate() -> None:
    (cell,) = expand(Config(variants=(18,), dataset="digits-0-4"))
    assert (cell.epochs, cell.learning_rate) == (5, 0.03)
    finetuned = FinetuneConfig(
        weights="suite", stem="small", image_size=32, dataset="digits-5-9"
    )
    assert finetune_cells(finetuned)[0].key == cell.key


def test_cells_are_labelled_and_the_longest_comes_first() -> None:
    cells = expand(Config(variants=(18, 50)))
    assert [cell.variant for cell in cells] == [50, 18]
    assert cells[0].label == "ResNet-50 on photo-digits-0-4, seed 0"
    assert cells[0].cost > cells[1].cost


def test_the_estimate_is_some_seconds() -> None:
    config = Config(**QUICK)
    seconds = pretrain.estimate(config, expand(config))
    assert seconds is not None
    assert 0 < seconds < 600


def test_a_folder_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match=r"cannot write to --into .*another"):
        pretrain.rehearse(Config(**QUICK, into=tmp_path / "file" / "sub"))
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path / "file" / "sub"))
    with pytest.raises(InputOutputError, match="set RESNET_BENCH_CACHE"):
        pretrain.rehearse(Config(**QUICK))
