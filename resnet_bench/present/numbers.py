"""How numbers are written for people: one formatter for tables, figures and words."""

import math


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
