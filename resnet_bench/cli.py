"""The command line: one command per experiment, and the readers."""

import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from resnet_bench import __version__
from resnet_bench.commands.table import READERS
from resnet_bench.configuration import read_configuration, refuse_unknown_variables
from resnet_bench.errors import (
    ExitCode,
    InputOutputError,
    ResnetBenchError,
    UsageError,
)
from resnet_bench.execution.ranks import let_rank_0_speak, settle
from resnet_bench.experiments import EXPERIMENTS
from resnet_bench.interrupts import Terminated, told
from resnet_bench.options import (
    HEADINGS,
    OUTPUT,
    Options,
    build,
    click_options,
    given,
)
from resnet_bench.output import DisplayOptions, Output, settle_streams, to_stderr

PROGRAM = "resnet-bench"

#: What a shell's script sets to have a line completed.
COMPLETION = "_RESNET_BENCH_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


class Command(click.Command):
    """A command whose defaults may come from a configuration file."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the configuration file before the options."""
        if not _asks_for_help(args):
            try:
                refuse_unknown_variables(os.environ, _variables)
                extra["default_map"] = self._defaults()
            except ResnetBenchError:
                if not extra.get("resilient_parsing"):  # a shell completes the line
                    raise
        return super().make_context(info_name, args, parent, **extra)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options under their headings, what is run first."""
        groups: dict[str, list[tuple[str, str]]] = {
            heading: [] for heading in (Options.heading, *HEADINGS)
        }
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            heading = getattr(parameter, "heading", None) or OUTPUT
            if record is not None:
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def _defaults(self) -> dict[str, Any]:
        """Return the file's values, in a list for an option that may be repeated."""
        repeated = {option.name for option in self.params if _repeats(option)}
        return {
            name: [value] if name in repeated else value
            for name, value in _file_defaults(str(self.name)).items()
        }


