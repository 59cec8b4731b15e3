"""ONNX Runtime: the CPU provider, and CUDA's where that build is installed."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from resnet_bench.engine.runtimes.base import Loaded, Terms
from resnet_bench.engine.runtimes.onnx_files import INPUT, OUTPUT
from resnet_bench.errors import ResnetBenchError, UsageError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def check(terms: Terms) -> None:
    """Raise UsageError for a GPU that this build of ONNX Runtime cannot use."""
    if terms.device == "cuda" and terms.dtype != "float32":
        raise UsageError(
            f"--runtime onnxruntime: expected float32 with --device cuda, not "
            f"{terms.dtype}"
        )
    if terms.device == "cuda" and CUDA not in onnxruntime.get_available_providers():
        raise UsageError(
            "--runtime onnxruntime: expected a build with CUDA for --device cuda: pip "
            "uninstall onnxruntime, then pip install onnxruntime-gpu"
        )


def _session(path: Path, terms: Terms, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = terms.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.graph_optimization_level = level
    options.log_severity_level = 3  # errors
    # TF32 would make float32 another format (CUDA provider, `use_tf32`).
    own = {"device_id": terms.device_index or 0, "use_tf32": 0}
    session = onnxruntime.InferenceSession(
        path, options, [(provider, own if provider == CUDA else {})]
    )
    # Without the libraries that it needs the provider is left out in silence.
    if provider not in session.get_providers():
        raise ResnetBenchError(
            f"ONNX Runtime {onnxruntime.__version__}: its CUDA provider does not start "
            "(it needs the CUDA and cuDNN that it was built for)"
        )
    return session


def load(path: Path, terms: Terms) -> Loaded:
    """Open a session: all graph optimisations, one operator at a time.

    Raises ResnetBenchError where its CUDA provider does not start.
    """
    provider = CUDA if terms.device == "cuda" else CPU
    session = _session(path, terms, provider)
    told = {
        "provider": provider,
        "intra_op_num_threads": str(terms.threads),
        "inter_op_num_threads": "1",
        "graph_optimization_level": "all",
    }

    shape = session.get_outputs()[0].shape
    place = ("cuda", terms.device_index or 0, np.float32)

    def on_cpu(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    def on_cuda(images: Tensor) -> Tensor:
        """Bind the images where they are; the logits stay on the GPU, too."""
        logits = torch.empty(shape, device=images.device)
        binding = session.io_binding()
        for bind, name, tensor in (
            (binding.bind_input, INPUT, images.contiguous()),
            (binding.bind_output, OUTPUT, logits),
        ):
            bind(name, *place, tuple(tensor.shape), tensor.data_ptr())
        torch.cuda.current_stream().synchronize()
        session.run_with_iobinding(binding)
        return logits

    return Loaded(on_cuda if provider == CUDA else on_cpu, told)
