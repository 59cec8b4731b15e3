import pytest

from resnet_bench.statistics.fronts import front

Point = tuple[float | None, float | None]


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([(3, 80), (1, 70), (2, 69)], [(1, 70), (3, 80)]),  # dearer and worse goes
        ([(1, 70), (2, 70)], [(1, 70)]),  # as good and dearer goes
        ([(1, 70), (1, 75)], [(1, 75)]),  # at the same cost the better one stays
        ([(1, 70), (1, 70)], [(1, 70)]),
        ([(None, 90), (1, None), (2, 60)], [(2, 60)]),
        ([(None, None)], []),
        ([], []),
    ],
)
def test_a_front_keeps_what_nothing_cheaper_equals(
    points: list[Point], kept: list[Point]
) -> None:
    assert front(points, lambda each: each[0], lambda each: each[1]) == kept
