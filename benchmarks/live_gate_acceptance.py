"""Tests the gate on this machine: false alarms, found slowdowns, caught edits.

    python benchmarks/live_gate_acceptance.py --output acceptance.jsonl
    python benchmarks/live_gate_acceptance.py --output acceptance.jsonl --most 4
    python benchmarks/live_gate_acceptance.py --output acceptance.jsonl --most 0

Takes up to 30 minutes on a quiet machine: 3 checks of a second commit whose forward
pass does 30 % more work, 20 of unchanged code and 10 with a quarter more work, one
small case and at most 60 s each, then one extra ReLU and one missing shortcut by exact
metrics only. Every outcome is appended to the output; a later call runs what is
missing, `--most` of it. The figures are printed, and written beside the output as
Markdown. Exits with 1 if any outcome so far breaks a promise of the gate.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.store.reading import read_run

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = REPOSITORY / "examples" / "gated-project"
SUBJECT = "classifier.py"

FORWARD = "        return self.module(self.images)\n"
BLOCK = "        return torch.relu(images + self.body(images))\n"

#: The edits of the working tree: the line before and after.
EDITS = {
    "unchanged": (FORWARD, FORWARD),
    # Two of the eight images go through once more: a quarter more work.
    "25 % slower": (
        FORWARD,
        "        self.module(self.images[:2])\n" + FORWARD,
    ),
    # Three of the eight images, cropped to 26 of 32 columns: 30 % more pixels.
    "30 % slower, committed": (
        FORWARD,
        "        self.module(self.images[:3, :, :, :26])\n" + FORWARD,
    ),
    "extra ReLU": (
        BLOCK,
        "        return torch.relu(torch.relu(images) + self.body(images))\n",
    ),
    "missing shortcut": (BLOCK, "        return torch.relu(self.body(images))\n"),
}

#: Of the checks of unchanged code at least this share has to pass: 16 of 20.
PASSES = 0.8

#: A slower forward pass in a second commit has to be found within so many seconds.
COMMITTED, FOUND_WITHIN_SECONDS = "30 % slower, committed", 120.0

TIMED = ("--metrics", "time", "--cases", "small:forward", "--budget", "60")
EXACT = ("--metrics", "exact", "--cases", "small:exact")


@dataclass(frozen=True)
class Trial:
    """One check: which edit is in the working tree, and the seed of the order."""

    edit: str
    seed: int

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `check` for this trial."""
        timed = self.edit in ("unchanged", "25 % slower", COMMITTED)
        return (*(TIMED if timed else EXACT), "--seed", str(self.seed))


def trials(repeats: int) -> Iterator[Trial]:
    """Yield all trials, two of unchanged code for each of slower code."""
    for number in range(math.ceil(repeats / 4)):
        yield Trial(COMMITTED, number)
    for number in range(repeats):
        yield Trial("unchanged", 2 * number)
        yield Trial("25 % slower", number)
        yield Trial("unchanged", 2 * number + 1)
    yield Trial("extra ReLU", 0)
    yield Trial("missing shortcut", 0)


