from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info
from torch import nn

from resnet_bench.engine.training.fits import fit_probe, put_into_head


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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fit_probe(*clouds(3), 3)
    finally:
        torch.set_num_threads(threads)
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
