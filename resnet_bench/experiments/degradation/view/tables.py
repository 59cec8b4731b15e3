"""The tables of a degradation run."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.experiments.degradation.claims.all import claim_row
from resnet_bench.experiments.degradation.claims.judging import Judged, bracketed
from resnet_bench.experiments.degradation.records import GradientSummary, SizeCheck
from resnet_bench.experiments.degradation.view.frames import (
    bounded,
    results_frame,
    standard,
)
from resnet_bench.experiments.degradation.view.words import setting, summary
from resnet_bench.present.published import reference
from resnet_bench.present.tables import Table
from resnet_bench.statistics.estimates import ratio_interval
from resnet_bench.store.reading import Run

#: What the published networks were trained on.
PUBLISHED_DATASET = "cifar10"
PUBLISHED_RECIPE = "paper"


def published_table(run: Run) -> Table | None:
    """Return published errors beside those of the same shortcut and depth here.

    None if the run trained none of the published networks.
    """
    own = standard(results_frame(run))
    longest = own.sort_values("steps").groupby(["shortcut", "depth"]).last()
    known = reference("cifar_plain_vs_residual").to_dict("records")
    lines = [
        _line(row, longest.loc[key].to_dict(), run)
        for row in known
        if (key := (row["shortcut"], int(row["depth"]))) in longest.index
    ]
    if not lines:
        return None
    return Table(
        name="published",
        title="Errors on CIFAR-10 as published, and here",
        frame=pd.DataFrame(lines, dtype=object),
        narrow=[
            *("shortcut", "depth", "published_train_percent", "train_percent"),
            *("published_test_percent", "test_percent", "same_protocol"),
        ],
        notes=[
            "The published figures are single-seed and unofficial: orientation only."
        ],
        headers={"same_protocol": "same protocol?"},
    )


def _line(row: dict[Any, Any], own: dict[Any, Any], run: Run) -> dict[str, Any]:
    errors = ("train_percent", "test_percent")
    measured = [f"{name}{end}" for name in errors for end in ("", "_low", "_high")]
    return {
        "shortcut": row["shortcut"],
        "depth": int(row["depth"]),
        "published_train_percent": _number(row["train_error_percent"]),
        "published_test_percent": _number(row["test_error_percent"]),
        **{name: own[name] for name in measured},
        "same_protocol": same_protocol(run, int(own["steps"])),
        "source": row["source"],
    }


def _number(published: Any) -> Any:
    """Return a published figure as a number; bounds such as `>60` stay words."""
    try:
        return float(published)
    except ValueError:
        return published


def same_protocol(run: Run, steps: int) -> str:
    """Return in what the run differs from the published training."""
    dataset, recipe = run.config.get("dataset"), run.config.get("recipe")
    found = {
        f"{dataset}, not CIFAR-10": dataset != PUBLISHED_DATASET,
        f"{steps:,} steps, not 64,000": recipe != PUBLISHED_RECIPE,
    }
    differences = [words for words, differs in found.items() if differs]
    return f"no: {', '.join(differences)}" if differences else "yes"


MEASURED = (
    "measured: the estimate, its 95 % interval over paired seeds, and the margin fixed "
    "before the run that it must clear; docs/claims.md explains every claim"
)


def claims_table(run: Run, judged: Sequence[Judged]) -> Table:
    """Return a verdict per row; what it shows stands below."""
    rows = [
        {
            "title": each.title,
            "measured": "\n".join(finding.measured for finding in each.findings),
            **claim_row(each, run),
        }
        for each in judged
    ]
    narrow = ["title", "measured", "seeds", "verdict"]
    page = ["claim", "verdict", "measured", "tutorial_sentence", "tutorial_translation"]
    page.append("seeds")
    columns = list(rows[0]) if rows else [*narrow, *page]
    return Table(
        name="claims",
        title=f"Claims: {setting(run)}",
        frame=pd.DataFrame(rows, columns=columns),
        narrow=narrow,
        notes=[MEASURED, *summary(judged)],
        headers={
            "title": "claim",
            "claim": "claim, with its terms",
            "sign_flip_p": "sign-flip p",
            "tutorial_sentence": "the tutorial says",
            "tutorial_translation": "translated",
        },
        page=page,
    )


def errors_table(run: Run) -> Table:
    """Return plain beside residual, a row per depth and budget."""
    frame = standard(results_frame(run))
    keys = ["depth", "steps"]
    shortcuts = {
        shortcut: frame[frame["shortcut"] == shortcut].set_index(keys)
        for shortcut in ("plain", "residual")
    }
    index = sorted({key for shortcut in shortcuts.values() for key in shortcut.index})
    columns = {
        f"{shortcut}_{name}": shortcuts[shortcut][name].reindex(index)
        for name in _columns("train") + _columns("test")
        for shortcut in shortcuts
    }
    counts = [shortcuts[shortcut]["seeds"].reindex(index) for shortcut in shortcuts]
    wide = pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(index, names=keys))
    wide.insert(0, "seeds", pd.concat(counts, axis=1).max(axis=1))
    wide = wide.reset_index().astype({"depth": int, "steps": int, "seeds": int})
    return Table(
        name="errors",
        title="Error by depth, clean weights of the last step",
        frame=wide,
        narrow=[
            *("depth", "steps", "seeds", "plain_train_percent"),
            *("residual_train_percent", "plain_test_percent"),
            "residual_test_percent",
        ],
        notes=_error_notes(frame),
        headers={
            f"{shortcut}_{part}_percent": f"{shortcut} {part}"
            for shortcut in shortcuts
            for part in ("train", "test")
        },
    )


def _columns(part: str) -> list[str]:
    return [f"{part}_percent{bound}" for bound in ("", "_low", "_high")]


def _error_notes(frame: pd.DataFrame) -> list[str]:
    """Say how sure the test set's size lets anybody be, and which nets are narrow."""
    if frame.empty:
        return []
    half = ((frame["sampling_high"] - frame["sampling_low"]) / 2).max()
    narrow = frame[frame["width"] < frame["width"].max()]
    return [
        "±: 95 % interval over seeds; the size of the test set alone leaves its errors "
        f"uncertain by up to ±{half:.1f} points",
        *(
            f"depth {depth} is {width} channels wide in its first stage, not "
            f"{frame['width'].max()}"
            for depth, width in narrow[["depth", "width"]].drop_duplicates().values
        ),
    ]


