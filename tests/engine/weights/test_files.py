import argparse
import collections
import io
import os
import pickle
import types
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from resnet_bench.engine.weights import files as weights
from resnet_bench.engine.weights.files import (
    Weights,
    file_weights,
    imagenet_weights,
    save_tensors,
)
from resnet_bench.errors import ExitCode, InputOutputError, UsageError


def small_network(classes: int = 3) -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return dict(small_network().state_dict())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder.parent))
    return folder


@pytest.fixture
def cached(hub: Path, state: dict[str, torch.Tensor]) -> Path:
    path = hub / "resnet18-f37072fd.pth"
    torch.save(state, path)
    return path


class RunsCode:
    def __reduce__(self) -> Any:
        return (os.system, ("true",))


# imagenet


def test_cached_imagenet_file_loads_through_torchvisions_loader_unverified(
    cached: Path, state: dict[str, torch.Tensor]
) -> None:
    loaded = imagenet_weights(18, "V1", verify=False)
    assert loaded.origin == "imagenet:V1 (unverified)"
    assert loaded.sha256 == weights.sha256_of(cached)
    assert loaded.state is not None
    assert torch.equal(loaded.state["fc.weight"], state["fc.weight"])


def test_cached_imagenet_file_with_another_hash_is_refused(cached: Path) -> None:
    with pytest.raises(InputOutputError, match="its name says f37072fd") as caught:
        imagenet_weights(18, "V1", verify=True)
    assert str(cached) in str(caught.value)
    assert "--no-verify-weights" in str(caught.value)


