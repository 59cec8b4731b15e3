"""Options from files: `resnet-bench.toml`, or `[tool.resnet-bench]` of pyproject.toml.

Keys beside a table are for every command that has such an option; the table
`[speed]` (or `[tool.resnet-bench.speed]`, in either file) is for that command. The
project's own subject, which `[check]` names, is that of `noise` and `history` too.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, UsageError

OWN_FILE = "resnet-bench.toml"
PROJECT_FILE = "pyproject.toml"

#: Variables of the environment that set an option begin so.
VARIABLE_PREFIX = "RESNET_BENCH_"

#: Such a variable that is no option: where downloads are kept.
CACHE_VARIABLE = f"{VARIABLE_PREFIX}CACHE"

#: Commands that read tables below their own: their spec refuses other ones.
WITH_TABLES = {"check"}

#: Keys of `[check]` that are for these commands too: what a project measures is one.
OF_THE_SUBJECT = {"subject", "source"}
LIKE_CHECK = {"noise", "history"}


@dataclass(frozen=True)
class Configuration:
    """The content of a configuration file; `path` is None when there is none."""

    path: Path | None
    values: Mapping[str, Any]

    def table(self, command: str) -> dict[str, Any]:
        """Return the command's own table, keys as in the file."""
        table = self.values.get(command)
        return table if isinstance(table, dict) else {}

    def defaults(
        self, command: str, known: Callable[[str], Iterable[str]], commands: set[str]
    ) -> dict[str, Any]:
        """Return the defaults for a command, by option name.

        `known` lists the option names of a command. Values become text, which is
        then read as if it had been typed. Raises UsageError for an unknown key.
        """
        shared = {k: v for k, v in self.values.items() if not isinstance(v, dict)}
        self._refuse_unknown(shared, known, commands)
        if command in LIKE_CHECK:
            of_check = self.table("check").items()
            shared |= {key: v for key, v in of_check if key in OF_THE_SUBJECT}
        own = set(known(command))
        table = {}
        for key, value in self.table(command).items():
            if isinstance(value, dict) and command in WITH_TABLES:
                continue
            if _plain(key) not in own:
                self._refuse(f"{command}.{key}", own)
            if isinstance(value, dict):
                raise UsageError(
                    f"{self.path}: {command}.{key}: expected a value, not a table"
                )
            table[key] = value
        merged = {k: v for k, v in shared.items() if _plain(k) in own} | table
        return {_plain(key): _typed(value) for key, value in merged.items()}

    def _refuse_unknown(
        self,
        shared: Mapping[str, Any],
        known: Callable[[str], Iterable[str]],
        commands: set[str],
    ) -> None:
        everything: set[str] = set()
        if shared:
            everything = {name for command in commands for name in known(command)}
        for key in shared:
            if _plain(key) not in everything:
                self._refuse(key, everything)
        for key, value in self.values.items():
            if isinstance(value, dict) and key not in commands:
                self._refuse(f"[{key}]", commands)

    def _refuse(self, key: str, accepted: Iterable[str]) -> None:
        near = nearest(_plain(key.split(".")[-1]), accepted)
        names = [name.replace("_", "-") for name in near]
        raise UsageError(f"{self.path}: unknown key {key}: expected {', '.join(names)}")


def expanded(text: str) -> Path:
    """Return a path with `~` replaced by the user's home, if there is one."""
    # Path.expanduser would raise where there is no such user.
    return Path(os.path.expanduser(text))  # noqa: PTH111


def nearest(name: str, accepted: Iterable[str]) -> list[str]:
    """Return the accepted names that `name` may have been meant as, or all."""
    import difflib

    return difflib.get_close_matches(name, list(accepted), 3) or sorted(accepted)


def refuse_unknown_variables(
    environment: Iterable[str], accepted: Callable[[], Iterable[str]]
) -> None:
    """Raise UsageError for a RESNET_BENCH_ variable that is none of `accepted`.

    `accepted` is called only if there is such a variable: it may have to load all
    commands.
    """
    given = {name for name in environment if name.startswith(VARIABLE_PREFIX)}
    given.discard(CACHE_VARIABLE)
    if not given:
        return
    known = set(accepted())
    for name in sorted(given - known):
        near = ", ".join(nearest(name, {*known, CACHE_VARIABLE}))
        raise UsageError(f"{name}: no option uses this variable: expected {near}")


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _typed(value: Any) -> Any:
    """Return a file's value as the text a person would type for it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return _text(value)


def _text(value: Any) -> str:
    # Python writes no number of more than 4,300 digits, but reads it in hexadecimal.
    return hex(value) if isinstance(value, int) and value > 10**300 else str(value)


def read_configuration(folder: Path) -> Configuration:
    """Return the configuration of the nearest folder upwards that has one.

    `resnet-bench.toml` comes before pyproject.toml. Raises InputOutputError for a
    file that cannot be read and UsageError for one that is no TOML.
    """
    for place in (folder, *folder.parents):
        own = place / OWN_FILE
        if own.is_file():
            values = _load(own)
            inner = _own_part(values)
            return Configuration(own, values if inner is None else inner)
        project = place / PROJECT_FILE
        if project.is_file():
            inner = _own_part(_load(project))
            if inner is not None:
                return Configuration(project, inner)
    return Configuration(None, {})


def _own_part(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the table `[tool.resnet-bench]`; None without one."""
    tool = values.get("tool")
    inner = tool.get("resnet-bench") if isinstance(tool, dict) else None
    return inner if isinstance(inner, dict) else None


def _load(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte-order mark first.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputOutputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # of TOML, UTF-8, or Python's limit to numbers
        raise UsageError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
