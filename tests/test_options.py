"""From a dataclass field to an option: said once, read strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from resnet_bench.catalogue import VARIANTS, parse_dataset, parse_variants
from resnet_bench.errors import ExitCode, UsageError, worst
from resnet_bench.gate.spec import CheckConfig
from resnet_bench.options import (
    Options,
    build,
    check,
    click_options,
    inherited,
    option,
    restore,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    variants: tuple[int, ...] = option((18,), parse=parse_variants, help="Variants.")
    sizes: tuple[int, ...] = option((), flags=("-s",), help="Sizes.")
    rate: float | None = option(None, help="Rate.")
    mode: Literal["a", "b"] = option("a", choices=("a", "b"), help="Mode.")
    folder: Path | None = option(None, help="Folder.")
    again: str | None = option(None, bare="latest", help="Again.")
    loud: int = option(0, flags=("-l",), count=True, help="Loud.")
    fast: bool = option(False, help="Fast.")
    safe: bool = option(True, help="Safe.")
    name: str = option("x", argument=True, help="Name.")
    hidden: int = 7


def read(
    *arguments: str, file: dict[str, object] | None = None, **environment: str
) -> Any:
    """Return the config that a command line gives, or the error's text."""
    made: list[Config] = []
    command = click.Command(
        "toy",
        params=click_options(Config, "toy"),
        callback=lambda **values: made.append(build(Config, values)),
    )
    result = CliRunner().invoke(command, arguments, env=environment, default_map=file)
    return made[0] if made else result.output


def test_what_is_not_given_has_the_default() -> None:
    assert read() == Config()


def test_every_kind_of_option_is_read() -> None:
    config = read(
        *["--variants", "18,resnet34", "--variants", "ResNet-50", "-s", "1,2"],
        *["--rate", "0.5", "--mode", "b", "--folder", "f", "--fast", "--no-safe"],
        *["--again", "-ll", "name"],
    )
    assert config == Config(
        variants=(18, 34, 50),
        sizes=(1, 2),
        rate=0.5,
        mode="b",
        folder=Path("f"),
        again="latest",
        loud=2,
        fast=True,
        safe=False,
        name="name",
    )


def test_an_optional_value_can_be_given() -> None:
    assert read("--again", "r1").again == "r1"


def test_true_in_a_file_is_the_bare_option_and_no_number() -> None:
    assert read(file={"again": True}).again == "latest"
    assert read(file={"again": False}).again is None
    assert "true: expected" in read(file={"rate": True})
    assert read(file={"safe": False}).safe is False


def test_a_command_line_option_beats_the_environment() -> None:
    assert read(RESNET_BENCH_RATE="2").rate == 2.0
    assert read(RESNET_BENCH_TOY_RATE="3", RESNET_BENCH_RATE="2").rate == 3.0
    assert read("--rate", "4", RESNET_BENCH_TOY_RATE="3").rate == 4.0
    assert read(RESNET_BENCH_SIZES="3,4").sizes == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rate", "nan"), "expected a finite number"),
        (("--rate", "1e999"), "expected a finite number"),
        (("--rate", "abc"), "expected a finite number"),
        (("--sizes", "1,x"), "expected a whole number"),
        (("--sizes", ""), "expected a whole number"),
        (("--mode", "c"), "expected a, b"),
        (("--folder", ""), "expected a path"),
        (("--variants", "19"), "expected 18, 34, 50, 101, 152 or all"),
        (("--again", ""), "expected a name"),
    ],
)
def test_a_bad_value_is_named_with_what_is_accepted(
    arguments: tuple[str, ...], message: str
) -> None:
    assert message in " ".join(read(*arguments).split())


def test_a_persons_home_is_expanded_wherever_the_path_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    assert read("--folder=~/a").folder == Path("/home/of/a")
    assert read(RESNET_BENCH_FOLDER="~/a").folder == Path("/home/of/a")
    assert read("--folder", "a/~").folder == Path("a/~")
    assert read("--folder", "~nobody-of-this-name/a").folder == Path(
        "~nobody-of-this-name/a"
    )


