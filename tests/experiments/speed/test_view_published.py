from collections.abc import Callable

from resnet_bench.store.reading import Run
from tests.toys.speed_runs import shown_of

MakeRun = Callable[..., Run]


def test_published_ratios_stand_beside_the_runs_own(make_run: MakeRun) -> None:
    (table,) = shown_of(make_run(variants=(18, 34, 50))).published
    frame = table.frame
    own = frame[frame["origin"] == "this run"]
    assert list(own["phase"]) == ["forward", "backward", "step", "inference"]
    assert own["r50_ratio"].between(2, 3.5).all()
    assert set(own["protocol"]) == {"median of 8 visits"}
    published = frame[frame["origin"] != "this run"]
    assert published["r152_ratio"].dropna().between(4, 9).all()


def test_every_published_row_says_what_differs(make_run: MakeRun) -> None:
    frame = shown_of(make_run(variants=(18, 34), batch_size=(16,))).published[0].frame
    said = frame.set_index(["device", "phase"])["same_protocol"].to_dict()
    assert said["2x Xeon E5-2630 v3", "forward"] == "no: mean, not median"
    assert said["GTX 1080 Ti", "forward"] == "no: GPU, mean, not median"


def test_rates_are_turned_into_times(make_run: MakeRun) -> None:
    frame = shown_of(make_run(variants=(18, 34))).published[0].frame
    row = frame[frame["device"] == "RTX 4090"].iloc[0]
    assert row["r50_ratio"] == 13726.29 / 4302.84


def test_one_variant_alone_has_nothing_to_be_compared(make_run: MakeRun) -> None:
    assert shown_of(make_run(variants=(18,))).published == []
    assert shown_of(make_run(variants=(34, 50))).published == []
    assert shown_of(make_run(model=("pkg:net",))).published == []
    never_run = make_run(variants=(18, 34), keep=lambda line: False)
    assert shown_of(never_run).published == []


def test_inference_alone_is_compared_with_inference(make_run: MakeRun) -> None:
    frame = shown_of(make_run(variants=(18, 34), mode="infer")).published[0].frame
    assert set(frame["phase"]) == {"inference"}


def test_timms_figures_have_the_same_protocol_only_under_timms_rules(
    make_run: MakeRun,
) -> None:
    options = {"variants": (18, 34), "batch_size": (1,), "mode": "infer"}
    run = make_run(protocol="timm", **options)
    frame = shown_of(run).published[0].frame
    assert frame["protocol"][0] == "mean of 40 calls"
    said = frame.set_index("device")["same_protocol"]
    assert said["Core i9-10940X"] == "no: compiled"
    compiled = shown_of(make_run(protocol="timm", compile=True, **options)).published
    said = compiled[0].frame.set_index("device")["same_protocol"]
    assert said["Core i9-10940X"] == "yes"
    own = shown_of(make_run(compile=True, **options)).published[0].frame
    said = own.set_index("device")["same_protocol"]
    assert said["Core i9-10940X"] == "no: mean, not median"
