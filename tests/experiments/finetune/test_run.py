import io
import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from resnet_bench.engine.data import image_files
from resnet_bench.engine.data.decoding import decode
from resnet_bench.engine.data.transfer import TargetRequest, load_target
from resnet_bench.engine.devices import Device
from resnet_bench.engine.ranks import ALONE, Ranks
from resnet_bench.engine.training import finetuning
from resnet_bench.engine.training.evaluation import judge, predict
from resnet_bench.engine.training.fits import Fitted
from resnet_bench.engine.weights.files import load_tensors, read_metadata
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.experiments.finetune import run as finetune
from resnet_bench.experiments.finetune.cells import (
    FinetuneCell,
    Samples,
    TransferEpoch,
    TransferResult,
)
from resnet_bench.experiments.finetune.grid import expand
from resnet_bench.experiments.finetune.spec import Config
from resnet_bench.experiments.pretrain import run as pretrain
from resnet_bench.experiments.pretrain.spec import PretrainCell, SourceResult
from resnet_bench.records import Cell, Record
from tests.engine.fake_cuda import FakeCuda
from tests.engine.tiny import SMALL_WIDTH, SmallResNet

QUICK: dict[str, Any] = {
    "variants": (18,),
    "seeds": 1,
    "epochs": 1,
    "source_epochs": 1,
    "batch_size": 256,
    "image_size": 8,
    "device": "cpu",
    "dataset": "digits-5-9",
}


@pytest.fixture(autouse=True)
def one_place_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def prepared(**options: Any) -> Config:
    config = finetune.prepare(Config(**{**QUICK, **options}))
    finetune.rehearse(config)
    return config


def carried_out(cell: Cell) -> list[Record]:
    assert isinstance(cell, FinetuneCell | PretrainCell)
    return list(finetune.run(cell, Ranks()))


def result_of(cell: Cell) -> TransferResult:
    last = carried_out(cell)[-1]
    assert isinstance(last, TransferResult)
    return last


def cells_of(config: Config) -> dict[str, Cell]:
    return {cell.label: cell for cell in expand(config)}


@pytest.mark.usefixtures("small_resnets")
def test_the_suites_whole_grid_runs_and_its_origins_are_told() -> None:
    config = prepared(shots=(20, None), classes=2)
    assert (config.weights, config.stem, config.image_size) == ("suite", "small", 8)
    results: dict[str, TransferResult] = {}
    sha256 = None
    pictures: list[Samples] = []
    for cell in expand(config):
        *epochs, last = carried_out(cell)
        if isinstance(last, SourceResult):
            sha256 = last.sha256
            continue
        assert isinstance(last, TransferResult)
        pictures += [each for each in epochs if isinstance(each, Samples)]
        assert all(isinstance(each, TransferEpoch | Samples) for each in epochs)
        results[cell.label] = last
    assert results["ResNet-18, full, seed 0"].weights_origin == "suite:digits-0-4"
    assert results["ResNet-18, full, seed 0"].weights_sha256 == sha256
    assert results["ResNet-18, scratch, seed 0"].weights_origin == "random"
    assert results["ResNet-18, random-probe, seed 0"].weights_sha256 is None
    assert results["no network, raw-pixels, seed 0"].weights_origin == "none"
    probe = results["ResNet-18, probe, seed 0"]
    assert probe.trainable_parameters == (SMALL_WIDTH + 1) * 2
    assert (probe.steps, probe.step_seconds) == (0, None)
    full = results["ResNet-18, full, seed 0"]
    assert full.total_seconds is not None
    assert full.total_seconds > full.training_seconds
    small = results["ResNet-18, full, seed 0, 20 shots"]
    assert small.train_images == 2 * 20
    assert bin(int(full.right_answers, 16)).count("1") == pytest.approx(
        full.test_accuracy_percent / 100 * full.test_images
    )
    assert sum(count for *_, count in full.confusion) == full.test_images
    assert "ResNet-18, probe, seed 0, permuted pixels" in results
    (picture,) = pictures
    with Image.open(io.BytesIO(b64decode(picture.png))) as grid:
        assert grid.size == (picture.columns * picture.side, 2 * picture.side)
    assert set(picture.class_names) == {"5", "6"}


