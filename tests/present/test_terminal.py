import io
from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from rich.console import Console
from rich.text import Text

from resnet_bench.present.tables import Table
from resnet_bench.present.terminal import print_table

ROW = {
    "model": "ResNet-152",
    "forward_seconds": 0.451,
    "forward_seconds_low": 0.447,
    "forward_seconds_high": 0.461,
    "backward_seconds": 0.889,
    "step_seconds": 1.37,
    "inference_seconds": 0.4,
    "train_images_per_second": 2.91,
    "train_peak_memory_bytes": 4.1e9,
    "verdict": "closure-failed",
    "parameters": 60192808,
    "activations": 1234567890123,
}
NARROW = [name for name in ROW if not name.endswith(("_low", "_high"))][:8]
HEADERS = {"inference_seconds": "infer", "train_images_per_second": "train"}
HEADERS |= {"train_peak_memory_bytes": "memory"}


def printed(
    width: int,
    *,
    terminal: bool,
    wide: bool,
    color: bool = False,
    rows: Sequence[Mapping[str, object]] = (ROW,),
) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, no_color=not color
    )
    frame = pd.DataFrame(rows, dtype=object)
    table = Table("t", "The title", frame, NARROW, ["The note."], HEADERS)
    print_table(table, console, wide=wide)
    assert console.width == width
    return stream.getvalue()


def test_eight_columns_fit_a_terminal_of_eighty() -> None:
    text = printed(80, terminal=True, wide=False)
    lines = Text.from_ansi(text).plain.splitlines()
    assert text.count("closure-failed") == 1
    assert text.count("ResNet-152") == 1
    assert all(len(line) <= 80 for line in lines)


def test_a_table_too_wide_for_a_pipe_is_widened_not_cut() -> None:
    text = printed(80, terminal=False, wide=True)
    row = next(line for line in text.splitlines() if "ResNet-152" in line)
    assert len(row) > 80
    assert row.split()[-1] == "1,234,567,890,123"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_table_too_wide_for_a_terminal_continues_in_blocks(width: int) -> None:
    text = printed(width, terminal=True, wide=True)
    assert text.count("ResNet-152") > 1
    for value in ("451", "889", "1370", "60,192,808", "1,234,567,890,123"):
        assert value in text


def test_every_block_says_which_row_it_is_about() -> None:
    settings = ("float32", "bfloat16")
    rows = [{"model": "ResNet-152", "setting": each} | ROW for each in settings]
    text = Text.from_ansi(printed(60, terminal=True, wide=True, rows=rows)).plain
    assert text.count("ResNet-152") == 2 * text.count(" float32") > 2
    assert text.count("ResNet-152") == 2 * text.count("bfloat16")
    # Where both do not fit beside a number, the model's name alone is repeated.
    narrow = Text.from_ansi(printed(30, terminal=True, wide=True, rows=rows)).plain
    assert narrow.count("ResNet-152") > 2 * narrow.count("bfloat16") > 0


@pytest.mark.parametrize("width", [1, 12, 20])
def test_on_a_very_narrow_terminal_lines_are_broken_and_no_number_is_cut(
    width: int,
) -> None:
    text = Text.from_ansi(printed(width, terminal=True, wide=True)).plain
    for value in (
        "ResNet-152",
        "451",
        "889",
        "1370",
        "60,192,808",
        "1,234,567,890,123",
    ):
        assert value in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_words_are_not_cut_and_the_terminal_is_not_exceeded(width: int) -> None:
    words = {
        "model": "ResNet-152, pre-activation",
        "setting": "batch 1, float32, ONNX Runtime",
        "verdict": "oversubscribed",
        "flags": "not-warmed-up, oversubscribed",
        "because": "this row was slower than others of its kind by far " * 2,
    }
    names = ["model", "setting", *NARROW[1:4], "verdict", "flags", "because"]
    frame = pd.DataFrame([{**ROW, **words}], dtype=object)
    table = Table("t", "The title", frame, names)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True)
    print_table(table, console)
    text = Text.from_ansi(stream.getvalue()).plain
    assert {word for told in words.values() for word in told.split()} <= {*text.split()}
    assert all(len(line) <= width for line in text.splitlines())


def test_title_and_notes_frame_the_table() -> None:
    lines = printed(80, terminal=False, wide=False).strip().splitlines()
    assert lines[0].strip() == "The title"
    assert lines[-1].strip() == "The note."


def test_only_a_terminal_gets_colour() -> None:
    assert "\x1b[31m" in printed(80, terminal=True, wide=False, color=True)
    assert "\x1b" not in printed(80, terminal=False, wide=False, color=True)
