import pytest

from resnet_bench.present.published import NAMES, imagenet_accuracy, reference


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
