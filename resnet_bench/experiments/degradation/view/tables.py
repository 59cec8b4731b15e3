"""The tables of a degradation run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from resnet_bench.experiments.degradation.claims.judging import Judged
from resnet_bench.experiments.degradation.grid import SHORTCUTS
from resnet_bench.experiments.degradation.records import GradientSummary, SizeCheck
from resnet_bench.experiments.degradation.view.frames import (
    BOUNDS,
    Material,
    results_frame,
    standard,
)
from resnet_bench.present.numbers import bracketed
from resnet_bench.present.published import (
    beside_published,
    published_table,
    same_protocol,
)
from resnet_bench.present.tables import Table, interval_columns
from resnet_bench.statistics.estimates import geometric_interval

#: What the published networks were trained on, how, and for about how many steps.
PUBLISHED_DATASET = "cifar10"
PUBLISHED_RECIPE = "paper"
PUBLISHED_STEPS = 64_000

#: Options that change a network or its training, as published.
PUBLISHED_OPTIONS = {"width": 16, "batch_size": 128, "lr": 0.1}

#: Moments at which gradients are shown: finished steps, and the end of training.
MOMENTS = ("0", "1", "10", "100", "end")

MEASURED = (
    "measured: the number of seeds for which the criterion holds, or the mean with a "
    "95 % interval; the margin was fixed before the run; docs/claims.md explains "
    "every claim"
)


def run_tables(
    made: Material,
    judged: Sequence[Judged],
    claims: Sequence[Mapping[str, Any]],
    headline: Sequence[str],
) -> list[Table]:
    """Return the run's tables, verdicts first, leaving out what was not measured."""
    tables = (errors_table, treatments_table, gradients_table, sizes_table)
    measured = [table for make in tables if not (table := make(made)).frame.empty]
    return [claims_table(made, judged, claims, headline), *measured]


def claims_table(
    made: Material,
    judged: Sequence[Judged],
    claims: Sequence[Mapping[str, Any]],
    headline: Sequence[str],
) -> Table:
    """Return a verdict per row; what it shows stands below."""
    rows = [
        {
            "title": each.title,
            "measured": "\n".join(
                line for finding in each.findings for line in finding.measured
            ),
            **row,
        }
        for each, row in zip(judged, claims, strict=True)
    ]
    narrow = ["title", "measured", "seeds", "verdict"]
    page = ["claim", "verdict", "measured", "tutorial_sentence", "tutorial_translation"]
    page.append("seeds")
    columns = list(rows[0]) if rows else [*narrow, *page]
    return Table(
        name="claims",
        title=f"Claims: {made.setting}",
        frame=pd.DataFrame(rows, columns=columns),
        narrow=narrow,
        notes=[MEASURED, *headline],
        headers={
            "title": "claim",
            "claim": "claim, with its terms",
            "p_value": "p",
            "tutorial_sentence": "the tutorial says",
            "tutorial_translation": "translated",
        },
        page=page,
    )


def errors_table(made: Material) -> Table:
    """Return plain beside residual, a row per depth and budget."""
    frame = standard(made.networks)
    keys = ["depth", "steps"]
    sides = {
        shortcut: frame[frame["shortcut"] == shortcut].set_index(keys)
        for shortcut in SHORTCUTS
    }
    index = sorted({key for side in sides.values() for key in side.index})
    columns = {
        f"{shortcut}_{part}_percent{bound}": side[f"{part}_percent{bound}"]
        for part in ("train", "test")
        for bound in BOUNDS
        for shortcut, side in sides.items()
    }
    columns = {name: column.reindex(index) for name, column in columns.items()}
    counts = [side["seeds"].reindex(index) for side in sides.values()]
    wide = pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(index, names=keys))
    wide.insert(0, "seeds", pd.concat(counts, axis=1).max(axis=1))
    shares = [_trained(side).reindex(index).fillna("—") for side in sides.values()]
    wide.insert(1, "trained", shares[0] + " against " + shares[1])
    wide = wide.reset_index().astype({"depth": int, "steps": int, "seeds": int})
    return Table(
        name="errors",
        detail=True,
        title="Error by depth after the last step",
        frame=wide,
        narrow=[
            *("depth", "steps", "trained", "plain_train_percent"),
            *("residual_train_percent", "plain_test_percent"),
            "residual_test_percent",
        ],
        notes=_error_notes(frame),
        headers={
            f"{shortcut}_{part}_percent": f"{shortcut} {part}"
            for shortcut in SHORTCUTS
            for part in ("train", "test")
        },
    )


def _trained(side: pd.DataFrame) -> "pd.Series[str]":
    """Return how many seeds of each network have trained, such as `5/5`."""
    return side["trained"].astype(str) + "/" + side["seeds"].astype(str)


def _error_notes(frame: pd.DataFrame) -> list[str]:
    """Say what the errors are, and how sure the test set's size lets anybody be."""
    half = ((frame["sampling_high"] - frame["sampling_low"]) / 2).max()
    return [
        "medians over seeds, ± up to the farthest seed, or with six or more seeds a "
        "95 % interval of the median; the size of the test set alone makes its errors "
        f"uncertain by up to ±{half:.1f} points",
    ]


def treatments_table(made: Material) -> Table:
    """Return every network that was treated or trained on other data, and how."""
    frame = made.networks
    treated = frame[(frame["treatment"] != "standard") | frame["train_images"].notna()]
    if made.evidence.harder:
        harder = results_frame(made.evidence.on(made.evidence.harder))
        # Pandas 2 warns of columns without a value where the types differ.
        both = [treated.astype(object), harder.astype(object)]
        treated = pd.concat(both) if len(harder) else treated
    treated = treated.assign(trained=_trained(treated))
    several = treated["dataset"].nunique() > 1
    return Table(
        name="treatments",
        detail=True,
        title="Treated networks",
        frame=treated.reset_index(drop=True),
        narrow=[
            *(("dataset",) if several else ()),
            *("shortcut", "depth", "treatment", "train_images", "trained"),
            *("train_percent", "test_percent"),
        ],
        notes=_narrow_notes(treated, made.run.config["width"]),
        headers={"train_images": "images", "dataset": "data"},
    )


