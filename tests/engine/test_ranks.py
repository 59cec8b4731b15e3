"""Ranks: alone nothing changes; together the gradients are those of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bench.engine.ranks import Ranks, join, leave

REPOSITORY = Path(__file__).resolve().parents[2]


def test_alone_everything_stays_as_it_is() -> None:
    alone = Ranks()
    model = torch.nn.Linear(2, 2)
    batch = torch.arange(3)
    assert alone.writes
    assert alone.wrap(model) is model
    assert alone.shard(batch) is not None
    assert torch.equal(alone.shard(batch), batch)
    assert alone.weight(3, 3) == 1.0
    assert (alone.total(2.5), alone.slowest(2.5)) == (2.5, 2.5)
    assert torch.equal(alone.mean_of(torch.tensor([0.1])), torch.tensor([0.1]))
    assert alone.share("x") == "x"
    assert alone.gather("x") == ["x"]


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() == Ranks()
    leave()


def test_shards_of_a_batch_cover_it_without_overlap() -> None:
    batch = torch.arange(7)
    shards = [Ranks(rank, 3).shard(batch) for rank in range(3)]
    assert sorted(int(item) for shard in shards for item in shard) == list(range(7))


def test_a_batch_smaller_than_the_ranks_is_whole_on_each() -> None:
    batch = torch.arange(2)
    assert torch.equal(Ranks(2, 3).shard(batch), batch)
    assert Ranks(2, 3).weight(2, 2) == 1.0


def test_weighted_means_of_uneven_shards_are_the_mean_of_the_batch() -> None:
    batch = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    ranks = [Ranks(rank, 2) for rank in range(2)]
    weighted = [
        float(one.shard(batch).mean()) * one.weight(len(one.shard(batch)), len(batch))
        for one in ranks
    ]
    assert sum(weighted) / 2 == pytest.approx(float(batch.mean()))


PROGRAM = """
import json, sys
import torch
from torch import nn
from resnet_bench.engine.data.splits import Normalisation, Split
from resnet_bench.engine.ranks import join, leave
from resnet_bench.engine.training.trainer import schedule_for
from resnet_bench.engine.training.trainer import Trainer, TrainingPlan

ranks = join()
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
images = torch.randint(0, 256, (21, 1, 8, 8), dtype=torch.uint8)
split = Split(images, torch.arange(21) % 4)
plan = TrainingPlan(
    schedule=schedule_for("constant", 6, 0.1), batch_size=8, keep_last_batch=True,
    augmentation="crop",
)
normalisation = Normalisation((0.5,), (0.25,))
trainer = Trainer(model, split, normalisation, plan, ranks=ranks)
trainer.advance(1)
gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
trainer.train()
weights = torch.cat([p.detach().flatten() for p in model.parameters()])
if ranks.writes:
    curve = [(point.loss, point.error_percent) for point in trainer.curve]
    made = {"gradients": gradients.tolist(), "weights": weights.tolist()}
    made |= {"curve": curve, "slowest": ranks.slowest(1.0 + ranks.rank)}
    print("RESULT" + json.dumps(made))
else:
    ranks.slowest(1.0 + ranks.rank)
leave()
"""


def result_of(folder: Path, ranks: int) -> dict[str, Any]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program)]
    if ranks > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        command = [
            sys.executable,
            *launcher,
            "--nproc-per-node",
            str(ranks),
            str(program),
        ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    line = next(one for one in done.stdout.splitlines() if one.startswith("RESULT"))
    made: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    return made


@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_gradients_and_curve_of_two_ranks_equal_those_of_one_process(
    tmp_path: Path,
) -> None:
    alone, together = result_of(tmp_path, 1), result_of(tmp_path, 2)
    for name in ("gradients", "weights"):
        assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6)
    for mine, theirs in zip(alone["curve"], together["curve"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4)
    assert together["slowest"] == 2.0
