"""Turns dataclass fields into command-line options: each is declared once.

A config's field carries its default, help, choices and parser in its metadata;
`click_options` derives the options, `build` turns what click collected back into
the config.
"""

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click
from click.shell_completion import CompletionItem

from resnet_bench.configuration import VARIABLE_PREFIX, expanded
from resnet_bench.errors import UsageError

Config = TypeVar("Config")
Parse = Callable[[str], Any]

#: Names for a shell to complete, from the results folder and the command.
Suggest = Callable[[Path, str], Iterable[str]]


#: Torch and NumPy hold whole numbers of 63 bits and a sign; no number is larger.
LARGEST = 2**63


@dataclass(frozen=True)
class Bounds:
    """Which numbers an option accepts; None stands for no bound."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def accept(self, value: float) -> bool:
        """Return whether a number is finite, fits into torch and lies within bounds."""
        return (
            abs(value) < LARGEST
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def are_narrow(self) -> bool:
        """Whether there is an upper bound that a user might reach."""
        highest = min(filter(None, (self.maximum, self.below)), default=math.inf)
        return highest <= 100

    @property
    def words(self) -> str:
        """What is accepted in words: `from 1`, say, or `above 0 to 100`."""
        bounds = [
            ("from", self.minimum),
            ("above", self.above),
            ("to", self.maximum),
            ("below", self.below),
        ]
        words = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        return " and ".join(words).replace(" and to ", " to ")


NO_BOUNDS = Bounds()

#: Headings of the help, in its order; others come first.
MEASURED = "How it is measured"
DATA = "Data and weights"
WHERE = "Where and how it runs"
OUTPUT = "Output"
HEADINGS = (MEASURED, DATA, WHERE, OUTPUT)

#: The file name that means standard output.
STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The metadata of a config's field as an option; `option` explains each."""

    help: str
    choices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    parse: Parse | None = None
    suggest: Suggest | None = None
    metavar: str | None = None
    argument: bool = False
    bare: str | None = None
    count: bool = False
    heading: str | None = None
    bounds: Bounds = NO_BOUNDS

    def check(self, flag: str, value: object) -> None:
        """Raise UsageError unless one value is among the choices, within the bounds."""
        # What `parse` has read is no longer the text that the choices name.
        if self.choices and not self.parse and value is not None:
            check(value in self.choices, flag, value, ", ".join(self.choices))
        if isinstance(value, (int, float)):
            kind = "a whole number" if isinstance(value, int) else "a number"
            accepted = f"{kind} {self.bounds.words}".rstrip()
            if abs(value) >= LARGEST:
                accepted += f", below {LARGEST:.1e}"
            check(self.bounds.accept(value), flag, value, accepted)

    def help_with(self, default: Any) -> str:
        """Return the help with what is accepted, where that is a range, and default."""
        notes = [self.bounds.words] if self.bounds.are_narrow else []
        if default not in (None, (), ""):
            notes.append(f"default: {','.join(map(_short, _as_tuple(default)))}")
        return f"{self.help} [{'; '.join(notes)}]" if notes else self.help


@dataclass(frozen=True, kw_only=True)
class Options:
    """A config that is checked when it is made; raises UsageError.

    `heading` is what the help puts above the options that a class declares.
    """

    heading: ClassVar[str] = "What is run"

    def __post_init__(self) -> None:
        """Check every value against the choices and bounds declared with its option."""
        for name, field in option_fields(type(self)).items():
            for value in _as_tuple(getattr(self, name)):
                declaration_of(field).check(flag_name(name), value)


