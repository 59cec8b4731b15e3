"""One seed, equal numbers: twice, and with cells beside each other."""

from pathlib import Path
from typing import Any

import pytest

from resnet_bench import cli
from resnet_bench.errors import ExitCode
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run

COMMAND = ["finetune", "--variants", "18", "--strategy", "scratch"]
COMMAND += ["--dataset", "digits-5-9", "--weights", "random"]
COMMAND += ["--seeds", "2", "--epochs", "1"]

#: What a clock, or the allocator, says of a training; all else follows from the seed.
NOT_OF_THE_SEED = ("seconds", "seconds_to_target", "bytes", "per_second")


def numbers(value: Any, name: str = "") -> Any:
    """Return a record, or a part of it, without what no seed decides."""
    if isinstance(value, dict):
        return {
            key: numbers(each, key)
            for key, each in value.items()
            if not key.endswith(NOT_OF_THE_SEED)
        }
    return [numbers(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_finetuning_gives_the_same_numbers_twice_and_side_by_side(
    tmp_path: Path,
) -> None:
    found = []
    for number, jobs in enumerate(("1", "1", "2")):
        results = tmp_path / str(number)
        assert cli.run([*COMMAND, "--jobs", jobs, "-o", str(results)]) == ExitCode.OK
        (folder,) = run_folders(results)
        records = read_run(folder).records
        order = sorted(map(repr, map(numbers, records)))
        found.append(order)
    assert sum("test_accuracy_percent" in record for record in found[0]) >= 2
    assert found[0] == found[1]
    assert found[0] == found[2]
