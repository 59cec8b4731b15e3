"""Images in files: decoded once for all cells, or again whenever they are needed.

The first time each image is decoded, which finds those that cannot be, pictures that
are in both halves, and the normalisation. Where the decoded images fit into memory
they are written to one file in the user's cache, which every process maps: they are in
memory once. Otherwise an image is decoded when a batch needs it.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_bench.engine.cache import locked, remove_unused
from resnet_bench.engine.cpu import bytes_left, usable_cores
from resnet_bench.engine.data.decoding import Crop, Square, decode
from resnet_bench.engine.data.splits import Batch, Normalisation, Split
from resnet_bench.engine.seeding import generator
from resnet_bench.errors import InputOutputError, UsageError

Sample = tuple[str | Path, int]

#: Raised when the same files would be decoded to other pixels than before.
VERSION = 1

#: Share of the memory left that decoded images may take; networks, and what programs
#: need in each process, take the rest.
MEMORY_SHARE = 0.5

#: Decoded images that nobody has used for so long are removed from the cache.
KEPT_SECONDS = 7 * 24 * 3600

#: Batches that are decoded before they are asked for, and images decoded at once.
AHEAD = 2
CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Known:
    """What decoding all images of both halves has found.

    `bad` are the places of those that cannot be decoded, `twins` the test images, by
    their places, whose pixels a training image has too.
    """

    bad: tuple[int, ...]
    twins: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Training and test half, without the images that cannot be decoded."""

    train: Split
    test: Split
    known: Known

    @property
    def normalisation(self) -> Normalisation:
        """Mean and deviation of the training half's own pixels."""
        return Normalisation(self.known.mean, self.known.std)


def pixel_bytes(images: int, side: int, channels: int = 3) -> int:
    """Return the bytes that decoded images take."""
    return images * channels * side**2


def fits_memory(images: int, side: int) -> bool:
    """Whether decoded images leave enough of the memory to train."""
    return pixel_bytes(images, side) <= MEMORY_SHARE * bytes_left()


def check_memory(
    images: int, side: int, channels: int = 3, value_bytes: int = 1, way: str = ""
) -> None:
    """Raise UsageError for more images of a size than memory has room for.

    `value_bytes` are those of one value of a pixel, `way` what else can be done.
    """
    taken = pixel_bytes(images, side, channels) * value_bytes
    room = MEMORY_SHARE * bytes_left()
    if taken > room:
        largest = int(side * (room / taken) ** 0.5)
        accepted = (
            f"at most {largest}: {images} images of {side} px take {taken / 1e9:.1f} "
            f"GB, more than {100 * MEMORY_SHARE:.0f} % of the memory left{way}"
        )
        raise UsageError.for_option("--image-size", side, accepted)


def read_halves(
    halves: Sequence[Sequence[Sample]],
    square: Square,
    folder: Path | None,
    *,
    streamed: bool = False,
    skip_bad_images: bool = False,
) -> Halves:
    """Return both halves' images, decoded now unless they are `streamed`.

    What decoding tells, and the pixels of those not streamed, are kept in `folder`;
    without one, or where it cannot be written, they are in this process's memory.
    Raises UsageError that names an image which cannot be decoded, unless these are
    skipped.
    """
    samples = [sample for half in halves for sample in half]
    listing = _Listing(samples, len(halves[0]), square, skip_bad_images)
    known, pixels = _kept(listing, folder, with_pixels=not streamed)
    if known.bad and not skip_bad_images:
        decode(Path(samples[known.bad[0]][0]), square)  # says what is wrong
    bad = set(known.bad)
    good = [place for place in range(len(samples)) if place not in bad]
    boundary = sum(place < listing.training for place in good)
    labels = torch.tensor([samples[place][1] for place in good])
    if pixels is None:
        files = tuple(Path(samples[place][0]) for place in good)
        whole: Split = StreamedSplit.of(files, labels, square)
        parts = [torch.arange(boundary), torch.arange(boundary, len(good))]
        train, test = (whole.take(part) for part in parts)
    else:
        train = Split(pixels[:boundary], labels[:boundary])
        test = Split(pixels[boundary : len(good)], labels[boundary:])
    return Halves(train=train, test=test, known=known)


