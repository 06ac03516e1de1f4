"""`sac-fast show`: what a file or a folder of ours holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from .options import Json

# Files that stand for their folder.
_INDICES = ("verdicts.json", "report.json", "zoo.json", "siblings.json")


def show(
    path: Annotated[
        Path,
        Argument(exists=True, help="Any file or folder that sac_fast writes: probes, fingerprint, store, report, …"),
    ],
    as_json: Json = False,
) -> None:
    """Say what a file or a folder of sac_fast holds; of a model file its format. Nothing of it is run."""
    from .render.common import print_result
    from .show_files import describe_file

    of_folder = path.is_dir() or path.name in _INDICES
    found = _describe_folder(path if path.is_dir() else path.parent) if of_folder else describe_file(path)
    print_result({"path": str(path), **found}, as_json, "show")


def _describe_folder(folder: Path) -> dict[str, Any]:
    from ..errors import FileFormatError
    from ..io.files import STORE_DATABASE

    if (folder / "verdicts.json").is_file():
        return _describe_case(folder)
    if (folder / STORE_DATABASE).is_file():
        from ..store import ModelStore

        with ModelStore.open(folder, write=False) as store:
            statuses = [(record.status, record.probe_hash) for record in store.records(None, None)]
        counts = {status: sum(one == status for one, _ in statuses) for status in ("done", "failed", "redo")}
        return {"what": "store", **counts, "probe_sets": sorted({probes for _, probes in statuses if probes})}
    from ..labelled_zoo.folder import LabelledZoo
    from ..labelled_zoo.siblings_folder import open_siblings

    zoo = open_siblings(folder) or (LabelledZoo.load(folder) if (folder / "zoo.json").is_file() else None)
    if zoo is not None:
        roles = [member.role for member in zoo.members]
        counts = {role: roles.count(role) for role in dict.fromkeys(roles)}
        return {"what": zoo.index_kind.removeprefix("sac_fast "), **counts, "probe_sets": list(zoo.probes)}
    raise FileFormatError(f"{str(folder)!r} must be a store, a labelled zoo, siblings or a case, got another folder")


def _describe_case(folder: Path) -> dict[str, Any]:
    from ..report import load_case

    case = load_case(folder)
    reports = [file.name for file in sorted(folder.glob("report.*"))]
    verdicts = {
        name: f"{verdict}, p = {case.content['p_value'][name]:.4g}" for name, verdict in case.content["verdict"].items()
    }
    about = {key: case.content[key] for key in ("name", "created", "protocol_hash")}
    return {"what": "case", **about, "verdicts": verdicts, "failed": case.content["failed"], "report": reports}
