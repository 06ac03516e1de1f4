"""The page in a browser: no overflow on wide and narrow screens, nothing runs, and a PDF comes out."""

import os
import re
import shutil
import subprocess

import pytest
from support.report_cases import sibling_case

from sac_fast.errors import SacFastError
from sac_fast.report import pdf as pdf_module
from sac_fast.report import write_report

BROWSER = shutil.which("chromium")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium")
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
# The page in a frame of a given width; the script is the test's, the page's own policy forbids scripts.
FRAME = """<iframe id=f src="report.html" style="width:{width}px;height:900px;border:0"></iframe><script>
onload = () => {{ const d = document.getElementById("f").contentDocument, e = d.documentElement;
  const wide = [...d.querySelectorAll("body *")].filter(x => x.getBoundingClientRect().right > {width} + 1);
  const found = [e.scrollWidth, wide.map(x => x.tagName).join("-"), d.title.length];
  document.body.innerHTML = "<p id=out>" + found.join(",") + "</p>"; }}
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("page")
    claims = [{"verdict": "consistent", "claim": HOSTILE * 20, "source": "z" * 300, "reason": "-" * 200}]
    sibling_case(made, names=(HOSTILE, "w" * 400), claims={HOSTILE: claims}, command="x" * 500)
    write_report(made, pdf=False)
    return made


@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_overflows_and_nothing_runs(folder, tmp_path, width):
    (folder / "frame.html").write_text(FRAME.format(width=width))
    command = [
        BROWSER,
        "--headless=new",
        "--disable-gpu",
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path}",
    ]
    command += ["--virtual-time-budget=4000", "--window-size=1400,1000", "--dump-dom"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run([*command, (folder / "frame.html").as_uri()], capture_output=True, text=True, timeout=180)
    scroll, outside, title = re.search(r"<p id=\"?out\"?>(.*?)</p>", done.stdout)[1].split(",")
    # a frame with a scroll bar is 15 pixels narrower
    assert width - 20 <= int(scroll) <= width
    assert outside == ""
    assert int(title) > len("run")


@needs_browser
def test_a_pdf_comes_out(folder):
    written = write_report(folder, pdf=True)
    assert folder / "report.pdf" in written
    content = (folder / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert "report.pdf" in (folder / "SHA256SUMS").read_text()


def test_where_nothing_prints(folder, monkeypatch):
    monkeypatch.setattr(pdf_module.shutil, "which", lambda name: None)
    monkeypatch.setattr(pdf_module.importlib.util, "find_spec", lambda name: None)
    assert (folder / "report.pdf") not in write_report(folder)
    with pytest.raises(SacFastError, match="needs Chromium or WeasyPrint"):
        write_report(folder, pdf=True)
