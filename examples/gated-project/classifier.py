"""A user's own network, and how the gate measures it.

The gate builds a case by calling `subject(name)` in each of the two trees that it
compares. What comes back has `module`, `forward()` and `step()`; an accuracy case
has `evaluate(seed)`.
"""

import torch
from torch import Tensor, nn

SUBJECT_API = 1

CASES = ("small:forward", "small:step", "blobs:accuracy")

FEATURES = 16
CLASSES = 3


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return an output of the input's shape."""
        return torch.relu(images + self.body(images))


class Classifier(nn.Module):
    """A stem, three residual blocks, a linear layer."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(3)))
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits for images of shape (N, 3, H, W)."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


class Small:
    """The classifier in training, with inputs that never change."""

    def __init__(self) -> None:
        self.module = Classifier()
        self.images = torch.randn(8, 3, 32, 32)
        self.labels = torch.randint(CLASSES, (8,))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=0.1)

    def forward(self) -> Tensor:
        """Call the model alone."""
        return self.module(self.images)

    def step(self) -> None:
        """Take one training step."""
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.forward(), self.labels).backward()
        self.optimizer.step()


class Blobs:
    """Trains a linear classifier on three clouds of points."""

    def evaluate(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return predicted and right classes of the test points."""
        draw = torch.Generator().manual_seed(seed)
        centres = torch.randn(CLASSES, FEATURES, generator=draw)
        labels = torch.arange(600) % CLASSES
        points = centres[labels] + torch.randn(600, FEATURES, generator=draw)
        torch.manual_seed(seed)
        model = nn.Linear(FEATURES, CLASSES)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(50):
            optimizer.zero_grad()
            logits = model(points[:300])
            nn.functional.cross_entropy(logits, labels[:300]).backward()
            optimizer.step()
        return model(points[300:]).argmax(1), labels[300:]


def subject(case: str) -> Small | Blobs:
    """Return what a case measures."""
    return {"small": Small, "blobs": Blobs}[case]()
