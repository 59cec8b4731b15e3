from resnet_bench.gate.records import pair_order


def test_a_pair_depends_on_seed_and_number_only() -> None:
    assert pair_order(0, 5) == pair_order(0, 5)
    assert len({pair_order(0, number).block for number in range(20)}) == 2


def test_another_seed_gives_another_order() -> None:
    first = [pair_order(0, number).block for number in range(20)]
    assert first != [pair_order(1, number).block for number in range(20)]


def test_each_side_gets_as_many_legs_around_the_same_moment() -> None:
    order = pair_order(0, 0)
    assert order.legs.count("base") == order.legs.count("head") == 2
    moments = {
        side: sum(moment for moment, leg in enumerate(order.legs) if leg == side)
        for side in ("base", "head")
    }
    assert moments["base"] == moments["head"]
