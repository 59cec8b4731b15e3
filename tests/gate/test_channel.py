from pathlib import Path

import pytest

from resnet_bench.gate import channel
from resnet_bench.gate.channel import Launch, WorkerError, WorkerProcess

PROGRAM = """
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "die":
        print("out of memory", file=sys.stderr)
        sys.exit(9)
    if request["do"] == "vanish":
        os._exit(9)
    if request["do"] == "fail":
        print(json.dumps({"error": "ValueError: no"}), flush=True)
        continue
    print(json.dumps({"threads": os.environ["OMP_NUM_THREADS"], **request}), flush=True)
"""


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(channel, "WORKER", program)
    return Launch(tmp_path, "a:b", 3, 0)


def test_a_request_gets_its_reply(launch: Launch) -> None:
    with WorkerProcess(launch) as worker:
        assert worker.ask("leg", name="a") == {
            "do": "leg",
            "name": "a",
            "threads": "3",
        }


def test_an_error_of_the_subject_is_raised_here(launch: Launch) -> None:
    with WorkerProcess(launch) as worker, pytest.raises(WorkerError, match="no"):
        worker.ask("fail")


def test_a_dead_worker_is_told_by_its_last_words(launch: Launch) -> None:
    with WorkerProcess(launch) as worker:
        with pytest.raises(WorkerError, match="out of memory"):
            worker.ask("die")
        with pytest.raises(WorkerError, match="out of memory"):
            worker.ask("leg")


def test_a_worker_that_vanished_is_told_by_its_status(launch: Launch) -> None:
    with WorkerProcess(launch) as worker, pytest.raises(WorkerError, match="status 9"):
        worker.ask("vanish")
