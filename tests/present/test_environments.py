from resnet_bench.present.machines import differences


def test_differences_are_named_with_both_values() -> None:
    base = {"torch": {"version": "1", "cuda": None}, "threads": 1}
    head = {"torch": {"version": "2", "cuda": None}, "gpus": []}
    assert differences(base, head) == {
        "gpus": {"base": None, "head": []},
        "threads": {"base": 1, "head": None},
        "torch.version": {"base": "1", "head": "2"},
    }


def test_what_changes_every_minute_is_left_out() -> None:
    base = {
        "load": {"one": 1},
        "memory": {"available_bytes": 1},
        "git": {"commit": "a"},
    }
    head = {
        "load": {"one": 2},
        "memory": {"available_bytes": 2},
        "git": {"commit": "b"},
    }
    assert differences(base, head) == {}
