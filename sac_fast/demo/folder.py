"""The demo's output folder: what is written where, and that nothing of the user's is lost."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..io.files import atomic_write, is_leftover
from ..labelled_zoo.engine import OutputFolderError, check_folder
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..store.lock import NAME as LOCK
from .plan import Member

KIND = "sac_fast demo"
RESULTS = "results.json"
PROBES = "probes.safetensors"
MANIFEST = "zoo.csv"
# Only files of such names are ever removed, whatever a results.json says.
_OURS = re.compile(
    r"zoo\.csv|(probes|(models|fingerprints|fingerprints/(null|siblings|independents))/[a-z0-9-]+)\.safetensors"
)


@dataclass(frozen=True)
class DemoZoo(LabelledZoo):
    """A labelled zoo whose files lie where the demo has them; it has no zoo.json.

    Attributes:
        fingerprint_files: of the members, by name, relative to the folder.
    """

    fingerprint_files: Mapping[str, str] = field(default_factory=dict)

    def probes_file(self, probes: str) -> Path:
        return self.folder / PROBES

    def fingerprint_file(self, probes: str, member: ZooMember | str) -> Path:
        return self.folder / self.fingerprint_files[member if isinstance(member, str) else member.name]


def weights_file(member: Member) -> str:
    """Where the weights go, relative to the output folder."""
    return f"models/{member.name}.safetensors"


def fingerprint_file(member: Member) -> str:
    """Where the fingerprint goes; siblings and independents have folders of their own, so that one word names them."""
    folder = {"sibling": "siblings/", "independent": "independents/"}.get(member.method, "")
    return f"fingerprints/{folder}{member.name}.safetensors"


def model_file(member: Member) -> str:
    """What stands for the model in a scan: its weights, or the recorded outputs of an API."""
    return weights_file(member) if member.behind is None else fingerprint_file(member)


def planned_files(members: Sequence[Member]) -> list[str]:
    """Every file of a demo but results.json, relative to the output folder."""
    files = [*map(model_file, members), *map(fingerprint_file, members)]
    return [PROBES, MANIFEST, *dict.fromkeys(files)]


def prepare(out: Path, members: Sequence[Member]) -> None:
    """Make the output folder ready; the files of an earlier demo in it are removed, and nothing else.

    Args:
        out: the folder; it may be missing, empty, or hold an earlier demo, finished or not.
        members: of the new demo.

    Raises:
        OutputFolderError: it is not empty and holds no earlier demo, or files of its own under the
            names that the demo would write.
        OSError: it cannot be written to.
    """
    earlier = earlier_files(out)
    taken = [name for name in planned_files(members) if name not in earlier and (out / name).exists()]
    if taken:
        raise OutputFolderError(f"out must not hold files that are not the demo's, got {out / taken[0]}")
    for name in earlier:
        (out / name).unlink(missing_ok=True)
    for folder in ("models", "fingerprints/siblings", "fingerprints/independents"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    # From now on the folder is known as a demo's: one that was interrupted can be run again.
    write_results(out, {"kind": KIND, "finished": False, "files": planned_files(members)})


def earlier_files(out: Path) -> list[str]:
    """The files that an earlier demo's results.json lists.

    Raises:
        OutputFolderError: the folder is not empty and holds no earlier demo.
    """
    check_folder(out)
    # A run that was killed at once leaves a lock, and perhaps half a file.
    if not out.exists() or all(path.name == LOCK or is_leftover(path) for path in out.iterdir()):
        return []
    try:
        earlier = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        earlier = None
    if not isinstance(earlier, dict) or earlier.get("kind") != KIND:
        raise OutputFolderError(
            f"out must be a new or empty folder, or one with an earlier demo's {RESULTS}, "
            f"got {out}, which holds something else"
        )
    files = earlier.get("files")
    names = files if isinstance(files, list) else []
    return [name for name in names if isinstance(name, str) and _OURS.fullmatch(name)]


def write_manifest(out: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the table of the models that `sac-fast scan` reads; see `sac_fast.models.manifest`.

    Args:
        out: the output folder.
        rows: one or more models, each with the same columns.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(out / MANIFEST) as handle:
        handle.write(text.getvalue().encode())


def write_results(out: Path, results: Mapping[str, Any]) -> None:
    """Write results.json, all or nothing.

    Args:
        out: the output folder.
        results: what JSON can hold; NaN and infinity are refused.
    """
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(out / RESULTS) as handle:
        handle.write(text.encode())
