"""What can be named on the command line, as rows of plain data."""

from dataclasses import dataclass

from resnet_bench.errors import UsageError


@dataclass(frozen=True)
class Variant:
    """A ResNet of torchvision.

    `blocks` counts the residual blocks of the four stages (He et al. 2015,
    arXiv 1512.03385, Table 1).
    """

    depth: int
    builder: str
    block: str
    blocks: tuple[int, int, int, int]

    @property
    def title(self) -> str:
        """The name that tables and figures print."""
        return f"ResNet-{self.depth}"


VARIANTS = {
    row.depth: row
    for row in (
        Variant(18, "resnet18", "basic", (2, 2, 2, 2)),
        Variant(34, "resnet34", "basic", (3, 4, 6, 3)),
        Variant(50, "resnet50", "bottleneck", (3, 4, 6, 3)),
        Variant(101, "resnet101", "bottleneck", (3, 4, 23, 3)),
        Variant(152, "resnet152", "bottleneck", (3, 8, 36, 3)),
    )
}


def parse_variants(text: str) -> tuple[int, ...]:
    """Read `18`, `resnet18`, `ResNet-18` or `all` as depths of VARIANTS.

    Raises UsageError for anything else.
    """
    name = text.strip().lower()
    if name == "all":
        return tuple(VARIANTS)
    digits = name.removeprefix("resnet").removeprefix("-").removeprefix("_")
    if digits.isdecimal() and int(digits) in VARIANTS:
        return (int(digits),)
    accepted = ", ".join(map(str, VARIANTS))
    raise UsageError(f"unknown variant {text!r}: expected {accepted} or all")


@dataclass(frozen=True)
class Runtime:
    """A runtime of networks: torch itself, or a library for inference.

    `dtypes` are the number formats it computes in here, `devices` where it runs;
    `packages` is what it imports.
    """

    name: str
    title: str
    dtypes: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    packages: tuple[str, ...] = ()


TORCH, INT8 = "torch", "int8"

#: The package that quantises networks for every runtime.
QUANTISER = "onnxruntime"

RUNTIMES = {
    row.name: row
    for row in (
        Runtime(
            TORCH, "torch", ("float32", "bfloat16", "float16"), devices=("cpu", "cuda")
        ),
        Runtime(
            "onnxruntime",
            "ONNX Runtime",
            ("float32", INT8),
            devices=("cpu", "cuda"),
            packages=("onnx", "onnxscript", "onnxruntime"),
        ),
        Runtime(
            "openvino",
            "OpenVINO",
            ("float32", "bfloat16", INT8),
            packages=("onnx", "onnxscript", "openvino"),
        ),
    )
}


@dataclass(frozen=True)
class Dataset:
    """A data set that can be named, with what its folder must hold.

    `channels` and `image_size` describe the images as stored (`None`: they vary),
    `train_images` counts those for training, for estimates of time; `expected` says
    what `--data-dir` must contain, `installed` is where a system's
    package puts it.
    """

    name: str
    title: str
    classes: int | None
    channels: int
    image_size: int | None
    train_images: int | None
    expected: str = ""
    installed: str = ""

    @property
    def built_in(self) -> bool:
        """Whether it comes with scikit-learn and needs no folder."""
        return not self.expected


#: The data set that is a person's own folder.
IMAGE_FOLDER = "imagefolder"

DATASETS = {
    row.name: row
    for row in (
        Dataset("digits", "digits (UCI test half)", 10, 1, 8, 1437),
        Dataset("digits-0-4", "digits 0-4", 5, 1, 8, 720),
        Dataset("digits-5-9", "digits 5-9", 5, 1, 8, 717),
        Dataset("photo-digits", "digits on photographs", 10, 3, 32, 16_000),
        Dataset("photo-digits-0-4", "digits 0-4 on photographs", 5, 3, 32, 8_000),
        Dataset("photo-digits-5-9", "digits 5-9 on photographs", 5, 3, 32, 8_000),
        Dataset("cifar10", "CIFAR-10", 10, 3, 32, 50_000, "cifar-10-batches-py/"),
        Dataset("cifar100", "CIFAR-100", 100, 3, 32, 50_000, "cifar-100-python/"),
        Dataset(
            "fashionmnist",
            "FashionMNIST",
            10,
            1,
            28,
            60_000,
            "FashionMNIST/raw/ or its four .gz files",
            "/usr/share/datasets/fashion-mnist",  # Debian's dataset-fashion-mnist
        ),
        Dataset("imagenette", "Imagenette", 10, 3, None, 9_469, "imagenette2/"),
        Dataset("flowers102", "Flowers102", 102, 3, None, 1_020, "flowers-102/"),
        Dataset(
            "oxfordiiitpet", "Oxford-IIIT Pet", 37, 3, None, 3_680, "oxford-iiit-pet/"
        ),
        Dataset(
            IMAGE_FOLDER,
            "image folder",
            None,
            3,
            None,
            None,
            "train/CLASS/*.png and test/CLASS/*.png",
        ),
    )
}


def dataset_title(name: str) -> str:
    """Return what a data set is called in titles; a name unknown here stays."""
    known = DATASETS.get(name)
    return known.title if known else name


def parse_dataset(text: str) -> str:
    """Read the name of a data set, indifferent to case and dashes.

    Raises UsageError for a name that DATASETS does not hold.
    """

    def plain(name: str) -> str:
        return name.lower().replace("-", "").replace("_", "")

    for name in DATASETS:
        if plain(name) == plain(text):
            return name
    accepted = ", ".join(DATASETS)
    raise UsageError(f"unknown data set {text!r}: expected {accepted}")
