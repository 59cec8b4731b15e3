from __future__ import annotations

from collections import Counter

import pytest

from resnet_bench.errors import UsageError
from resnet_bench.experiments.degradation.grid import (
    TREATMENTS,
    middle_depth,
    reference_depth,
)
from resnet_bench.experiments.degradation.records import DegradationCell
from resnet_bench.experiments.degradation.spec import (
    PROFILES,
    Config,
    expand,
    parse_studies,
)
from resnet_bench.experiments.degradation.studies import STUDIES


def cells(**options: object) -> list[DegradationCell]:
    return expand(Config(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (21,)}, "--depths 21: .* 20 and 26"),
        ({"depths": (5,)}, "--depths 5: .* 8 and 14"),
        ({"seeds": 0}, "--seeds 0: expected a whole number from 1"),
        ({"epochs": 0}, "--epochs 0: expected a whole number from 1"),
        ({"batch_size": 1}, "--batch-size 1"),
        ({"width": 0}, "--width 0"),
        ({"budgets": (1,)}, "--budgets 1: expected a whole number from 2"),
        ({"budgets": (4,), "depths": (8, 14)}, "--depths 8,14: expected 20 or 56"),
        ({"seed": -1}, "--seed -1"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"image_size": 3}, "--image-size 3"),
        ({"profile": "huge"}, "--profile huge: expected quick, standard, "),
        ({"family": "imagenet", "depths": (50,)}, "--depths 50: expected 18, 34"),
        ({"family": "imagenet", "study": ("thousand",)}, "--study thousand"),
    ],
)
def test_a_value_that_cannot_be_carried_out_is_refused_in_one_line(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Config(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_studies_are_read_by_name_and_all_means_all() -> None:
    assert parse_studies("lesion") == ("lesion",)
    assert parse_studies("all") == tuple(STUDIES)
    with pytest.raises(UsageError, match=r"unknown study 'lesions'.*lesion"):
        parse_studies("lesions")


def test_a_profile_fills_in_what_was_not_given() -> None:
    config = Config(profile="standard")
    assert config.depths == PROFILES["standard"].depths
    assert config.epochs == 40
    assert Config(profile="paper").dataset == "cifar10"


def seeds_of(grid: list[DegradationCell], **wanted: object) -> dict[object, int]:
    """Count the seeds of standard networks by shortcut and depth."""
    usual = {"task": "train", "treatment": "standard", "train_images": None}
    usual |= {"dataset": "digits"}
    return Counter(
        (cell.shortcut, cell.depth)
        for cell in grid
        if all(getattr(cell, name) == v for name, v in (usual | wanted).items())
    )


def test_the_quick_profile_is_the_one_of_the_design() -> None:
    config = Config()
    assert (config.depths, config.epochs) == ((8, 20, 56), 10)
    assert config.study == PROFILES["quick"].studies
    grid = expand(config)
    assert set(seeds_of(grid).values()) == {5}
    looked_into = [cell for cell in grid if "lesion" in cell.studies]
    assert set(seeds_of(looked_into).values()) == {3}


def test_networks_that_train_in_some_seeds_have_more_of_them() -> None:
    grid = cells(profile="standard")
    seeds = seeds_of(grid, budget=1)
    assert seeds.pop(("plain", 32)) == seeds.pop(("residual", 110)) == 11
    assert set(seeds.values()) == {8}
    longer = seeds_of(grid, budget=4)
    assert longer == {(s, d): 5 for s in ("plain", "residual") for d in (20, 56)}
    assert {cell.budget for cell in grid} == {1, 4}


def test_seeds_that_were_asked_for_hold_for_every_network() -> None:
    grid = cells(profile="standard", seeds=2, budgets=(4, 16))
    assert set(seeds_of(grid, budget=1).values()) == {2}
    assert set(seeds_of(grid, budget=16).values()) == {2}
    assert set(Counter(c.treatment for c in grid if c.depth == 56).values()) >= {2, 4}


def test_every_network_is_trained_once_however_many_studies_want_it() -> None:
    grid = cells(profile="standard")
    plain = [
        cell
        for cell in grid
        if (cell.shortcut, cell.depth, cell.seed, cell.treatment)
        == ("plain", 56, 0, "standard")
    ]
    assert sorted(cell.budget for cell in plain) == [1, 4]
    once = next(cell for cell in plain if cell.budget == 1)
    assert {"depth", "gradients", "lesion", "controls"} <= set(once.studies)
    assert len({cell.key for cell in grid}) == len(grid)


def test_shortcuts_are_paired_by_depth_seed_and_budget() -> None:
    grid = cells(profile="standard", study=("depth",), seeds=2)
    grid = [cell for cell in grid if cell.dataset == "digits"]
    count = Counter((c.depth, c.seed, c.budget, c.treatment) for c in grid)
    assert set(count.values()) == {2}


def test_the_standard_profile_trains_two_plain_networks_on_harder_data() -> None:
    def harder(**options: object) -> set[tuple[str, int]]:
        grid = cells(profile="standard", study=("depth",), **options)
        other = [cell for cell in grid if cell.dataset == "photo-digits"]
        return {(cell.shortcut, cell.depth) for cell in other}

    assert harder() == {("plain", 8), ("plain", 20)}
    assert harder(dataset="cifar10") == harder(family="imagenet") == set()


def test_digits_on_photographs_are_not_flipped_unless_asked_for() -> None:
    def augmentations(**options: object) -> set[str]:
        grid = cells(dataset="photo-digits", study=("depth",), **options)
        return {cell.augmentation for cell in grid}

    assert augmentations() == {"none"}
    assert augmentations(augmentation="crop-flip") == {"crop-flip"}


def test_a_larger_data_set_is_expected_to_take_longer() -> None:
    small, large = (DegradationCell(dataset=d) for d in ("digits", "fashionmnist"))
    assert large.cost > 400 * small.cost


def test_all_studies_have_cells_and_all_treatments_are_known() -> None:
    grid = cells(profile="standard", study=tuple(STUDIES))
    assert {study for cell in grid for study in cell.studies} == set(STUDIES)
    assert {cell.treatment for cell in grid} <= set(TREATMENTS)


def test_the_longest_cells_come_first() -> None:
    costs = [cell.cost for cell in cells(profile="standard")]
    assert costs == sorted(costs, reverse=True)


def test_the_thousand_layers_are_narrow_where_time_is_short() -> None:
    grid = cells(profile="thousand")
    extreme = Counter(
        (cell.shortcut, cell.treatment, cell.width, cell.recipe)
        for cell in grid
        if cell.depth == 1202
    )
    assert extreme == {
        ("residual", "zero-gamma", 8, "one-cycle"): 5,
        ("residual", "paper-warm-up", 8, "paper"): 5,
    }
    paper = cells(profile="paper", study=("thousand",), data_dir=None)
    assert {cell.width for cell in paper} == {16}


def test_very_deep_networks_have_plain_controls_that_could_train() -> None:
    grid = cells(profile="thousand")
    deep = Counter((c.shortcut, c.treatment) for c in grid if c.depth == 110)
    assert deep == {
        ("plain", "standard"): 5,
        ("plain", "paper-warm-up"): 5,
        ("residual", "zero-gamma"): 5,
        ("residual", "paper-warm-up"): 5,
    }


def test_the_landscape_is_surveyed_at_56_layers_and_where_both_train() -> None:
    study = ("landscape",)
    quick = [(c.depth, c.shortcut, c.seed) for c in cells(study=study)]
    assert sorted(quick) == [(56, "plain", 0), (56, "residual", 0)]
    standard = cells(profile="standard", study=study)
    assert {cell.depth for cell in standard} == {32, 56}


def test_treatments_change_what_their_row_says() -> None:
    grid = cells(profile="standard", study=("controls",))
    adam = next(cell for cell in grid if cell.treatment == "adam")
    wide = next(cell for cell in grid if cell.treatment == "wide")
    assert adam.learning_rate == 1e-3
    assert wide.width == 32
    assert {cell.shortcut for cell in grid if cell.treatment != "standard"} == {"plain"}


def test_the_shallow_plain_network_is_the_one_that_is_extended() -> None:
    grid = cells(depths=(8, 20, 56), seeds=1, study=("constructed",))
    deep = {(cell.depth, cell.shortcut): cell.deep_depths for cell in grid}
    assert deep == {(8, "plain"): (), (20, "plain"): (56,), (56, "plain"): ()}


def test_reference_and_middle_depth_follow_the_grid() -> None:
    assert reference_depth((8, 20, 56)) == 20
    assert reference_depth((8, 14)) == 8
    assert middle_depth((8, 56, 110)) == 56
    assert middle_depth((110,)) == 110


def test_the_first_seed_can_be_chosen() -> None:
    seeds = {cell.seed for cell in cells(seeds=2, seed=7, study=("depth",))}
    assert seeds == {7, 8}


def test_torchvisions_family_leaves_out_studies_that_it_cannot_take_part_in() -> None:
    config = Config(family="imagenet")
    assert config.depths == (18, 34)
    assert "identity" not in config.study
    assert {cell.image_size for cell in expand(config)} == {32}
    assert {cell.treatment for cell in expand(config)} == {"standard"}


def test_labels_name_what_is_unusual() -> None:
    cell = DegradationCell(depth=56, shortcut="plain", seed=2)
    assert cell.label == "plain-56 seed 2"
    longer = DegradationCell(budget=4, train_images=100, treatment="adam")
    assert longer.label == "residual-20 seed 0 adam x4 100 images"
    assert DegradationCell(task="anysize").label == "anysize"


def test_where_the_data_lie_is_no_part_of_a_cells_identity() -> None:
    here, there = (DegradationCell(data_dir=where) for where in ("a", "b"))
    assert here.key == there.key
    assert here.key != DegradationCell(seed=1).key
