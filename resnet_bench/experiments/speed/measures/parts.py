"""Times the parts of a network in turn with the whole, visit by visit."""

from collections.abc import Iterator

from resnet_bench.engine import devices
from resnet_bench.engine.models.resnets import seeded
from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.timing.breakdown import (
    CUTS,
    PartedStep,
    backward_phase,
    forward_phase,
    work_of_parts,
)
from resnet_bench.engine.timing.phases import SplitStep
from resnet_bench.engine.timing.sampling import Sampler
from resnet_bench.engine.timing.workload import make_workload
from resnet_bench.experiments.speed.cells import BREAKDOWNS, BreakdownSamples, SpeedCell
from resnet_bench.experiments.speed.measures.subject import (
    builder_of,
    device_of,
    setting_of,
)
from resnet_bench.records import Record

DETAILS = {measure: detail for detail, measure in BREAKDOWNS.items()}


def time_parts(cell: SpeedCell, ranks: Ranks) -> Iterator[Record]:
    """Build, cut into parts, warm up, then sample parts and whole per visit."""
    device = device_of(cell)
    devices.settle(device, threads=cell.threads, tf32=cell.tf32)
    model = seeded(builder_of(cell), cell.seed)
    workload = make_workload(model, setting_of(cell), trains=True, infers=False)
    training = workload.trained
    pieces = CUTS[DETAILS[cell.measure]](training.model, cell.name)
    work = work_of_parts(pieces, cell.image_size or 1)
    names = tuple(piece.name for piece in pieces)
    sampler = Sampler(
        units=[SplitStep(training), PartedStep(training, pieces)],
        clock=device.clock,
        max_seconds=cell.max_time_seconds,
        precision=cell.precision,
        decisive=("forward", "backward"),
        agree=ranks.slowest,
    )
    sampler.warm_up()
    while not sampler.finished:
        visit = sampler.visit()
        workload.rest()
        device.release()
        samples = {phase: tuple(values) for phase, values in visit.samples.items()}
        yield BreakdownSamples(
            round=sampler.rounds - 1,
            own_seconds=visit.seconds,
            parts=names,
            forward_seconds={name: samples[forward_phase(name)] for name in names},
            backward_seconds={name: samples[backward_phase(name)] for name in names},
            whole_forward_seconds=samples["forward"],
            whole_backward_seconds=samples["backward"],
            multiply_adds={name: work[name].multiply_adds for name in names},
            activations={name: work[name].activations for name in names},
        )
