"""How numbers are written for people: one formatter for tables, figures and words."""

import math
from collections.abc import Callable

from resnet_bench.statistics.intervals import Interval


def rounded(value: float) -> str:
    """Return a number with at least three significant digits, without exponent."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 9)}f}"


def rounded_short(value: float) -> str:
    """Return a number with about two significant digits."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def compact(value: float) -> str:
    """Return a number with three significant digits at most; extremes as powers."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e4 or 0 < size < 1e-3:
        digits, _, exponent = f"{value:.{1 if size > 1 else 0}e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    if size >= 100:
        return f"{value:.0f}"
    text = f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return "0" if float(text) == 0 else text.rstrip("0").rstrip(".")


def bracketed(interval: Interval, write: Callable[[float], str] = compact) -> str:
    """Return an estimate with its bounds, or say that it has none."""
    if not interval.bounded:
        return f"{write(interval.estimate)} (no bounds)"
    low, high = write(interval.low), write(interval.high)
    return f"{write(interval.estimate)} [{low}, {high}]"


def percent(share: float, digits: int = 0) -> str:
    """Return a share of 1 in percent: 0.035 with one digit is `3.5 %`."""
    return f"{100 * share:.{digits}f} %"


def gibibytes(count: float | None) -> str:
    """Return a number of bytes in GiB, as text."""
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"


def duration(seconds: float | None) -> str:
    """Return seconds in a person's units: `8 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
