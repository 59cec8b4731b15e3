"""LeNet-5 as the tutorial's counterpart: convolutions, pooling, flatten, linear."""

from torch import Tensor, nn


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998, Fig. 2) with ReLU and average pooling.

    Its first linear layer counts on 16 x 5 x 5 numbers per image, which is what a
    32 x 32 image leaves; any other size raises RuntimeError.
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, 32, 32)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
