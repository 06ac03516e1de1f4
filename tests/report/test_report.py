"""report.json and report.html: form, contents, hostile names."""

import json
import re
from html.parser import HTMLParser

import jsonschema
import numpy as np
import pytest
from support.report_cases import made, pool_case, random_outputs, sibling_case

import sac_fast
from sac_fast.errors import FileFormatError
from sac_fast.report import load_case, save_case, write_report
from sac_fast.report.document import SCHEMA_FILE
from sac_fast.report.figures import layer_rows, place_strip
from sac_fast.verify.case_folder import CaseFolder, read_verdicts, write_verdicts

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\"'&amp;{{ 7 * 7 }}"
WEIGHTS_CLAIM = {"verdict": "consistent", "claim": HOSTILE, "source": "README.md", "reason": "The weights say so."}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def report_of(folder):
    return json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


@pytest.mark.parametrize("make", [sibling_case, pool_case])
def test_the_report_has_the_form_of_its_schema(tmp_path, make):
    write_report(make(tmp_path), pdf=False)
    report, _ = report_of(tmp_path)
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    del report["suspects"][0]["p_value"]
    with pytest.raises(jsonschema.ValidationError, match="p_value"):
        jsonschema.validate(report, schema)


def test_siblings_on_a_strip(tmp_path):
    write_report(sibling_case(tmp_path), pdf=False)
    report, page = report_of(tmp_path)
    assert [suspect["verdict"] for suspect in report["suspects"]] == ["derived", "not distinguished"]
    strip = report["suspects"][0]["strips"][0]
    assert len(strip["groups"]["siblings"]) == 19
    assert strip["marked"] > max(strip["groups"]["siblings"])
    assert page.count("<circle") == 38  # 19 siblings, two suspects
    shown = Page(page).text
    facts = ("model 0", "p = 0.05", report["created"], "1.5 s")
    for text in (report["tests"][0]["hypothesis"], *report["tests"][0]["conditions"], *facts):
        assert text in shown
    assert {row["sha256"] for row in report["evidence"]} <= set(re.findall("sha256:[0-9a-f]{64}", shown))


def test_nulls_on_a_strip_by_kind(tmp_path):
    write_report(pool_case(tmp_path), pdf=False)
    report, page = report_of(tmp_path)
    assert report["nulls"] == {"same-data": 5, "other-data": 5}
    strip = report["suspects"][0]["strips"][0]
    assert [len(values) for values in strip["groups"].values()] == [5, 5]
    assert strip["marked"] < min(min(values) for values in strip["groups"].values())
    assert "same-data (5)" in page


def test_places_are_percent_of_the_span():
    strip = {"what": "w", "direction": "d", "marked": 3.0, "groups": {"a": [1.0, None], "b": [5.0]}}
    placed = place_strip(strip)
    # 4 % are free on both sides: 1 … 5 becomes 4 … 96
    assert [mark.x for row in placed.rows for mark in row.marks] == [4.0, 96.0]
    assert placed.marked.x == 50.0
    assert [row.label for row in placed.rows] == ["a (1)", "b (1)"]
    assert placed.ticks == [(4.0, "1"), (96.0, "5")]
    assert place_strip({**strip, "groups": {"a": []}, "marked": None}).marked is None
    assert place_strip({**strip, "groups": {"a": [2.0]}, "marked": 2.0}).marked.x == 4.0


def test_layers_beyond_the_limit_are_thinned_evenly():
    layer = {"name": "x", "other": "x", "variant": "", "units": 4, "matches": 3, "cosine": 0.5, "log10_p": -1.0}
    weights = {"layers": [{**layer, "name": str(i), "left_out": None} for i in range(7)]}
    rows = layer_rows(weights, 3)
    assert [row["name"] for row in rows] == ["0", "3", "6"]
    assert (rows[0]["matched"], rows[0]["cosine"], rows[0]["p"]) == (75.0, 50.0, "0.1")


