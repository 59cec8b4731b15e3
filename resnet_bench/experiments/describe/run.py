"""Describes a network by shapes and counts, or a folder of images by decoding it."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from resnet_bench.catalogue import IMAGE_FOLDER
from resnet_bench.engine.cache import cache_folder
from resnet_bench.engine.data import DataRequest
from resnet_bench.engine.data.decoding import sides
from resnet_bench.engine.data.image_files import (
    Sample,
    fits_memory,
    pixel_bytes,
    read_halves,
)
from resnet_bench.engine.data.loading import list_files
from resnet_bench.engine.image_folders import legible, list_image_folder
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
    NAMED,
    Config,
    Counts,
    DescribeCell,
    FolderCell,
    FolderDescription,
    HeadDescription,
    StageDescription,
)
from resnet_bench.records import Record

GIGA = 1e9


def prepare(config: Config) -> Config:
    """Check the folder, or that every network can take images of that size.

    Raises UsageError.
    """
    if config.data is not None:
        list_image_folder(config.data)
        return config
    for variant in config.variants:
        network = build_resnet(variant, stem=config.stem)
        resnet_stages(network, config.image_size)
    return config


def run(cell: DescribeCell | FolderCell, ranks: Ranks) -> Iterator[Record]:
    """Yield the stages of one network, its counts, and its head if asked for."""
    if isinstance(cell, FolderCell):
        yield _folder(cell)
        return
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


def _folder(cell: FolderCell) -> FolderDescription:
    """Decode every image of a folder once, and count what was found."""
    request = DataRequest(
        name=IMAGE_FOLDER, data_dir=cell.folder, image_size=cell.image_size
    )
    found, listed = list_image_folder(cell.folder), list_files(request)
    read = read_halves(
        listed.halves,
        request.square,
        cache_folder() / "images",
        streamed=True,
        skip_bad_images=True,
    ).known
    samples = [sample for half in listed.halves for sample in half]
    bad = set(read.bad)
    lengths = [
        length
        for place, (path, _) in enumerate(samples)
        if place not in bad
        for length in sides(Path(path))
    ]
    train, test = (_per_class(half, listed.classes) for half in listed.halves)
    return FolderDescription(
        folder=legible(cell.folder.name),
        train=train,
        test=test,
        held_out=found.test is None,
        left_out=dict(found.left_out.most_common()),
        bad=len(bad),
        bad_files=_names(samples, read.bad, cell.folder),
        twins=len(read.twins),
        twin_files=_names(samples, read.twins, cell.folder),
        smallest_side=min(lengths),
        median_side=statistics.median(lengths),
        largest_side=max(lengths),
        decoded_bytes=pixel_bytes(len(samples), cell.image_size),
        fits_memory=fits_memory(len(samples), cell.image_size),
    )


def _per_class(half: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    counts = Counter(label for _, label in half)
    return {name: counts[label] for label, name in enumerate(classes)}


def _names(
    samples: Sequence[Sample], places: Sequence[int], folder: Path
) -> tuple[str, ...]:
    """Return the first of the files at these places, below the folder."""
    paths = (Path(samples[place][0]) for place in places[:NAMED])
    return tuple(legible(path.relative_to(folder)) for path in paths)


def _counts(cell: DescribeCell, counts: LayerCounts) -> Counts:
    fields = asdict(counts)
    multiply_adds = fields.pop("multiply_adds")
    gmac = None if multiply_adds is None else multiply_adds / GIGA
    return Counts(network=cell.label, gmac=gmac, **fields)
