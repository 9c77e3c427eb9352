import subprocess
import sys

import pytest
import typer

from dragoman import cli
from dragoman.cli.flags import with_settings
from dragoman.config import Settings, describe, flag_name, load

VALUES = {
    "boolean": None,
    "boolean or unset": None,
    "integer": "3",
    "integer or unset": "3",
    "number": "0.5",
    "size": "1KiB",
    "duration": "1500ms",
    "string": "word",
    "list of integers": "1,2",
    "list of strings": "one,two",
}
#: Settings that make no sense without others.
TOGETHER = {"server.control": "explicit", "server.processes": "1"}


def options(command: str) -> set[str]:
    found = typer.main.get_command(cli.app).commands[command]
    return {word for option in found.params for word in option.opts}


@pytest.mark.parametrize("entry", list(describe()), ids=lambda entry: entry.name)
def test_every_setting_has_a_flag(entry):
    assert flag_name(entry.section, entry.key) in options("serve")


def test_every_flag_reaches_its_setting():
    given = {}

    @with_settings
    def command(flags):
        given.update(flags)

    app = typer.Typer()
    app.command()(command)
    arguments = []
    for entry in describe():
        value = TOGETHER.get(entry.name, entry.choices[0] if entry.choices else VALUES[entry.type])
        arguments += [flag_name(entry.section, entry.key), *([value] if value else [])]
    arguments += ["--limits-header-bytes", "1KiB"]
    app(arguments, standalone_mode=False)
    loaded = load(None, {}, given)
    assert {where.partition(" ")[0] for where in loaded.origin.values()} == {"flag"}
    assert loaded.settings.models.max_delay == 1.5
    assert loaded.settings.models.preferred_batch == (1, 2)
    assert loaded.settings.models.execution == "auto"
    assert loaded.settings.log.access is True


def test_a_flag_with_names_may_be_given_again_and_again():
    given = {}

    @with_settings
    def command(flags):
        given.update(flags)

    app = typer.Typer()
    app.command()(command)
    app(
        ["--control", "explicit", "--load-model", "a", "--load-model=b,c"],
        standalone_mode=False,
    )
    assert load(None, {}, given).settings.server.load_model == ("a", "b", "c")


def test_flags_that_are_not_given_change_nothing():
    given = {}

    @with_settings
    def command(flags):
        given.update(flags)

    app = typer.Typer()
    app.command()(command)
    app([], standalone_mode=False)
    assert load(None, {}, given).settings == Settings()


def test_the_command_line_imports_nothing_heavy():
    heavy = "{'numpy', 'asyncio', 'rich', 'starlette', 'orjson'}"
    code = f"import sys, dragoman.cli; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_parent_of_several_processes_imports_nothing_heavy():
    code = "import sys, dragoman.cli, dragoman.supervisor; print('numpy' in sys.modules, 'starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
