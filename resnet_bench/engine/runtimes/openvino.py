"""OpenVINO on the CPU."""

from pathlib import Path

import openvino
import torch
from torch import Tensor

from resnet_bench.engine.runtimes.base import Loaded, Terms
from resnet_bench.errors import UsageError

#: OpenVINO's names of number formats. Without a hint it takes bfloat16 wherever the
#: CPU has it, for a network in float32, too.
#: What int8 leaves over is computed in float32.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}

#: What the CPU must say that it can do (`OPTIMIZATION_CAPABILITIES`).
CAPABILITIES = {"bfloat16": "BF16"}


def check(terms: Terms) -> None:
    """Raise UsageError for a number format that this CPU has no instructions for."""
    needed = CAPABILITIES.get(terms.dtype)
    if needed is None:
        return
    known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if needed not in known:
        raise UsageError(
            f"--runtime openvino: {terms.dtype} needs a CPU with {needed}; this one "
            f"has {', '.join(sorted(known))}"
        )


def load(path: Path, terms: Terms) -> Loaded:
    """Compile for the latency of one call at a time."""
    told = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(terms.threads),
        "INFERENCE_PRECISION_HINT": PRECISIONS[terms.dtype],
    }
    compiled = openvino.Core().compile_model(path, "CPU", told)
    request = compiled.create_infer_request()

    def call(images: Tensor) -> Tensor:
        """Read the images where they are, and copy the logits out."""
        found = request.infer([images.numpy()], share_inputs=True)
        return torch.from_numpy(found[0])

    return Loaded(call, told)
