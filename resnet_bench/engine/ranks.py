"""One training or measurement on several devices; alone, everything is a no-op."""

import datetime as dt
import os
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

Module = TypeVar("Module", bound=torch.nn.Module)

#: A rank that dies is noticed by its closed connection, at once; this only bounds
#: how long ranks may wait while rank 0 reads and writes files.
PATIENCE = dt.timedelta(hours=2)

#: Images that each rank must get of a batch for it to be shared.
FEWEST_IMAGES = 2


@dataclass(frozen=True)
class Ranks:
    """The process's place among the ranks of one job."""

    rank: int = 0
    world_size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is one rank only."""
        return self.world_size == 1

    @property
    def writes(self) -> bool:
        """Whether this rank writes files and prints: only rank 0 does."""
        return self.rank == 0

    def wrap(self, model: Module) -> Module:
        """Return the model with its gradients averaged over the ranks.

        On CUDA batch norm takes its statistics over the whole batch; elsewhere
        torch has no such batch norm, and each rank's come from its own images.
        """
        if self.alone or not any(p.requires_grad for p in model.parameters()):
            return model
        on_cuda = next(model.parameters()).is_cuda
        if on_cuda:
            convert = torch.nn.SyncBatchNorm.convert_sync_batchnorm
            model = convert(model)  # type: ignore[no-untyped-call]
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        return cast(Module, parallel)

    def shard(self, batch: Tensor) -> Tensor:
        """Return this rank's part of a batch; all of one too small to be shared.

        Batch norm learns nothing from a single image, and torch refuses it.
        """
        if len(batch) < FEWEST_IMAGES * self.world_size:
            return batch
        return batch[self.rank :: self.world_size]

    def weight(self, mine: int, batch: int) -> float:
        """Return the factor that makes the mean over ranks that over the batch.

        `mine` is how many of the `batch` images this rank has: parts differ when
        the batch does not divide evenly.
        """
        return 1.0 if mine == batch else mine * self.world_size / batch

    def total(self, value: float) -> float:
        """Return the sum of a number over the ranks."""
        return self._reduced(value, distributed.ReduceOp.SUM)

    def slowest(self, seconds: float) -> float:
        """Return the longest duration over the ranks, in seconds."""
        return self._reduced(seconds, distributed.ReduceOp.MAX)

    def mean_of(self, values: Tensor) -> Tensor:
        """Return the elementwise mean of a tensor over the ranks, on the CPU."""
        whole = values.detach().double().cpu()
        if not self.alone:
            distributed.all_reduce(whole)
        return (whole / self.world_size).to(values.dtype)

    def share(self, value: Any) -> Any:
        """Return what rank 0 gave, on every rank."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return what every rank gave, in the order of ranks."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.world_size
        distributed.all_gather_object(found, value)
        return found

    def _reduced(self, value: float, operation: Any) -> float:
        if self.alone:
            return value
        number = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(number, op=operation)
        return float(number.item())


ALONE = Ranks()


def join() -> Ranks:
    """Join the process group that torchrun describes in the environment.

    gloo carries what is on the CPU, NCCL what is on CUDA. Without such a
    description this process is alone.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return ALONE
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(0)
    distributed.init_process_group(backend, timeout=PATIENCE)
    return current()


def current() -> Ranks:
    """Return the place among the ranks that this process has joined; alone if none."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def leave() -> None:
    """Leave the process group, if this process is in one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
