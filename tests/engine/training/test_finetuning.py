from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resnet_bench.engine.ranks import Ranks
from resnet_bench.engine.training import finetuning
from resnet_bench.engine.training.evaluation import evaluate
from resnet_bench.engine.training.finetuning import (
    EpochState,
    FitSettings,
    apply_strategy,
    choose_rate,
    make_trainer,
    parameter_groups,
    train_epochs,
    training_mode,
)
from resnet_bench.engine.training.strategies import STRATEGIES
from resnet_bench.engine.training.trainer import Trainer
from resnet_bench.errors import InputOutputError, UsageError
from tests.engine.tiny import TinyNetwork, tiny_data, tiny_network

BACKBONE = {"conv1.weight", "bn1.weight", "bn1.bias"}
LAST_STAGE = {"layer4.0.weight", "layer4.1.weight", "layer4.1.bias"}
HEAD = {"fc.weight", "fc.bias"}


def trained_names(strategy: str) -> set[str]:
    network = tiny_network()
    apply_strategy(network, STRATEGIES[strategy])
    return {name for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        ("probe", set()),
        ("freeze", HEAD),
        ("freeze-drift", HEAD),
        ("last-stage", LAST_STAGE | HEAD),
        ("full", BACKBONE | LAST_STAGE | HEAD),
        ("discriminative", BACKBONE | LAST_STAGE | HEAD),
        ("probe-then-full", BACKBONE | LAST_STAGE | HEAD),
        (
            "batchnorm-only",
            HEAD | {"bn1.weight", "bn1.bias", "layer4.1.weight", "layer4.1.bias"},
        ),
        ("scratch", BACKBONE | LAST_STAGE | HEAD),
        ("scratch-equal-compute", BACKBONE | LAST_STAGE | HEAD),
    ],
)
def test_each_strategy_trains_exactly_its_parameters(
    strategy: str, names: set[str]
) -> None:
    assert trained_names(strategy) == names


def modes(strategy: str) -> dict[str, bool]:
    network = tiny_network()
    apply_strategy(network, STRATEGIES[strategy])
    training_mode(STRATEGIES[strategy])(network)
    return {
        name: module.training
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("freeze", {"bn1": False, "layer4.1": False}),
        ("freeze-drift", {"bn1": True, "layer4.1": True}),
        ("last-stage", {"bn1": False, "layer4.1": True}),
        ("batchnorm-only", {"bn1": True, "layer4.1": True}),
        ("full", {"bn1": True, "layer4.1": True}),
    ],
)
def test_batch_norms_train_only_where_their_parameters_do(
    strategy: str, expected: dict[str, bool]
) -> None:
    assert modes(strategy) == expected


def test_discriminative_rates_fall_towards_the_input() -> None:
    network = tiny_network()
    strategy = STRATEGIES["discriminative"]
    apply_strategy(network, strategy)
    groups = parameter_groups(network, strategy)
    sizes = {group.rate_factor: len(group.parameters) for group in groups}
    assert sizes == {1.0: 2, 1 / 3: 3, 1 / 10: 3}


def test_one_rate_makes_one_group_of_what_trains() -> None:
    network = tiny_network()
    apply_strategy(network, STRATEGIES["freeze"])
    (group,) = parameter_groups(network, STRATEGIES["freeze"])
    assert [p.shape for p in group.parameters] == [
        torch.Size([2, 8]),
        torch.Size([2]),
    ]


SETTINGS = FitSettings(epochs=2, learning_rate=0.1, batch_size=8, seed=0)


def trained(strategy: str, settings: FitSettings = SETTINGS) -> TinyNetwork:
    network = tiny_network()
    data = tiny_data()
    list(
        train_epochs(make_trainer(network, STRATEGIES[strategy], data, settings), data)
    )
    return network


def unchanged(network: TinyNetwork, names: str) -> bool:
    fresh = tiny_network().state_dict()
    return all(
        torch.equal(fresh[name], value)
        for name, value in network.state_dict().items()
        if name.startswith(names)
    )


def test_freeze_leaves_the_backbone_bit_identical_buffers_included() -> None:
    network = trained("freeze")
    assert unchanged(network, "conv1")
    assert unchanged(network, "bn1")  # its running statistics too
    assert unchanged(network, "layer4")
    assert not unchanged(network, "fc")


def test_freeze_drift_moves_the_frozen_batch_norms_statistics() -> None:
    network = trained("freeze-drift")
    assert unchanged(network, "bn1.weight")
    assert not unchanged(network, "bn1.running_mean")


def test_last_stage_leaves_what_lies_before_it_bit_identical() -> None:
    network = trained("last-stage")
    assert unchanged(network, "bn1")
    assert not unchanged(network, "layer4.0.weight")


def test_full_training_learns_separable_classes() -> None:
    data = tiny_data()
    settings = replace(SETTINGS, epochs=6)
    trainer = make_trainer(tiny_network(), STRATEGIES["full"], data, settings)
    states = list(train_epochs(trainer, data))
    # Four evaluations, evenly spread, the last one at the end.
    assert [state.epoch for state in states] == [2, 3, 5, 6]
    assert states[-1].test.accuracy_percent == 100
    assert [s.seconds for s in states] == sorted(s.seconds for s in states)


