import json
from functools import partial
from pathlib import Path

import pytest

from resnet_bench.engine.ranks import Ranks
from resnet_bench.experiments.base import OtherRuns
from resnet_bench.experiments.describe import run as describe
from resnet_bench.experiments.describe.spec import Config, expand
from resnet_bench.experiments.describe.view import show
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import markdown
from resnet_bench.store.reading import Run
from tests.experiments.assembled import assembled


def stored(config: Config) -> Run:
    carry_out = partial(describe.run, ranks=Ranks())
    return assembled(Path("describe/r1"), config, expand(config), carry_out)


@pytest.fixture(scope="module")
def seen() -> Shown:
    config = Config(variants=(18, 50), head=10, plain=True, lenet=True, image_size=64)
    return show(stored(describe.prepare(config)), OtherRuns())


def test_json_has_stages_and_every_count_per_network(seen: Shown) -> None:
    json.dumps(seen.json, allow_nan=False)
    networks = seen.json["networks"]
    assert [(each["network"], each["shortcut"]) for each in networks] == [
        ("ResNet-18", "residual"),
        ("ResNet-18, plain", "plain"),
        ("ResNet-50", "residual"),
        ("ResNet-50, plain", "plain"),
        ("LeNet-5", "plain"),
    ]
    fifty = networks[2]
    assert fifty["variant"] == 50
    stages = [stage["stage"] for stage in fifty["stages"]]
    assert stages == ["stem", *(f"layer{n}" for n in range(1, 5)), "global pool", "fc"]
    assert fifty["counts"]["weighted_layers"] == 50
    assert fifty["counts"]["convolution_modules"] == 53
    trainable = [step["trainable_parameters"] for step in fifty["head"]]
    assert trainable == [25_557_032, 0, 20_490]


def test_tables_show_networks_in_the_order_asked_for(seen: Shown) -> None:
    counts, *stages, head = seen.tables
    assert list(counts.frame["network"])[:2] == ["ResNet-18", "ResNet-18, plain"]
    assert [table.name for table in stages] == [
        "resnet-18",
        "resnet-18-plain",
        "resnet-50",
        "resnet-50-plain",
        "lenet-5",
    ]
    text = markdown(head)
    assert "fc.weight, fc.bias" in text
    assert "nothing" in text
    assert "all 161 tensors" in text


def test_lenet_is_said_to_take_one_size_only(seen: Shown) -> None:
    lenet = seen.tables[-2]
    assert "accepts 32 px only" in lenet.notes[0]
    assert lenet.frame["map"].tolist()[4] is None
    at_32 = show(stored(Config(variants=(18,), lenet=True, image_size=32)), OtherRuns())
    assert at_32.tables[-1].notes == []


def test_lenet_and_the_head_are_shown_only_when_asked_for() -> None:
    run = stored(Config(variants=(18,), image_size=32))
    assert len(show(run, OtherRuns()).tables) == 2


def test_a_run_without_records_shows_nothing() -> None:
    header = {"run": "d", "experiment": "describe", "config": {"image_size": 32}}
    empty = Run(Path("d"), header, [], {}, "partial")
    assert show(empty, OtherRuns()).tables == []
