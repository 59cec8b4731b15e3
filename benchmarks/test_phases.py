"""Forward, backward and whole training steps of three variants."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks.clock import synchronised
from benchmarks.conftest import MakeTraining
from resnet_bench.engine.timing.phases import Inference, WholeStep

pytestmark = pytest.mark.benchmark(timer=synchronised, disable_gc=True)

DEPTHS = (18, 34, 50)
ROUNDS = 10
WARM_UP = 3


@pytest.mark.parametrize("depth", DEPTHS)
def test_forward(
    benchmark: BenchmarkFixture, make_training: MakeTraining, depth: int
) -> None:
    training = make_training(depth)
    benchmark.pedantic(training.forward, rounds=ROUNDS, warmup_rounds=WARM_UP)


@pytest.mark.parametrize("depth", DEPTHS)
def test_inference(
    benchmark: BenchmarkFixture, make_training: MakeTraining, depth: int
) -> None:
    training = make_training(depth)
    inference = Inference(training.model, training.batch, training.setting)
    benchmark.pedantic(inference.work, rounds=ROUNDS, warmup_rounds=WARM_UP)


@pytest.mark.parametrize("depth", DEPTHS)
def test_backward(
    benchmark: BenchmarkFixture, make_training: MakeTraining, depth: int
) -> None:
    training = make_training(depth)

    def fresh_graph() -> tuple[tuple[Tensor], dict[str, object]]:
        training.forget()
        return (training.loss(training.forward()),), {}

    benchmark.pedantic(
        training.backward, setup=fresh_graph, rounds=ROUNDS, warmup_rounds=WARM_UP
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_step(
    benchmark: BenchmarkFixture, make_training: MakeTraining, depth: int
) -> None:
    step = WholeStep(make_training(depth))
    benchmark.pedantic(step.work, rounds=ROUNDS, warmup_rounds=WARM_UP)