def test_cached_imagenet_file_with_the_right_hash_is_verified(
    hub: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = hub / "plain.pth"
    torch.save(state, plain)
    right = plain.rename(hub / f"net-{weights.sha256_of(plain)[:8]}.pth")

    class Entry:
        def get_state_dict(self, **_: Any) -> Any:
            return torch.load(right, weights_only=True)

    monkeypatch.setattr(weights, "torchvision_weights", lambda *_: Entry())
    monkeypatch.setattr(weights, "hub_file", lambda *_: right)
    assert imagenet_weights(18, "V1", verify=True).origin == "imagenet:V1"


def test_a_failed_download_names_file_folder_and_the_way_without_network(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with pytest.raises(InputOutputError) as caught:
        imagenet_weights(34, "V1", verify=True)
    message = str(caught.value)
    assert "resnet34-b627a593.pth" in message
    assert str(hub) in message
    assert "--weights suite" in message
    assert "\n" not in message
    assert capsys.readouterr().out == ""


def test_v1_and_v2_have_files_of_their_own() -> None:
    assert weights.hub_file(50, "V1").name == "resnet50-0676ba61.pth"
    assert weights.hub_file(50, "V2").name == "resnet50-11ad3fa6.pth"


# file


def numbered(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of nn.Sequential(*network.children())."""
    layers = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    numbers = {name: str(number) for number, name in enumerate((*layers, "", "fc"))}
    parts = {name: name.split(".", 1) for name in state}
    return {f"{numbers[a]}.{b}": state[name] for name, (a, b) in parts.items()}


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in state.items()}


def zeros_like(state: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


SETTINGS = {
    "args": argparse.Namespace(
        lr=0.1, out=Path("runs"), when=datetime(2024, 1, 1, tzinfo=UTC)
    ),
    "config": types.SimpleNamespace(depth=18),
    "best": np.float64(93.1),
    "history": np.arange(3),
    "counts": collections.defaultdict(list, {"a": [1]}),
}
QUEUE = torch.ones(8, 4)


@pytest.mark.parametrize(
    ("others", "wrap"),
    [
        (0, lambda state: state),
        (0, lambda state: {"state_dict": prefixed("module.", state), "epoch": 3}),
        (0, lambda state: {"net": state, "acc": 93.1}),
        (0, lambda state: {"a": {"b": prefixed("any.name._orig_mod.", state)}}),
        (0, lambda state: {"model": state, **SETTINGS}),
        (0, lambda state: {"backbone": numbered(state)}),
        (2, lambda state: {**prefixed("encoder_q.", state), "q": QUEUE, "t": QUEUE}),
        (1, lambda state: {"model": state, "optimizer": {"state": {0: {"m": QUEUE}}}}),
        (74, lambda state: {"student": state, "teacher": zeros_like(state)}),
        (0, lambda state: {"nets": [prefixed("module.", state)], "loss": [0.5]}),
        (0, lambda state: {"params": state, "args": argparse.Namespace(a=Path("b"))}),
        (0, lambda state: (3, {"hyper": types.SimpleNamespace(lr=0.1)}, state)),
    ],
)
def test_weights_are_found_in_any_container_under_any_prefix(
    others: int, wrap: Any, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save(wrap(state), path)
    loaded = file_weights(path, 18, verify=True)
    left_out = f" (other tensors left out: {others})" if others else ""
    assert loaded.origin == f"file:net.pth{left_out}"
    assert loaded.state is not None
    assert loaded.state.keys() == state.keys()
    assert all(torch.equal(loaded.state[name], state[name]) for name in state)


def test_tensors_of_a_deeper_network_are_no_others(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save({**state, "layer1.1.se.weight": QUEUE, "head.weight": QUEUE}, path)
    loaded = file_weights(path, 18, verify=True)
    with pytest.raises(UsageError, match=r"layer1\.1\.se\.weight is unknown"):
        weights.load_backbone(small_network(), loaded)


@pytest.mark.parametrize(
    ("wrap", "archive"),
    [
        (lambda network: network, True),
        (lambda network: network, False),
        (lambda network: {"ema": network, "epoch": 3}, True),
        (torch.nn.DataParallel, True),
    ],
)
def test_a_whole_pickled_model_is_named_with_the_statements_that_help(
    wrap: Any, archive: bool, tmp_path: Path
) -> None:
    path = tmp_path / "whole.pth"
    model = wrap(small_network())
    torch.save(model, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(InputOutputError, match="a whole pickled model") as caught:
        file_weights(path, 18, verify=True)
    assert str(caught.value).endswith(
        ": model = torch.load('whole.pth', map_location='cpu', weights_only=False); "
        "torch.save(model.state_dict(), 'whole-state-dict.pth')"
    )


def scripted(network: torch.nn.Module, path: str) -> None:
    torch.jit.save(torch.jit.script(network), path)


def traced(network: torch.nn.Module, path: str) -> None:
    trace: Any = torch.jit.trace
    torch.jit.save(trace(network, torch.ones(1, 2)), path)


def exported(network: torch.nn.Module, path: str) -> None:
    torch.export.save(torch.export.export(network, (torch.ones(1, 2),)), path)


@pytest.mark.filterwarnings("ignore")  # torch wants programs made by export
@pytest.mark.parametrize(
    ("save", "name", "what"),
    [
        (scripted, "net.pt", "a TorchScript program, .*torch.jit.load"),
        (traced, "net.pth", "a TorchScript program, .*torch.jit.load"),
        (exported, "net.pt2", "a program of torch.export, .*torch.export.load"),
    ],
)
def test_a_program_is_named_with_the_statements_that_help(
    save: Any, name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Linear(2, 2)
    save(network, name)
    with pytest.raises(InputOutputError, match=what) as caught:
        file_weights(Path(name), 18, verify=True)
    exec(str(caught.value).partition("in Python: ")[2], {"torch": torch})
    made = torch.load("net-state-dict.pth", weights_only=True)
    assert made.keys() == network.state_dict().keys()


def test_a_safetensors_file_is_read(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    save_tensors(path, state, {})
    loaded = file_weights(path, 18, verify=True)
    assert loaded.sha256 == weights.sha256_of(path)
    assert loaded.state is not None
    assert torch.equal(loaded.state["conv1.weight"], state["conv1.weight"])


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file") as caught:
        file_weights(tmp_path / "absent.pth", 18, verify=True)
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_pickle_that_runs_code_is_refused_by_what_it_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": RunsCode()}, path)
    with pytest.raises(InputOutputError, match=r"asks for \w+\.system and could run"):
        file_weights(path, 18, verify=True)


def test_a_bare_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(InputOutputError, match="refused, because it is a pickle"):
        file_weights(path, 18, verify=True)


@pytest.mark.parametrize("kept", [0, 30, -100])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(100)}, buffer)
    path = tmp_path / "cut.pth"
    path.write_bytes(buffer.getvalue()[:kept])
    with pytest.raises(InputOutputError, match="truncated, or not a file of weights"):
        file_weights(path, 18, verify=True)


def test_a_file_whose_name_carries_another_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net-0123abcd.pth"
    torch.save({"conv1.weight": torch.ones(1)}, path)
    with pytest.raises(InputOutputError, match="its name says 0123abcd"):
        file_weights(path, 18, verify=True)
    assert file_weights(path, 18, verify=False).state is not None


@pytest.mark.parametrize("content", [[1, 2], {}, 5])
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(UsageError, match="holds no state dict"):
        file_weights(path, 18, verify=True)


# safetensors

TENSORS = {
    "conv1.weight": torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2),
    "bn1.num_batches_tracked": torch.tensor(7),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
}


def test_tensors_and_metadata_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "weights.safetensors"
    weights.save_tensors(path, TENSORS, {"seed": "0"})
    read = weights.load_tensors(path)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    assert weights.read_metadata(path) == {"seed": "0"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_truncated_safetensors_file_is_named(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputOutputError, match=r"cut\.safetensors: truncated"):
        file_weights(path, 18, verify=True)


def test_a_missing_file_and_an_unwritable_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="No such file"):
        weights.load_tensors(tmp_path / "absent.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match="cannot write"):
        save_tensors(tmp_path / "file" / "w.safetensors", TENSORS, {})


# loading into a network


def test_everything_but_fc_is_loaded(state: dict[str, torch.Tensor]) -> None:
    network = small_network(classes=7)
    before = network.fc.weight.clone()
    weights.load_backbone(network, Weights("file:x", "0", state))
    assert torch.equal(network.layer4[0].conv2.weight, state["layer4.0.conv2.weight"])
    assert torch.equal(network.fc.weight, before)


def test_random_weights_leave_the_network_as_it_is() -> None:
    network = small_network()
    before = network.conv1.weight.clone()
    weights.load_backbone(network, weights.RANDOM)
    assert torch.equal(network.conv1.weight, before)


def test_counters_missing_from_old_files_are_no_difference(
    state: dict[str, torch.Tensor],
) -> None:
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    weights.load_backbone(small_network(), Weights("file:x", "0", old))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layer1.0.conv1.weight": None}, "layer1.0.conv1.weight is missing"),
        ({"extra.weight": torch.ones(1)}, "extra.weight is unknown"),
        ({"conv1.weight": torch.ones(64, 3, 3, 3)}, r"conv1.weight is \[64, 3, 3, 3\]"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_the_first_difference(
    change: dict[str, Any], problem: str, state: dict[str, torch.Tensor]
) -> None:
    altered = {k: v for k, v in {**state, **change}.items() if v is not None}
    network = small_network()
    with pytest.raises(UsageError, match=f"of another architecture: {problem}"):
        weights.load_backbone(network, Weights("file:x", "0", altered))


def test_no_weights_can_be_loaded_into_a_network_of_another_depth(
    state: dict[str, torch.Tensor],
) -> None:
    deeper = ResNet(BasicBlock, [2, 1, 1, 1], num_classes=3)
    with pytest.raises(UsageError, match=r"layer1\.1\.conv1\.weight is missing"):
        weights.load_backbone(deeper, Weights("file:x", "0", state))