def _repeats(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.multiple


def _asks_for_help(args: Sequence[str]) -> bool:
    return "--help" in args or "-h" in args


def _file_defaults(command: str) -> dict[str, Any]:
    names = set(EXPERIMENTS) | set(READERS)
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise InputOutputError("the working folder was deleted") from error
    configuration = read_configuration(here)
    return configuration.defaults(command, _option_names, names)


def _parameters(command: str) -> list[click.Parameter]:
    made = commands.get_command(click.Context(commands), command)
    return made.params if made else []


def _option_names(command: str) -> list[str]:
    return [parameter.name or "" for parameter in _parameters(command)]


def _variables() -> set[str]:
    """Return the variables of the environment that set an option of any command."""
    return {
        variable
        for command in (*EXPERIMENTS, *READERS)
        for parameter in _parameters(command)
        for variable in parameter.envvar or ()
    }


class Commands(click.Group):
    """The command group; a command's module is imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Experiments first, then the readers."""
        return [*EXPERIMENTS, *READERS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Build the command of that name."""
        if cmd_name in EXPERIMENTS:
            return _experiment_command(cmd_name)
        if cmd_name in READERS:
            return _reader_command(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest command when there is none of that name."""
        known = self.list_commands(ctx)
        odd = args[0] not in known and not args[0].startswith("-")
        if odd and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(
                f"unknown command {args[0]!r}{meant}: expected {', '.join(known)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing what they need."""
        rows = [(name, EXPERIMENTS.summary(name)) for name in EXPERIMENTS]
        rows += [(name, READERS.summary(name)) for name in READERS]
        rows += [
            (name, command.get_short_help_str())
            for name, command in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
def commands() -> None:
    """Benchmarks and experiments on residual networks."""


def _epilog(examples: Sequence[str]) -> str:
    lines = [f"  {PROGRAM} {example}" for example in examples]
    return "\b\nExamples:\n" + "\n".join(lines)


def _make(
    name: str,
    summary: str,
    config_classes: Sequence[type],
    examples: Sequence[str],
    callback: Callable[[Mapping[str, Any]], ExitCode],
) -> click.Command:
    parameters = [
        parameter
        for config_class in config_classes
        for parameter in click_options(config_class, name)
    ]
    return Command(
        name,
        params=parameters,
        help=summary,
        epilog=_epilog(examples),
        callback=lambda **values: callback(values),
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _experiment_command(name: str) -> click.Command:
    from resnet_bench.commands.run import RunRequest, Session

    experiment = EXPERIMENTS[name]

    def carry_out(values: Mapping[str, Any]) -> ExitCode:
        output = Output(_display(values))
        request = build(RunRequest, values)
        session = Session(experiment, request, output, sys.argv[1:])
        return session.carry_out(given(experiment.config, values))

    classes = (experiment.config, RunRequest, DisplayOptions)
    summary = EXPERIMENTS.summary(name)
    return _make(name, summary, classes, experiment.examples, carry_out)


def _reader_command(name: str) -> click.Command:
    reader = READERS[name]

    def carry_out(values: Mapping[str, Any]) -> ExitCode:
        output = Output(_display(values))
        return reader.function(build(reader.config, values), output)

    classes = (reader.config, DisplayOptions)
    summary = READERS.summary(name)
    return _make(name, summary, classes, reader.examples, carry_out)


def _display(values: Mapping[str, Any]) -> DisplayOptions:
    display = build(DisplayOptions, values)
    _tell_of_bugs(verbose=display.verbose >= 2)
    return display


_COMPLETION = """Print a shell's completion script.

It completes commands, options, stored runs, data sets and other names.

\b
To install it:
  bash  echo 'eval "$(resnet-bench completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(resnet-bench completion zsh)"' >> ~/.zshrc
  fish  cd ~/.config/fish/completions
        resnet-bench completion fish > resnet-bench.fish
"""


@commands.command(
    help=_COMPLETION, epilog=_epilog(("completion bash", "completion fish"))
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a shell's completion script."""
    _answer_shell(f"{shell}_source")


def _answer_shell(asked: str) -> ExitCode:
    """Write a shell's script, or what completes the line that its variables hold.

    Raises UsageError for variables as no shell sets them.
    """
    from click.shell_completion import get_completion_class

    shell, _, wanted = asked.partition("_")
    made = get_completion_class(shell) if shell in SHELLS else None
    if made is None or wanted not in ("source", "complete"):
        accepted = ", ".join(f"{shell}_complete" for shell in SHELLS)
        raise UsageError(f"{COMPLETION} is {asked!r}: expected {accepted}, or unset")
    completion = made(commands, {}, PROGRAM, COMPLETION)
    if wanted == "source":
        text = completion.source()
    else:
        try:
            completion.get_completion_args()
        except (LookupError, ValueError) as error:
            raise UsageError(
                f"{COMPLETION} is set, but not COMP_WORDS and COMP_CWORD as {shell} "
                f"sets them: unset it, only the script of '{PROGRAM} completion "
                f"{shell}' may set it"
            ) from error
        text = completion.complete()
    # The line may hold the names of files in any encoding.
    click.echo(os.fsencode(text))
    return ExitCode.OK


def _tell_of_bugs(*, verbose: bool) -> None:
    """Turn an unexpected error into one line, or print its traceback."""

    def one_line(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        text = " ".join(f"{kind.__name__}: {error}".split())
        _complain(f"internal error: {text} (-vv shows where)")

    sys.excepthook = sys.__excepthook__ if verbose else one_line


def _complain(message: str) -> None:
    """Print what was wrong in one line, whatever the quoted values contain."""
    to_stderr(f"error: {' '.join(message.split())}")


def _explain(error: click.ClickException) -> None:
    """Print in one line what was typed wrong; without a command, show the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(f"{error.format_message()}\n")
    elif type(error) is click.BadParameter and error.param and error.ctx:
        begins_with_value = error.message.startswith("'")
        place = _place(error.param, error.ctx) + ("" if begins_with_value else ":")
        _complain(f"{place} {error.message}")
    else:
        _complain(error.format_message())


def _place(parameter: click.Parameter, context: click.Context) -> str:
    """Return an option's long spelling, or the command of an argument."""
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return str(context.info_name)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code."""
    try:
        if asked := os.environ.get(COMPLETION):
            code = _answer_shell(asked)
        else:
            code = commands.main(list(arguments), PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except ResnetBenchError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        _explain(error)
        return ExitCode.USAGE
    except (KeyboardInterrupt, Terminated, click.Abort) as stopped:
        return told(stopped)
    except BrokenPipeError:
        # The reader of stdout left (`| head`); Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except SystemExit:
        # click's own answer to a reader that left while help was printed.
        return ExitCode.OK
    except OSError as error:
        _complain(f"{error.filename or 'input/output'}: {error.strerror or error}")
        return ExitCode.INTERNAL
    return int(code or 0)


def run_here() -> int:
    """Run the command line of this process and return the exit code."""
    settle_streams()
    _tell_of_bugs(verbose=False)
    # Figures go to files alone, whatever a notebook or a desktop set.
    os.environ["MPLBACKEND"] = "agg"
    try:
        settle()
    except UsageError as error:
        _complain(str(error))
        return ExitCode.USAGE
    code = run(sys.argv[1:])
    let_rank_0_speak(code)
    return code
