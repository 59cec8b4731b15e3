import pytest

from resnet_bench.engine.models.description import (
    build_resnet,
    head_replacement,
    lenet_counts,
    lenet_stages,
    resnet_counts,
    resnet_stages,
)
from resnet_bench.errors import UsageError

#: Weighted layers, convolution modules, those and fc, parameters, GMAC at 224 px.
COUNTS = {
    18: (18, 20, 21, 11_689_512, 1.814),
    50: (50, 53, 54, 25_557_032, 4.089),
    101: (101, 104, 105, 44_549_160, 7.801),
}


@pytest.mark.parametrize("variant", COUNTS)
def test_layers_are_counted_in_every_usual_way(variant: int) -> None:
    network = build_resnet(variant, stem="imagenet")
    counts = resnet_counts(network, 224)
    weighted, modules, everything, parameters, gmac = COUNTS[variant]
    assert counts.weighted_layers == weighted
    assert counts.main_path_convolutions == weighted - 1
    assert counts.convolution_modules == modules
    assert counts.with_projections == everything
    assert counts.projections == modules - weighted + 1
    assert counts.parameters == parameters
    assert counts.multiply_adds is not None
    assert round(counts.multiply_adds / 1e9, 3) == gmac


def test_stages_of_resnet_18_are_those_of_the_papers_table() -> None:
    stages = resnet_stages(build_resnet(18, stem="imagenet"), 224)
    shapes = [stage.output for stage in stages]
    assert shapes == [
        (64, 56, 56),
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
        (512, 1, 1),
        (1000,),
    ]
    assert [stage.blocks for stage in stages] == [0, 2, 2, 2, 2, 0, 0]
    assert stages[0].layers == (
        "7x7 conv stride 2, batch norm, ReLU, 3x3 max pool stride 2"
    )
    assert stages[1].layers == "2 x basic (3x3, 3x3) + x"
    assert sum(stage.parameters for stage in stages) == 11_689_512


def test_a_plain_twin_has_the_same_stages_without_the_addition() -> None:
    twin = build_resnet(50, stem="imagenet", shortcut="plain")
    assert resnet_stages(twin, 64)[1].layers == "3 x (1x1, 3x3, 1x1)"
    counts = resnet_counts(twin, 64)
    assert (counts.weighted_layers, counts.projections) == (50, 0)


@pytest.mark.parametrize("size", [32, 97, 224])
def test_a_resnet_takes_any_image_size_and_pools_it_to_one(size: int) -> None:
    stages = resnet_stages(build_resnet(18, stem="imagenet"), size)
    assert stages[-2].output == (512, 1, 1)


def test_lenet_takes_32_pixels() -> None:
    stages = lenet_stages(32)
    assert [stage.output for stage in stages] == [
        (6, 28, 28),
        (6, 14, 14),
        (16, 10, 10),
        (16, 5, 5),
        (120,),
        (84,),
        (10,),
    ]
    assert lenet_counts().weighted_layers == 5
    assert lenet_counts().parameters == sum(stage.parameters for stage in stages)


def test_lenet_stops_at_its_flatten_for_any_other_size() -> None:
    outputs = [stage.output for stage in lenet_stages(64)]
    assert outputs[3] == (16, 13, 13)
    assert outputs[4:] == [None, None, None]


def test_an_image_that_vanishes_on_the_way_is_refused() -> None:
    network = build_resnet(18, stem="imagenet")
    with pytest.raises(UsageError, match="--image-size 0"):
        resnet_stages(network, 0)


def test_replacing_the_head_shows_what_trains_at_each_step() -> None:
    network = build_resnet(50, stem="imagenet")
    built, frozen, replaced = head_replacement(network, 10)
    assert built.layer.startswith("Linear(in_features=2048, out_features=1000")
    assert frozen.trainable_parameters == 0
    assert replaced.trainable_parameters == 2049 * 10
    assert replaced.out_features == 10
    assert frozen.trainable_names == ()
    assert replaced.trainable_names == ("fc.weight", "fc.bias")
    assert replaced.total_parameters == built.total_parameters - 2049 * 990
