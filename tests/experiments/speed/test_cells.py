from __future__ import annotations

from dataclasses import replace

from resnet_bench.experiments.speed.cells import (
    MEMORY_TRAIN,
    TIME,
    SpeedCell,
    ceiling_of,
    row_of,
)
from resnet_bench.experiments.speed.grid import expand, resolved
from resnet_bench.experiments.speed.spec import Config

CELLS = expand(resolved(Config(variants=(18,)), "cuda:1", threads=2))
CELL, CEILING_CELL = CELLS[:2]


def test_which_gpu_ran_a_cell_is_no_part_of_its_identity() -> None:
    assert replace(CELL, device_index=0).key == CELL.key
    assert replace(CELL, threads=3).key != CELL.key
    assert replace(CELL, measure=MEMORY_TRAIN).key != CELL.key


def test_cells_that_measure_the_same_setting_make_one_row() -> None:
    memory = replace(CELL, measure=MEMORY_TRAIN)
    assert row_of(memory.parameters) == row_of(CELL.parameters)
    other = replace(CELL, batch_size=1)
    assert row_of(other.parameters) != row_of(CELL.parameters)


def test_a_row_finds_its_ceiling() -> None:
    assert ceiling_of(CELL.parameters) == ceiling_of(CEILING_CELL.parameters)
    other = replace(CELL, dtype="float16")
    assert ceiling_of(other.parameters) != ceiling_of(CEILING_CELL.parameters)


def test_a_label_says_what_differs_between_cells() -> None:
    assert CELL.label == "ResNet-18, batch 128, 224 px, float32"
    special = replace(
        CELL, amp=True, tf32=True, channels_last=True, compiled=True, model="a.b:c"
    )
    assert special.label.endswith("amp, tf32, channels-last, compiled")
    assert replace(CELL, cuda_graphs=True).label.endswith("CUDA graphs")
    assert replace(CELL, variant=None, model="a.b:c").label.startswith("a.b:c")
    assert CEILING_CELL.label == "ceiling, float32"
    assert len({cell.label for cell in CELLS}) == len(CELLS)


def test_phases_follow_the_mode() -> None:
    assert replace(CELL, mode="infer").phases == ("inference",)
    assert "inference" not in replace(CELL, mode="train").phases
    assert CELL.phases[-1] == "inference"


def test_a_timing_cell_costs_more_than_the_others() -> None:
    costs = {cell.measure: cell.cost for cell in CELLS}
    assert all(0 < cost < costs[TIME] for kind, cost in costs.items() if kind != TIME)


def test_larger_batches_of_larger_images_hold_more_memory() -> None:
    def bytes_of(cell: SpeedCell) -> float:
        return cell.memory_bytes

    assert bytes_of(CELL) > bytes_of(replace(CELL, batch_size=1))
    assert bytes_of(CELL) > bytes_of(replace(CELL, image_size=64))
    assert bytes_of(CEILING_CELL) > 0
