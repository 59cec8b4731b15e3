from resnet_bench.present.theme import compact


def test_coordinates_are_rounded_and_labels_keep_every_digit() -> None:
    svg = (
        '<path d="M 1.23456 -0.0012 \nL 3.999999 4"/><text x="1.005001">0.00123</text>'
    )
    assert compact(svg) == '<path d="M 1.23 0 L 4 4"/><text x="1.01">0.00123</text>'


def test_a_long_line_is_rounded_to_a_tenth_of_a_point() -> None:
    line = " ".join(f"L {number}.123456 1.0" for number in range(60))
    assert "L 59.1 1" in compact(f'<path d="{line}"/>')


def test_only_ids_that_are_used_are_kept() -> None:
    svg = '<g id="a"/><path id="b" d="M 1 2"/><use xlink:href="#b"/>'
    assert compact(svg) == '<g/><path id="b" d="M 1 2"/><use xlink:href="#b"/>'


def test_text_that_looks_like_geometry_is_left_alone() -> None:
    svg = '<text>d="1.23456" id="z"</text>'
    assert compact(svg) == svg