def test_a_last_batch_of_one_image_is_left_out_and_training_goes_on() -> None:
    trainer = make_trainer(
        tiny_network(), STRATEGIES["full"], tiny_data(images=33), SETTINGS
    )
    assert trainer.steps == 2 * 4  # 33 images: four batches of 8, one image over
    rest = make_trainer(
        tiny_network(), STRATEGIES["full"], tiny_data(images=34), SETTINGS
    )
    assert rest.steps == 2 * 5


def test_few_images_are_trained_on_until_the_least_number_of_steps() -> None:
    settings = replace(SETTINGS, least_steps=30)
    few = make_trainer(tiny_network(), STRATEGIES["full"], tiny_data(32), settings)
    assert few.steps == 32  # eight epochs of four steps
    enough = replace(settings, least_steps=3)
    few = make_trainer(tiny_network(), STRATEGIES["full"], tiny_data(32), enough)
    assert few.steps == 2 * 4


def test_extra_steps_lengthen_the_training() -> None:
    data = tiny_data()
    settings = replace(SETTINGS, extra_steps=6)
    trainer = make_trainer(
        tiny_network(), STRATEGIES["scratch-equal-compute"], data, settings
    )
    states = list(train_epochs(trainer, data))
    assert states[-1].step == 2 * 4 + 6


def test_grey_images_are_not_mirrored_and_colour_images_are() -> None:
    data = tiny_data()
    colour = make_trainer(tiny_network(), STRATEGIES["full"], data, SETTINGS)
    assert colour.plan.augmentation == "crop-flip"
    grey_images = data.train.images[:, :1].expand(-1, 3, -1, -1)
    grey_data = replace(data, train=replace(data.train, images=grey_images))
    grey = make_trainer(tiny_network(), STRATEGIES["full"], grey_data, SETTINGS)
    assert grey.plan.augmentation == "none"


# going on after an interruption


def interrupted(state_file: Path, after: int) -> None:
    data = tiny_data()
    trainer = make_trainer(tiny_network(), STRATEGIES["full"], data, LONG)
    for state in train_epochs(trainer, data, state_file):
        if state.epoch == after:
            finetuning._keep(trainer, state_file)
            return


LONG = replace(SETTINGS, epochs=4)


def test_resume_restores_optimizer_schedule_and_random_state(tmp_path: Path) -> None:
    data = tiny_data()
    whole = make_trainer(tiny_network(), STRATEGIES["full"], data, LONG)
    expected = list(train_epochs(whole, data))

    state_file = tmp_path / "states" / "cell.pt"
    interrupted(state_file, after=2)
    resumed = make_trainer(tiny_network(seed=9), STRATEGIES["full"], data, LONG)
    torch.manual_seed(123)  # another random state than the one that was saved
    rest = list(train_epochs(resumed, data, state_file))

    assert [state.epoch for state in rest] == [3, 4]
    assert momenta(resumed) == momenta(whole)
    assert rest[-1].test == expected[-1].test
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert not state_file.exists()


def momenta(trainer: Trainer) -> list[list[float]]:
    states = trainer.optimizer.state_dict()["state"].values()
    return [state["momentum_buffer"].flatten().tolist() for state in states]


class Follower(Ranks):
    """A rank that is not the first, with no others to wait for."""

    @property
    def writes(self) -> bool:
        return False


def test_of_several_ranks_only_the_first_keeps_the_state(tmp_path: Path) -> None:
    settings = replace(LONG, ranks=Follower())
    trainer = make_trainer(tiny_network(), STRATEGIES["full"], tiny_data(), settings)
    next(train_epochs(trainer, tiny_data(), tmp_path / "cell.pt"))
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state_file = tmp_path / "cell.pt"
    interrupted(state_file, after=1)
    data = tiny_data(classes=3)
    other = make_trainer(tiny_network(classes=3), STRATEGIES["full"], data, LONG)
    with pytest.raises(UsageError, match="to another training; remove it"):
        list(train_epochs(other, data, state_file))


def test_a_state_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match="cannot write"):
        interrupted(tmp_path / "file" / "cell.pt", after=1)


# choosing a learning rate


def test_the_rate_is_chosen_on_held_out_training_images_not_on_the_test_half() -> None:
    data = tiny_data(images=40)
    looked_at: list[Tensor] = []
    honest = evaluate

    def spy(model: TinyNetwork, split: object, *rest: object) -> object:
        looked_at.append(split.images)  # type: ignore[attr-defined]
        return honest(model, split, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "evaluate", spy)
        choice = choose_rate(
            tiny_network, STRATEGIES["full"], data, SETTINGS, (1e-6, 0.1)
        )
    assert choice.learning_rate == 0.1
    assert set(choice.accuracy_percent) == {"1e-06", "0.1"}
    train_rows = {row.sum().item() for row in data.train.images}
    for images in looked_at:
        assert len(images) == 8
        assert {row.sum().item() for row in images} <= train_rows


def test_too_few_images_to_choose_a_rate_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="give one --lr"):
        choose_rate(
            tiny_network, STRATEGIES["full"], tiny_data(images=2), SETTINGS, (0.1, 0.2)
        )


def test_training_that_diverges_ends_with_its_last_state() -> None:
    data = tiny_data()
    broken = replace(data, train=replace(data.train, images=data.train.images * 1e30))
    settings = replace(SETTINGS, learning_rate=1e30)
    trainer = make_trainer(tiny_network(), STRATEGIES["full"], broken, settings)
    states: list[EpochState] = list(train_epochs(trainer, data))
    assert trainer.diverged
    assert states[-1].train_loss is None
