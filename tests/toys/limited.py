"""`fits` of `speed` where the kernel refuses more than so much address space."""

from __future__ import annotations

import resource
from pathlib import Path

from resnet_bench.experiments.speed.cells import SpeedCell
from resnet_bench.experiments.speed.measures import memory as measure

#: What a child may take beyond what it has when it starts.
LIMIT_BYTES = 256 * 2**20


def fits(cell: SpeedCell) -> bool:
    """Set the limit, then ask; what is left of the machine is no limit here."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return measure.fits(cell)
