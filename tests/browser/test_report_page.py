"""Opens a report in headless Chromium.

Needs Debian's chromium and `npm install --prefix tests/browser`; .ci/run does both.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from resnet_bench.commands.report import ReportConfig, make_report
from resnet_bench.output import DisplayOptions, Output
from tests.toys.page_runs import store_everything, store_spoiled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).with_name("visit.cjs")
HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shots")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, shots: Path) -> dict[str, Any]:
    results = tmp_path_factory.mktemp("results")
    store_everything(results)
    store_spoiled(results, HOSTILE)
    output = Output(DisplayOptions(quiet=True))
    make_report(ReportConfig(results=results), output)
    command = ["node", str(SCRIPT), str(results / "report.html"), str(shots)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_page_makes_no_request_and_no_complaint(seen: dict[str, Any]) -> None:
    assert seen["requests"] == []
    assert seen["console"] == []


def test_no_script_of_a_run_file_runs(seen: dict[str, Any]) -> None:
    assert seen["dialogs"] == []


def test_axe_finds_nothing_serious(seen: dict[str, Any]) -> None:
    wrong = [
        violation
        for found in seen["violations"].values()
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert wrong == []


def test_nothing_sticks_out_of_the_screen(seen: dict[str, Any]) -> None:
    assert seen["overflow"] == {"wide": 0, "phone": 0}


def test_axe_looked_at_both_widths_in_both_colour_schemes(seen: dict[str, Any]) -> None:
    assert set(seen["violations"]) == {"light", "dark", "phone", "phoneDark"}


def test_what_is_too_wide_for_a_phone_scrolls_inside_itself(
    seen: dict[str, Any],
) -> None:
    assert seen["regions"]["tables"] > 0
    assert seen["regions"]["wide"] > seen["regions"]["tables"]
    assert seen["regions"]["stuck"] == 0


def test_the_keyboard_reaches_what_scrolls_and_nothing_idle(
    seen: dict[str, Any],
) -> None:
    assert seen["firstStop"] == "Skip to the summary"
    assert seen["regions"]["unreachable"] == 0
    assert seen["regions"]["idle_stops"] == 0


def test_letters_of_figures_are_large_enough_to_read_on_a_phone(
    seen: dict[str, Any],
) -> None:
    assert seen["smallestText"] > 7


def natural(text: str) -> list[tuple[bool, float, str]]:
    """Return what orders ResNet-18 before ResNet-101, and numbers by their size."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return [
        (True, float(part), "") if part[0].isdigit() else (False, 0.0, part)
        for part in parts
    ]


def test_tables_are_sorted_by_click_and_by_key(seen: dict[str, Any]) -> None:
    rising, falling = seen["sorted"]["rising"], seen["sorted"]["falling"]
    assert (rising["state"], falling["state"]) == ("ascending", "descending")
    up, down = ([natural(text) for text in each["order"]] for each in (rising, falling))
    assert len(set(rising["order"])) > 1
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)


def test_tables_are_filtered_and_say_how_many_rows_are_left(
    seen: dict[str, Any],
) -> None:
    assert seen["all"] > 6
    assert seen["none"] == 0
    assert seen["announced"] == f"0 of {seen['all']} rows"


def test_columns_are_shown_when_asked_for(seen: dict[str, Any]) -> None:
    assert seen["extra"] == [False, True]


def test_a_variant_is_highlighted_in_every_figure(seen: dict[str, Any]) -> None:
    assert seen["pressed"] == "true"
    assert seen["highlight"]["strong"] > 0
    assert seen["highlight"]["faint"] > 0
    assert seen["highlight"]["wrong"] == 0


def test_screenshots_and_a_print_are_left_behind(
    seen: dict[str, Any], shots: Path
) -> None:
    names = {path.name for path in shots.iterdir() if path.stat().st_size > 10_000}
    wide, phone = {"wide-light.png", "wide-dark.png"}, {"phone.png", "phone-dark.png"}
    assert names >= {*wide, *phone, "highlight.png", "print.pdf"}
