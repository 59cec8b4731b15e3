from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.errors import ExitCode, UsageError
from resnet_bench.experiments.finetune.cells import FinetuneCell
from resnet_bench.experiments.finetune.grid import RANDOM_DRAWS, expand
from resnet_bench.experiments.finetune.spec import (
    LEAST_STEPS,
    Config,
    announce,
    checked_weights,
    parse_shots,
    parse_strategy,
)
from resnet_bench.experiments.pretrain.spec import PretrainCell
from resnet_bench.records import Cell
from tests.experiments.finetune.stored import resolved


def own(cells: Iterable[Cell]) -> list[FinetuneCell]:
    return [cell for cell in cells if isinstance(cell, FinetuneCell)]


def test_defaults_are_one_variant_three_strategies_two_shots_and_three_seeds() -> None:
    config = Config()
    assert config.variants == (18,)
    assert config.strategy == ("probe", "full", "scratch")
    assert (config.seeds, config.shots) == (3, (50, 200))
    assert (config.dataset, config.weights) == ("photo-digits-5-9", "auto")


def test_the_thorough_profile_runs_every_strategy() -> None:
    assert Config(profile="thorough").strategy == tuple(STRATEGIES)


def test_another_target_takes_all_its_images_and_a_source_that_resembles_it() -> None:
    config = Config(dataset="digits-5-9")
    assert (config.shots, config.source) == ((None,), "digits-0-4")
    assert (config.target_accuracy, Config().target_accuracy) == (90, 50)
    assert Config(dataset="digits-5-9", shots=(5,)).shots == (5,)


@pytest.mark.parametrize(("text", "shots"), [("50", 50), ("all", None)])
def test_shots_are_read_as_numbers_or_all(text: str, shots: int | None) -> None:
    assert parse_shots(text) == shots
    with pytest.raises(ValueError, match="expected a whole number from 1, or all"):
        parse_shots("0")


def test_all_images_come_after_any_number_of_shots() -> None:
    assert Config(shots=(None, 20, 5)).shots == (5, 20, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "imagenet:V2"}, "variant 18: torchvision has V2 weights for 50"),
        (
            {"weights": "random", "strategy": ("probe",)},
            "--strategy probe starts from trained weights",
        ),
    ],
)
def test_weights_that_cannot_serve_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Config(**options)


def test_strategies_are_read_by_name_or_all_at_once() -> None:
    assert parse_strategy("all") == tuple(STRATEGIES)
    assert parse_strategy("freeze-drift") == ("freeze-drift",)
    with pytest.raises(UsageError, match="--strategy freez: expected probe, freeze"):
        parse_strategy("freez")


def test_a_wrong_weights_value_is_refused_where_it_is_typed() -> None:
    assert checked_weights("imagenet:V1") == "imagenet:V1"
    with pytest.raises(UsageError, match="--weights imagenet:V3"):
        checked_weights("imagenet:V3")


@pytest.mark.parametrize(
    ("flag", "value"), [("--weights", "imagenet:V3"), ("--strategy", "freez")]
)
def test_a_bad_value_on_the_command_line_names_its_option_once(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["finetune", flag, value]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"error: {flag} {value}: expected ")
    assert said.count(flag) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {},
            "suite, trained by this suite on photo-digits-0-4; nothing here",
        ),
        ({"weights": "suite:a.safetensors"}, "nothing here is pre-trained on ImageNet"),
        ({"weights": "random"}, "WEIGHTS: random; nothing here is pre-trained."),
        ({"strategy": ("scratch",)}, "WEIGHTS: random"),
        ({"weights": "imagenet:V1"}, "WEIGHTS: imagenet:V1."),
        ({"weights": "file:a.pth", "verify_weights": False}, "hash not checked"),
    ],
)
def test_the_weights_origin_is_said_before_the_first_cell(
    options: dict[str, Any], words: str
) -> None:
    (line,) = announce(resolved(**options))
    assert words in line


def test_random_weights_leave_the_profiles_scratch_trainings() -> None:
    assert Config(weights="random").strategy == ("scratch",)
    thorough = Config(weights="random", profile="thorough")
    assert thorough.strategy == ("scratch",)


def test_seeds_share_a_source_unless_each_is_to_have_its_own() -> None:
    cells = expand(resolved(seeds=3, seed=5))
    sources = [cell for cell in cells if isinstance(cell, PretrainCell)]
    assert {(c.variant, c.seed) for c in sources} == {(18, 5), (34, 5)}
    by_key = {cell.key: cell.variant for cell in sources}
    assert {(c.variant, by_key[key]) for c in own(cells) for key in c.needs} == {
        (18, 18),
        (34, 34),
    }


