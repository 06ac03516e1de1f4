"""Reports from others that cost more than they are, or are of another form: findings, whatever is wrong."""

import json
import os
import shutil

import pytest
import torch
from support.bounded import bounded
from support.report_cases import pool_case, sibling_case

from sac_fast import Fingerprint
from sac_fast.report import check_report, load_case, write_report
from sac_fast.report.cost import count_products
from sac_fast.report.files import to_text, write_sums


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = pool_case(tmp_path_factory.mktemp("made") / "case")
    write_report(folder, pdf=False)
    return folder


@pytest.fixture
def report(made, tmp_path):
    return shutil.copytree(made, tmp_path / "case")


def seal(folder):
    """Hashes of all that is there, as a forger would write them."""
    write_sums(folder, [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"])


def sparse(path, size, begin=b""):
    path.write_bytes(begin)
    os.truncate(path, size)


def findings(folder, file_bytes=0, seconds=10):
    with bounded(file_bytes, seconds=seconds):
        return check_report(folder).findings


def test_few_holes_are_no_finding(report):
    sparse(report / "copied", 600_000)
    seal(report)
    assert findings(report) == ()


def test_holes_of_one_file_and_of_all_together(report):
    for name in "abc":  # all else together has some 100 kB
        sparse(report / name, 600_000)
    seal(report)
    message = "must lie on the disk, got 0 bytes of 600,000, after others with 600,000 bytes of holes"
    assert [message in finding for finding in findings(report)] == [True] * 2
    sparse(report / "a", 70 << 20, bytes(2 << 20))
    seal(report)
    assert "a' must lie on the disk, got 2,097,152 bytes of 73,400,320" in findings(report)[0]


@pytest.mark.parametrize("name", ["verdicts.json", "SHA256SUMS", "protocol.json"])
def test_holes_of_what_is_parsed_are_not_read(report, name):
    sparse(report / name, 60 << 20, b"{")
    if name == "protocol.json":
        seal(report)
    (found,) = findings(report, seconds=5)
    assert "must lie on the disk, got 4,096 bytes of 62," in found or "must have at most" in found


def test_many_values_are_refused_before_they_are_made(report):
    (report / "verdicts.json").write_text("[" + "[]," * 5_000_000 + "[]]")
    seal(report)
    (found,) = findings(report, 15_000_000)
    assert "must hold at most 900,000 values" in found


def test_deep_values_are_refused_before_they_are_written_with_indents(report):
    """400 kB took 18 s and 500 MB."""
    nest = "[" * 900 + "]" * 900
    for deep in (nest, "[" * 80 + "]" * 80):
        text = '{"a": [' + ",".join([deep] * (400_000 // len(deep))) + "]}"
        (report / "verdicts.json").write_text(text)
        seal(report)
        (found,) = findings(report, len(text), seconds=3)
        assert "nested at most" in found or "RecursionError" in found


def changed(report, change):
    """The report with other verdicts, and hashes that fit."""
    verdicts = json.loads((report / "verdicts.json").read_text())
    change(verdicts, verdicts["tests"][0])
    (report / "verdicts.json").write_text(to_text(verdicts))
    seal(report)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda case, test: test.pop("verdicts"), "got 'none of verdicts'"),
        (lambda case, test: test.update(verdicts=[]), "tests[0].verdicts must be dict, got list"),
        (
            lambda case, test: case["models"][2].pop("name"),
            "must have name, role, kind, fingerprint, got",
        ),
        (lambda case, test: case["models"][2].update(name=3), "models[2].name must be str, got int"),
        (lambda case, test: test.update(verdicts={}), "the verdicts cannot be computed again: KeyError"),
        (lambda case, test: test.update(rows=[0, 1] * 200_000), "rows must be different positions"),
        (lambda case, test: test.update(rows=[10**30]), "cannot be computed again"),
        (lambda case, test: test.update(alpha=10**400), "cannot be computed again: TypeError"),
        (lambda case, test: test["verdicts"].update(alpha=10**400), "cannot be computed again: OverflowError"),
        (
            lambda case, test: case["models"][3].update(fingerprint=case["models"][4]["fingerprint"]),
            "models must have a fingerprint each, got 'one of several'",
        ),
        (lambda case, test: case.update(tests=[None]), "must be the verdicts of a case"),
        (lambda case, test: case.update(created="tomorrow"), "got: Invalid isoformat string: 'tomorrow'"),
        (lambda case, test: case.update(versions=[]), "cannot be computed again: AttributeError"),
        (lambda case, test: case.update(tests={"a": test}), "must be the verdicts of a case"),
    ],
)
def test_verdicts_of_another_form_are_a_finding(report, change, finding):
    changed(report, change)
    (found,) = findings(report, (report / "verdicts.json").stat().st_size)
    assert finding in found


def test_a_protocol_that_is_too_deep_is_a_finding(report):
    (report / "protocol.json").write_text("[" * 200_000)
    seal(report)
    (found,) = findings(report)
    assert "the verdicts cannot be computed again: ModelRefusedError: protocol.json must be sound JSON" in found


def grown(report, probes):
    """The report with as many probes as a forger likes, and hashes that fit."""
    outputs = torch.arange(2.0 * probes).reshape(-1, 2) % 1013
    for path in report.glob("fingerprints/*/*.safetensors"):
        Fingerprint(outputs, Fingerprint.load(path).provenance).save(path)
    seal(report)


def test_millions_of_probes_are_not_compared(report):
    """n² products a model, hours: told from the sizes, before the first of them."""
    grown(report, 700_000)
    (found,) = findings(report, sum(path.stat().st_size for path in report.glob("fingerprints/*/*")), seconds=15)
    assert "its distances take 1.2e+13 products or more, allowed are 1e+13 (--no-limit" in found


def test_what_may_be_computed_again_is_an_argument(report):
    assert check_report(report, max_products=10**8).findings == (
        "the verdicts cannot be computed again: FileFormatError: its distances take 1.2e+08 products or more, "
        "allowed are 1e+08 (--no-limit computes them all the same)",
    )
    assert check_report(report, max_products=10**9).sound


def test_products_of_tests(report, tmp_path):
    case = load_case(report)  # 12 models, 60 probes, 5 outputs
    assert count_products(case) == 12 * (10**7 + 60**2 * 5)
    case.content["tests"][0]["rows"] = [1, 4]
    assert count_products(case) == 12 * (10**7 + 2**2 * 5)
    case.content["tests"] *= 3
    assert count_products(case) == 3 * 12 * (10**7 + 2**2 * 5)
    siblings = load_case(sibling_case(tmp_path / "siblings"))  # 19, the source and two suspects
    assert count_products(siblings) == 19**2 * 10**7 + 22 * (10**7 + 60**2 * 5)
    # a suspect that answered other probes than the others is compared with all of them anew
    path = siblings.of_role("suspects")[0].file
    fp = Fingerprint.load(path)
    Fingerprint(fp.outputs[:50], {**fp.provenance, "probe_rows": list(range(50))}).save(path)
    assert count_products(siblings) == 2 * (19**2 * 10**7 + 22 * 10**7 + 21 * 60**2 * 5 + 50**2 * 5)


def test_a_page_of_another_length_is_not_read(report):
    with (report / "report.html").open("ab") as page:
        page.write(b" " * (150 << 20))
    seal(report)
    (found,) = findings(report)
    assert found == "report.html does not follow from report.json"


@pytest.mark.parametrize("part", ["a/", "fingerprints/../"])
def test_long_names_are_not_followed(report, part):
    """Steps grow as the square of a name's parts: a megabyte of them took minutes."""
    name = part * (1_000_000 // len(part)) + "z"
    lines = [*(report / "SHA256SUMS").read_text().splitlines(True), f"{'0' * 64}  {name}\n"]
    (report / "SHA256SUMS").write_text("".join(sorted(lines, key=lambda line: line[66:])))
    (found,) = findings(report, 1_000_000, seconds=2)
    assert found == name[:500] + " lies outside of the folder, or is a link"
    changed(report, lambda case, test: case["models"][2].update(fingerprint=name))
    assert "a file must lie in the folder" in findings(report, 1_000_000, seconds=2)[0]


@pytest.mark.parametrize("text", ["\n" * (15 << 20), "0" * 64 + "  " + "a" * (15 << 20) + "\U0001f600\n"])
def test_hashes_take_few_times_their_bytes(report, text):
    """64 MB of them took 900."""
    (report / "SHA256SUMS").write_text(text)
    assert len(findings(report, len(text), seconds=5)) >= 1
    (report / "SHA256SUMS").write_text(text * 2)
    (found,) = findings(report, 2 * len(text), seconds=5)
    assert "must have at most 16,777,216 bytes, as hashes of a report, got more" in found
