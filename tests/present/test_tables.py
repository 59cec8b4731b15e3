import csv
import io
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from resnet_bench.present import tables
from resnet_bench.present.tables import Table
from resnet_bench.present.terminal import print_table


def table(*rows: dict[str, Any], **changes: Any) -> Table:
    frame = pd.DataFrame(list(rows), dtype=object)
    settings = {"name": "t", "title": "A title", "narrow": list(frame.columns)[:8]}
    return Table(frame=frame, **{**settings, **changes})


def text_of(made: Table, column: str, row: int = 0) -> str:
    return tables.shown_rows(made, [column])[row][0].text


@pytest.mark.parametrize(
    ("column", "value", "heading", "text"),
    [
        ("forward_seconds", 0.04512, "forward (ms)", "45.1"),
        ("forward_seconds", 4.2e-5, "forward (µs)", "42.0"),
        ("training_seconds", 83.4, "training (s)", "83.4"),
        ("training_seconds", 7260.0, "training (min)", "121"),
        ("peak_bytes", 3 * 2**30, "peak (GiB)", "3"),
        ("peak_bytes", 90_000_000, "peak (MiB)", "85.8"),
        ("peak_bytes", 4096, "peak (KiB)", "4"),
        ("train_images_per_second", 29.14, "train (images/s)", "29.1"),
        ("test_error_percent", 2.5, "test error (%)", "2.50"),
        ("gain_points", 0.0, "gain (pp)", "0"),
        ("efficiency_fraction", 0.431, "efficiency (%)", "43.1"),
        ("gmac", 1.814074, "gmac (GMAC)", "1.81"),
        ("parameters", 11689512, "parameters", "11,689,512"),
        ("batch_size", 4, "batch size", "4"),
        ("loss", math.inf, "loss", "∞"),
        ("loss", -math.inf, "loss", "-∞"),
        ("converged", True, "converged", "yes"),
        ("converged", False, "converged", "no"),
        ("flags", [], "flags", "—"),
        ("flags", ["noisy", "throttled"], "flags", "noisy, throttled"),
        ("name", None, "name", "—"),
    ],
)
def test_a_value_is_shown_in_the_unit_its_column_name_tells(
    column: str, value: object, heading: str, text: str
) -> None:
    made = table({column: value})
    assert tables.heading(made, column) == heading
    shown = text_of(made, column)
    assert shown == text or float(shown) == float(text)


def test_one_column_is_shown_in_one_unit_however_far_its_values_spread() -> None:
    made = table({"step_seconds": 1e-4}, {"step_seconds": 2.0})
    assert tables.heading(made, "step_seconds") == "step (ms)"
    assert [text_of(made, "step_seconds", row) for row in (0, 1)] == ["0.100", "2000"]


def test_an_interval_belongs_to_the_column_it_bounds() -> None:
    row = {"step_seconds": 0.1, "step_seconds_low": 0.099, "step_seconds_high": 0.103}
    made = table(row, narrow=["step_seconds"])
    shown = tables.shown_rows(made, ["step_seconds"])[0][0]
    assert (shown.text, shown.bounds, shown.spread) == ("100", "[99.0, 103]", "±3.0 %")
    assert tables.columns_shown(made, wide=True) == ["step_seconds"]


def test_the_spread_of_a_percentage_is_in_points_of_it() -> None:
    row = {"error_percent": 2.0, "error_percent_low": 1.0, "error_percent_high": 2.5}
    made = table(row, narrow=["error_percent"])
    assert tables.shown_rows(made, ["error_percent"])[0][0].spread == "±1.0"


def test_an_unbounded_interval_says_that_its_width_is_unknown() -> None:
    row = {"ratio": 2.0, "ratio_low": -math.inf, "ratio_high": math.inf}
    made = table(row, narrow=["ratio"])
    shown = tables.shown_rows(made, ["ratio"])[0][0]
    assert (shown.spread, shown.bounds) == ("[-∞, ∞]", "[-∞, ∞]")