@given(st.lists(st.sampled_from(sorted(VARIANTS)), min_size=1))
def test_lists_are_the_same_with_commas_and_repeated(depths: list[int]) -> None:
    joined = read("--variants", ",".join(map(str, depths)))
    repeated = read(*(part for d in depths for part in ("--variants", f"resnet{d}")))
    assert joined == repeated == Config(variants=tuple(depths))


@given(st.text())
def test_any_text_is_a_variant_or_a_usage_error(text: str) -> None:
    try:
        depths = parse_variants(text)
    except UsageError as error:
        message = str(error)
    else:
        message = "expected" if set(depths) <= set(VARIANTS) else "unknown depth"
    assert "expected" in message


def test_all_is_every_variant() -> None:
    assert parse_variants("ALL") == tuple(VARIANTS)
    assert VARIANTS[18].title == "ResNet-18"


def test_a_dataset_is_found_whatever_its_spelling() -> None:
    assert parse_dataset("CIFAR-10") == "cifar10"
    with pytest.raises(UsageError, match="digits-5-9"):
        parse_dataset("mnist")


def test_a_stored_config_is_restored_in_its_own_types() -> None:
    stored = {"sizes": [1, 2], "folder": "f", "unknown": 3, "rate": None, "mode": "b"}
    assert restore(Config, stored) == {
        "sizes": (1, 2),
        "folder": Path("f"),
        "rate": None,
        "mode": "b",
    }


def test_a_failed_check_names_option_and_value() -> None:
    check(True, "--x", 1, "anything")
    with pytest.raises(UsageError, match="--x 0: expected at least 1"):
        check(False, "--x", 0, "at least 1")


@dataclass(frozen=True, kw_only=True)
class Bounded(Options):
    count: int = option(2, help="Count.", minimum=1, maximum=9)
    shares: tuple[float, ...] = option((), help="Shares.", above=0, below=1)
    mode: str | None = option(None, choices=("a", "b"), help="Mode.")


@dataclass(frozen=True, kw_only=True)
class Narrower(Bounded):
    count: int = inherited(Bounded, "count", 5, help="How many.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "--count 0: expected a whole number from 1 to 9"),
        ({"count": 2**63}, "--count 9223372036854775808: .*, below 9.2e"),
        ({"shares": (0.5, 1.0)}, "--shares 1.0: expected a number above 0 and below 1"),
        ({"mode": "c"}, "--mode c: expected a, b"),
    ],
)
def test_a_config_checks_declared_bounds_and_choices(
    values: dict[str, Any], message: str
) -> None:
    assert Bounded(count=9, shares=(0.5,)).mode is None
    with pytest.raises(UsageError, match=message):
        Bounded(**values)


def test_an_inherited_option_keeps_its_bounds_and_may_change_its_help() -> None:
    assert Narrower().count == 5
    with pytest.raises(UsageError, match="--count 0: expected a whole number from 1"):
        Narrower(count=0)
    (count, *_) = click_options(Narrower, "toy")
    assert isinstance(count, click.Option)
    assert count.help == "How many. [from 1 to 9; default: 5]"
    with pytest.raises(TypeError, match="hepl"):
        inherited(Bounded, "count", 5, hepl="How many.")


def test_help_shows_a_default_as_a_person_writes_it() -> None:
    options = click_options(CheckConfig, "check")
    (budget,) = (each for each in options if each.name == "budget")
    assert isinstance(budget, click.Option)
    assert (budget.help or "").endswith("[default: 300]")
    assert options[0].name == "against"


def test_the_worst_exit_code_wins() -> None:
    codes = [ExitCode.NOT_COMPARABLE, ExitCode.INCOMPLETE, ExitCode.REGRESSION]
    assert worst(codes) is ExitCode.REGRESSION
    assert worst([]) is ExitCode.OK


@dataclass(frozen=True, kw_only=True)
class Shared(Options):
    heading = "Shared things"
    place: str = option("here", help="Place.")


@dataclass(frozen=True, kw_only=True)
class Headed(Shared):
    place: str = inherited(Shared, "place", "there")
    what: int = option(1, help="What.")
    how: int = option(1, help="How.", heading="Ways")


def test_an_option_stands_under_the_heading_of_the_class_that_declared_it() -> None:
    headings = {each.name: each.heading for each in click_options(Headed, "x")}  # type: ignore[attr-defined]
    assert headings == {"place": "Shared things", "what": "What is run", "how": "Ways"}
