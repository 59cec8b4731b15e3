import dataclasses
from xml.etree import ElementTree as ET

from resnet_bench.errors import ExitCode, NotComparableError
from resnet_bench.gate.deciding import Verdict
from resnet_bench.gate.report import (
    Report,
    annotations_of,
    collapsed,
    junit_of,
    refusal,
    shown_of,
    tables_of,
)
from resnet_bench.gate.rows import Row
from resnet_bench.present.exports import markdown_text
from resnet_bench.present.tables import shown_rows
from resnet_bench.statistics.intervals import Interval

SLOW = Row(
    case="a:forward",
    metric="seconds",
    verdict=Verdict.REGRESSION,
    base=0.01,
    head=0.012,
    ratio=Interval(1.2, 1.1, float("inf"), 12),
    unit="s",
    because="it is 20 % slower",
)
UNCLEAR = Row(
    case="b:forward",
    metric="seconds",
    verdict=Verdict.INCONCLUSIVE,
    unit="s",
    because="few",
)
SAME = [
    Row(case="a:exact", metric=name, verdict=Verdict.PASS, because="identical")
    for name in ("flops", "parameters")
]
GONE = Row(case="c:exact", metric="exact", verdict=Verdict.MISSING, because="gone")
REPORT = Report(command="check", rows=[SLOW, UNCLEAR, *SAME, GONE], notices=["Hm."])


def test_the_worst_row_decides_the_exit_code() -> None:
    assert REPORT.exit_code is ExitCode.REGRESSION
    assert (
        Report(command="check", rows=[UNCLEAR, GONE]).exit_code is ExitCode.INCOMPLETE
    )
    unclear = Report(command="check", rows=[UNCLEAR, *SAME])
    assert unclear.exit_code is ExitCode.OK
    for strict, too_few in ((True, False), (False, True)):
        report = dataclasses.replace(unclear, strict=strict, too_few=too_few)
        assert report.exit_code is ExitCode.NOT_COMPARABLE
        assert report.json["exit_code"] == 5
    assert Report(command="check", rows=SAME, strict=True).exit_code is ExitCode.OK


def test_junit_has_a_failure_a_skip_and_an_error() -> None:
    suite = ET.fromstring(junit_of(REPORT))
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "1", "1"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "regression: it is 20 % slower"


def test_annotations_name_what_needs_attention_and_escape_it() -> None:
    lines = annotations_of(REPORT)
    assert [line.split()[0] for line in lines] == ["::error", "::warning", "::error"]
    assert "20 %25 slower" in lines[0]
    assert "a%3Aforward" in lines[0]


def test_markdown_has_both_tables_and_the_conclusion() -> None:
    text = markdown_text(shown_of(REPORT))
    assert "### Seconds per call, head against base" in text
    assert "2 quantities identical" in text
    assert "Hm.\n" in text
    assert text.endswith("check: 1 regression, 2 pass, 1 inconclusive, 1 missing\n")


def test_json_has_no_infinite_bounds() -> None:
    content = shown_of(REPORT).json
    assert content["exit_code"] == 3
    ratio = {"estimate": 1.2, "low": None, "high": None, "n": 12}
    assert content["rows"][0]["ratio"] == ratio


def test_nothing_to_compare_is_said() -> None:
    assert Report(command="check", rows=[]).summary == "check: nothing to compare"
    assert tables_of(Report(command="check", rows=[])) == []


def test_a_refusal_is_one_row() -> None:
    report = refusal("check", NotComparableError("no subject"))
    assert report.exit_code is ExitCode.NOT_COMPARABLE
    assert junit_of(report).count("no subject") == 2  # an attribute and the text
    assert markdown_text(shown_of(report)).count("no subject") == 1


def test_a_reason_is_told_once_in_a_table_or_below() -> None:
    assert markdown_text(shown_of(REPORT)).count("gone") == 1
    assert REPORT.troubles == ["b:forward seconds: inconclusive, because few."]


