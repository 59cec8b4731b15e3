from collections.abc import Callable

from resnet_bench.experiments.speed import view
from resnet_bench.store.reading import Run

MakeRun = Callable[..., Run]


def test_published_ratios_stand_beside_the_runs_own(make_run: MakeRun) -> None:
    (table,) = view.published(make_run(variants=(18, 34, 50)))
    frame = table.frame
    own = frame[frame["origin"] == "this run"]
    assert list(own["phase"]) == ["forward", "backward", "step", "inference"]
    assert own["r50_ratio"].between(2, 3.5).all()
    published = frame[frame["origin"] != "this run"]
    assert published["r152_ratio"].dropna().between(4, 9).all()


def test_every_published_row_says_what_differs(make_run: MakeRun) -> None:
    frame = view.published(make_run(variants=(18, 34), batch_size=(16,)))[0].frame
    said = frame.set_index(["device", "phase"])["same_protocol"]
    assert said["2x Xeon E5-2630 v3", "forward"] == "no: mean, not median"
    assert said["GTX 1080 Ti", "forward"] == "no: GPU, mean, not median"


def test_rates_are_turned_into_times(make_run: MakeRun) -> None:
    frame = view.published(make_run(variants=(18, 34)))[0].frame
    row = frame[frame["device"] == "RTX 4090"].iloc[0]
    assert row["r50_ratio"] == 13726.29 / 4302.84


def test_one_variant_alone_has_nothing_to_be_compared(make_run: MakeRun) -> None:
    assert view.published(make_run(variants=(18,))) == []
    assert view.published(make_run(variants=(34, 50))) == []
    assert view.published(make_run(model=("pkg:net",))) == []
    never_run = make_run(variants=(18, 34), keep=lambda line: False)
    assert view.published(never_run) == []


def test_inference_alone_is_compared_with_inference(make_run: MakeRun) -> None:
    frame = view.published(make_run(variants=(18, 34), mode="infer"))[0].frame
    assert set(frame["phase"]) == {"inference"}
