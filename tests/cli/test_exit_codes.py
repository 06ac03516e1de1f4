"""One table of exit codes for all commands: help, usage, missing and damaged files."""

import json

import pytest
import typer

from sac_fast.cli import exit_codes
from sac_fast.cli.main import app


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
names = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def required(command, values):
    """Arguments and options that must be given, each with the value for its type."""
    words = []
    for parameter in command.params:
        if parameter.required:
            word = values(parameter)
            words += [word] if parameter.param_type_name == "argument" else [parameter.opts[0], word]
    return words


@names
def test_help_is_finished(path, run):
    code, out, err = run(*path, "--help")
    assert (code, err) == (exit_codes.FINISHED, "")
    assert out.startswith("Usage: ")


@names
def test_an_unknown_option_is_wrong_usage(path, run):
    code, out, err = run(*path, "--no-such-option")
    assert (code, out) == (exit_codes.USAGE, "")
    assert "No such option: --no-such-option" in err


def words(path, what):
    return required(COMMANDS[path], lambda parameter: "new" if parameter.name in ("out", "folder") else what)


# Finished all the same: no pair of files in an empty folder, and a file that is none of ours.
FINISHED = {("weights", "folder"), ("show", "noise")}
READ_FILES = [path for path in COMMANDS if "x" in words(path, "x")]


def test_most_commands_read_files():
    assert len(READ_FILES) >= 15


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "noise"])
@pytest.mark.parametrize("path", READ_FILES, ids=" ".join)
def test_files_that_are_none_fail_with_one_line(path, what, run, tmp_path, monkeypatch):
    """Usage where an option says so, else 1; never a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 4)
    code, _, err = run(*path, *words(path, what))
    assert "Traceback" not in err
    if (*path, what) in FINISHED:
        assert code == exit_codes.FINISHED, err
        return
    assert code in (exit_codes.ERROR, exit_codes.USAGE, exit_codes.FINDING), err
    if code == exit_codes.ERROR:
        assert err.startswith("sac-fast: ")
        assert len(err.strip().splitlines()[-1]) < 1000


@pytest.mark.parametrize(
    "arguments",
    [
        ("info",),
        ("show", "probes.safetensors"),
        ("probes", "verify", "probes.safetensors", "--images", "images"),
        ("probes", "compare", "images", "--severity", "3"),
        ("weights", "weights0.safetensors", "weights1.safetensors"),
        ("verify", "0.safetensors", "1.safetensors", "--null", "null"),
    ],
)
def test_json_begins_with_its_schema(arguments, made, run):
    code, out, _ = run(*arguments, "--json")
    assert code == exit_codes.FINISHED
    name, _, version = next(iter(json.loads(out).values())).partition("/")
    assert next(iter(json.loads(out))) == "schema"
    assert name.startswith(f"sac_fast.{arguments[0]}")
    assert version == "1"
