"""The errors shown to users, and their exit codes."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of the process.

    When several apply, the first of INTERNAL, REGRESSION, INCOMPLETE,
    NOT_COMPARABLE wins.
    """

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REGRESSION = 3
    INCOMPLETE = 4
    NOT_COMPARABLE = 5
    INTERRUPTED = 130
    TERMINATED = 143


class ResnetBenchError(Exception):
    """An error with a one-line message that gives cause and remedy."""

    exit_code = ExitCode.INTERNAL


class ChildDiedError(ResnetBenchError):
    """A child process that was killed from outside, usually for lack of memory."""


class InputOutputError(ResnetBenchError):
    """A file or folder that cannot be read or written."""


class UsageError(ResnetBenchError):
    """Invalid usage, or a request that cannot be carried out."""

    exit_code = ExitCode.USAGE

    @classmethod
    def for_option(cls, option: str, value: object, accepted: str) -> "UsageError":
        """Name the option, the value it was given and what it accepts."""
        return cls(f"{option} {value}: expected {accepted}")


class NotComparableError(ResnetBenchError):
    """Two results that must not be compared."""

    exit_code = ExitCode.NOT_COMPARABLE


def worst(codes: list[ExitCode]) -> ExitCode:
    """Return the exit code that takes precedence; OK when there is none."""
    order = (
        ExitCode.INTERNAL,
        ExitCode.REGRESSION,
        ExitCode.INCOMPLETE,
        ExitCode.NOT_COMPARABLE,
    )
    return next((code for code in order if code in codes), ExitCode.OK)
