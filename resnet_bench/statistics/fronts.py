"""The choices that are worth their cost: nothing cheaper equals them."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

Point = TypeVar("Point")


def front(
    points: Iterable[Point],
    cost: Callable[[Point], float | None],
    level: Callable[[Point], float | None],
) -> list[Point]:
    """Return the points that none of the same or a lower cost equals, cheapest first.

    A point whose cost or level is unknown is left out; of points that agree in both,
    the first stands.
    """
    placed = [(cost(point), level(point), point) for point in points]
    known = [(c, v, point) for c, v, point in placed if c is not None and v is not None]
    kept, best = [], -math.inf
    for _, value, point in sorted(known, key=lambda each: (each[0], -each[1])):
        if value > best:
            best = value
            kept.append(point)
    return kept
