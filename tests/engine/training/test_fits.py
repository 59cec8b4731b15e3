from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info
from torch import nn
from torchvision.models import ResNet

from resnet_bench.engine.data import Split
from resnet_bench.engine.training import fits as transfer_fits
from resnet_bench.engine.training.evaluation import evaluate, packed, predict
from resnet_bench.engine.training.finetuning import FitSettings
from resnet_bench.engine.training.fits import (
    Fitted,
    fit_features,
    fit_features_out_of_fold,
    fit_pixels,
    fit_probe,
    pixels,
    put_into_head,
    train_strategy,
)
from resnet_bench.engine.training.strategies import STRATEGIES
from tests.engine.tiny import tiny_data, tiny_network

SETTINGS = FitSettings(epochs=2, learning_rate=0.05, batch_size=8, seed=0)


def build() -> ResNet:
    return cast(ResNet, tiny_network())


def trained(strategy: str, rates: tuple[float, ...] = ()) -> Fitted:
    return train_strategy(build, STRATEGIES[strategy], tiny_data(40), SETTINGS, rates)


def test_raw_pixels_are_fitted_without_a_network() -> None:
    fitted = fit_pixels(tiny_data())
    assert fitted.test.accuracy_percent == 100
    assert fitted.trainable_parameters == 2 * (3 * 8 * 8) + 2
    assert (fitted.steps, fitted.epochs, fitted.curve) == (0, 0, ())


def test_raw_pixels_of_large_images_are_averaged_down_to_32_px() -> None:
    data = tiny_data()
    large = torch.rand(6, 3, 64, 96)
    flat = pixels(Split(large, torch.arange(6)), data.normalisation, 3)
    assert flat.shape == (6, 3 * 32 * 32)
    blocks = data.normalisation.apply(large)[0, 0, :2, :3]
    assert float(flat[0, 0]) == pytest.approx(float(blocks.mean()), abs=1e-5)


def test_a_fit_tells_which_images_it_answered_rightly_and_what_it_confused() -> None:
    fitted = fit_features(build(), tiny_data())
    assert int(fitted.test.right.sum()) == fitted.test.images - fitted.test.errors
    assert int(fitted.test.confusion.sum()) == fitted.test.images
    assert int(fitted.test.confusion.trace()) == int(fitted.test.right.sum())
    right = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0, 1]).bool()
    assert packed(right) == "a080"


def test_raw_pixels_of_grey_images_are_counted_once() -> None:
    data = tiny_data()
    grey = data.train.images[:, :1].expand(-1, 3, -1, -1)
    tested = data.test.images[:, :1].expand(-1, 3, -1, -1)
    grey_data = replace(
        data,
        train=replace(data.train, images=grey),
        test=replace(data.test, images=tested),
    )
    for each in (grey_data, replace(grey_data, test=data.test)):
        assert fit_pixels(each).trainable_parameters == 2 * 64 + 2


def test_a_probe_fits_features_and_becomes_the_head_of_the_network() -> None:
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fitted = fit_features(cast(ResNet, network), tiny_data())
    assert fitted.test.accuracy_percent == 100
    assert fitted.trainable_parameters == 2 * 8 + 2
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) is not name.startswith("fc."), name
    data = tiny_data()
    logits = predict(network, data.test, data.normalisation)
    assert torch.equal(logits.argmax(1) == data.test.labels, fitted.test.right)


def test_out_of_fold_every_image_of_both_halves_is_tested_once() -> None:
    fitted = fit_features_out_of_fold(build(), tiny_data(40))
    assert fitted.test.images == 80
    assert fitted.test.accuracy_percent == 100
    assert fitted.trainable_parameters == 2 * 8 + 2


def test_out_of_fold_classes_of_few_images_are_tested_in_fewer_folds() -> None:
    fitted = fit_features_out_of_fold(build(), tiny_data(2))
    assert fitted.test.images == fitted.images == 4
    assert fitted.test.accuracy_percent == 100


def test_out_of_fold_labels_without_a_pattern_stay_near_chance() -> None:
    data = tiny_data(40)
    draw = torch.Generator().manual_seed(0)
    halves = [
        replace(
            data.train,
            images=torch.rand(40, 3, 8, 8, generator=draw),
            labels=torch.randint(2, (40,), generator=draw),
        )
        for _ in range(2)
    ]
    patternless = replace(data, train=halves[0], test=halves[1])
    fitted = fit_features_out_of_fold(build(), patternless)
    assert fitted.test.accuracy_percent < 70


