"""What runs inside a child process: one call, or one cell's generator.

Messages to the parent are tuples: ("record", content), ("end",),
("failed", error, detail), ("value", result), ("error", exception).
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from resnet_bench.errors import ResnetBenchError
from resnet_bench.execution.base import describe_failure
from resnet_bench.execution.inline import record_content
from resnet_bench.records import Cell, Record

VISIT = "visit"


#: Which GPUs there are; Ray gives a worker that it uses again others than before.
GPUS = "CUDA_VISIBLE_DEVICES"


def _settle(lifeline: Connection, gpus: str | None) -> None:
    """Make the child end with its parent, see its GPUs, and keep stdout for results.

    The parent alone decides what Ctrl-C means. A thread that sleeps in a read
    costs nothing; when the parent is gone, however it died, the read ends. A fork
    server knows only the GPUs that its first child was to see.
    """
    set_variables({GPUS: gpus})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(sys.stderr.fileno() if _has_descriptor(sys.stderr) else 2, 1)

    def wait_for_the_end() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def set_variables(variables: Mapping[str, str | None]) -> None:
    """Set this process's variables; None stands for one that is not set."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def answer_call(
    pipe: Connection,
    lifeline: Connection,
    gpus: str | None,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Call a function and send its result, or the error meant for a person."""
    _settle(lifeline, gpus)
    try:
        result = function(*arguments)
    except ResnetBenchError as error:
        _tell(pipe, "error", type(error), str(error))
    except Exception as error:  # noqa: BLE001 - the parent reports it
        _tell(pipe, "failed", describe_failure(error), traceback.format_exc())
    else:
        _tell(pipe, "value", result)


def run_cell(
    pipe: Connection,
    lifeline: Connection,
    gpus: str | None,
    run: Callable[[Any, Any], Iterator[Record]],
    cell: Cell,
    wait: Callable[[Connection], None],
) -> None:
    """Run a cell's generator and send each record; `wait` precedes every step."""
    _settle(lifeline, gpus)
    try:
        from resnet_bench.engine.ranks import Ranks

        records: Iterator[Record] = run(cell, Ranks())
        while True:
            wait(pipe)
            record = next(records, None)
            if record is None:
                break
            _tell(pipe, "record", record_content(record))
    except Exception as error:  # noqa: BLE001 - a cell's failure is a result
        _tell(pipe, "failed", describe_failure(error), traceback.format_exc())
    else:
        _tell(pipe, "end")


def _tell(pipe: Connection, *message: Any) -> None:
    """Send a message; without a parent to hear it there is nothing left to do."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)


def at_once(pipe: Connection) -> None:
    """Go on without waiting: schedule `once`."""


def for_visit(pipe: Connection) -> None:
    """Sleep until the parent visits: schedule `rounds`."""
    try:
        pipe.recv()
    except EOFError:
        os._exit(1)
