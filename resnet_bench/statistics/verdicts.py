"""What measurements say of a claim."""

from enum import StrEnum


class Verdict(StrEnum):
    """Whether an interval supports a claim, contradicts it, or allows both."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
