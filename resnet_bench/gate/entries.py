"""What stored runs say of commits, and the file that such entries are appended to."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_bench.configuration import expanded
from resnet_bench.errors import InputOutputError, UsageError
from resnet_bench.experiments.speed.view.rows import (
    SETTINGS,
    SpeedRow,
    described,
    rows_of,
)
from resnet_bench.gate.records import PairTiming, records_of, timing_of
from resnet_bench.gate.spreads import timed_call
from resnet_bench.gate.trees import GitError, git
from resnet_bench.store.checking import checked_run, naming
from resnet_bench.store.folders import run_folders
from resnet_bench.store.reading import Run, read_text
from resnet_bench.store.writing import append_whole

#: The experiments of which runs say how long commits take.
FEEDING = ("speed", "check", "history")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Seconds per call of one case, as one run measured them of one or two commits.

    With a base, `seconds` and `base_seconds` hold a value for each pair of processes;
    without one `seconds` holds what the run found in all.
    """

    machine_key: str
    run: str
    case: str
    head: str
    seconds: list[float]
    base: str | None = None
    base_seconds: list[float] = dataclasses.field(default_factory=list)

    @property
    def identity(self) -> tuple[str, ...]:
        """What identifies an entry: no two have the same."""
        return self.run, self.case, self.head, self.base or ""

    @property
    def logarithms(self) -> list[float]:
        """The logarithms of head over base pair by pair, or those of the head."""
        bases = self.base_seconds or [1.0] * len(self.seconds)
        pairs = zip(self.seconds, bases, strict=True)
        return [math.log(head / base) for head, base in pairs]


def entries_of(run: Run) -> list[Entry]:
    """Return the entries of a run; none for files that were in no commit.

    Raises InputOutputError for odd content.
    """
    with naming(run):
        found = _of_speed(run) if run.experiment == "speed" else _of_pairs(run)
        return list(found)


def _of_speed(run: Run) -> Iterator[Entry]:
    """Yield one entry for each row: its step, else its inference, else its forward."""
    commit = run.header.get("commit")
    if commit is None or run.header.get("dirty"):
        return
    for row in rows_of(run):
        timed = timed_call(row) if row.status == "ok" else None
        if timed:
            call, seconds = timed
            yield Entry(
                machine_key=str(run.machine_key),
                run=run.id,
                case=_case_of(row, call),
                head=commit,
                seconds=[seconds],
            )


def _case_of(row: SpeedRow, call: str) -> str:
    """Return what a row measured, in words; not the same under older defaults."""
    older = row.parameters.get("keep_memory") is None
    words = [f"{row.name}:{call}", described(row.parameters, SETTINGS)]
    return ", ".join([*words, *(["older defaults"] if older else [])])


def _of_pairs(run: Run) -> Iterator[Entry]:
    """Yield one entry for each case and two commits, with a value for each pair."""
    sides = dict(_committed(run))
    found: dict[tuple[str, str, str], list[PairTiming]] = {}
    for row in run.rows(PairTiming):
        base, head = (row.get(side) or sides.get(side) for side in ("base", "head"))
        if base and head and base != head:
            found.setdefault((row["case"], base, head), []).append(timing_of(row))
    for (case, base, head), pairs in found.items():
        yield Entry(
            machine_key=str(run.machine_key),
            run=run.id,
            case=case,
            head=head,
            seconds=[pair.seconds("head") for pair in pairs],
            base=base,
            base_seconds=[pair.seconds("base") for pair in pairs],
        )


def _committed(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the sides of a check that were measured just as they were committed."""
    for side, tree in (run.header.get("trees") or {}).items():
        if tree["commit"] and tree["content"] == tree["committed"]:
            yield side, tree["commit"]


def stored_entries(results: Path, problems: list[str]) -> list[Entry]:
    """Return the entries of a folder's runs; name damaged runs in `problems`."""
    found: list[Entry] = []
    for experiment in FEEDING:
        for folder in run_folders(results, experiment):
            try:
                found += entries_of(checked_run(folder, records_of))
            except InputOutputError as error:
                problems.append(f"left out: {error}")
    return found


def read_entries(name: str, here: Path) -> list[Entry]:
    """Return the entries of a file, or of REVISION:FILE as git keeps it.

    Raises InputOutputError for what is no entry, UsageError for no file.
    """
    path = expanded(name)
    if path.is_file():
        return _parsed(read_text(path), name)
    revision, separator, inside = name.partition(":")
    if not (separator and revision and inside):
        raise UsageError(f"--file {name}: expected a file, or REVISION:FILE")
    try:
        return _parsed(git(here, "show", "--end-of-options", name), name)
    except GitError as error:
        raise UsageError(f"--file {name}: {error}") from error


def _parsed(text: str, name: str) -> list[Entry]:
    lines = enumerate(text.splitlines(), 1)
    return [_entry(line, f"{name}, line {n}") for n, line in lines if line.strip()]


#: No call takes less or more: a nanosecond, and thirty years.
SHORTEST_SECONDS, LONGEST_SECONDS = 1e-9, 1e9


def _is_possible(seconds: float) -> bool:
    return SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS


def _entry(line: str, place: str) -> Entry:
    """Return the entry of one line; raises InputOutputError that names the place."""
    try:
        content = json.loads(line)
        entry = Entry(**content)
        texts = (entry.machine_key, entry.run, entry.case, entry.head, entry.base or "")
        sound = all(isinstance(text, str) for text in texts) and all(texts[:4])
        sound = sound and (not entry.base) == (not entry.base_seconds)
        times = [*entry.seconds, *entry.base_seconds]
        if sound and entry.logarithms and all(map(_is_possible, times)):
            return entry
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        pass
    raise InputOutputError(f"{place}: no entry of a history, which --append-to writes")


def appended(path: Path, entries: Iterable[Entry]) -> int:
    """Append to a file the entries that it lacks, in one write; return how many.

    Raises InputOutputError.
    """
    text = read_text(path) if path.exists() else ""
    known = {entry.identity for entry in _parsed(text, str(path))}
    new = [entry for entry in entries if entry.identity not in known]
    lines = [json.dumps(dataclasses.asdict(entry)) + "\n" for entry in new]
    begin = "\n" if text and not text.endswith("\n") else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputOutputError(f"cannot write {path}: {error.strerror}") from error
    append_whole(path, (begin + "".join(lines)).encode() if lines else b"")
    return len(new)


def each_once(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries without repeated ones."""
    return list({entry.identity: entry for entry in entries}.values())


def by_case(entries: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    """Return the entries of each case, in the order in which cases first appear."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.case, []).append(entry)
    return found
