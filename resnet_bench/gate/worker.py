"""One measuring process: run by path, it imports the subject of any tree.

Usage: `python -P worker.py SOCKET TREE MODULE:FUNCTION THREADS SEED`. Requests and
replies are JSON objects, one a line, on the inherited socket of that number; the
process ends when it closes. Nothing of this package is imported here, so that an older
revision is measured by the newer driver.
"""

import gc
import hashlib
import importlib
import json
import os
import platform
import re
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: What the driver asks for to time the frozen matrix product.
CONTROL = "control"

#: Calls before the first leg of a case: at least this many, for at least this long.
WARM_UP_CALLS = 3
WARM_UP_SECONDS = 0.1

#: The frozen job: a float32 matrix product small enough for the second-level cache.
CONTROL_SIZE = 192

#: A leg in which the process was stopped is taken again, so often at most.
DROPPED_AT_MOST = 3


#: The folders of installed packages, by the name of one of them.
INSTALLED = frozenset({"site-packages", "dist-packages"})

#: Where PyTorch's description of its build names what it computes with.
BUILD = {
    "BLAS": r"BLAS_INFO=(\w+)",
    "MKL": r"Math Kernel Library Version (\S+?)(?:-Product)?\s",
    "oneDNN": r"MKL-DNN v(\S+)",
    "OpenMP": r"OpenMP (\d+)",
}

PROGRAM = frozenset({"__main__", "__mp_main__"})

#: What PyTorch itself imports as late as in the first optimizer, in over a second.
LATE = frozenset({"torch._dynamo"})


class Worker:
    """The subject of one tree, and the object of the case last asked for."""

    def __init__(self, tree: Path, subject: str, seed: int) -> None:
        self.tree = tree
        self.subject = subject
        self.seed = seed
        self.name = ""
        self.object: Any = None
        self.stops = 0

    def count_stop(self, *_: object) -> None:
        """Note that this process was stopped (SIGSTOP, Ctrl-Z) and goes on."""
        self.stops += 1

    def open(self, other: str | None = None) -> dict[str, Any]:
        """Import the subject's module and return what it offers.

        `borrowed` names a module that came from the `other` tree.
        """
        name, _, function = self.subject.partition(":")
        module = importlib.import_module(name)
        self.build = getattr(module, function)
        cases = getattr(module, "CASES", ())
        return {
            "api": getattr(module, "SUBJECT_API", None),
            "inside": _is_inside(self.tree, getattr(module, "__file__", None)),
            "borrowed": other and self.borrowed_from(Path(other)),
            # One case in brackets is a string to Python, and meant as a tuple.
            "cases": [cases] if isinstance(cases, str) else [str(c) for c in cases],
        }

    def borrowed_from(self, other: Path) -> str | None:
        """Return a module that lies in another tree and not in this one."""
        files = module_files(installed=False).items()
        strange = (row for row in files if not _is_inside(self.tree, row[1]))
        return next((name for name, file in strange if _is_inside(other, file)), None)

    def libraries(self) -> dict[str, Any]:
        """Name the installed packages that are loaded by now."""
        names = module_files(installed=True)
        packages = dict.fromkeys(name.partition(".")[0] for name in names)
        return {"libraries": [*packages, *LATE.intersection(names)]}

    def versions(self) -> dict[str, str | None]:
        """Return the versions of Python, PyTorch and what it computes with."""
        build = torch.__config__.show()
        found = {name: re.search(form, build) for name, form in BUILD.items()}
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return {
            "Python": platform.python_version(),
            "PyTorch": str(torch.__version__),
            "CUDA": torch.version.cuda,
            "HIP": torch.version.hip,
            "cuDNN": None if cudnn is None else str(cudnn),
            **{name: row and row[1] for name, row in found.items()},
        }

    def load(self, name: str) -> Any:
        """Return the case's object, built from the seed; it lives until the next."""
        if name != self.name:
            self.object = None
            torch.manual_seed(self.seed)
            self.object = ControlJob() if name == CONTROL else self.build(name)
            self.name = name
        return self.object

    def prepare(self, name: str, method: str) -> dict[str, Any]:
        """Build the case and call it until it is warm; reply with its pace."""
        call = getattr(self.load(name), method)
        synchronize = synchronizer(self.object)
        began = time.perf_counter()
        seconds: list[float] = []
        while (
            len(seconds) < WARM_UP_CALLS
            or time.perf_counter() - began < WARM_UP_SECONDS
        ):
            seconds += timed_calls(call, synchronize, 1)
        if name != CONTROL:
            gc.collect()
            gc.freeze()
        return {"seconds": statistics.median(seconds[1:])}

    def leg(self, name: str, method: str, loops: int) -> dict[str, Any]:
        """Time `loops` calls after one that does not count; reply with the median.

        `stopped` counts the tries in which the process was stopped.
        """
        call = getattr(self.load(name), method)
        synchronize = synchronizer(self.object)
        stopped = 0
        gc.disable()
        try:
            while True:
                before = self.stops
                seconds = timed_calls(call, synchronize, loops + 1)
                stopped += self.stops != before
                if self.stops == before or stopped > DROPPED_AT_MOST:
                    break
        finally:
            gc.enable()
        return {"seconds": statistics.median(seconds[1:]), "stopped": stopped}

    def exact(self, name: str) -> dict[str, Any]:
        """Count parameters and operations of a fresh object of the case."""
        # Imported late: it takes longer to load than a leg takes to run.
        from torch.utils.flop_counter import FlopCounterMode

        self.name = ""
        subject = self.load(name)
        output = subject.forward()
        checksum = checksum_of(output)
        with FlopCounterMode(display=False) as flops:
            subject.forward()
        with OperationCounter() as forward:
            output = subject.forward()
        with OperationCounter() as backward:
            backpropagate(output)
        return {
            "parameters": sum(p.numel() for p in subject.module.parameters()),
            "flops": flops.get_total_flops(),
            "forward_operations": forward.operations,
            "backward_operations": backward.operations,
            "state_dict_keys": _hash(sorted(subject.module.state_dict())),
            "output_checksum": checksum,
        }

    def evaluate(self, name: str, seed: int) -> dict[str, Any]:
        """Train and test with one seed; reply with accuracy and a fingerprint."""
        self.name = ""
        predictions, targets = self.load(name).evaluate(seed)
        predicted, wanted = _integers(predictions), _integers(targets)
        right = sum(a == b for a, b in zip(predicted, wanted, strict=True))
        return {
            "accuracy": right / len(wanted),
            "fingerprint": _hash(map(str, predicted)),
        }