def test_a_training_tells_its_steps_images_and_curve() -> None:
    fitted = trained("full")
    assert (fitted.epochs, fitted.steps, fitted.images) == (2, 10, 80)
    assert fitted.seconds == fitted.curve[-1].seconds > 0
    assert fitted.learning_rate == 0.05
    assert fitted.rates is None


def test_probe_then_full_starts_from_the_probes_answers() -> None:
    data = tiny_data(40)
    started = transfer_fits._with_logistic_head(build, data)()
    answers = evaluate(started, data.test, data.normalisation)
    assert answers.accuracy_percent == 100
    assert answers.loss == pytest.approx(
        fit_features(build(), data).test.loss, rel=1e-3
    )


def test_probe_then_full_trains_every_layer_and_counts_the_probes_time() -> None:
    fitted = trained("probe-then-full")
    assert fitted.trainable_parameters == trained("full").trainable_parameters
    assert fitted.seconds == fitted.curve[-1].seconds


def test_of_several_rates_the_best_is_used_and_all_are_told() -> None:
    fitted = trained("full", rates=(1e-9, 0.05))
    assert fitted.learning_rate == 0.05
    assert fitted.rates is not None
    assert set(fitted.rates) == {"1e-09", "0.05"}


def test_time_to_target_is_that_of_the_first_epoch_that_reached_it() -> None:
    fitted = trained("full")
    first = fitted.curve[0]
    assert fitted.seconds_to(first.test.accuracy_percent) == first.seconds
    assert fitted.seconds_to(100.1) is None


def test_time_to_target_of_a_probe_is_its_whole_time() -> None:
    fitted = fit_pixels(tiny_data())
    assert fitted.seconds_to(90) == fitted.seconds
    assert fitted.seconds_to(100.1) is None


def clouds(classes: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    targets = np.arange(60) % classes
    centres = draw.normal(size=(classes, 5)) * 3
    points = centres[targets] + draw.normal(size=(60, 5))
    return (points * [1, 10, 0.1, 1, 1] + 4).astype(np.float32), targets


def test_folded_weights_give_scikit_learns_probabilities() -> None:
    points, targets = clouds(3)
    scaled = (points - points.mean(0)) / np.sqrt(points.var(0).mean())
    expected = LogisticRegression(max_iter=1000).fit(scaled, targets)
    logits = torch.from_numpy(fit_probe(points, targets, 3).logits(points))
    np.testing.assert_allclose(
        logits.softmax(1), expected.predict_proba(scaled), atol=1e-5
    )


def test_two_classes_get_two_outputs_with_the_same_probabilities() -> None:
    points, targets = clouds(2)
    scaled = (points - points.mean(0)) / np.sqrt(points.var(0).mean())
    expected = LogisticRegression(max_iter=1000).fit(scaled, targets)
    probe = fit_probe(points, targets, 2)
    assert probe.parameters == 2 * 5 + 2
    logits = torch.from_numpy(probe.logits(points))
    np.testing.assert_allclose(
        logits.softmax(1), expected.predict_proba(scaled), atol=1e-5
    )


def test_a_feature_that_hardly_varies_gets_no_large_weight() -> None:
    points, targets = clouds(3)
    points[:, 4] = 7 + 1e-6 * np.arange(60)
    weight = fit_probe(points, targets, 3).weight
    assert np.abs(weight[:, 4]).max() < np.abs(weight).max()


def test_features_that_are_all_equal_are_fitted_all_the_same() -> None:
    points = np.ones((6, 2), np.float32)
    assert fit_probe(points, np.arange(6) % 3, 3).parameters == 9


def test_a_fit_uses_no_more_blas_threads_than_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    honest = LogisticRegression.fit

    def spy(self: Any, *data: Any) -> Any:
        pools = threadpool_info()
        seen.extend(pool["num_threads"] for pool in pools)
        return honest(self, *data)

    monkeypatch.setattr(LogisticRegression, "fit", spy)
    torch.set_num_threads(1)
    fit_probe(*clouds(3), 3)
    assert seen
    assert set(seen) == {1}


def test_a_class_without_training_images_is_never_answered() -> None:
    points, targets = clouds(3)
    seen = targets != 1
    probe = fit_probe(points[seen], targets[seen], 4)
    assert set(probe.logits(points).argmax(1)) == {0, 2}


def test_a_head_with_the_probe_answers_as_the_probe() -> None:
    points, targets = clouds(3)
    probe = fit_probe(points, targets, 3)
    head = nn.Linear(5, 3)
    put_into_head(head, probe)
    with torch.no_grad():
        logits = head(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(logits, probe.logits(points), rtol=1e-3, atol=1e-3)
