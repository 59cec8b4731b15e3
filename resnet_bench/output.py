"""What every command shares: where text goes, how much of it, in which colour."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from resnet_bench.errors import InputOutputError
from resnet_bench.options import option

if TYPE_CHECKING:
    from rich.console import Console

#: The file name that means standard output.
STDOUT = Path("-")

COLORS = ("auto", "always", "never")


@dataclass(frozen=True, kw_only=True)
class DisplayOptions:
    """How much is said, and in which colour."""

    quiet: bool = option(False, flags=("-q",), help="Say nothing but the result.")
    verbose: int = option(
        0,
        flags=("-v",),
        count=True,
        help="Say more; -vv adds the traceback of an error.",
    )
    color: str = option(
        "auto", choices=COLORS, help="Colours: auto asks the terminal and NO_COLOR."
    )


@dataclass(frozen=True)
class Output:
    """Results go to stdout; progress, warnings and file names to stderr."""

    display: DisplayOptions

    def console(self, stream: TextIO | None = None) -> "Console":
        """Return a rich console on stdout, or on the stream given."""
        from rich.console import Console

        return Console(
            file=stream or sys.stdout,
            force_terminal=self._forced(),
            no_color=self.display.color == "never" or None,
            highlight=False,
            soft_wrap=True,
        )

    def _forced(self) -> bool | None:
        if self.display.color == "always":
            return True
        if os.environ.get("TERM") == "dumb":
            return False
        return None

    @property
    def interactive(self) -> bool:
        """Whether stderr can show a line that changes."""
        dumb = os.environ.get("TERM", "dumb") == "dumb"
        return sys.stderr.isatty() and not dumb and not self.display.quiet

    def write(self, text: str) -> None:
        """Write a result to stdout, as it is."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def check_export(self, path: Path) -> None:
        """Try a file out before the work that fills it; raises InputOutputError.

        What is there stays as it is; a pipe is left alone, since its reader would
        take the closing for the end.
        """
        there = path.exists()
        if path == STDOUT or (there and not (path.is_file() or path.is_dir())):
            return
        try:
            path.open("a").close()
            if not there:
                path.unlink()
        except OSError as error:
            raise InputOutputError(f"cannot write {path}: {error.strerror}") from error

    def export(self, path: Path, text: str) -> None:
        """Write a result to a file, or to stdout for `-`; raises InputOutputError."""
        if path == STDOUT:
            self.write(text)
            return
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputOutputError(f"cannot write {path}: {error.strerror}") from error
        self.say(f"wrote {path}")

    def say(self, text: str) -> None:
        """Write a line about what is going on to stderr, unless quiet."""
        if not self.display.quiet:
            _to_stderr(text)

    def warn(self, text: str) -> None:
        """Write a warning to stderr, quiet or not."""
        _to_stderr(f"warning: {text}")


def _to_stderr(text: str) -> None:
    """Write a line; a terminal that has gone does not end a measurement."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
