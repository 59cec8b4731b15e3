"""Cells on a Ray cluster: the same records, and nodes that die in the middle."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")

from resnet_bench import cli
from resnet_bench.commands.run import RunRequest
from resnet_bench.errors import ExitCode, UsageError
from resnet_bench.execution.base import Ended, Job, Place, Recorded, Started, Task
from resnet_bench.execution.choice import make_executor
from resnet_bench.execution.inline import InlineExecutor
from resnet_bench.execution.processes import ProcessExecutor
from resnet_bench.execution.ray import VARIABLES, knock, located, source_digest
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.records import Cell
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import read_run
from tests.toys.toy import TIMED_TOY, TOY
from tests.toys.toy.spec import Config, ToyCell


@pytest.mark.parametrize(
    "arguments", [["--jobs", "2"], ["--gpus-per-cell", "0.5"], ["--jobs", "3"]]
)
def test_timed_cells_refuse_to_share_a_device(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "toy", TIMED_TOY)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["toy", *arguments]) == ExitCode.USAGE
    assert "times one cell at a time" in capsys.readouterr().err


def test_resources_below_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="--cpus-per-cell -1"):
        RunRequest(cpus_per_cell=-1.0)


def test_the_digest_of_the_source_changes_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = source_digest(tmp_path)
    source_digest.cache_clear()
    (tmp_path / "a.py").write_text("2")
    assert source_digest(tmp_path) != first


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Listen on a free port and give everybody the same answer; yields the address."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                guest, _ = door.accept()
                guest.recv(100)
                guest.sendall(answer)
                guest.close()

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_without_an_address_no_cluster_is_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert located(None, str) == "local"
    assert located("auto", str) == "head:6379"
    assert located("other:1", str) == "other:1"


def test_a_cluster_that_left_only_its_name_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(OSError, match="refused"):
        knock(located("auto", lambda _: "127.0.0.1:1"))


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad request\r\n\r\n", b""])
def test_a_port_where_something_else_listens_is_no_cluster(answer: bytes) -> None:
    with (
        server(answer) as address,
        pytest.raises(OSError, match="another program than Ray"),
    ):
        knock(address)


def test_a_server_that_speaks_the_protocol_of_ray_is_let_through() -> None:
    with server(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address:
        knock(address)


@pytest.mark.parametrize(
    "address", ["", "x", ":", ":1", "x:", "x:y", "127.0.0.1:\u00b2", "ray://"]
)
def test_what_is_no_address_is_refused_before_ray_is_asked(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        knock(address)


def test_a_port_that_cannot_be_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"--ray-address .*:99999: no Ray"):
        make_executor("ray", Place(ray_address="127.0.0.1:99999"))


def test_behind_tls_only_the_connection_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(b"sealed") as address:
        knock(address)


def job(*behaviours: str, schedule: Any = "once", size: int = 3) -> Job:
    cells = [
        ToyCell(behaviour=behaviour, index=index, size=size)
        for index, behaviour in enumerate(behaviours)
    ]
    return Job(TOY.run, schedule, tuple(map(Task, cells)), workers=len(cells))


def content(events: list[Any]) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {}
    ok = {(e.key, e.attempt) for e in events if isinstance(e, Ended) and not e.error}
    for event in events:
        if isinstance(event, Recorded) and (event.key, event.attempt) in ok:
            kept.setdefault(event.key, []).append(event.content)
    return kept


def ray_workers() -> list[psutil.Process]:
    """Return the workers of this test's clusters that run cells."""
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if "".join(one.cmdline()[:1]).startswith("ray::_run")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def executor(cluster: Any) -> Iterator[Any]:
    made = make_executor("ray", Place(ray_address=cluster.address))
    yield made
    made.close()


