"""Every model that a demo called derived has the source as its nearest among the models that it did not.

    python tests/support/check_demo_relatives.py DEMO_FOLDER STORE

Thefts of one source may be nearer to each other than to it, so the others are what a model is compared with.
"""

import json
import subprocess
import sys
from pathlib import Path


def main(folder: str, store: str) -> None:
    results = json.loads((Path(folder) / "results.json").read_text())
    rows, metric = results["models"], results["null_pool"]["metric"]
    # An API gives no logits: its nearest relatives are not told by the logits' correlations.
    found = [row for row in rows if row["verdict"].startswith("derived") and row["output_form"] == "logits"]
    derived = [row["name"] for row in found if row["truth"] == "derived"]
    others = ["source", *(row["name"] for row in rows if row["truth"] == "independent")]
    command = ["sac-fast", "relatives", store, "--metric", metric, "--top", "1", "--json", "--quiet"]
    for name in derived:
        command += ["--name", name]
    for name in others:
        command += ["--among", name]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["relatives"]
    nearest = {name: answer[name][0]["name"] for name in derived}
    print(
        f"{list(nearest.values()).count('source')} of {len(nearest)} models called derived: the source is the nearest"
    )
    if not nearest or set(nearest.values()) != {"source"}:
        raise SystemExit(f"the source must be the nearest of each, got {nearest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