def test_a_reason_that_many_rows_share_is_told_once() -> None:
    wide = dataclasses.replace(
        SLOW,
        verdict=Verdict.INCONCLUSIVE,
        because="bounds -1.0 % to +9.0 % allow both a regression and a pass",
    )
    rows = [
        wide,
        dataclasses.replace(wide, because=wide.because.replace("9", "8")),
        dataclasses.replace(wide, because="the head row is noisy"),
    ]
    assert Report(command="compare", rows=rows).troubles == [
        "2 rows are inconclusive, because their bounds allow both a regression and a "
        "pass.",
        f"{wide.case} {wide.metric}: inconclusive, because the head row is noisy.",
    ]


def changed(case: str, metric: str, base: float | str, head: float | str) -> Row:
    return Row(case, metric, Verdict.REGRESSION, "changed", base, head)


def test_all_that_got_worse_of_a_network_is_one_sentence() -> None:
    step = dataclasses.replace(SLOW, case="a:step", ratio=Interval(1.3, 1.2, 1.4, 12))
    rows = [
        SLOW,
        step,
        dataclasses.replace(SLOW, case="b:forward"),
        changed("a:exact", "flops", 20, 30),
        changed("a:exact", "output_checksum", "x", "y"),
        Row("b:exact", "flops", Verdict.PASS, "identical", 20, 20),
        changed("c:exact", "parameters", 5, 6),
        changed("d:accuracy", "accuracy", 0.96, 0.9),
    ]
    shown = shown_of(Report(command="check", rows=rows))
    assert shown.headline == [
        "a is slower (forward +20.0 %, step +30.0 %); its exact quantities changed "
        "too: flops, output_checksum.",
        "b is slower (forward +20.0 %); its exact quantities are the same.",
        "Exact quantities of c changed: parameters.",
        "d got worse (accuracy 0.96 → 0.9).",
    ]


def test_changed_quantities_of_a_case_are_one_row_of_the_table_only() -> None:
    rows = [
        changed("a:exact", "flops", 2000, 3000),
        changed("a:exact", "output_checksum", "x", "y"),
        *SAME,
    ]
    shown = [(row.metric, row.because) for row in collapsed(rows)]
    assert shown == [
        ("2 quantities", "flops 2,000 → 3,000, another output_checksum"),
        ("others", "2 quantities identical"),
    ]
    report = Report(command="check", rows=rows)
    assert len(report.json["rows"]) == len(ET.fromstring(junit_of(report))) == 4


def test_a_quantity_that_one_side_could_not_count_is_told() -> None:
    rows = [
        Row("a:exact", "flops", Verdict.REGRESSION, "changed", 2000, None),
        Row("a:exact", "parameters", Verdict.REGRESSION, "changed", None, 5),
        Row("a:exact", "output_checksum", Verdict.REGRESSION, "changed", None, "x"),
    ]
    report = Report(command="check", rows=rows)
    assert report.findings == [
        "Exact quantities of a changed: flops, parameters, output_checksum."
    ]
    assert [row.because for row in collapsed(rows)] == [
        "flops 2,000 → unknown, parameters unknown → 5, another output_checksum"
    ]


def test_a_changed_quantity_is_not_collapsed() -> None:
    changed = Row(case="a:exact", metric="flops", verdict=Verdict.REGRESSION)
    assert collapsed([changed, SAME[1]]) == [changed, SAME[1]]
    shown = collapsed([SAME[0], changed, SAME[1]])
    assert [(row.metric, row.because) for row in shown] == [
        ("flops", ""),
        ("others", "2 quantities identical"),
    ]


def test_an_uneven_interval_is_shown_by_its_ends() -> None:
    uneven = dataclasses.replace(SLOW, ratio=Interval(1.769, 1.503, 1.9, 12))
    (table,) = tables_of(Report(command="check", rows=[uneven]))
    ((change,),) = shown_rows(table, ["change_percent"])
    assert (change.text, change.spread) == ("76.9", "[50.3, 90.0]")