def test_a_wide_interval_is_shown_by_its_ends() -> None:
    row = {"ratio": 1.0, "ratio_low": 0.5, "ratio_high": 1.2}
    made = table(row, narrow=["ratio"])
    assert tables.shown_rows(made, ["ratio"])[0][0].spread == "[0.500, 1.20]"


def test_without_bounds_the_number_of_rounds_stands_beside_a_value() -> None:
    row = {"ratio": 1.0, "ratio_low": None, "ratio_high": None, "ratio_rounds": 2}
    made = table(row, narrow=["ratio"])
    assert tables.shown_rows(made, ["ratio"])[0][0].spread == "(2 rounds)"
    assert tables.columns_shown(made, wide=True) == ["ratio"]


def test_narrow_columns_must_exist_and_be_few() -> None:
    with pytest.raises(ValueError, match="lacks columns speed"):
        table({"a": 1}, narrow=["speed"])
    nine = {f"column{index}": index for index in range(9)}
    with pytest.raises(ValueError, match="more than eight"):
        table(nine, narrow=list(nine))


def test_markdown_holds_title_units_bounds_and_notes() -> None:
    row = {"model": "R", "x_seconds": 1.0, "x_seconds_low": 0.9, "x_seconds_high": 1.1}
    made = table(row, narrow=["model", "x_seconds"], notes=["A note."])
    lines = tables.markdown(made).splitlines()
    assert lines[0] == "### A title"
    assert "x (ms)" in lines[2]
    assert "1000 [900, 1100]" in lines[4]
    assert lines[-1] == "- A note."


def test_markdown_shows_hostile_text_as_text() -> None:
    made = table({"model": "<script>|a*b_c`\n# x"}, title="<b>")
    text = tables.markdown(made)
    assert "<" not in text
    assert "&lt;script\\>\\|a\\*b\\_c\\` # x" in text


def test_headers_override_words_but_not_units() -> None:
    made = table(
        {"train_images_per_second": 3.0},
        headers=dict.fromkeys(["train_images_per_second"], "train"),
    )
    assert tables.heading(made, "train_images_per_second") == "train (images/s)"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_gives_back_every_float_exactly(values: list[float]) -> None:
    made = table(*({"x_seconds": value} for value in values))
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(made))))
    assert [float(row["x_seconds"]) for row in rows] == values


def test_whole_numbers_stay_whole_in_csv_beside_unknown_ones() -> None:
    made = table({"parameters": 11689512}, {"parameters": None})
    assert tables.csv_text(made) == 'parameters\n11689512\n""\n'


def test_lists_are_joined_in_csv() -> None:
    made = table({"flags": ["noisy", "throttled"]})
    assert tables.csv_text(made) == "flags\nnoisy;throttled\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1 %", "@x", "\t=1", " =1"])
def test_a_text_is_no_formula_in_csv(text: str) -> None:
    made = table({"model": text, "flags": [text, "b"], "change": -0.5})
    (row,) = csv.DictReader(io.StringIO(tables.csv_text(made)))
    assert row == {"model": f"'{text}", "flags": f"'{text};b", "change": "-0.5"}


def test_control_characters_are_shown_as_such() -> None:
    bell = "a\x1b[2Jb"
    made = table(
        {"model": bell, "flags": [bell]},
        title=bell,
        notes=[bell],
        headers={"flags": bell},
    )
    console = Console(file=io.StringIO(), width=80)
    print_table(made, console)
    for text in (
        console.file.getvalue(),  # type: ignore[attr-defined]
        tables.markdown(made).replace("\\\\", "\\"),
    ):
        assert text.count("a\\x1b[2Jb") == 5
        assert "\x1b" not in text
    assert "\x1b" not in tables.csv_text(made)
    assert tables.code(bell) == "`a\\x1b[2Jb`"