def hostile_page(folder):
    rng = np.random.default_rng(0)
    a = {f"{HOSTILE}{i}": rng.normal(size=size) for i, size in enumerate([(16, 27), (32, 16), (32, 32), (10, 32)])}
    weights = sac_fast.weights_test(a, {name: array + 0.01 for name, array in a.items()})
    claims = {HOSTILE: [WEIGHTS_CLAIM]}
    sibling_case(folder, names=(HOSTILE, "y" * 3000), weights={HOSTILE: weights}, claims=claims, command=HOSTILE)
    case = CaseFolder(folder)
    content = read_verdicts(case)
    content |= {"name": HOSTILE, "warnings": [HOSTILE], "failed": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    content["models"][1] |= {"path": HOSTILE, "url": HOSTILE, "revision": HOSTILE}
    content["tests"][0]["looks"] = [{"queries": 1, "alpha": 0.1, "p_value": HOSTILE, "verdict": HOSTILE}]
    write_verdicts(case, {name: value for name, value in content.items() if name not in ("kind", "format")})
    write_report(folder, pdf=False)
    return report_of(folder)


def test_hostile_names_are_text(tmp_path):
    report, page = hostile_page(tmp_path)
    parsed = Page(page)
    assert set(parsed.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "div", "section", "ul"),
        *("li", "table", "thead", "tr", "th", "td", "b", "br", "i", "code", "pre", "span", "figure", "figcaption"),
        *("svg", "text", "circle", "line"),
    }
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name in ("href", "src")]
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("{{ 7 * 7 }}") > 8
    assert report["suspects"][0]["name"] == HOSTILE


def test_the_page_may_load_nothing(tmp_path):
    write_report(pool_case(tmp_path), pdf=False)
    parsed = Page(report_of(tmp_path)[1])
    policy = dict(((tag, name), value) for tag, name, value in parsed.attributes if value and "default-src" in value)
    assert policy == {("meta", "content"): "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    assert "url(" not in (tmp_path / "report.html").read_text()


def test_many_suspects_are_not_all_drawn(tmp_path):
    outputs = random_outputs(90, probes=30)
    task = 2 * outputs[89]
    source, *siblings = (made(f"m{i}", o + task) for i, o in enumerate(outputs[:20]))
    suspects = {f"s{i}": made(f"s{i}", o + task) for i, o in enumerate(outputs[20:85])}
    verdicts = sac_fast.verify_suspects(source, suspects, siblings=siblings)
    save_case(tmp_path, verdicts, source=source, suspects=suspects, siblings=siblings)
    write_report(tmp_path, pdf=False)
    report, page = report_of(tmp_path)
    assert len(report["suspects"]) == 65
    assert page.count('<section class="card') == 60
    assert "5 more suspects" in page


def test_files_of_a_case_stay_in_its_folder(tmp_path):
    folder = pool_case(tmp_path / "case")
    case = load_case(folder)
    outside = tmp_path / "outside.safetensors"
    case.source.file.rename(outside)
    case.source.file.symlink_to(outside)
    with pytest.raises(FileFormatError, match="must lie in the folder"):
        load_case(folder)
    case.source.file.unlink()
    case.source.file.symlink_to(case.source.file.name)  # a loop
    with pytest.raises(FileFormatError, match="Too many levels of symbolic links"):
        load_case(folder).source.load()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models", []),
        ("models", [{"name": "x", "role": "source", "fingerprint": "../x"}]),
        ("models", [{"name": "x", "role": "other", "fingerprint": "x"}]),
        ("tests", [{"suspects": ["nobody"], "rows": None}]),
        ("tests", 5),
        ("kind", "other"),
    ],
)
def test_damaged_verdicts_are_refused(tmp_path, key, value):
    folder = pool_case(tmp_path)
    content = json.loads((folder / "verdicts.json").read_text())
    (folder / "verdicts.json").write_text(json.dumps({**content, key: value}, indent=1) + "\n")
    with pytest.raises(FileFormatError, match="must be"):
        load_case(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 10**5, '{"a": NaN}\n', "\xff"])
def test_what_is_no_case_is_refused(tmp_path, text):
    (tmp_path / "verdicts.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match="must be"):
        write_report(tmp_path)