@pytest.mark.distributed
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(300)
class TestOnTwoNodes:
    def test_records_equal_those_of_the_inline_executor(self, executor: Any) -> None:
        asked = job("count", "fail", "sleep", "count")
        events = list(executor.run(asked))
        assert content(events) == content(list(InlineExecutor().run(asked)))
        ends = [event for event in events if isinstance(event, Ended)]
        assert [end.error for end in ends if end.error] == ["ValueError: the toy broke"]
        assert {end.node for end in ends} <= set(executor.nodes())

    def test_a_cell_whose_need_failed_is_not_run(self, executor: Any) -> None:
        events = list(executor.run(job("fail", "dependent")))
        errors = [e.error or "" for e in events if isinstance(e, Ended)]
        assert "which failed" in errors[-1]

    def test_timed_cells_take_turns_on_one_node(self, executor: Any) -> None:
        events = list(executor.run(job("count", "count", schedule="rounds")))
        order = [event.key for event in events if isinstance(event, Recorded)]
        assert order[0] != order[1]
        assert len({e.node for e in events if isinstance(e, Ended)}) == 1

    def test_calls_run_on_a_node_and_their_errors_arrive(self, executor: Any) -> None:
        assert (
            executor.call(
                TOY.estimate,
                Config(),
                TOY.expand(Config(behaviours=("count", "count"))),
            )
            == 3.0
        )
        with pytest.raises(UsageError, match="something possible"):
            executor.call(TOY.prepare, Config(behaviours=("impossible",)))

    def test_children_of_workers_get_the_settings_of_children_at_home(
        self, executor: Any
    ) -> None:
        local = ProcessExecutor()
        local.warm(TOY.preload)
        for name in VARIABLES:
            here = local.call(os.getenv, name)
            assert executor.call(os.getenv, name) == here, name
        for node in executor.nodes().values():
            said = {name: node["variables"].get(name) for name in VARIABLES}
            assert said == {name: os.environ.get(name) for name in VARIABLES}

    def test_a_killed_worker_costs_an_attempt_and_no_cell(self, executor: Any) -> None:
        asked = job(*["sleep"] * 4, size=40)
        events: list[Any] = []
        killed = False
        for event in executor.run(asked):
            events.append(event)
            if not killed and sum(isinstance(item, Recorded) for item in events) > 5:
                ray_workers()[0].kill()
                killed = True
        assert killed
        ends = [event for event in events if isinstance(event, Ended)]
        died = [end for end in ends if end.again]
        assert [end.error for end in died] == [
            "its Ray worker or node died (WorkerCrashedError)"
        ]
        assert len(ends) == 5
        assert content(events) == content(list(InlineExecutor().run(asked)))

    def test_a_cell_that_kills_its_worker_every_time_fails_and_leaves_the_others(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
        arguments = ["toy", "--behaviours", "kill-worker,count,count", "-o"]
        where = ["--executor", "ray", "--ray-address", cluster.address]
        code = cli.run([*arguments, str(tmp_path), "--json", *where])
        assert code == ExitCode.INCOMPLETE
        run = read_run(run_folders(tmp_path)[0])
        assert run.status == "complete"
        doomed, *others = run.grid
        assert [run.cells[key].status for key in others] == ["ok", "ok"]
        assert run.attempts[doomed] == 3
        assert "its Ray worker or node died" in (run.cells[doomed].error or "")

    def test_a_child_that_dies_every_time_is_tried_three_times_in_all(
        self, executor: Any
    ) -> None:
        ends = [e for e in executor.run(job("die")) if isinstance(e, Ended)]
        assert [(end.attempt, end.again) for end in ends] == [
            (1, True),
            (2, True),
            (3, False),
        ]

    def test_nodes_with_another_version_are_refused(
        self, executor: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("resnet_bench.execution.ray.source_digest", lambda: "other")
        with pytest.raises(UsageError, match="another version"):
            executor.nodes()

    def test_a_node_that_comes_later_with_another_version_ends_the_run(
        self, executor: Any
    ) -> None:
        executor._setting = replace(executor._setting, source="other")
        with pytest.raises(UsageError, match="another version"):
            list(executor.run(job("count", "count")))

    def test_a_cell_that_fits_no_node_is_refused(self, cluster: Any) -> None:
        place = Place(ray_address=cluster.address, cpus_per_cell=64)
        executor = make_executor("ray", place)
        try:
            with pytest.raises(UsageError, match="needs 64 CPU"):
                list(executor.run(job("count")))
        finally:
            executor.close()

    def test_the_run_file_holds_the_environments_of_all_nodes(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
        results = str(tmp_path)
        arguments = ["toy", "--behaviours", "count,count", "-o", results, "--json"]
        where = ["--executor", "ray", "--ray-address", cluster.address]
        assert cli.run([*arguments, *where]) == ExitCode.OK
        run = read_run(run_folders(tmp_path)[0])
        assert len(run.header["nodes"]) == 2
        assert all(node["machine_key"] for node in run.header["nodes"].values())
        assert {end.node for end in run.cells.values()} <= set(run.header["nodes"])

    def test_a_killed_node_costs_an_attempt_and_no_cell(self, cluster: Any) -> None:
        doomed = cluster.add_node(num_cpus=1)
        executor = make_executor("ray", Place(ray_address=cluster.address))
        asked = job(*["sleep"] * 6, size=40)
        events: list[Any] = []
        try:
            for event in executor.run(asked):
                events.append(event)
                if sum(isinstance(item, Started) for item in events) == 3 and doomed:
                    cluster.remove_node(doomed, allow_graceful=False)
                    doomed = None
        finally:
            executor.close()
        ends = [event for event in events if isinstance(event, Ended)]
        assert {end.key for end in ends if end.status == "ok"} == {
            task.cell.key for task in asked.tasks
        }
        died = [end for end in ends if end.again]
        assert died
        assert "node died" in (died[0].error or "")
        assert content(events) == content(list(InlineExecutor().run(asked)))


@dataclass(frozen=True, kw_only=True)
class DeviceCell(Cell):
    device: str
    threads: int = 2


@pytest.mark.distributed
class TestResources:
    """What Ray keeps free for a cell, on nodes of 8 cores and 4 GPUs."""

    @pytest.fixture(autouse=True)
    def large_nodes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from resnet_bench.execution import ray as ray_tasks

        monkeypatch.setattr(ray_tasks, "_connect", lambda _: False)
        monkeypatch.setattr(ray_tasks, "_most", {"CPU": 8.0, "GPU": 4.0}.__getitem__)

    def taken(self, schedule: Any, device: str, **place: float) -> tuple[float, float]:
        executor: Any = make_executor("ray", Place(**place))  # type: ignore[arg-type]
        asked = Job(TOY.run, schedule, (Task(DeviceCell(device=device)),))
        resources = executor._resources(asked)
        return resources["num_cpus"], resources["num_gpus"]

    def test_a_training_takes_its_threads_and_one_gpu(self) -> None:
        assert self.taken("once", "cpu") == (2, 0)
        assert self.taken("once", "cuda:0") == (2, 1)

    def test_options_say_what_a_training_takes(self) -> None:
        assert self.taken("once", "cuda", gpus_per_cell=0.25) == (2, 0.25)
        assert self.taken("once", "cpu", cpus_per_cell=4) == (4, 0)

    def test_timed_cells_take_all_cores_of_a_node_whatever_is_asked(self) -> None:
        assert self.taken("rounds", "cpu") == (8, 0)
        assert self.taken("rounds", "cpu", cpus_per_cell=1) == (8, 0)

    def test_timed_cells_take_whole_gpus(self) -> None:
        assert self.taken("rounds", "cuda") == (2, 1)
        assert self.taken("rounds", "cuda", gpus_per_cell=2) == (2, 2)

    def test_timed_cells_on_a_gpu_refuse_to_take_none(self) -> None:
        with pytest.raises(UsageError, match="--gpus-per-cell 0"):
            self.taken("rounds", "cuda", gpus_per_cell=0)

    def test_more_gpus_than_a_node_has_are_refused(self) -> None:
        with pytest.raises(UsageError, match="needs 5 GPU, the largest node has 4"):
            self.taken("once", "cuda", gpus_per_cell=5)


@pytest.mark.distributed
def test_an_address_without_a_cluster_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no Ray cluster"):
        make_executor("ray", Place(ray_address="127.0.0.1:1"))
