"""The table of hostile files: its bytes, the reason of its refusal, and what it costs driver, worker and `fingerprint`.

`hostile_costs.md` is the table as it was measured; to write it anew: SAC_FAST_WRITE_TABLES=1 pytest THIS FILE.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hostile_costs import Cost
from support.hostile_files import make_hostile_folder, marker

import sac_fast

TABLE = Path(__file__).with_name("hostile_costs.md")
ROOT, TESTS = Path(sac_fast.__file__).parents[1], Path(__file__).parents[1]
pytestmark = pytest.mark.slow
HEAD = (
    "| file | bytes on disk | refused as | driver, MB | worker, MB | fingerprint, MB | allowed, MB |\n"
    "| --- | ---: | --- | ---: | ---: | ---: | ---: |\n"
)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    # More inputs than one are seen when the model is run, which costs what its author likes, up to a worker's limits.
    expected = make_hostile_folder(folder) | {"onnx-two-inputs.onnx": ""}
    done = subprocess.run(
        [sys.executable, "-m", "support.hostile_costs", folder],
        input="\0".join(expected),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not marker(folder).exists()
    return expected, [Cost(**json.loads(line)) for line in done.stdout.splitlines()]


def test_every_hostile_file_is_refused_for_its_reason(costs):
    expected, found = costs
    assert {cost.name: cost.reason for cost in found} == expected


def test_no_hostile_file_costs_more_than_twice_its_bytes_and_200_mb(costs):
    _, found = costs
    assert len(found) > 150
    assert [cost for cost in found if max(cost.driver, cost.worker, cost.fingerprint) > cost.bound] == []
    assert [cost for cost in found if cost.seconds > 10] == []


def test_fingerprint_refuses_every_hostile_file_by_an_error_of_ours(costs):
    _, found = costs
    assert {cost.ended for cost in found} == {"ModelRefusedError", "ModelError"}


def test_the_table_lists_every_hostile_file(costs):
    expected, found = costs
    rows = [
        f"| `{cost.name}` | {cost.disk:,} | {cost.reason} | {cost.driver / 1e6:.0f} | {cost.worker / 1e6:.0f} "
        f"| {cost.fingerprint / 1e6:.0f} | {cost.bound / 1e6:.0f} |\n"
        for cost in sorted(found, key=lambda cost: cost.name)
    ]
    if os.environ.get("SAC_FAST_WRITE_TABLES"):
        TABLE.write_text(HEAD + "".join(rows))
    listed = [line.split(" | ") for line in TABLE.read_text().splitlines()[2:]]
    assert {cells[0].strip("|` "): cells[2] for cells in listed} == expected