def treatments_table(run: Run) -> Table:
    """Return every network that a study varied, beside what it was varied from."""
    frame = results_frame(run)
    varied = frame[(frame["treatment"] != "standard") | frame["train_images"].notna()]
    return Table(
        name="treatments",
        title="Varied networks",
        frame=varied.reset_index(drop=True),
        narrow=[
            *("shortcut", "depth", "treatment", "train_images", "seeds"),
            *("train_percent", "test_percent"),
        ],
        headers={"train_images": "images"},
    )


#: Moments at which gradients are shown: finished steps, and the end of training.
MOMENTS = ("0", "1", "10", "100", "end")


def gradients_table(run: Run) -> Table:
    """Return the gradient's ratio of bottom over top, a row per network."""
    keys = ("shortcut", "treatment", "depth")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in run.rows(GradientSummary):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    rows = [
        {**dict(zip(keys, key, strict=True)), **_by_moment(group)}
        for key, group in sorted(groups.items())
    ]
    ratios = [f"ratio_{moment}" for moment in MOMENTS]
    bounds = [f"{name}_{moment}" for moment in MOMENTS for name in _bounds()]
    smooth = [f"shattering_{moment}" for moment in MOMENTS]
    frame = pd.DataFrame(rows, columns=[*keys, "seeds", *ratios, *bounds, *smooth])
    return Table(
        name="gradients",
        title="Gradient at the bottom over that at the top, by finished steps",
        frame=frame if frame.empty else frame.dropna(axis="columns", how="all"),
        narrow=[*keys, *_measured(frame, ("ratio_0", "ratio_10", "ratio_end"))],
        notes=[
            "||dL/dx|| at the first block over that at the last, geometric mean and "
            "95 % interval over seeds: above 1 the gradient grows on its way down"
        ],
        headers={
            name: name.replace("_", " ")
            .replace("ratio", "step")
            .replace("step end", "end")
            for name in [*ratios, *smooth]
        },
    )


def _bounds() -> list[str]:
    return [f"bottom_over_top{bound}" for bound in ("", "_low", "_high")]


def _measured(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if frame[name].notna().any()]


def _by_moment(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one network's ratios and smoothness at every moment."""
    summary: dict[str, Any] = {"seeds": len({row["seed"] for row in group})}
    for moment in {row["moment"] for row in group}:
        rows = [row for row in group if row["moment"] == moment]
        ratios = [row["bottom_over_top"] for row in rows if row["bottom_over_top"]]
        smooth = [row["shattering_correlation"] for row in rows]
        known = [value for value in smooth if value is not None]
        if ratios:
            interval = ratio_interval(ratios, [1.0] * len(ratios))
            # Text, because the sides of a ratio's interval differ by far.
            summary[f"ratio_{moment}"] = bracketed(interval)
            summary |= {
                f"{name}_{moment}": value
                for name, value in bounded("bottom_over_top", interval).items()
            }
        if known:
            summary[f"shattering_{moment}"] = sum(known) / len(known)
    return summary


def sizes_table(run: Run) -> Table:
    """Return what networks answer to images of several sizes."""
    columns = ["network", "pooling", "height", "width_pixels", "accepted"]
    columns += ["output_shape", "raised"]
    return Table(
        name="sizes",
        title="Image sizes: global pooling against flattening",
        frame=pd.DataFrame(run.rows(SizeCheck), columns=columns),
        narrow=columns[:6],
        headers={"width_pixels": "width", "output_shape": "output"},
    )


def run_tables(run: Run, judged: Sequence[Judged]) -> list[Table]:
    """Return the run's tables, verdicts first, leaving out what was not measured."""
    optional = (treatments_table(run), gradients_table(run), sizes_table(run))
    measured = [table for table in optional if not table.frame.empty]
    return [claims_table(run, judged), errors_table(run), *measured]
