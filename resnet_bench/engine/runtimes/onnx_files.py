"""Exports a torch network to an ONNX file, which every other runtime reads."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_bench.errors import ResnetBenchError

INPUT, OUTPUT = "images", "logits"


def export(model: nn.Module, images: Tensor, path: Path) -> None:
    """Write the network in evaluation mode, for images of this shape alone.

    A fixed shape lets runtimes plan memory and choose kernels beforehand. Raises
    ResnetBenchError where torch cannot export it.
    """
    model.eval()
    with _only_errors("torch.onnx"), warnings.catch_warnings(), torch.no_grad():
        # The exporter warns of its own future, which says nothing of this file.
        warnings.simplefilter("ignore")
        try:
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
        except torch.onnx.OnnxExporterError as error:
            # Its own text is a page of advice; the cause says what was wrong.
            cause = error.__cause__ or error
            why = str(cause).strip().partition("\n")[0]
            raise ResnetBenchError(
                f"torch cannot export this network to ONNX: {type(cause).__name__}: "
                f"{why}"
            ) from error


@contextmanager
def _only_errors(logger: str | None) -> Iterator[None]:
    """Let a logger, or with None the root of all, say nothing but errors."""
    quiet = logging.getLogger(logger)
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        yield
    finally:
        quiet.setLevel(before)


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
    with _only_errors(None):
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
