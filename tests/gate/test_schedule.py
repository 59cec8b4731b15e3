from resnet_bench.gate.schedule import pair_order


def test_a_pair_depends_on_seed_and_number_only() -> None:
    assert pair_order(0, 5) == pair_order(0, 5)
    assert len({pair_order(0, number).blocks for number in range(20)}) == 2


def test_another_seed_gives_another_order() -> None:
    first = [pair_order(0, number).blocks for number in range(20)]
    assert first != [pair_order(1, number).blocks for number in range(20)]


def test_each_side_gets_as_many_legs_and_first_legs() -> None:
    order = pair_order(0, 0)
    assert sorted(order.blocks) == ["ABBA", "BAAB"]
    assert order.legs.count("base") == order.legs.count("head") == 4
