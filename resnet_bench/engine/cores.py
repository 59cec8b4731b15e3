"""How many CPU cores this process may use, found without importing torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def default_threads() -> int:
    """Return the thread count used when nobody asks for another one."""
    return usable_cores()


def usable_cores(root: Path = ROOT) -> int:
    """Return min(physical cores, CPU affinity, cgroup quota), at least 1.

    A limit that cannot be read does not count. A fractional quota is rounded
    down: a thread more than the quota is stopped by the scheduler in the middle
    of a measurement. `root` is where /proc and /sys are mounted.
    """
    limits = (physical_cores(), affinity_cores(), cgroup_quota(root), logical_cores())
    return max(1, int(min((limit for limit in limits if limit), default=1)))


def physical_cores() -> int | None:
    """Return the number of physical cores of the machine, None where unknown."""
    import psutil

    return psutil.cpu_count(logical=False)


def logical_cores() -> int | None:
    """Return the number of hardware threads of the machine, None where unknown."""
    return os.cpu_count()


def affinity_cores() -> int | None:
    """Return how many hardware threads this process may run on, None where unknown."""
    # Only Linux has it, and type checkers know that.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else None


def cgroup_quota(root: Path = ROOT) -> float | None:
    """Return the CPU quota in cores, the tightest of all levels, None without one.

    Reads cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us` over `cpu.cfs_period_us`).
    Inside a container the path in /proc/self/cgroup may be the host's and absent
    here; the levels that do exist are read, the mount point among them.
    """
    levels = cgroup_levels(root, "cpu")
    quotas = [quota for level in levels if (quota := _quota(level)) is not None]
    return min(quotas, default=None)


def cgroup_levels(root: Path, controller: str) -> Iterator[Path]:
    """Yield every folder that may limit this process, the innermost ones first.

    `controller` is `cpu` or `memory`; it names the folder of version 1.
    """
    for controllers, group in _own_groups(root):
        if not controllers:
            yield from _with_parents(root / "sys/fs/cgroup", group)
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from _with_parents(root / "sys/fs/cgroup" / mount, group)


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the controllers and the path of every cgroup this process is in."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", maxsplit=2)
        yield controllers, group.strip("/")


def _with_parents(mount: Path, group: str) -> Iterator[Path]:
    level = mount / group
    yield level
    while level != mount:
        level = level.parent
        yield level


def _quota(level: Path) -> float | None:
    both = (read_text(level / "cpu.max") or "").split()
    if not both:
        quota = read_text(level / "cpu.cfs_quota_us")
        period = read_text(level / "cpu.cfs_period_us")
        both = [quota, period] if quota and period else []
    if len(both) != 2 or both[0] in ("max", "-1"):
        return None
    return int(both[0]) / int(both[1])


def read_text(path: Path) -> str | None:
    """Return the stripped text of a small system file, None where it is not readable.

    An empty file is as good as none.
    """
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
