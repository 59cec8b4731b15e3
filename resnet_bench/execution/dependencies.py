"""Cells that need other cells' results: which may start, which never will."""

from collections.abc import Collection, Mapping, Sequence

from resnet_bench.execution.events import Ended, Task


def ready(
    waiting: Sequence[Task], planned: Collection[str], ended: Mapping[str, str]
) -> list[Task]:
    """Return the tasks whose needs are met; a need outside the job was met before."""
    return [
        task
        for task in waiting
        if all(key in ended or key not in planned for key in task.cell.needs)
    ]


def failed_needs(task: Task, ended: Mapping[str, str]) -> list[str]:
    """Return the keys of the cells that the task needs and that failed."""
    return [key for key in task.cell.needs if ended.get(key) == "failed"]


def lost(task: Task, needs: Sequence[str]) -> Ended:
    """Return the end of a task that cannot start."""
    reason = f"needs cell {', '.join(needs)}, which failed"
    return Ended(task.cell.key, task.attempt, "failed", 0.0, reason)
