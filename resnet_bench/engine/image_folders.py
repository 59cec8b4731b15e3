"""Folders of images: which files show which class.

Only names are read here, no pixels, and torch is not imported.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from resnet_bench.errors import UsageError

#: Names of the halves, in any case; of several the first one with class folders counts.
TRAINING = ("train", "training")
HELD_OUT = ("test", "testing", "val", "valid", "validation")

#: torchvision's extensions (IMG_EXTENSIONS of torchvision/datasets/folder.py), and
#: others that photographs have.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    *(".jfif", ".jpe", ".gif", ".avif", ".apng", ".dib", ".pbm", ".pnm", ".jp2"),
    *(".j2k", ".tga"),
)

#: What archives, file managers and network drives leave behind, in lower case.
HIDDEN = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})

#: Links to folders that lead to another class, or out of their own.
LINKS = "links to folders"

#: A class needs one image to learn from and one to test on.
FEWEST_IMAGES = 2

#: Classes that an error names before it counts the others.
NAMED = 6

Sample = tuple[Path, int]


@dataclass(frozen=True)
class ClassFolders:
    """The images of one folder per class, none empty, and what was left out.

    `left_out` counts by kind, a kind of file by its extension.
    """

    folder: Path
    files: Mapping[str, Sequence[Path]]
    left_out: Counter[str]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted as their folders are."""
        return tuple(self.files)

    @property
    def samples(self) -> list[Sample]:
        """Every image with the number of its class."""
        labelled = enumerate(self.files.values())
        return [(path, label) for label, paths in labelled for path in paths]


@dataclass(frozen=True)
class ImageFolder:
    """A user's images: training half and test half.

    `test` is None where the folder is not divided and a share is to be held out.
    """

    train: ClassFolders
    test: ClassFolders | None = None

    @property
    def left_out(self) -> Counter[str]:
        """What was left out of both halves, by kind."""
        return self.train.left_out + (self.test.left_out if self.test else Counter())


@cache
def readable_formats() -> Mapping[str, str]:
    """Return Pillow's format for each extension, of those that it can read here."""
    known = Image.registered_extensions()
    return {each: known[each] for each in EXTENSIONS if known.get(each) in Image.OPEN}


def list_image_folder(folder: Path) -> ImageFolder:
    """List the images of `train/CLASS/` and `test/CLASS/`, or of `CLASS/` alone.

    Raises UsageError for a folder that is laid out otherwise or cannot be read, and
    for a class of one image.
    """
    try:
        listed = _divided(folder) or ImageFolder(_undivided(folder))
    except OSError as error:
        raise UsageError(
            f"--data-dir {legible(folder)} cannot be read: {error.strerror or error}"
        ) from error
    _check_counts(listed.train)
    return listed


def describe_image_folder(folder: Path) -> list[str]:
    """Return what a folder holds and what of it is left out; raises UsageError."""
    listed = list_image_folder(folder)
    images, classes = len(listed.train.samples), len(listed.train.classes)
    test = listed.test
    tested = (
        f"in {legible(listed.train.folder.name)}/, {len(test.samples)} in "
        f"{legible(test.folder.name)}/"
        if test
        else "together; a fifth of each class is held out for testing"
    )
    said = [f"DATA: {legible(folder)}: {images} images of {classes} classes {tested}."]
    if listed.left_out:
        counts = [f"{kind} {count}" for kind, count in listed.left_out.most_common()]
        said.append(f"LEFT OUT of {legible(folder)}: {', '.join(counts)}.")
    return said