@dataclass(frozen=True)
class _Listing:
    """The images to decode: those of the training half first, `training` of them."""

    samples: Sequence[Sample]
    training: int
    square: Square
    skip_bad_images: bool

    @property
    def shape(self) -> torch.Size:
        side = self.square.side
        return torch.Size((len(self.samples), 3, side, side))

    def fingerprint(self) -> str:
        """Return what differs for other files, other labels apart, or other pixels."""
        digest = hashlib.sha256(repr((VERSION, self.square, self.training)).encode())
        for path, _ in self.samples:
            status = Path(path).stat()
            named = (os.fsencode(path), status.st_size, status.st_mtime_ns)
            digest.update(repr(named).encode())
        return digest.hexdigest()[:24]

    def check_memory(self) -> None:
        """Raise UsageError for more images than memory has room for, once decoded."""
        way = ", unless finetune decodes them when they are needed (--loading stream)"
        check_memory(len(self.samples), self.square.side, way=way)

    def decode(self, pixels: Tensor | None) -> Known:
        """Decode every image; `pixels` (N, 3, side, side) is filled without gaps."""
        bad, twins = [], []
        seen: set[bytes] = set()
        sums = torch.zeros(2, 3, dtype=torch.float64)
        filled = 0
        for place, image in enumerate(self._decoded()):
            if image is None:
                bad.append(place)
                continue
            if pixels is not None:
                pixels[filled] = image
            filled += 1
            own = hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()
            if place < self.training:
                seen.add(own)
                values = image.flatten(1).double() / 255
                sums += torch.stack([values.mean(1), values.square().mean(1)])
            elif own in seen:
                twins.append(place)
        count = self.training - sum(place < self.training for place in bad)
        if not 0 < count < filled:
            raise UsageError("no image of the training or test half could be decoded")
        mean, square = sums / count
        std = (square - mean.square()).clamp_min(1e-16).sqrt()
        return Known(
            bad=tuple(bad),
            twins=tuple(twins),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )

    def _decoded(self) -> Iterator[Tensor | None]:
        """Yield every image in order, None for one that is bad and may be skipped."""

        def one(sample: Sample) -> Tensor | None:
            try:
                return decode(Path(sample[0]), self.square)
            except UsageError:
                if not self.skip_bad_images:
                    raise
                return None

        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(self.samples), CHUNK):
                yield from pool.map(one, self.samples[start : start + CHUNK])


def _kept(
    listing: _Listing, folder: Path | None, *, with_pixels: bool
) -> tuple[Known, Tensor | None]:
    """Return what is known of the images, and their pixels, decoded if need be."""
    needed = (
        pixel_bytes(len(listing.samples), listing.square.side) if with_pixels else 0
    )
    try:
        if folder is None:
            raise OSError("not kept")
        name = listing.fingerprint()
        with locked(folder / name):
            if shutil.disk_usage(folder).free < needed:
                raise OSError("no room")
            return _Entry(folder, name).read(listing, with_pixels=with_pixels)
    except (InputOutputError, OSError):
        if with_pixels:
            listing.check_memory()
        pixels = torch.empty(listing.shape, dtype=torch.uint8) if with_pixels else None
        return listing.decode(pixels), pixels


