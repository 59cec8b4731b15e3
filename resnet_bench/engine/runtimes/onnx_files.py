"""Exports a torch network to an ONNX file, which every other runtime reads."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "images", "logits"


def export(model: nn.Module, images: Tensor, path: Path) -> None:
    """Write the network in evaluation mode, for images of this shape alone.

    A fixed shape lets runtimes plan memory and choose kernels beforehand.
    """
    model.eval()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter warns of its own future, which says nothing of this file.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (images,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )


def quantise(path: Path, batches: Sequence[Tensor]) -> None:
    """Replace the file by one in int8: weights by output channel, activations static.

    Scales are those of the least and greatest value that activations take on the
    batches, all of the shape that was exported; batch norms become part of the
    convolutions before.
    """
    from onnxruntime import quantization as onnx

    readers = [{INPUT: batch.numpy()} for batch in batches]
    prepared = path.with_name("prepared.onnx")
    # It advises on the console what has been done here.
    logging.getLogger().setLevel(logging.ERROR)
    onnx.shape_inference.quant_pre_process(path, prepared, skip_symbolic_shape=True)
    onnx.quantize_static(
        prepared,
        path,
        _Reader(readers),
        quant_format=onnx.QuantFormat.QDQ,
        per_channel=True,
        activation_type=onnx.QuantType.QUInt8,
        weight_type=onnx.QuantType.QInt8,
    )


class _Reader:
    """Gives out one batch after the other, as the quantiser asks for them."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the name of the input; None after the last."""
        return next(self.batches, None)
