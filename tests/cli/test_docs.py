"""The page about the command line tells all of it."""

import re
from pathlib import Path

import pytest
import typer

from dragoman import cli
from dragoman.config import describe, flag_name

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def commands(command, name="dragoman"):
    """Every command that does something, with its full name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, each in inner.items():
        yield from commands(each, f"{name} {word}")


ALL = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_is_told_of(name):
    # Flags of settings are told of once, where the table of them is.
    section = SECTIONS[name] + (SECTIONS["dragoman serve"] if name == "dragoman deploy ray" else "")
    for parameter in ALL[name].params:
        words = [parameter.metavar] if parameter.param_type_name == "argument" else parameter.opts
        for word in words:
            if word not in ("--help", "-h"):
                assert re.search(rf"`{re.escape(word)}\b", section) or f"`{word}" in section, word


def test_nothing_is_told_of_that_is_not_there():
    assert set(SECTIONS) == set(ALL)
    for name, section in SECTIONS.items():
        there = {
            word for parameter in ALL[name].params for word in (*parameter.opts, *parameter.secondary_opts)
        }
        told = set(re.findall(r"^\| `(--[\w-]+)", section, re.M))
        assert told <= there, name


def test_the_options_of_the_program_are_told_of():
    for parameter in typer.main.get_command(cli.app).params:
        assert any(f"`dragoman {word}`" in PAGE for word in parameter.opts), parameter.opts


def test_the_table_of_flags_is_the_settings_own():
    table = re.search(r"<!-- flags -->\n(.*?)<!-- end -->", PAGE, re.S)[1].strip()
    assert table == flags()


def flags() -> str:
    """To write the table anew: ``python -c "from tests.cli.test_docs import flags; print(flags())"``."""
    rows = ["| Flag | Setting | Meaning |", "|---|---|---|"]
    for entry in describe():
        names = [flag_name(entry.section, entry.key), *filter(None, [cli.flags.ALIASES.get(entry.name)])]
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | `{entry.name}` | {entry.help} |")
    return "\n".join(rows)
