"""What a command is that is no experiment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resnet_bench.errors import ExitCode
from resnet_bench.output import Output


@dataclass(frozen=True)
class Reader:
    """A command's options, the function that does it, and two examples."""

    config: type[Any]
    function: Callable[[Any, Output], ExitCode]
    examples: tuple[str, str]
