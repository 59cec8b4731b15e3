"""Learning rate as a pure function of the step, one row per recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Share of the steps in which the one-cycle rate climbs (Smith and Topin 2018 let it
#: climb longer; 30 % is torch's OneCycleLR).
ONE_CYCLE_WARM_UP = 0.3

#: Share of the steps in which the cosine rate climbs.
COSINE_WARM_UP = 0.05

#: 32k and 48k of 64k iterations (He et al. 2015, section 4.2).
PAPER_DROPS = (0.5, 0.75)

#: Deep networks start at a tenth of the rate until the training error is below 80 %
#: (He et al. 2015, section 4.2, for 110 layers; about 400 iterations there).
PAPER_WARM_UP_DEPTH = 110
PAPER_WARM_UP_FACTOR = 0.1
PAPER_WARM_UP_ERROR_PERCENT = 80.0

#: The latest end of that warm-up, as a share of the steps: a network that never gets
#: below 80 % must not stay in its warm-up for ever.
PAPER_WARM_UP_LIMIT = 1 / 16


def one_cycle(progress: float) -> float:
    """Climb from 1/25 of the peak, then fall along a cosine to nearly nothing."""
    if progress < ONE_CYCLE_WARM_UP:
        return _between(0.04, 1.0, progress / ONE_CYCLE_WARM_UP)
    rest = (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP)
    return _between(1.0, 4e-6, rest)


def cosine(progress: float) -> float:
    """Climb in a straight line for 5 % of the steps, then fall along a cosine."""
    if progress < COSINE_WARM_UP:
        return max(progress / COSINE_WARM_UP, 0.01)
    return _between(1.0, 0.0, (progress - COSINE_WARM_UP) / (1 - COSINE_WARM_UP))


def paper(progress: float) -> float:
    """Divide by 10 at a half and at three quarters of the steps."""
    return 0.1 ** sum(progress >= drop for drop in PAPER_DROPS)


def constant(progress: float) -> float:
    """Keep the peak."""
    return 1.0


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine wave from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


#: Rate over its peak as a function of progress (0 at the first step, below 1).
SHAPES: dict[str, Callable[[float], float]] = {
    "one-cycle": one_cycle,
    "cosine": cosine,
    "paper": paper,
    "constant": constant,
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recipe's learning rate over `steps` steps with peak `peak`.

    `waits` puts the paper's warm-up for deep networks in front: a tenth of the rate
    until the training error falls below 80 %, for a sixteenth of the steps at most.
    """

    shape: str
    steps: int
    peak: float
    waits: bool = False

    def rate(self, step: int, warm: bool = True) -> float:
        """Return the rate of a step, from 0; `warm`: the warm-up has ended."""
        rate = self.peak * SHAPES[self.shape](step / self.steps)
        if self.waits and not warm and step < self.latest_warm_up_end:
            return rate * PAPER_WARM_UP_FACTOR
        return rate

    @property
    def latest_warm_up_end(self) -> int:
        """The step at which a waiting warm-up ends in any case."""
        return max(1, round(self.steps * PAPER_WARM_UP_LIMIT)) if self.waits else 0


def schedule_for(recipe: str, steps: int, peak: float, depth: int = 0) -> Schedule:
    """Return the schedule of a recipe; `depth` decides about the paper's warm-up."""
    waits = recipe == "paper" and depth >= PAPER_WARM_UP_DEPTH
    return Schedule(shape=recipe, steps=steps, peak=peak, waits=waits)
