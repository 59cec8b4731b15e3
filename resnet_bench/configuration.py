"""Options from files: `resnet-bench.toml`, or `[tool.resnet-bench]` of pyproject.toml.

Keys beside a table are for every command that has such an option; the table
`[speed]` (in pyproject.toml `[tool.resnet-bench.speed]`) is for that command.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_bench.errors import InputOutputError, UsageError

OWN_FILE = "resnet-bench.toml"
PROJECT_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Configuration:
    """What a configuration file says; `path` is None when there is none."""

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
        own = set(known(command))
        table = {
            key: value
            for key, value in self.table(command).items()
            if not isinstance(value, dict)
        }
        for key in table:
            if _plain(key) not in own:
                self._refuse(f"{command}.{key}", own)
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
        import difflib

        near = difflib.get_close_matches(_plain(key.split(".")[-1]), list(accepted), 3)
        names = [name.replace("_", "-") for name in near or sorted(accepted)]
        raise UsageError(f"{self.path}: unknown key {key}: expected {', '.join(names)}")


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _typed(value: Any) -> Any:
    """Return a file's value as the text a person would type for it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def read_configuration(folder: Path) -> Configuration:
    """Return the configuration of the nearest folder upwards that has one.

    `resnet-bench.toml` comes before pyproject.toml. Raises InputOutputError for a
    file that cannot be read and UsageError for one that is no TOML.
    """
    for place in (folder, *folder.parents):
        own = place / OWN_FILE
        if own.is_file():
            return Configuration(own, _load(own))
        project = place / PROJECT_FILE
        if project.is_file():
            tool = _load(project).get("tool", {})
            values = tool.get("resnet-bench") if isinstance(tool, dict) else None
            if isinstance(values, dict):
                return Configuration(project, values)
    return Configuration(None, {})


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputOutputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
