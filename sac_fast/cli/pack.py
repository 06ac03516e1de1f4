"""`sac-fast pack`: make, check and fetch packs of answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .checks import check_output_path, refuse_if
from .help import HelpCommand
from .options import Force, Json, ProbeFile

if TYPE_CHECKING:
    from ..packs.pack import Pack

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Hash = Annotated[
    str, Option("--hash", help='SHA-256 of the file, "sha256:…", from its maker: it is compared before it is read.')
]


@app.command(cls=HelpCommand)
def make(
    models: Annotated[
        list[str],
        Argument(
            metavar="[KIND=]PATH...",
            help="Fingerprints of independents, folders of them, cases of `audit`, labelled zoos, folders of siblings. "
            "Sources, suspects and stolen models are never packed.",
        ),
    ],
    *,
    probes_file: ProbeFile,
    probes_at: Annotated[str, Option(help="Where others can get the probe set: its address, or a text.")],
    out: Annotated[Path, Option(help="Pack to write (safetensors).")],
    with_siblings: Annotated[
        bool, Option("--with-siblings", help="Pack siblings too: whoever has them can train towards them.")
    ] = False,
    note: Annotated[str | None, Option(help="For who reads it.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Put answers of independents to a published probe set into one file, and print its hash. Takes seconds."""
    from ..packs.make import find_members, make_pack
    from ..probes import ProbeSet
    from .fingerprint_files import split_kind

    check_output_path(out, force)
    probes = ProbeSet.load(probes_file)
    places = [split_kind(text, "PATH") for text in models]
    independents, siblings = find_members(places, probes.content_hash, with_siblings=with_siblings)
    made = make_pack(independents, probes, probes_at=probes_at, siblings=siblings, note=note)
    _show(replace(made, hash=made.save(out)), out, as_json, "pack.make")


@app.command(cls=HelpCommand)
def check(
    pack: Annotated[Path, Argument(exists=True, dir_okay=False, help="File of `pack make` or `pack pull`.")],
    *,
    hash: Hash,
    probes_file: Annotated[
        Path | None, Option("--probes", exists=True, dir_okay=False, help="Probe file that it must be of.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a pack with its hash, read it in a worker with limits, and say what it claims to hold."""
    from ..packs.opened import open_pack
    from ..packs.pack import ROLES
    from ..probes import ProbeSet

    found = open_pack(pack, hash)
    for role in ROLES:
        found.fingerprints(role)
    if probes_file is not None:
        found.on(ProbeSet.load(probes_file).content_hash)
    _show(found, pack, as_json, "pack.check")


@app.command(cls=HelpCommand)
def pull(
    address: Annotated[str, Argument(help="https://…; redirects are not followed.")],
    *,
    hash: Hash,
    out: Annotated[Path, Option(help="File to write; one that has the hash is left as it is.")],
    as_json: Json = False,
) -> None:
    """Fetch a pack from a public host, keep it if it has the hash, and say what it claims to hold."""
    from ..packs.opened import is_address, open_pack
    from ..packs.pull import pull_pack

    refuse_if(not is_address(address), "ADDRESS", f"must be https://…, got {address!r}")
    _show(open_pack(pull_pack(address, hash, out), hash), out, as_json, "pack.pull")


def _show(pack: Pack, path: Path, as_json: bool, name: str) -> None:
    from .render.common import print_result

    print_result({"pack": str(path), **pack.summary()}, as_json, name)
