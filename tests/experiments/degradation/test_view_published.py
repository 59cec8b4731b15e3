from resnet_bench.experiments.degradation.view import show as view
from tests.experiments.degradation.synthetic import synthetic_run


def test_published_errors_stand_beside_the_same_networks_here() -> None:
    (table,) = view.published(synthetic_run())
    frame = table.frame
    assert set(frame["depth"]) <= {20, 32, 44, 56, 110}
    plain = frame[(frame["shortcut"] == "plain") & (frame["depth"] == 56)].iloc[0]
    assert plain["published_train_percent"] == 5.24
    assert plain["train_percent_low"] <= plain["train_percent"]


def test_every_published_row_says_what_differs() -> None:
    run = synthetic_run()
    steps = f"{run.rows('training_result')[0]['steps']:,} steps, not 64,000"
    said = set(view.published(run)[0].frame["same_protocol"])
    assert any("digits, not CIFAR-10" in words for words in said)
    assert any(steps in words for words in said)


def test_the_papers_recipe_on_its_data_is_the_same_protocol() -> None:
    run = synthetic_run()
    run.header["config"] = {**run.config, "dataset": "cifar10", "recipe": "paper"}
    assert set(view.published(run)[0].frame["same_protocol"]) == {"yes"}


def test_a_bound_in_words_stays_words() -> None:
    frame = view.published(synthetic_run(depths=(8, 20, 110)))[0].frame
    assert ">60" in set(frame["published_test_percent"])


def test_networks_that_nobody_published_are_not_compared() -> None:
    assert view.published(synthetic_run(depths=(8, 14))) == []


def test_the_headline_counts_the_verdicts() -> None:
    assert any("supported" in each for each in view.headline(synthetic_run()))
