"""Printing: what a person sees of a result, and at the end of a run."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resnet_bench.errors import UsageError
from resnet_bench.options import ExportOptions
from resnet_bench.output import DisplayOptions, Output
from resnet_bench.present.exports import conclude, show
from resnet_bench.present.shown import Shown
from resnet_bench.present.tables import Table

MAIN = Table(
    name="main",
    title="The main table",
    frame=pd.DataFrame([{"model": "net"}]),
    narrow=["model"],
    notes=["Found it.", "note 1", "note 2", "note 3", "note 4"],
)
DETAIL = Table(
    name="further", title="Further", frame=MAIN.frame, narrow=["model"], detail=True
)
SHOWN = Shown(json={}, tables=[MAIN, DETAIL], notices=["Mind."], headline=["Found it."])


def test_a_run_ends_with_what_was_found_its_table_and_three_notes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    conclude(SHOWN, ExportOptions(), Output(DisplayOptions()))
    out, err = capsys.readouterr()
    assert err == "Mind.\n"
    assert out.startswith("Found it.\n")
    assert out.count("Found it.") == 1
    assert out.index("The main table") < out.index("note 1") < out.index("note 3")
    assert "note 4" not in out
    assert "Further" not in out


def test_verbose_ends_with_every_table_and_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    conclude(SHOWN, ExportOptions(), Output(DisplayOptions(verbose=1)))
    out, _ = capsys.readouterr()
    assert "note 4" in out
    assert "Further" in out


def test_quiet_prints_no_legend(capsys: pytest.CaptureFixture[str]) -> None:
    for printed in (conclude, show):
        printed(SHOWN, ExportOptions(), Output(DisplayOptions(quiet=True)))
        out, err = capsys.readouterr()
        assert "The main table" in out
        assert "note" not in out
        assert err == ""


@pytest.mark.parametrize(
    "forms",
    [
        {"json": True, "export_json": Path("-")},
        {"json": True, "export_csv": Path("-")},
        {"export_csv": Path("-"), "export_markdown": Path("-")},
    ],
)
def test_two_results_on_stdout_are_refused(forms: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="stdout takes one result"):
        ExportOptions(**forms)
    ExportOptions(json=True, export_csv=Path("a"), export_json=Path("b"))
