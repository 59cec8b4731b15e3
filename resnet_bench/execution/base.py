"""What a failed cell says, in one line."""

import signal

from resnet_bench.errors import ResnetBenchError, UsageError


def describe_failure(error: BaseException) -> str:
    """Return one line: our own message as it is, others with their type."""
    text = " ".join(str(error).split())
    if isinstance(error, ResnetBenchError):
        return text
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def describe_exit(code: int | None) -> str:
    """Say how a child ended that reported nothing itself."""
    if code is None:
        return "the child closed its pipe without a word"
    if code >= 0:
        return f"the child left with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (out of memory is the usual cause)" if -code == signal.SIGKILL else ""
    return f"the child was ended by {name}{hint}"


def describe_loss(error: Exception) -> str:
    """Say why Ray gave a task up; `error` has a `cause` if its code raised it.

    Raises a UsageError that was the cause: no other node would do better.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, UsageError):
        raise cause
    if isinstance(cause, Exception):
        return f"its Ray task failed ({describe_failure(cause)})"
    return f"its Ray worker or node died ({type(error).__name__})"
