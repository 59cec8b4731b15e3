"""Where runs live: `<results>/<experiment>/<run-id>/run.jsonl`."""

import datetime as dt
import re
from pathlib import Path

from resnet_bench.errors import UsageError
from resnet_bench.store.reading import PACKED_RUN_FILE, RUN_FILE, run_file

NAMES = (RUN_FILE, PACKED_RUN_FILE)

#: What names a run, for help.
RUN_NAMES = (
    "latest, latest~1 (the one before), an experiment (its newest run), the beginning "
    "or end of an id, or a folder"
)

#: The newest run, or the Nth before it.
LATEST = re.compile(r"latest(~\d{1,6})?")


def new_run_id(commit: str | None) -> str:
    """Return `<UTC>_<commit>_<fraction of the second>`, sorted by time.

    The fraction is in 1/65536, so that `latest` is the later of two short runs.
    """
    now = dt.datetime.now(dt.UTC)
    fraction = now.microsecond * 0x10000 // 1_000_000
    return f"{now:%Y%m%dT%H%M%SZ}_{(commit or 'nogit')[:7]}_{fraction:04x}"


def run_folders(results: Path, experiment: str | None = None) -> list[Path]:
    """Return the folders of all runs (of one experiment), oldest first."""
    found = {
        path.parent
        for name in NAMES
        for path in results.glob(f"{experiment or '*'}/*/{name}")
    }
    return sorted(found, key=lambda folder: folder.name)


def names_of_all_runs(results: Path, command: str) -> list[str]:
    """Return what a shell offers for any run: the newest, experiments, ids."""
    folders = run_folders(results)[::-1]
    experiments = sorted({folder.parent.name for folder in folders})
    return ["latest", *experiments, *(folder.name for folder in folders)]


def names_of_own_runs(results: Path, command: str) -> list[str]:
    """Return what a shell offers for a run of this command."""
    own = reversed(run_folders(results, command))
    return ["latest", *(folder.name for folder in own)]


def find_run(results: Path, name: str, experiment: str | None = None) -> Path:
    """Return the folder of the run that `name` means.

    `name` is a run id, its unique beginning or end, `latest`, `latest~N` for the Nth
    before it, an experiment for its newest, or a path to a run folder or run file.
    Raises UsageError when there is none or more than one.
    """
    path = Path(name)
    if path.name in NAMES and path.is_file():
        return path.parent
    if run_file(path).is_file():
        return path
    folders = run_folders(results, experiment)
    if LATEST.fullmatch(name):
        before = int(name.partition("~")[2] or 0)
        found = folders[-1 - before :][:1] if before < len(folders) else []
    elif own := [folder for folder in folders if folder.parent.name == name]:
        found = own[-1:]
    else:
        found = [f for f in folders if f.name.startswith(name) or f.name.endswith(name)]
        found = [f for f in found if f.name == name] or found
    if len(found) == 1:
        return found[0]
    raise UsageError(_why_not(results, name, found))


def _why_not(results: Path, name: str, found: list[Path]) -> str:
    if found:
        several = ", ".join(folder.name for folder in found[:5])
        return f"run {name!r} may be {several}: give more of its id"
    remedy = f"'resnet-bench list -o {results}' lists its runs"
    return f"no run {name!r} in {results}: {remedy}"