@dataclass(frozen=True)
class _Entry:
    """One set of images in the cache: what is known of it, and maybe its pixels."""

    folder: Path
    name: str

    def read(
        self, listing: _Listing, *, with_pixels: bool
    ) -> tuple[Known, Tensor | None]:
        """Return what is kept, decoding what is not there yet."""
        known = self._known()
        whole = self.folder / f"{self.name}.pixels"
        if known is None or (with_pixels and not _is_whole(whole, listing.shape)):
            if with_pixels:
                listing.check_memory()
            now = (self.folder / f"{self.name}.lock").stat().st_mtime
            remove_unused(self.folder, now - KEPT_SECONDS)
            unfinished = whole.with_suffix(".unfinished")
            pixels = (
                _mapped(unfinished, listing.shape, shared=True) if with_pixels else None
            )
            known = listing.decode(pixels)
            if with_pixels:
                _flush(unfinished)
                unfinished.replace(whole)
            self._index.write_text(json.dumps(vars(known)))
        if not with_pixels:
            return known, None
        return known, _mapped(whole, listing.shape, shared=False)

    @property
    def _index(self) -> Path:
        return self.folder / f"{self.name}.json"

    def _known(self) -> Known | None:
        try:
            content: dict[str, Any] = json.loads(self._index.read_text())
            return Known(**{name: tuple(value) for name, value in content.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


def _is_whole(path: Path, shape: torch.Size) -> bool:
    return path.is_file() and path.stat().st_size == shape.numel()


def _flush(path: Path) -> None:
    """Wait for the disk: after a power failure the file would hold black images."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _mapped(path: Path, shape: Sequence[int], *, shared: bool) -> Tensor:
    """Return a file as a uint8 tensor; it is made, and written to, only if `shared`."""
    size = torch.Size(shape).numel()
    if shared:
        with path.open("wb") as file:
            file.truncate(size)
    whole = torch.from_file(str(path), shared=shared, size=size, dtype=torch.uint8)
    return whole.view(*shape)


@dataclass
class _Ahead:
    """Batches that are being decoded, and those that will be, in order."""

    threads: int
    later: deque[Batch] = field(default_factory=deque)
    begun: deque[tuple[Batch, list["Future[Tensor]"]]] = field(default_factory=deque)
    pool: ThreadPoolExecutor | None = None

    def take(
        self, batch: Batch, decode_one: Callable[[int, Crop | None], Tensor]
    ) -> Tensor:
        """Return a batch, and begin those that come after it."""
        if not self.begun and self.later:
            self._begin(self.later.popleft(), decode_one)
        if not self.begun or not torch.equal(self.begun[0][0][0], batch[0]):
            self.later.clear()
            self.begun.clear()
            self._begin(batch, decode_one)
        _, images = self.begun.popleft()
        while self.later and len(self.begun) < AHEAD:
            self._begin(self.later.popleft(), decode_one)
        return torch.stack([image.result() for image in images])

    def _begin(
        self, batch: Batch, decode_one: Callable[[int, Crop | None], Tensor]
    ) -> None:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.threads)
        indices, crops = batch
        pieces: Iterable[Crop | None] = [None] * len(indices)
        if crops is not None:
            pieces = [Crop(tuple(draws)) for draws in crops.T.tolist()]
        images = [
            self.pool.submit(decode_one, index, piece)
            for index, piece in zip(indices.tolist(), pieces, strict=True)
        ]
        self.begun.append((batch, images))


@dataclass(frozen=True)
class StreamedSplit(Split):
    """Images that are decoded when they are needed, some batches ahead, in threads.

    `images` has no memory: it says shape, type and device. `rows` are the images'
    places in `files`, `order` a permutation of their pixels. Children of a run may have
    no processes of their own, so that threads decode; Pillow and torch let them run at
    the same time.
    """

    files: Sequence[Path] = ()
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    square: Square = field(default_factory=lambda: Square(0, 0))
    order: Tensor | None = None
    ahead: _Ahead = field(default_factory=lambda: _Ahead(1), compare=False)

    @classmethod
    def of(
        cls, files: Sequence[Path], labels: Tensor, square: Square
    ) -> "StreamedSplit":
        """Return all of the files as a split on the CPU."""
        placeholder = torch.zeros(1, dtype=torch.uint8)
        images = placeholder.expand(len(files), 3, square.side, square.side)
        return cls(images, labels, files, torch.arange(len(files)), square)

    @property
    def streamed(self) -> bool:
        """Whether images are decoded when they are needed."""
        return True

    def take(self, indices: Tensor) -> "StreamedSplit":
        """Return the examples at `indices`, in that order, none of them decoded."""
        return replace(
            self,
            images=self.images[:1].expand(len(indices), -1, -1, -1),
            labels=self.labels[indices],
            rows=self.rows[indices.cpu()],
            ahead=_Ahead(self.ahead.threads),
        )

    def to(self, device: torch.device | str) -> "StreamedSplit":
        """Return the split with its batches and labels on `device`."""
        labels = self.labels.to(device)
        images = self.images[:1, :1, :1, :1].to(device).expand(self.images.shape)
        # On the CPU each core has a cell of its own.
        threads = usable_cores() if labels.is_cuda else 1
        return replace(self, images=images, labels=labels, ahead=_Ahead(threads))

    def with_permuted_pixels(self, seed: int = 0) -> "StreamedSplit":
        """Return every image with its pixels moved by one fixed permutation."""
        draw = generator(seed, "pixel permutation")
        return replace(self, order=torch.randperm(self.square.side**2, generator=draw))

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in their order, `size` at a time."""
        parts = torch.split(torch.arange(len(self)), size)
        reader = replace(self, ahead=_Ahead(self.ahead.threads))
        reader.foresee([(part, None) for part in parts])
        for part in parts:
            yield reader.drawn(part)

    def foresee(self, batches: Sequence[Batch]) -> None:
        """Be told which batches will be drawn next, in which order."""
        self.ahead.begun.clear()
        self.ahead.later = deque(batches)

    def drawn(self, indices: Tensor, crops: Tensor | None = None) -> Tensor:
        """Return images by their indices, cropped and flipped by `crops` (5, N)."""
        drawn = crops if crops is None else crops.cpu()
        images = self.ahead.take((indices.cpu(), drawn), self._decoded)
        if self.order is not None:
            images = images.flatten(2)[:, :, self.order].view(images.shape)
        return images.to(self.images.device, non_blocking=True)

    def _decoded(self, index: int, crop: Crop | None) -> Tensor:
        return decode(self.files[int(self.rows[index])], self.square, crop)