def _narrow_notes(frame: pd.DataFrame, usual: int) -> list[str]:
    """Say which networks have fewer channels than the run's others."""
    narrow = frame.loc[frame["width"] < usual, ["depth", "width"]].drop_duplicates()
    return [
        f"depth {depth} is {width} channels wide in its first stage, not {usual}"
        for depth, width in narrow.values
    ]


def gradients_table(made: Material) -> Table:
    """Return the gradient's ratio of bottom over top, a row per network."""
    keys = ("shortcut", "treatment", "depth")
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in made.evidence.rows(GradientSummary):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    rows = [
        {**dict(zip(keys, key, strict=True)), **_by_moment(group)}
        for key, group in sorted(groups.items())
    ]
    ratios = [f"ratio_{moment}" for moment in MOMENTS]
    bounds = [f"bottom_over_top{bound}_{m}" for m in MOMENTS for bound in BOUNDS]
    smooth = [f"shattering_{moment}" for moment in MOMENTS]
    frame = pd.DataFrame(rows, columns=[*keys, "seeds", *ratios, *bounds, *smooth])
    shown = ("ratio_0", "ratio_10", "ratio_end")
    headers = {f"ratio_{moment}": f"step {moment}" for moment in MOMENTS}
    headers |= {name: name.replace("_", " ") for name in smooth}
    return Table(
        name="gradients",
        detail=True,
        title="Gradient at the bottom over that at the top, by finished steps",
        frame=frame if frame.empty else frame.dropna(axis="columns", how="all"),
        narrow=[*keys, *(name for name in shown if frame[name].notna().any())],
        notes=[
            "||dL/dx|| at the first block over that at the last, geometric mean and "
            "95 % interval over seeds: above 1 the gradient grows on its way down"
        ],
        headers={**headers, "ratio_end": "end"},
    )


def _by_moment(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one network's ratios and smoothness at every moment."""
    summary: dict[str, Any] = {"seeds": len({row["seed"] for row in group})}
    for moment in {row["moment"] for row in group}:
        rows = [row for row in group if row["moment"] == moment]
        ratios = [row["bottom_over_top"] for row in rows if row["bottom_over_top"]]
        smooth = [row["shattering_correlation"] for row in rows]
        known = [value for value in smooth if value is not None]
        if ratios:
            interval = geometric_interval(ratios)
            # Text, because the sides of a ratio's interval differ by far.
            summary[f"ratio_{moment}"] = bracketed(interval)
            summary |= {
                f"{name}_{moment}": value
                for name, value in interval_columns("bottom_over_top", interval).items()
            }
        if known:
            summary[f"shattering_{moment}"] = sum(known) / len(known)
    return summary


def sizes_table(made: Material) -> Table:
    """Return what networks answer to images of several sizes."""
    columns = ["network", "pooling", "height", "width_pixels", "accepted"]
    columns += ["output_shape", "raised"]
    return Table(
        name="sizes",
        detail=True,
        title="Image sizes: global pooling against flattening",
        frame=pd.DataFrame(made.evidence.rows(SizeCheck), columns=columns),
        narrow=columns[:6],
        headers={"width_pixels": "width", "output_shape": "output"},
    )


def published(made: Material) -> Table | None:
    """Return published errors beside those of the same shortcut and depth here.

    None if the run trained none of the published networks.
    """
    return published_table(
        list(_published_lines(made)),
        title="Errors on CIFAR-10 as published, and here",
        narrow=[
            *("shortcut", "depth", "published_train_percent", "train_percent"),
            *("published_test_percent", "test_percent"),
        ],
        notes=[
            "The published figures are single-seed and unofficial: orientation only."
        ],
    )


def _published_lines(made: Material) -> Iterator[dict[str, Any]]:
    """Yield a line for each network trained longest that has a published twin."""
    longest = standard(made.networks).sort_values("steps")
    longest = longest.groupby(["shortcut", "depth"]).last().reset_index()
    config = made.run.config
    dataset, recipe = config.get("dataset"), config.get("recipe")
    keys = {"shortcut": "shortcut", "depth": "depth"}
    own = longest.to_dict("records")
    for row, known in beside_published(own, "cifar_plain_vs_residual", keys):
        differences = {
            f"{dataset}, not CIFAR-10": dataset != PUBLISHED_DATASET,
            f"{row['steps']:,} steps, not {PUBLISHED_STEPS:,}": round(row["steps"], -3)
            != PUBLISHED_STEPS,
            f"recipe {recipe}": recipe != PUBLISHED_RECIPE,
            **{
                f"{name} {config.get(name)}": config.get(name) != usual
                for name, usual in PUBLISHED_OPTIONS.items()
            },
        }
        yield {
            "shortcut": row["shortcut"],
            "depth": int(row["depth"]),
            "published_train_percent": _number(known["train_error_percent"]),
            "published_test_percent": _number(known["test_error_percent"]),
            **{
                f"{part}_percent{bound}": row[f"{part}_percent{bound}"]
                for part in ("train", "test")
                for bound in BOUNDS
            },
            "same_protocol": same_protocol(differences),
            "source": known["source"],
        }


def _number(published: Any) -> Any:
    """Return a published figure as a number; bounds such as `>60` stay words."""
    try:
        return float(published)
    except ValueError:
        return published
