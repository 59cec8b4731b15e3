"""Describes a network without computing anything: shapes and counts only."""

from collections.abc import Iterator
from dataclasses import asdict

from resnet_bench.engine.models.description import (
    LayerCounts,
    Stage,
    build_resnet,
    head_replacement,
    lenet_counts,
    lenet_stages,
    resnet_counts,
    resnet_stages,
)
from resnet_bench.engine.ranks import Ranks
from resnet_bench.experiments.describe.spec import (
    Config,
    Counts,
    DescribeCell,
    HeadDescription,
    StageDescription,
)
from resnet_bench.records import Record

GIGA = 1e9


def prepare(config: Config) -> Config:
    """Check that every network can take images of that size; raises UsageError."""
    for variant in config.variants:
        network = build_resnet(variant, stem=config.stem)
        resnet_stages(network, config.image_size)
    return config


def run(cell: DescribeCell, ranks: Ranks) -> Iterator[Record]:
    """Yield the stages of one network, its counts, and its head if asked for."""
    if cell.variant is None:
        yield from _stages(cell, lenet_stages(cell.image_size))
        yield _counts(cell, lenet_counts())
        return
    network = build_resnet(cell.variant, stem=cell.stem, shortcut=cell.shortcut)
    yield from _stages(cell, resnet_stages(network, cell.image_size))
    yield _counts(cell, resnet_counts(network, cell.image_size))
    if cell.head is not None:
        for step in head_replacement(network, cell.head):
            yield HeadDescription(network=cell.label, **asdict(step))


def _stages(cell: DescribeCell, stages: list[Stage]) -> Iterator[StageDescription]:
    for stage in stages:
        shape = [*(stage.output or ()), None, None, None][:3]
        yield StageDescription(
            network=cell.label,
            stage=stage.name,
            layers=stage.layers,
            blocks=stage.blocks,
            channels=shape[0],
            height=shape[1],
            width=shape[2],
            parameters=stage.parameters,
        )


def _counts(cell: DescribeCell, counts: LayerCounts) -> Counts:
    fields = asdict(counts)
    multiply_adds = fields.pop("multiply_adds")
    gmac = None if multiply_adds is None else multiply_adds / GIGA
    return Counts(network=cell.label, gmac=gmac, **fields)