def git(project: Path, *arguments: str) -> None:
    """Run git in the project, with a made-up author."""
    identity = ("-c", "user.name=acceptance", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", project, *identity, *arguments], check=True)


def make_project(folder: Path) -> Path:
    """Commit a copy of the example project."""
    project = folder / "project"
    shutil.copytree(EXAMPLE, project)
    (project / ".gitignore").write_text("results/\n__pycache__/\n")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Start")
    return project


def carry_out(trial: Trial, project: Path) -> dict[str, Any]:
    """Edit the working tree, check it, and return the outcome."""
    original = (EXAMPLE / SUBJECT).read_text()
    before, after = EDITS[trial.edit]
    (project / SUBJECT).write_text(original.replace(before, after))
    base = "HEAD"
    if trial.edit == COMMITTED:
        git(project, "commit", "--quiet", "--all", "--message", "Slower")
        base = "HEAD~1"
    command = (sys.executable, "-m", "resnet_bench", "check", "--against", base)
    began = time.perf_counter()
    answer = subprocess.run(
        [*command, "--json", "-q", *trial.options],
        cwd=project,
        env={**environment(), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    git(project, "reset", "--quiet", "--hard", base)
    if not answer.stdout:
        raise SystemExit(answer.stderr)
    content = json.loads(answer.stdout)
    identity = {"edit": trial.edit, "seed": trial.seed, "exit_code": answer.returncode}
    kept = {key: content[key] for key in ("rows", "pairs", "machine_key", "notices")}
    run = read_run(project / "results" / "check" / content["run"])
    timings = [
        {name: row[name] for name in ("case", "pair", "base_seconds", "head_seconds")}
        for row in run.rows("pair_timing")
    ]
    return {**identity, "seconds": seconds, **kept, "timings": timings}


def environment() -> dict[str, str]:
    """Return the environment without settings of the caller's."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RESNET_BENCH_")}


def table(outcomes: Sequence[dict[str, Any]]) -> str:
    """Return a line per edit: verdicts, pairs, seconds, estimated change."""
    lines = [
        "| edit | checks | verdicts | pairs | seconds, longest | change |",
        "|---|---|---|---|---|---|",
    ]
    for edit in EDITS:
        found = [row for row in outcomes if row["edit"] == edit]
        lines += [_line(edit, found)] if found else []
    return "\n".join(lines) + "\n"


def _line(edit: str, found: Sequence[dict[str, Any]]) -> str:
    verdicts = Counter(worst_of(row["rows"]) for row in found)
    counted = ", ".join(f"{count} {name}" for name, count in verdicts.items())
    pairs = sorted(row["pairs"] for row in found)
    longest = max(row["seconds"] for row in found)
    ratios = sorted(
        r["ratio"]["estimate"] for row in found for r in row["rows"] if r["ratio"]
    )
    change = f"{ratios[0] - 1:+.1%} to {ratios[-1] - 1:+.1%}" if ratios else ""
    return (
        f"| {edit} | {len(found)} | {counted} | {pairs[0]} to {pairs[-1]} | "
        f"{longest:.0f} | {change} |"
    )


def worst_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return regression if any row has it, else the first verdict that is no pass."""
    verdicts = [str(row["verdict"]) for row in rows]
    if "regression" in verdicts:
        return "regression"
    return next((verdict for verdict in verdicts if verdict != "pass"), "pass")


def misses(outcomes: Sequence[dict[str, Any]]) -> list[str]:
    """Return the promises of the gate that the outcomes so far break."""
    found = {
        edit: [worst_of(row["rows"]) for row in outcomes if row["edit"] == edit]
        for edit in EDITS
    }
    missed = [
        f"{edit}: {verdicts.count('regression')} of {len(verdicts)} found"
        for edit, verdicts in found.items()
        if edit != "unchanged" and set(verdicts) - {"regression"}
    ]
    late = [
        row["seconds"]
        for row in outcomes
        if row["edit"] == COMMITTED and row["seconds"] > FOUND_WITHIN_SECONDS
    ]
    missed += [f"{COMMITTED}: took {seconds:.0f} s" for seconds in late]
    same = found["unchanged"]
    if "regression" in same:
        missed.append(f"unchanged: {same.count('regression')} false alarms")
    if same.count("pass") < PASSES * len(same):
        missed.append(f"unchanged: {same.count('pass')} of {len(same)} pass")
    return missed


def main() -> None:
    """Run the missing trials, then show everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("acceptance.jsonl"))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--most", type=int, default=10**6, help="trials of this call")
    asked = parser.parse_args()
    asked.output.touch()
    done = [json.loads(line) for line in asked.output.read_text().splitlines()]
    known = {(row["edit"], row["seed"]) for row in done}
    waiting = [t for t in trials(asked.repeats) if (t.edit, t.seed) not in known]
    with tempfile.TemporaryDirectory() as scratch, asked.output.open("a") as output:
        project = make_project(Path(scratch))
        for trial in waiting[: asked.most]:
            done.append(carry_out(trial, project))
            output.write(json.dumps(done[-1]) + "\n")
            output.flush()
    print(table(done), end="")
    asked.output.with_suffix(".md").write_text(table(done))
    if missed := misses(done):
        raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
