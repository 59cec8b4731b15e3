from resnet_bench.reports.shown import shown
from tests.experiments.finetune.stored import resolved, stored_run


def test_published_accuracies_stand_beside_each_strategy() -> None:
    (table,) = shown(stored_run(resolved())).published
    frame = table.frame.set_index(["model", "strategy"])
    assert frame["cifar10_percent"]["ResNet-18", "probe"] == 93.6
    assert frame["accuracy_percent"]["ResNet-18", "full"] > 90


def test_every_row_says_in_what_it_differs() -> None:
    frame = shown(stored_run(resolved())).published[0].frame
    said = frame.set_index(["model", "strategy"])["same_protocol"]
    words = said["ResNet-18", "probe"]
    assert words.startswith("no: digits-5-9, ResNet-18, weights suite")
    assert "weights" not in said["ResNet-18", "scratch"]


def test_strategies_that_nobody_published_are_left_out() -> None:
    run = stored_run(resolved())
    for parameters in run.grid.values():
        parameters["strategy"] = "last-stage"
    assert shown(run).published == []


def test_the_headline_names_the_origin_of_the_weights() -> None:
    assert "suite" in shown(stored_run(resolved())).headline[0]


def test_the_headline_tells_what_each_network_reached() -> None:
    said = shown(stored_run(resolved(variants=(18, 34)))).headline
    told = "test accuracy in percent: probe 95.2, full 98.5, scratch 97.5."
    assert said[1:3] == [f"ResNet-18, {told}", f"ResNet-34, {told}"]
