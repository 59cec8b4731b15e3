"""Image data resident on a device: what can be loaded by name, and how it is split."""

from resnet_bench.engine.data.loading import DataRequest, load_data
from resnet_bench.engine.data.splits import ImageData, Normalisation, Split

__all__ = ["DataRequest", "ImageData", "Normalisation", "Split", "load_data"]