def test_every_variant_and_seed_gets_a_source_that_its_dependents_need() -> None:
    cells = expand(resolved(seeds=2, shots=(None,), source_seeds="all"))
    sources = [cell for cell in cells if isinstance(cell, PretrainCell)]
    assert {(c.variant, c.seed) for c in sources} == {
        (18, 0),
        (18, 1),
        (34, 0),
        (34, 1),
    }
    assert cells[: len(sources)] == sources
    by_key = {cell.key: cell for cell in sources}
    for cell in own(cells):
        for key in cell.needs:
            assert (by_key[key].variant, by_key[key].seed) == (cell.variant, cell.seed)
    needing = {(c.strategy, c.permuted) for c in own(cells) if c.needs}
    assert needing == {("probe", False), ("full", False), ("probe", True)}


@pytest.mark.parametrize(
    "weights", ["imagenet:V1", "file:a.pth", "suite:b.safetensors"]
)
def test_weights_that_are_there_need_no_source_cells(weights: str) -> None:
    cells = expand(resolved(weights=weights))
    assert not [cell for cell in cells if cell.needs]
    assert own(cells) == cells


def test_controls_are_always_there() -> None:
    cells = expand(resolved(seeds=2, strategy=("full",), shots=(10, None)))
    controls = [cell for cell in own(cells) if cell.part == "control"]
    kinds = {(c.strategy, c.permuted, c.shots) for c in controls}
    assert kinds == {
        ("raw-pixels", False, 10),
        ("raw-pixels", False, None),
        ("random-probe", False, 10),
        ("random-probe", False, None),
        ("probe", True, None),
        ("random-probe", True, None),
    }


def test_the_negative_control_compares_each_seed_with_several_random_backbones() -> (
    None
):
    cells = [c for c in own(expand(resolved(seeds=2, variants=(18,)))) if c.permuted]
    draws = [(c.strategy, c.seed, c.draw) for c in cells]
    assert draws.count(("probe", 0, 0)) == draws.count(("probe", 1, 0)) == 1
    random = [draw for name, seed, draw in draws if name == "random-probe"]
    assert sorted(random) == sorted(2 * list(range(RANDOM_DRAWS)))


def test_random_weights_have_nothing_to_control_on_permuted_pixels() -> None:
    cells = expand(resolved(weights="random", strategy=("scratch",)))
    assert not any(cell.permuted for cell in own(cells))


def test_a_cells_key_ignores_paths_and_follows_what_changes_its_result() -> None:
    def keys(**options: Any) -> set[str]:
        return {cell.key for cell in own(expand(resolved(**options)))}

    assert keys() == keys(
        checkpoint=Path("a"), data_dir=Path("b"), dataset="photo-digits-5-9"
    )
    assert not keys() & keys(epochs=7)
    assert len(keys()) == len(own(expand(resolved())))


def test_labels_say_what_a_cell_is() -> None:
    labels = {cell.label for cell in expand(resolved(seeds=1))}
    assert "ResNet-18, full, seed 0, 10 shots" in labels
    assert "ResNet-34, probe, seed 0, 200 shots, permuted pixels" in labels
    assert "no network, raw-pixels, seed 0, 10 shots" in labels
    everything = {cell.label for cell in expand(resolved(seeds=1, shots=(None,)))}
    assert "ResNet-18, full, seed 0" in everything


def test_epochs_that_are_given_are_not_raised_to_the_least_steps() -> None:
    def least(**options: Any) -> set[int]:
        return {c.training.least_steps for c in own(expand(resolved(**options)))}

    assert least() == {LEAST_STEPS}
    assert least(epochs=4) == {0}


def test_longer_cells_cost_more() -> None:
    options = {"seeds": 1, "shots": (10, None)}
    cells = {cell.label: cell for cell in expand(resolved(**options))}
    full = cells["ResNet-34, full, seed 0"].cost
    assert full > cells["ResNet-18, full, seed 0"].cost
    assert full > cells["ResNet-34, full, seed 0, 10 shots"].cost
    assert full > cells["ResNet-34, probe, seed 0"].cost
    grid = expand(resolved(**options, lr=(0.01, 0.1)))
    tuned = next(c for c in grid if c.label == "ResNet-34, full, seed 0")
    assert tuned.cost > full
