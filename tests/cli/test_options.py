"""An option means the same in every command that has it, and groups of options are dataclasses."""

import ast
import collections
import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sac_fast.cli.main import app
from sac_fast.cli.option_groups import expand_option_groups

DRAWS = {f"probes {kind}" for kind in ("jpeg", "normal", "cutmix", "corrupt", "compare")}
# What an option says where it says something of its own, for the same meaning.
OWN_WORDS = {
    ("--force", "bench"),  # a folder of results
    ("--json", "scan"),  # a line for each model
    ("--model-args", "testbed adopt"),  # one for each model
    # none: nothing is drawn
    *(("--seed", path) for path in DRAWS),
    ("--weights", "simulate"),  # required
    ("--workers", "scan"),  # they run models
}
MODELS = {"simulate", "siblings make", "probes compare", "testbed adopt"}
SAME = [
    *("--alpha", "--colour-order", "--comparison", "--force", "--json", "--labels", "--layout", "--mean", "--metric"),
    *("--model-args", "--quiet", "--seed", "--size", "--std", "--weights", "--workers"),
]


def commands(group=None, path=""):
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def options():
    found = collections.defaultdict(dict)
    for path, command in commands():
        for parameter in command.params:
            for option in parameter.opts:
                found[option][path] = parameter
    return found


@pytest.mark.parametrize("name", SAME)
def test_an_option_says_the_same_in_every_command(name):
    helps = {parameter.help for path, parameter in options()[name].items() if (name, path) not in OWN_WORDS}
    assert len(helps) == 1


@pytest.mark.parametrize(
    ("name", "word", "paths"),
    [
        ("--probes", "Probe file", {"fingerprint", "scan", "siblings make", "simulate"}),
        ("--probe-hash", "hash", {"scan", "relatives", "store ls", "store rm", "store export", "store index"}),
        ("--model", "package.module:callable", MODELS),
        (
            "--model-args",
            "JSON object",
            {"fingerprint", "simulate", "siblings make", "probes compare", "testbed adopt"},
        ),
        ("--size", "the model's input", {"fingerprint", "scan", "siblings make", "simulate"}),
        ("--alpha", "Stated error rate", {"verify", "relatives", "evaluate", "weights"}),
        ("--seed", "Seed of everything random", {"demo", "simulate", "evaluate", *DRAWS, "testbed train"}),
        ("--store", "Folder of the store", {"scan"}),
    ],
)
def test_where_an_option_is_and_what_it_means(name, word, paths):
    found = options()[name]
    assert set(found) == paths
    assert all(word in parameter.help for parameter in found.values())


def test_out_is_what_a_command_writes():
    for path, parameter in options()["--out"].items():
        assert "Folder" in parameter.help or "to write" in parameter.help, path


def test_every_option_has_a_help_text():
    assert [name for name, found in options().items() for parameter in found.values() if not parameter.help] == []


def test_a_group_stands_for_its_options():
    @dataclass(frozen=True)
    class Group:
        count: Annotated[int, typer.Option(help="How many.")]
        name: Annotated[str, typer.Option(help="Whose.")] = "nobody"

    def command(*, first: Annotated[str, typer.Argument()], group: Group, last: bool = False) -> None:
        print(first, group, last)

    command.__annotations__["group"] = Group
    small = typer.Typer()
    small.command()(expand_option_groups(command))
    run = CliRunner().invoke
    assert run(small, ["a", "--count", "3", "--last"]).stdout == f"a {Group(3, 'nobody')} True\n"
    assert run(small, ["a", "--name", "b", "--count", "4"]).stdout == f"a {Group(4, 'b')} False\n"
    assert run(small, ["a"]).exit_code == 2
    assert inspect.unwrap(small.registered_commands[0].callback) is command


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_commands_are_thin(path, command):
    function = inspect.unwrap(command.callback)
    (node,) = ast.parse(inspect.getsource(function)).body
    assert len(inspect.signature(function).parameters) <= 12
    assert node.end_lineno - node.body[0].lineno < 60
