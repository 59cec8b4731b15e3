import pytest

from resnet_bench.present.machines import (
    differences,
    load_warning,
    machine_title,
    short_processor,
)


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("Intel(R) Xeon(R) Processor @ 2.70GHz", "Intel Xeon"),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", "Intel Core i7-9750H"),
        ("AMD EPYC 7B13 64-Core Processor", "AMD EPYC 7B13"),
        ("Apple M2", "Apple M2"),
        ("Processor", "Processor"),
    ],
)
def test_a_processor_is_named_without_filler(full: str, short: str) -> None:
    assert short_processor(full) == short


@pytest.mark.parametrize(
    ("environment", "device", "title"),
    [
        ({"cpu": {"model": "Apple M2", "usable_cores": 8}}, "cpu", "Apple M2, 8 cores"),
        ({"cpu": {"model": "Apple M2", "usable_cores": 1}}, "cpu", "Apple M2, 1 core"),
        (
            {"cpu": {"model": None, "usable_cores": 2}},
            "cpu",
            "unknown machine, 2 cores",
        ),
        ({"cpu": {"model": "Apple M2"}}, "cpu", "Apple M2"),
        (
            {"cpu": {"model": "AMD EPYC", "instructions": ["avx2", "fma"]}},
            "cpu",
            "AMD EPYC (AVX2)",
        ),
        (
            {"cpu": {"model": "AMD EPYC", "instructions": ["avx2", "avx512f"]}},
            "cpu",
            "AMD EPYC (AVX-512)",
        ),
        ({}, "cpu", "unknown machine"),
        ({"gpus": [{"name": "A"}, {"name": "B"}]}, "cuda", "A"),
        ({"gpus": [{"name": "A"}, {"name": "B"}]}, "cuda:1", "B"),
        ({"gpus": [{"name": None}]}, "cuda:0", "unknown machine"),
        ({}, "cuda:0", "unknown GPU"),
    ],
)
def test_a_machine_is_named_by_what_did_the_work(
    environment: dict[str, object], device: str, title: str
) -> None:
    assert machine_title(environment, device) == title


def test_differences_are_named_with_both_values() -> None:
    base = {"torch": {"version": "1", "cuda": None}, "threads": 1}
    head = {"torch": {"version": "2", "cuda": None}, "gpus": []}
    assert differences(base, head) == {
        "gpus": {"base": None, "head": []},
        "threads": {"base": 1, "head": None},
        "torch.version": {"base": "1", "head": "2"},
    }


def test_memory_differs_where_a_person_would_see_it() -> None:
    base = {"memory": {"total_bytes": 25_276_502_016}}
    head = {"memory": {"total_bytes": 25_276_059_648}}
    assert differences(base, head) == {}
    head = {"memory": {"total_bytes": 2**35, "limit_bytes": 2**30}}
    assert differences(base, head) == {
        "memory.limit": {"base": None, "head": "1.0 GiB"},
        "memory.total": {"base": "23.5 GiB", "head": "32.0 GiB"},
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


@pytest.mark.parametrize("load", [None, 0.3])
def test_an_idle_machine_is_not_warned_of(load: float | None) -> None:
    assert load_warning({"load": load}) is None


def test_load_is_told_with_what_to_do() -> None:
    warning = load_warning({"load": 1.854})
    assert warning is not None
    assert warning.startswith("load 1.85 over the last minute")
