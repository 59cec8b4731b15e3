"""The target of a transfer, prepared for the network that will see it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torchvision.transforms._presets import ImageClassification

from resnet_bench.catalogue import DATASETS
from resnet_bench.engine.data import DataRequest, ImageData, load_data
from resnet_bench.engine.data.loading import resized
from resnet_bench.engine.weights.files import torchvision_weights
from resnet_bench.errors import UsageError

#: Seed of the one permutation of pixels that the negative control uses.
PERMUTATION_SEED = 0

#: A variant with every version of ImageNet weights.
_HAVING_ALL = 50


@dataclass(frozen=True, kw_only=True)
class TargetRequest(DataRequest):
    """A target data set: how much of it, and what for.

    `imagenet` names the version of the weights whose own pre-processing is used, at
    `image_size` pixels (None: theirs); without it images are resized to `image_size`
    and normalised by their own statistics. `shots` training images of each
    class (None: all) nest for one `seed`.
    """

    channels: int | None = 3
    classes: int | None = None
    shots: int | None = None
    seed: int = 0
    permuted: bool = False
    imagenet: str = ""


def imagenet_preprocess(
    version: str, image_size: int | None = None
) -> ImageClassification:
    """Return torchvision's own transforms for the weights of this version.

    They are the same for all variants of a version. Another `image_size` keeps their
    ratio of resized to cropped side.
    """
    transforms: Callable[..., ImageClassification]
    transforms = torchvision_weights(_HAVING_ALL, version).transforms
    usual = transforms()
    if image_size is None:
        return usual
    ratio = usual.resize_size[0] / usual.crop_size[0]
    return transforms(crop_size=image_size, resize_size=round(ratio * image_size))


def load_target(request: TargetRequest) -> ImageData:
    """Return the target on the CPU, three channels, ready for a ResNet.

    Raises UsageError for whatever is wrong with the data set and for more classes than
    it has.
    """
    data = _load_permuted(request) if request.permuted else _load(request)
    if request.classes is not None:
        if request.classes > len(data.classes):
            accepted = f"2 to {len(data.classes)}, the classes of {request.name}"
            raise UsageError.for_option("--classes", request.classes, accepted)
        data = data.only_classes(tuple(range(request.classes)))
    if request.shots is not None:
        data = replace(data, train=data.train.shots(request.shots, request.seed))
    return data


def _load(request: TargetRequest) -> ImageData:
    return load_data(prepared(request))


def prepared(request: TargetRequest) -> TargetRequest:
    """Return the request with torchvision's own transforms, for ImageNet's weights."""
    if not request.imagenet:
        return request
    preprocess = imagenet_preprocess(request.imagenet, request.image_size)
    return replace(request, preprocess=preprocess)


def _load_permuted(request: TargetRequest) -> ImageData:
    """Permute the pixels as stored, where all images are stored at one size.

    Only then are they resized: a permutation of the enlarged pixels would destroy
    more than the arrangement of the image.
    """
    if request.imagenet or DATASETS[request.name].image_size is None:
        return _load(request).with_permuted_pixels(PERMUTATION_SEED)
    data = load_data(replace(request, image_size=None))
    data = data.with_permuted_pixels(PERMUTATION_SEED)
    return data if request.image_size is None else resized(data, request.image_size)