def option(
    default: Any,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    flags: tuple[str, ...] = (),
    parse: Parse | None = None,
    suggest: Suggest | None = None,
    metavar: str | None = None,
    argument: bool = False,
    bare: str | None = None,
    count: bool = False,
    heading: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a config field that is an option of the command line.

    The field's annotation decides how text is read: `int`, `float` (finite), `str`,
    `bool` (a flag), `Path`, each also `| None`, and `tuple[X, ...]` for a list given
    with commas or by repeating the option. `parse` reads one item (of a list: into
    one value or a tuple of values) and raises UsageError or ValueError. `suggest`
    names what a shell completes where `choices` do not. `flags` adds
    spellings such as `-b`. `argument` makes it a positional argument, `bare` is the
    value of the option given without one; `count` adds up how often it is given.
    `heading` puts it under another heading of the help than its class's.
    `minimum` and `maximum` are the least and greatest accepted number, `above` and
    `below` the bounds that are not themselves accepted; `Options` checks them.
    """
    declaration = Declaration(
        help=help,
        choices=tuple(choices or ()),
        flags=flags,
        parse=parse,
        suggest=suggest,
        metavar=metavar,
        argument=argument,
        bare=bare,
        count=count,
        heading=heading,
        bounds=Bounds(minimum, maximum, above, below),
    )
    return dataclasses.field(default=default, metadata={"option": declaration})


def inherited(base: type, name: str, default: Any, **changes: Any) -> Any:
    """Declare an option of a base class again, with another default.

    `changes` replace what `option` was told there: `help`, `choices`, `metavar` and
    so on.
    """
    declared = declaration_of(option_fields(base)[name])
    changed = dataclasses.replace(declared, **changes)
    return dataclasses.field(default=default, metadata={"option": changed})


def check(condition: bool, option_name: str, value: object, accepted: str) -> None:
    """Raise UsageError that names option, value and what is accepted."""
    if not condition:
        raise UsageError.for_option(option_name, value, accepted)


def kept(default: Any) -> Any:
    """Declare a field that is not an option, but is kept when a run is resumed."""
    return dataclasses.field(default=default, metadata={"kept": True})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def flag_name(field_name: str) -> str:
    """Return the option's long spelling: `batch_size` is `--batch-size`."""
    return "--" + field_name.replace("_", "-")


def option_fields(config_class: type) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a config that are options, by name."""
    return {
        field.name: field
        for field in dataclasses.fields(config_class)
        if "option" in field.metadata
    }


def declaration_of(field: dataclasses.Field[Any]) -> Declaration:
    """Return the metadata of an option's field."""
    declaration: Declaration = field.metadata["option"]
    return declaration


class Option(click.Option):
    """An option that knows its heading in the help."""

    heading: str | None = None


class Argument(click.Argument):
    """An argument that the help explains as it does options, under a heading."""

    heading = Options.heading

    def __init__(self, *names: Any, explained: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.explained = explained

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return its name and what it is."""
        return self.make_metavar(ctx), self.explained


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # click before 8.4 takes no subscript
    _ParamType = click.ParamType


class _Item(_ParamType):
    """Reads one value, or one comma-separated list, in the field's own terms."""

    def __init__(self, field_type: type, declared: Declaration) -> None:
        self.base, self.is_list = _base_type(field_type)
        self.choices = declared.choices
        self.bare = declared.bare
        self.suggest = declared.suggest
        self.parse: Parse = declared.parse or _PARSERS[self.base]
        self.name = declared.metavar or self._describe()

    def _describe(self) -> str:
        if self.choices:
            return "|".join(self.choices)
        one = {int: "N", float: "X", Path: "PATH", str: "NAME"}[self.base]
        return f"{one},…" if self.is_list else one

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if isinstance(value, bool):  # from a file, as in `resume = true`
            if not self.bare:
                self.fail(f"{str(value).lower()}: expected {self.name}", param, ctx)
            return self._one(self.bare) if value else None
        if not isinstance(value, str):
            return value
        try:
            if self.is_list:
                return tuple(
                    item
                    for text in value.split(",")
                    for item in _as_tuple(self._one(text.strip()))
                )
            return self._one(value.strip())
        except (ValueError, UsageError) as error:
            if isinstance(error, UsageError) and _names(str(error), param):
                raise  # click would name the option once more
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer what may follow the last comma, or let the shell complete a path."""
        if self.base is Path:
            return [CompletionItem(incomplete, type="file")]
        names: Iterable[str] = self.choices
        if self.suggest:
            results = ctx.params.get("results") or ResultsOptions.results
            names = self.suggest(results, str(ctx.info_name))
        done = incomplete[: incomplete.rfind(",") + 1] if self.is_list else ""
        return [
            CompletionItem(done + name)
            for name in names
            if (done + name).startswith(incomplete)
        ]

    def _one(self, text: str) -> Any:
        if self.choices and text not in self.choices:
            raise ValueError(f"{text!r}: expected {', '.join(self.choices)}")
        return self.parse(text)


def _names(message: str, parameter: click.Parameter | None) -> bool:
    """Whether a message begins with the option itself."""
    return parameter is not None and message.split(" ", 1)[0] in parameter.opts


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r}: expected a whole number") from None


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r}: expected a finite number")
    return value


def _text(text: str) -> str:
    if not text:
        raise ValueError("empty value: expected a name")
    return text


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(f"{text!r}: expected a path")
    return expanded(text)


_PARSERS: dict[type, Parse] = {
    int: _integer,
    float: _finite,
    str: _text,
    Path: _path,
}


def _base_type(annotation: Any) -> tuple[type, bool]:
    """Strip `| None` and `tuple[X, ...]` off an annotation."""
    origin = typing.get_origin(annotation)
    arguments = [a for a in typing.get_args(annotation) if a is not type(None)]
    if origin in (typing.Union, types.UnionType):
        return _base_type(arguments[0])
    if origin is tuple:
        return _base_type(arguments[0])[0], True
    if origin is typing.Literal:
        return str, False
    return annotation, False


def _environment_names(command: str, field_name: str) -> list[str]:
    name = field_name.upper()
    scoped = command.upper().replace("-", "_")
    return [f"{VARIABLE_PREFIX}{scoped}_{name}", f"{VARIABLE_PREFIX}{name}"]


def click_options(config_class: type, command: str) -> list[click.Parameter]:
    """Derive a command's click parameters from its config's fields."""
    hints = typing.get_type_hints(config_class)
    parameters = []
    for name, field in option_fields(config_class).items():
        parameter = _click_parameter(field, hints[name], command)
        if isinstance(parameter, Option):
            parameter.heading = _heading(config_class, field)
        parameters.append(parameter)
    return parameters


def _heading(config_class: type, field: dataclasses.Field[Any]) -> str:
    """Return the heading that the field was given, or that of its first class."""
    declared = declaration_of(field).heading
    if declared:
        return declared
    declaring = [
        each
        for each in config_class.__mro__
        if field.name in inspect.get_annotations(each)
    ]
    return str(vars(declaring[-1]).get("heading", Options.heading))


def _click_parameter(
    field: dataclasses.Field[Any], annotation: Any, command: str
) -> click.Parameter:
    declared = declaration_of(field)
    name = flag_name(field.name)
    if declared.count:
        names = [*declared.flags, name]
        return Option(names, count=True, default=None, help=declared.help)
    environment = _environment_names(command, field.name)
    if annotation is bool:
        both = f"{name}/--no-{name[2:]}" if field.default else name
        return Option(
            [*declared.flags, both],
            default=None,
            is_flag=True,
            help=declared.help_with("on" if field.default else None),
            envvar=environment,
        )
    item = _Item(annotation, declared)
    if declared.argument:
        nargs = -1 if item.is_list else 1
        return Argument(
            [field.name],
            explained=declared.help_with(field.default),
            nargs=nargs,
            type=item,
            required=False,
        )
    bare: dict[str, Any] = {"is_flag": False, "flag_value": declared.bare}
    return Option(
        [*declared.flags, name, field.name],
        type=item,
        multiple=item.is_list,
        default=None,
        help=declared.help_with(field.default),
        envvar=environment,
        **(bare if declared.bare else {}),
    )


def given(config_class: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config's fields that the user gave, from what click collected."""
    hints = typing.get_type_hints(config_class)
    found = {}
    for name in option_fields(config_class):
        value = values.get(name)
        if value is None or value == ():
            continue
        if _base_type(hints[name])[1]:
            value = tuple(item for part in value for item in _as_tuple(part))
        found[name] = value
    return found


def build(config_class: type[Config], values: Mapping[str, Any]) -> Config:
    """Make the config from what click collected; what was not given is left out.

    Raises UsageError from the config's own checks.
    """
    return config_class(**given(config_class, values))


def restore(config_class: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a config as a run file keeps them, in their own types.

    Fields that this version does not know are left out.
    """
    hints = typing.get_type_hints(config_class)
    fields: dict[str, Any] = {}
    kept_fields = {
        field.name
        for field in dataclasses.fields(config_class)
        if "kept" in field.metadata
    }
    fields |= {name: _tuples(stored[name]) for name in kept_fields & stored.keys()}
    for name in option_fields(config_class):
        if name not in stored:
            continue
        value = stored[name]
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and _base_type(hints[name])[0] is Path:
            value = Path(value)
        fields[name] = value
    return fields


@dataclass(frozen=True, kw_only=True)
class ResultsOptions(Options):
    """Where runs live; the same on every command."""

    heading = OUTPUT

    results: Path = option(
        Path("results"), flags=("-o",), help="Folder in which runs are kept."
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """In which forms a result is given."""

    heading = OUTPUT

    json: bool = option(False, help="Print the result as one JSON object.")
    export_json: Path | None = option(
        None, help="Write the JSON object to a file; - is stdout.", metavar="FILE|-"
    )
    export_csv: Path | None = option(
        None, help="Write the table as CSV; - is stdout.", metavar="FILE|-"
    )
    export_markdown: Path | None = option(
        None, help="Write the tables as Markdown; - is stdout.", metavar="FILE|-"
    )
    wide: bool = option(False, help="Show every column of the tables.")

    @property
    def exports(self) -> dict[str, Path]:
        """The exports asked for: format and where to."""
        asked = {
            "json": self.export_json,
            "csv": self.export_csv,
            "markdown": self.export_markdown,
        }
        return {name: path for name, path in asked.items() if path is not None}

    def __post_init__(self) -> None:
        """Check the values, and that stdout gets one result; raises UsageError."""
        super().__post_init__()
        if [*self.exports.values()].count(STDOUT) + self.json > 1:
            raise UsageError(
                "--json, or - as the file of an export: expected once, stdout takes "
                "one result"
            )