@pytest.mark.usefixtures("small_resnets")
def test_draws_of_the_negative_control_are_other_networks_on_all_images() -> None:
    cells = cells_of(prepared(shots=(None,)))
    name = "ResNet-18, random-probe, seed 0, permuted pixels"
    first, second = (result_of(cells[n]) for n in (name, f"{name}, draw 1"))
    assert first.test_images == 896
    assert len(first.right_answers) == 896 // 4
    assert first.right_answers != second.right_answers


@pytest.mark.usefixtures("small_resnets")
def test_other_strategies_train_from_the_suite() -> None:
    strategies = ("freeze", "batchnorm-only")
    cells = cells_of(prepared(strategy=strategies, shots=(None,)))
    carried_out(cells["ResNet-18 on digits-0-4, seed 0"])
    freeze, norms = (result_of(cells[f"ResNet-18, {s}, seed 0"]) for s in strategies)
    assert freeze.weights_origin == norms.weights_origin == "suite:digits-0-4"
    assert freeze.trainable_parameters == (SMALL_WIDTH + 1) * 5
    assert norms.trainable_parameters > freeze.trainable_parameters


@pytest.mark.usefixtures("small_resnets")
def test_scratch_at_equal_compute_adds_the_sources_steps() -> None:
    cells = cells_of(prepared(strategy=("scratch-equal-compute",), shots=(None,)))
    (source,) = carried_out(cells["ResNet-18 on digits-0-4, seed 0"])
    assert isinstance(source, SourceResult)
    result = result_of(cells["ResNet-18, scratch-equal-compute, seed 0"])
    assert result.weights_origin == "random"
    assert result.steps == source.steps + 3  # 717 images in batches of 256


def test_a_saved_network_answers_in_torchvision_as_it_did_when_it_was_tested(
    tmp_path: Path,
) -> None:
    config = prepared(
        weights="random",
        strategy=("scratch",),
        shots=(14,),
        seeds=2,
        save_model=tmp_path / "networks",
    )
    first, second = (
        result_of(cells_of(config)[f"ResNet-18, scratch, seed {seed}, 14 shots"])
        for seed in (0, 1)
    )
    assert second.saved is None  # the first seed's only
    assert [str(path) for path in (tmp_path / "networks").iterdir()] == [first.saved]
    told = read_metadata(Path(first.saved or ""))
    assert json.loads(told["classes"]) == list("56789")
    assert (told["origin"], told["stem"]) == ("random", "small")
    data = load_target(TargetRequest(name="digits-5-9", image_size=8))
    image = data.test.images[0]
    # A camera on its side: the picture lies, and its EXIF says how to turn it.
    lying = transforms.to_pil_image(image.rot90(1, [1, 2]))
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "digit.png", exif=exif)
    code = "\n".join(first.usage or []).replace("IMAGE", str(tmp_path / "digit.png"))
    space: dict[str, Any] = {}
    exec(code, space)
    again = predict(space["model"], data.test, data.normalisation)
    right = 100 * float((again.argmax(1) == data.test.labels).float().mean())
    assert right == pytest.approx(first.test_accuracy_percent)
    expected = data.normalisation.apply(image[None])[0]
    torch.testing.assert_close(space["image"], expected, atol=0.02, rtol=0)


@pytest.mark.usefixtures("small_resnets")
def test_a_probe_is_saved_with_its_head_and_each_row_in_its_own_file(
    tmp_path: Path,
) -> None:
    config = prepared(
        strategy=("probe", "full"), shots=(14, None), save_model=tmp_path / "networks"
    )
    cells = cells_of(config)
    carried_out(cells["ResNet-18 on digits-0-4, seed 0"])
    rows = [
        result_of(cell)
        for label, cell in cells.items()
        if ", probe, " in label or ", full, " in label
    ]
    assert len({row.saved for row in rows if row.saved}) == 4
    head = load_tensors(Path(rows[0].saved or ""))["fc.weight"]
    assert head.abs().sum() > 0


