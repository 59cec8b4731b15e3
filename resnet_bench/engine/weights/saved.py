"""Trained networks as files: the weights, and in the metadata what a loader needs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from resnet_bench.engine.models.design import STEMS, Stem
from resnet_bench.engine.weights.files import save_tensors


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a saved network's metadata tells.

    `transforms` says how an image becomes an input: `resize` (an int fits the shorter
    side, a pair both), `center_crop`, and the `mean` and `std` of its channels.
    """

    builder: str
    stem: str
    origin: str
    trained_on: str
    classes: tuple[str, ...]
    transforms: dict[str, Any]
    test_accuracy_percent: float

    @property
    def metadata(self) -> dict[str, str]:
        """The text that the file keeps: names as they are, the rest as JSON."""
        values = vars(self)
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }

    def usage(self, path: Path) -> list[str]:
        """Return the lines of Python that load the file and classify an image."""
        how = self.transforms
        resize, crop = how["resize"], how["center_crop"]
        mean, std = ([round(x, 4) for x in how[name]] for name in ("mean", "std"))
        return [
            "import PIL.Image, PIL.ImageOps, torch",
            f"from torchvision.models import {self.builder}",
            "from torchvision.transforms import v2",
            "from safetensors.torch import load_file",
            f"model = {self.builder}(num_classes={len(self.classes)})",
            *_changes(STEMS[self.stem]),
            f"model.load_state_dict(load_file({str(path)!r}))",
            f"fit = [v2.ToImage(), v2.Resize({resize}), v2.CenterCrop({crop})]",
            f"scale = [v2.ToDtype(torch.float32, True), v2.Normalize({mean}, {std})]",
            "prepare = v2.Compose([*fit, *scale])",
            f"classes = {list(self.classes)}",
            "photograph = PIL.ImageOps.exif_transpose(PIL.Image.open('IMAGE'))",
            "image = prepare(photograph.convert('RGB'))",
            "print(classes[model.eval()(image[None]).argmax()])",
        ]


def _changes(stem: Stem) -> list[str]:
    """Return the lines that give torchvision's network another stem."""
    if stem.name == "imagenet":
        return []
    size, padding = stem.kernel_size, stem.kernel_size // 2
    where = f"stride={stem.stride}, padding={padding}, bias=False"
    lines = [f"model.conv1 = torch.nn.Conv2d(3, 64, {size}, {where})"]
    return lines if stem.pool else [*lines, "model.maxpool = torch.nn.Identity()"]


def save_network(path: Path, network: nn.Module, saved: Saved) -> None:
    """Write a network's weights as safetensors; raises InputOutputError."""
    save_tensors(path, network.state_dict(), saved.metadata)