def legible(name: Path | str) -> str:
    """Return a name that can be printed, whatever encoding it is in."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _divided(folder: Path) -> ImageFolder | None:
    """Return both halves, or None for a folder of classes.

    A class may be called `train` too: a half has class folders of its own.
    """
    left_out: Counter[str] = Counter()
    places = _visible_folders(folder, left_out)
    train, test = (_first_half(places, names) for names in (TRAINING, HELD_OUT))
    if train and test:
        _check_same_classes(folder, train, test)
        train.left_out.update(left_out)
        return ImageFolder(train, test)
    if train and len(train.classes) > 1:
        half = legible(train.folder.name)
        raise UsageError(
            f"--data-dir {legible(folder)} has {half}/ but neither test/ nor val/ with "
            f"the same class folders: add one, or give --data-dir "
            f"{legible(train.folder)}, of which a fifth is held out"
        )
    return None


def _first_half(places: Sequence[Path], names: Sequence[str]) -> ClassFolders | None:
    """Return the half of the first name that has class folders with images."""
    for name in names:
        for place in places:
            if place.name.lower() == name and (listed := _list_classes(place)).files:
                return listed
    return None


def _undivided(folder: Path) -> ClassFolders:
    listed = _list_classes(folder)
    if not listed.files:
        raise UsageError(
            f"--data-dir: {legible(folder)} must hold one folder of images per class, "
            "or train/ and test/ with such folders; for another data set give --dataset"
        )
    if all(name.lower() in (*TRAINING, *HELD_OUT) for name in listed.classes):
        halves = " and ".join(f"{name}/" for name in listed.classes)
        raise UsageError(
            f"--data-dir {legible(folder)}: {halves} cannot be the classes: expected "
            "both a training and a test half, with one folder of images per class"
        )
    return listed


def _list_classes(folder: Path) -> ClassFolders:
    left_out: Counter[str] = Counter()
    files = {}
    seen: set[Path] = set()
    for place in _visible_folders(folder, left_out):
        real = place.resolve()
        if real in seen or folder.resolve().is_relative_to(real):
            left_out[LINKS] += 1
            continue
        seen.add(real)
        images = _images(place, left_out)
        name = legible(place.name)
        if name in files:
            raise UsageError(
                f"class folders of {legible(folder)}: two are called {name}, one in "
                "another encoding: rename one"
            )
        if images:
            files[name] = images
        else:
            left_out["empty class folders"] += 1
    return ClassFolders(folder, files, left_out)


def _visible_folders(folder: Path, left_out: Counter[str]) -> list[Path]:
    """Return the folders in a folder, sorted; count what is hidden or out of place."""
    visible = []
    for place in sorted(folder.iterdir()):
        if _is_hidden(place.name):
            left_out["hidden files and folders"] += 1
        elif place.is_dir():
            visible.append(place)
        elif place.suffix.lower() in readable_formats():
            left_out["images outside class folders"] += 1
    return visible


def _images(folder: Path, left_out: Counter[str]) -> list[Path]:
    """Return the images in a folder and below it, ordered as torchvision does.

    Links to folders are not followed there: they may lead to another class.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(place, name).is_symlink()]
        left_out.update({LINKS: len(links)} if links else {})
        hidden = [name for name in (*folders, *names) if _is_hidden(name)]
        left_out.update({"hidden files and folders": len(hidden)} if hidden else {})
        folders[:] = sorted(name for name in folders if name not in hidden)
        found += [Path(place, name) for name in names if name not in hidden]
    kinds = {path: _reason_to_leave_out(path) for path in found}
    left_out.update(kind for kind in kinds.values() if kind)
    images = (path for path, kind in kinds.items() if not kind)
    return sorted(images, key=lambda path: (str(path.parent), path.name))


def _reason_to_leave_out(path: Path) -> str:
    extension = path.suffix.lower()
    if extension not in readable_formats():
        return legible(extension) or "files without extension"
    return "" if path.is_file() else "no regular files"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in HIDDEN


def _raise(error: OSError) -> None:
    raise error


def _check_same_classes(folder: Path, train: ClassFolders, test: ClassFolders) -> None:
    for half, other in ((train, test), (test, train)):
        if lacking := [name for name in half.classes if name not in other.files]:
            more = len(lacking) - NAMED
            named = lacking[:NAMED] + ([f"{more} more"] if more > 0 else [])
            raise UsageError(
                f"--data-dir {legible(folder)}: expected the same classes in both "
                f"halves; {legible(other.folder.name)}/ lacks {', '.join(named)}"
            )


def _check_counts(listed: ClassFolders) -> None:
    """Refuse a class of one image, which can be neither divided nor learnt."""
    for name, paths in listed.files.items():
        if len(paths) < FEWEST_IMAGES:
            raise UsageError(
                f"class folder {legible(listed.folder)}/{name} holds one image: "
                "expected at least two"
            )
    if len(listed.classes) < 2:
        raise UsageError(
            f"{legible(listed.folder)} holds one class: expected at least two"
        )