@pytest.mark.parametrize("option", ["save_model", "checkpoint"])
def test_a_folder_that_cannot_be_written_is_refused(
    option: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    place: Any = {option: tmp_path / "file" / "here"}
    name = f"--{option.replace('_', '-')}"
    with pytest.raises(InputOutputError, match=f"cannot write to {name} .*file/here: "):
        prepared(strategy=("scratch",), **place)


@pytest.mark.usefixtures("small_resnets")
def test_a_training_that_diverges_says_so_and_has_no_figures_of_logits() -> None:
    config = prepared(strategy=("scratch",), lr=(1e18,), shots=(14,), epochs=3)
    cell = next(cell for label, cell in cells_of(config).items() if "scratch" in label)
    result = result_of(cell)
    assert result.diverged
    assert (result.nll, result.calibration_error) == (None, None)
    assert result.seconds_to_target is None


@pytest.mark.usefixtures("small_resnets")
def test_of_several_learning_rates_the_chosen_one_is_told() -> None:
    config = prepared(strategy=("scratch",), lr=(1e-9, 0.02), shots=(14,))
    cells = cells_of(config)
    result = result_of(cells["ResNet-18, scratch, seed 0, 14 shots"])
    assert result.learning_rate_validation is not None
    assert set(result.learning_rate_validation) == {"1e-09", "0.02"}
    assert result.learning_rate in (1e-9, 0.02)


@pytest.mark.usefixtures("small_resnets")
def test_an_interrupted_cell_goes_on_from_its_checkpoint_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepared(
        strategy=("scratch",),
        epochs=2,
        weights="random",
        shots=(14,),
        checkpoint=tmp_path / "states",
    )
    cell = cells_of(config)["ResNet-18, scratch, seed 0, 14 shots"]
    expected = result_of(cell)
    assert not list((tmp_path / "states").iterdir())

    honest = finetuning._keep

    def interrupt(trainer: Any, state_file: Path) -> None:
        honest(trainer, state_file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "_keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            carried_out(cell)
    assert [p.name for p in (tmp_path / "states").iterdir()] == [f"{cell.key}.pt"]
    resumed = result_of(cell)
    assert resumed.test_accuracy_percent == expected.test_accuracy_percent
    assert resumed.nll == expected.nll


@pytest.mark.usefixtures("small_resnets")
def test_the_same_cell_gives_the_same_numbers() -> None:
    cells = cells_of(prepared(strategy=("scratch",), weights="random", shots=(14,)))
    cell = cells["ResNet-18, scratch, seed 0, 14 shots"]
    first, second = result_of(cell), result_of(cell)
    assert (first.nll, first.test_accuracy_percent) == (
        second.nll,
        second.test_accuracy_percent,
    )


@pytest.fixture
def imagenet_file(tmp_path: Path, small_resnets: None) -> Path:
    """Random numbers under torchvision's file name, in the hub's folder."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "resnet18-f37072fd.pth"
    torch.save(SmallResNet().state_dict(), path)
    return path


def test_imagenet_runs_from_the_hub_cache_and_reads_unverified(
    imagenet_file: Path,
) -> None:
    config = prepared(
        weights="imagenet:V1",
        verify_weights=False,
        image_size=32,
        strategy=("probe",),
        shots=(14,),
    )
    assert config.stem == "imagenet"
    cells = cells_of(config)
    result = result_of(cells["ResNet-18, probe, seed 0, 14 shots"])
    assert result.weights_origin == "imagenet:V1 (unverified)"
    assert result.weights_sha256 is not None
    assert result.total_seconds is None  # what ImageNet cost is not known
    assert result.stem == "imagenet"
    assert (result.classes, result.trainable_parameters) == (5, (SMALL_WIDTH + 1) * 5)


def test_auto_takes_a_cached_imagenet_file_only_if_it_is_what_its_name_says(
    imagenet_file: Path,
) -> None:
    with pytest.raises(InputOutputError, match="its name says f37072fd"):
        prepared(weights="auto")
    config = prepared(weights="auto", verify_weights=False, image_size=32)
    assert config.weights == "imagenet:V1"


def test_equal_compute_is_left_out_where_the_sources_steps_are_unknown(
    imagenet_file: Path,
) -> None:
    options = {"weights": "imagenet", "verify_weights": False, "image_size": 32}
    config = prepared(**options, strategy=("probe", "scratch-equal-compute"))
    assert config.strategy == ("probe",)
    with pytest.raises(UsageError, match="needs --weights suite"):
        prepared(**options, strategy=("scratch-equal-compute",))


# what is refused before anything is trained


def test_a_weights_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        prepared(weights=f"file:{tmp_path / 'absent.pth'}")


@pytest.mark.usefixtures("small_resnets")
def test_a_weights_file_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deeper.pth"
    second_block = {"layer1.1.conv1.weight": torch.zeros(4, 4, 3, 3)}
    torch.save({**SmallResNet().state_dict(), **second_block}, path)
    with pytest.raises(UsageError, match="of another architecture"):
        prepared(weights=f"file:{path}")


@pytest.mark.usefixtures("small_resnets")
def test_a_checkpoint_by_name_serves_only_its_own_variant(tmp_path: Path) -> None:
    config = prepared()
    (source,) = carried_out(expand(config)[0])
    assert isinstance(source, SourceResult)
    path = tmp_path / "cache" / source.file
    named = prepared(weights=f"suite:{path}", strategy=("probe",), shots=(None,))
    result = result_of(cells_of(named)["ResNet-18, probe, seed 0"])
    assert result.weights_sha256 == source.sha256
    with pytest.raises(UsageError, match="the checkpoint is of ResNet-18"):
        prepared(weights=f"suite:{path}", variants=(34,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, "--device cuda:99"),
        ({"dataset": "cifar10"}, "CIFAR-10 needs --data-dir"),
        ({"dataset": "imagefolder", "data_dir": Path("absent")}, "--data-dir absent"),
        ({"source": "cifar10"}, "CIFAR-10 needs --data-dir"),
        ({"weights": "imagenet", "stem": "small"}, "--stem small"),
        ({"image_size": 60_000}, "--image-size 60000: expected at most"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prepared(**options)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    for half, count in (("train", 6), ("test", 3)):
        for level, name in ((20, "dark"), (230, "bright")):
            folder = tmp_path / "images" / half / name
            folder.mkdir(parents=True)
            for number in range(count):
                colour = (level, level - 5 * number, level)
                Image.new("RGB", (12, 10), colour).save(folder / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.usefixtures("small_resnets")
def test_an_image_that_does_not_decode_is_named_or_skipped_and_counted(
    image_folder: Path,
) -> None:
    broken = image_folder / "train" / "dark" / "broken.png"
    broken.write_bytes(b"no image")
    options: dict[str, Any] = {
        "dataset": "imagefolder",
        "data_dir": image_folder,
        "weights": "random",
        "strategy": ("scratch",),
        "shots": (None,),
    }
    with pytest.raises(UsageError, match=r"broken\.png cannot be decoded"):
        prepared(**options)
    config = prepared(**options, skip_bad_images=True)
    result = result_of(cells_of(config)["ResNet-18, scratch, seed 0"])
    assert result.skipped_images == 1
    assert result.train_images == 12


@pytest.mark.usefixtures("small_resnets")
def test_the_estimate_grows_with_the_grid() -> None:
    config = prepared()
    cells = expand(config)
    few = finetune.estimate(config, cells[:2])
    many = finetune.estimate(config, cells)
    assert few is not None
    assert many is not None
    assert 0 < few < many
    (pixels,) = (cell for cell in cells if cell.label.startswith("no network"))
    assert finetune.estimate(config, [pixels]) is not None


@pytest.mark.usefixtures("small_resnets")
def test_a_cached_source_takes_no_estimated_time() -> None:
    source = expand(prepared())[0]
    assert isinstance(source, PretrainCell)
    assert pretrain.estimate_sources([source]) > 0
    carried_out(source)
    assert pretrain.estimate_sources([source]) == 0.0


def test_the_time_of_data_that_has_to_be_downloaded_first_is_unknown(
    tmp_path: Path,
) -> None:
    options = {"dataset": "cifar10", "data_dir": tmp_path, "weights": "random"}
    config = finetune.prepare(Config(**{**QUICK, **options}, download=True))
    assert finetune.estimate(config, expand(config)) is None
    missing = replace(config, download=False)
    with pytest.raises(UsageError, match="CIFAR-10 cannot be read"):
        finetune.estimate(missing, expand(missing))


@pytest.mark.usefixtures("small_resnets")
def test_only_a_rehearsal_downloads_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    config = finetune.prepare(Config(**{**QUICK, "weights": "imagenet"}))
    cells = expand(config)
    assert finetune.estimate(config, cells) is not None
    with pytest.raises(InputOutputError, match="cannot download") as caught:
        finetune.rehearse(config)
    assert "resnet18-f37072fd.pth" in str(caught.value)
    assert "--weights suite" in str(caught.value)


def test_a_cell_says_which_device_it_needs() -> None:
    cell = expand(Config(**{**QUICK, "weights": "suite", "stem": "small"}))[-1]
    assert isinstance(cell, FinetuneCell)
    training = replace(cell.training, device="cuda")
    elsewhere = replace(cell, training=training, device_index=99)
    assert replace(elsewhere, device_index=1).key == elsewhere.key
    with pytest.raises(UsageError, match="cuda:99"):
        carried_out(elsewhere)


@pytest.mark.parametrize(("of_training", "expected"), [(700, 600), (None, 900)])
def test_peak_memory_on_cuda_is_that_of_the_training_where_it_is_known(
    of_training: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda(allocated=100)
    fitted = Fitted(
        test=judge(torch.eye(2), torch.arange(2)),
        seconds=1.0,
        trainable_parameters=1,
        images=1,
    )

    def fit(*_: Any) -> Fitted:
        cuda.allocate(900, reserved=1000)  # by evaluation, the largest of all
        return replace(fitted, peak_bytes=of_training)

    monkeypatch.setattr(finetune, "_fit", fit)
    cell, start, data = (cast(Any, None) for _ in range(3))
    device = Device("cuda", 0, cuda)
    found = finetune._fit_with_peak(cell, start, data, device, ALONE)
    assert found.peak_bytes == expected


# Image files


def write_images(folder: Path, count: int = 12) -> Path:
    """Write two classes that differ in brightness, `count` images of each."""
    draw = np.random.default_rng(0)
    for name, level in (("a", 60), ("b", 190)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.normal(level, 20, (14, 12, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.usefixtures("small_resnets")
@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_a_folder_trains_in_memory_and_streamed(
    loading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_BENCH_CACHE", str(tmp_path / "cache"))
    options: dict[str, Any] = {"weights": "random", "strategy": ("scratch",)}
    folder = write_images(tmp_path / "images")
    config = prepared(
        dataset=None, data_dir=folder, loading=loading, image_size=8, **options
    )
    assert config.dataset == "imagefolder"
    results = [result_of(cell) for cell in expand(config)]
    assert {result.train_images for result in results} == {20}
    assert {result.test_images for result in results} == {4}
    pixels = next(result for result in results if result.weights_origin == "none")
    assert pixels.test_accuracy_percent == 100
    copies = list((tmp_path / "cache").rglob("*.pixels"))
    assert len(copies) == (loading == "memory")


def test_images_that_outgrow_memory_are_streamed_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "images")
    config = Config(
        data_dir=folder, weights="random", image_size=8, device="cpu", batch_size=2
    )
    assert finetune.prepare(config).loading == "memory"
    monkeypatch.setattr(image_files, "bytes_left", lambda: 3200)
    assert finetune.prepare(config).loading == "stream"
    told = replace(config, loading="memory")
    assert finetune.prepare(told).loading == "memory"
    with pytest.raises(UsageError, match="--image-size 60: expected at most 8: 2 im"):
        finetune.prepare(replace(config, image_size=60))


@pytest.mark.usefixtures("small_resnets")
def test_an_estimate_counts_all_files_and_decodes_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "images")
    decoded: list[Path] = []

    def noting(path: Path, *others: Any) -> Any:
        decoded.append(path)
        return decode(path, *others)

    monkeypatch.setattr(image_files, "decode", noting)
    monkeypatch.setattr(finetune, "SAMPLE_OF_FILES", 4)
    monkeypatch.setattr(finetune, "seconds_per_image", lambda *_: 1.0)
    config = finetune.prepare(
        Config(
            data_dir=folder,
            weights="random",
            image_size=8,
            device="cpu",
            epochs=100,
            seeds=1,
            variants=(18,),
        )
    )
    seconds = finetune.estimate(config, expand(config))
    assert seconds is not None
    assert seconds > 100 * 20  # a hundred epochs of 20 images
    assert len(set(decoded)) < 12


# What identifies a cell that starts from a file


@pytest.mark.usefixtures("small_resnets")
def test_a_file_of_weights_identifies_cells_by_its_content(tmp_path: Path) -> None:
    networks = [tmp_path / "here" / "net.pth", tmp_path / "there" / "net.pth"]
    state = SmallResNet().state_dict()
    for path in networks:
        path.parent.mkdir()
        torch.save(state, path)

    def keys(path: Path) -> set[str]:
        config = Config(
            variants=(18,), weights=f"file:{path}", dataset="digits-5-9", device="cpu"
        )
        return {cell.key for cell in expand(finetune.prepare(config))}

    before = keys(networks[0])
    assert keys(networks[1]) == before
    torch.save({**state, "fc.bias": state["fc.bias"] + 1}, networks[1])
    assert not keys(networks[1]) & before
