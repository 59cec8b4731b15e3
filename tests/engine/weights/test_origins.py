from pathlib import Path

import pytest

from resnet_bench.engine.cache import cache_folder
from resnet_bench.engine.weights.origins import (
    WeightsSource,
    parse_weights,
)
from resnet_bench.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", WeightsSource("auto")),
        ("imagenet", WeightsSource("imagenet", "V1")),
        ("imagenet:V2", WeightsSource("imagenet", "V2")),
        ("imagenet:v1", WeightsSource("imagenet", "V1")),
        ("suite", WeightsSource("suite")),
        ("suite:a/b.safetensors", WeightsSource("suite", path=Path("a/b.safetensors"))),
        ("file:net.pth", WeightsSource("file", path=Path("net.pth"))),
        ("random", WeightsSource("random")),
    ],
)
def test_every_documented_spelling_is_read(text: str, expected: WeightsSource) -> None:
    assert parse_weights(text) == expected


def test_a_persons_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    monkeypatch.setenv("RESNET_BENCH_CACHE", "~/cache")
    assert parse_weights("file:~/net.pth").path == Path("/home/of/net.pth")
    assert parse_weights("suite:~/a").path == Path("/home/of/a")
    assert cache_folder() == Path("/home/of/cache")


@pytest.mark.parametrize("text", ["auto", "imagenet:V1", "file:net.pth", "suite"])
def test_a_source_prints_as_what_is_typed(text: str) -> None:
    assert str(parse_weights(text)) == text


@pytest.mark.parametrize(
    "text", ["", "imagenet:", "imagenet:V3", "file:", "suite:", "Suite", "random:1"]
)
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=r"--weights .*expected auto, imagenet"):
        parse_weights(text)


@pytest.mark.parametrize("variant", [18, 34])
def test_v2_is_refused_for_variants_without_it(variant: int) -> None:
    with pytest.raises(UsageError, match=rf"variant {variant}.*use imagenet:V1"):
        parse_weights("imagenet:V2").check_variant(variant)


def test_v2_is_accepted_where_it_exists() -> None:
    parse_weights("imagenet:V2").check_variant(50)
    parse_weights("imagenet:V1").check_variant(18)