class ControlJob:
    """The same arithmetic on both sides, whatever their code."""

    def __init__(self) -> None:
        self.left = torch.randn(CONTROL_SIZE, CONTROL_SIZE)
        self.right = torch.randn(CONTROL_SIZE, CONTROL_SIZE)
        self.module = torch.nn.Identity()

    def forward(self) -> torch.Tensor:
        """Multiply the two matrices."""
        return self.left @ self.right


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the ATen operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


def synchronizer(subject: Any) -> Callable[[], None]:
    """Return what waits for the subject's device; nothing on a CPU."""
    parameter = next(iter(subject.module.parameters()), None)
    if parameter is None or parameter.device.type == "cpu":
        return lambda: None
    device = parameter.device
    return lambda: torch.accelerator.synchronize(device)


def timed_calls(
    call: Callable[[], object], synchronize: Callable[[], None], count: int
) -> list[float]:
    """Return the seconds that each of `count` calls takes."""
    seconds = []
    synchronize()
    for _ in range(count):
        began = time.perf_counter()
        call()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds


def tensors_of(output: Any) -> list[torch.Tensor]:
    """Return the tensors in a tensor, sequence or mapping, in order.

    A model may return None or a number beside them.
    """
    if isinstance(output, torch.Tensor):
        return [output]
    if output is None or isinstance(output, (int, float, str)):
        return []
    items = output.values() if isinstance(output, dict) else output
    return [tensor for item in items for tensor in tensors_of(item)]


def checksum_of(output: Any) -> str:
    """Return a hash of the shapes, types and bits of an output."""
    digest = hashlib.sha256()
    for tensor in tensors_of(output):
        values = tensor.detach().to("cpu").contiguous()
        digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def backpropagate(output: Any) -> None:
    """Run the backward pass of the sum of everything that has a gradient."""
    roots = [tensor for tensor in tensors_of(output) if tensor.requires_grad]
    torch.autograd.backward(roots, [torch.ones_like(root) for root in roots])


def module_files(*, installed: bool) -> dict[str, str]:
    """Return the file of every imported module, installed or not, by name."""
    modules = [row for row in sys.modules.items() if row[0] not in PROGRAM]
    files = {name: getattr(module, "__file__", None) for name, module in modules}
    return {
        name: file
        for name, file in files.items()
        if isinstance(file, str)
        and installed is not INSTALLED.isdisjoint(Path(file).parts)
    }


def _is_inside(tree: Path, file: str | None) -> bool:
    return file is not None and Path(file).resolve().is_relative_to(tree)


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _integers(values: Any) -> list[int]:
    listed = values.tolist() if hasattr(values, "tolist") else values
    return [int(value) for value in listed]


def serve(worker: Worker, requests: Iterable[str], replies: TextIO) -> None:
    """Answer requests `{"do": name, …}` until they end."""
    for line in requests:
        request = json.loads(line)
        reply = getattr(worker, request.pop("do"))(**request)
        print(json.dumps(reply), file=replies, flush=True)


def report_error(replies: TextIO) -> Callable[..., None]:
    """Return an exception hook that tells the driver before the traceback."""

    def tell(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        text = f"{kind.__name__}: {error}".splitlines()[0]
        print(json.dumps({"error": text}), file=replies, flush=True)
        sys.__excepthook__(kind, error, trace)

    return tell


def main(number: str, tree: str, subject: str, threads: str, seed: str) -> None:
    """Serve the subject of one tree until the socket of that number closes."""
    # The driver alone decides what a terminal's signals mean, and closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = socket.socket(fileno=int(number))
    requests = end.makefile("r", encoding="utf-8")
    replies = end.makefile("w", encoding="utf-8")
    sys.excepthook = report_error(replies)
    os.chdir(tree)
    sys.path.insert(0, tree)
    torch.set_num_threads(int(threads))
    torch.set_num_interop_threads(1)
    # Denormal numbers are up to a hundred times slower and depend on the data.
    torch.set_flush_denormal(True)
    worker = Worker(Path(tree).resolve(), subject, int(seed))
    signal.signal(signal.SIGCONT, worker.count_stop)
    serve(worker, requests, replies)


if __name__ == "__main__":
    main(*sys.argv[1:])
