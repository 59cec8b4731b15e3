"""The depth study on a Ray cluster: a node or the command itself is killed half way."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import RUN_FILE, Run, read_run
from tests.faults.programs import members, wait_for

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]

STUDY = ["--study", "depth", "--depths", "8,14,20", "--seeds", "2", "--epochs", "6"]

#: Fields that tell of the run and not of the training.
OF_THE_RUN = frozenset({"attempt", "seconds", "step_seconds", "seq", "crc32"})


def command(results: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "resnet_bench", "degradation"]
    return [*program, *more, "-q", "--json", "-o", str(results)]


def finished(results: Path) -> Run:
    (folder,) = run_folders(results)
    run = read_run(folder)
    assert run.status == "complete"
    assert not run.missing
    assert not run.failed
    return run


def lines(results: Path, kind: str) -> list[dict[str, Any]]:
    """Return the lines of a kind that are in the only run file so far."""
    for folder in run_folders(results):
        text = (folder / RUN_FILE).read_text()
        whole = [line for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return [row for line in whole if (row := json.loads(line))["kind"] == kind]
    return []


def trained(run: Run) -> list[str]:
    """Return everything that was recorded but for times, in an order of its own."""
    return sorted(
        json.dumps(
            {k: v for k, v in row.items() if k not in OF_THE_RUN}, sort_keys=True
        )
        for row in run.records
    )


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    results = tmp_path_factory.mktemp("inline")
    subprocess.run(
        command(results, *STUDY, "--executor", "inline"),
        check=True,
        capture_output=True,
    )
    return trained(finished(results))


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    yield made
    made.shutdown()


def on(cluster: Any) -> list[str]:
    return ["--executor", "ray", "--ray-address", cluster.address]


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def cells_on(node: Any) -> set[psutil.Process]:
    """Return the children that run cells: workers' fork servers' children."""
    raylet = node.all_processes["raylet"][0].process
    workers = psutil.Process(raylet.pid).children()
    try:
        servers = [server for worker in workers for server in worker.children()]
        return {child for server in servers for child in server.children()}
    except psutil.NoSuchProcess:
        return set()


def hold_the_next_cell_on(node: Any) -> None:
    """Stop a cell that has just begun, so that the node dies with one under way."""
    before = cells_on(node)
    wait_for(lambda: cells_on(node) - before)
    for cell in cells_on(node) - before:
        cell.suspend()


def wait_until_half_is_done(
    study: subprocess.Popen[bytes], results: Path, cells: int = 4
) -> None:
    def is_half_done() -> bool:
        ended = study.poll() is not None
        return ended or len(lines(results, "cell")) >= cells

    wait_for(is_half_done, seconds=120)
    assert study.poll() is None, (study.stderr and study.stderr.read()) or "too early"


def test_the_depth_study_survives_a_node_killed_half_way(
    cluster: Any, inline: list[str], tmp_path: Path
) -> None:
    doomed = cluster.add_node(num_cpus=1)
    study = started(command(tmp_path, *STUDY, *on(cluster)))
    wait_until_half_is_done(study, tmp_path)
    hold_the_next_cell_on(doomed)
    cluster.remove_node(doomed, allow_graceful=False)
    _, complaints = study.communicate(timeout=200)
    assert study.returncode == 0, complaints.decode()
    run = finished(tmp_path)
    assert trained(run) == inline
    failed = [end for end in lines(tmp_path, "cell") if end["status"] == "failed"]
    assert ["node died" in end["error"] for end in failed] == [True]
    again = run.cells[failed[0]["cell"]]
    assert (again.status, run.attempts[failed[0]["cell"]]) == ("ok", 2)
    nodes = run.header["nodes"]
    assert len(nodes) == 2
    assert {end.node for end in run.cells.values()} == set(nodes)


def test_the_depth_study_is_resumed_on_ray_after_its_command_was_killed(
    cluster: Any, inline: list[str], tmp_path: Path
) -> None:
    doomed = cluster.add_node(num_cpus=1)
    study = started(command(tmp_path, *STUDY, *on(cluster)))
    wait_until_half_is_done(study, tmp_path)
    study.send_signal(signal.SIGKILL)
    study.communicate()
    wait_for(lambda: not members(study.pid), seconds=15)
    before = len(lines(tmp_path, "cell"))
    assert not lines(tmp_path, "end")
    resumed = started(command(tmp_path, "--resume", *on(cluster)))
    wait_until_half_is_done(resumed, tmp_path, before + 1)
    cluster.remove_node(doomed, allow_graceful=False)
    _, complaints = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, complaints.decode()
    run = finished(tmp_path)
    assert trained(run) == inline
    assert len(lines(tmp_path, "resume")) == 1
    assert len(lines(tmp_path, "resume")[0]["nodes"]) == 2
