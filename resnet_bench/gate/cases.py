"""Cases by name: what of the subject is measured, and how."""

from dataclasses import dataclass

from resnet_bench.errors import UsageError

#: What can be done with the object that `subject(name)` returns.
METHODS = ("forward", "step", "exact", "accuracy")

ACCEPTED = " or ".join(f"NAME:{method}" for method in METHODS)

#: The frozen matrix product that runs along has this name.
RESERVED = "control"

#: The methods that are timed.
TIMED = ("forward", "step")


@dataclass(frozen=True, order=True)
class Case:
    """The name that the subject's function gets, and what is measured of it."""

    name: str
    method: str

    @property
    def text(self) -> str:
        """The case as it is written on the command line."""
        return f"{self.name}:{self.method}"

    @property
    def is_timed(self) -> bool:
        """Whether process pairs measure it."""
        return self.method in TIMED


def parse_case(text: str) -> Case:
    """Read `NAME:METHOD`; a name alone means its forward pass.

    Raises UsageError for an unknown method and for the name that is taken.
    """
    name, separator, method = text.strip().partition(":")
    method = method if separator else "forward"
    if not name or method not in METHODS:
        raise UsageError.for_option("--cases", text, ACCEPTED)
    if name == RESERVED:
        raise UsageError(f"--cases {text}: the name {RESERVED} is the gate's own")
    return Case(name, method)
