import pytest

from resnet_bench.present.published import (
    NAMES,
    beside_published,
    imagenet_accuracy,
    published_table,
    reference,
    same_protocol,
)


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_names_where_it_is_from(name: str) -> None:
    table = reference(name)
    assert len(table) > 0
    origin = {"source", "sha256_prefix", "paper_note"} & set(table.columns)
    assert origin


def test_torchvisions_accuracy_is_found_by_variant_and_weights() -> None:
    assert imagenet_accuracy(18) == 69.758
    assert imagenet_accuracy(50, "IMAGENET1K_V2") == 80.858
    assert imagenet_accuracy(18, "IMAGENET1K_V2") is None


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(KeyError, match="expected cifar"):
        reference("nothing")


def test_rows_stand_beside_the_published_rows_of_the_same_keys() -> None:
    probe, other = {"strategy": "linear probe"}, {"strategy": "unheard of"}
    keys = {"strategy": "strategy"}
    pairs = list(beside_published([probe, other], "transfer_resnet50", keys))
    assert [(own, published["cifar10"]) for own, published in pairs] == [(probe, 93.6)]


def test_the_row_that_differs_least_says_what_differs() -> None:
    far, near = {"GPU": True, "batch 8": True}, {"GPU": True, "batch 8": False}
    assert same_protocol(far, near) == "no: GPU"
    assert same_protocol(far, {"GPU": False}) == "yes"


def test_a_table_of_published_figures_ends_in_whether_they_compare() -> None:
    line = {"depth": 20, "same_protocol": "yes"}
    table = published_table([line], title="Errors", narrow=["depth"])
    assert table is not None
    assert list(table.narrow) == ["depth", "same_protocol"]
    assert published_table([], title="Errors", narrow=[]) is None
