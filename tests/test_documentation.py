"""README and docs/: links lead somewhere, commands exist, blocks run as they stand, the pages build."""

import os
import pathlib
import re
import subprocess
import sys
import typing

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
RUN = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
_FENCE = re.compile(r"(<!-- not run: (.+?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


class Block(typing.NamedTuple):
    language: str
    text: str
    not_run: str | None


def blocks_of(text):
    """Blocks of code, with the reason why one is not run."""
    return [Block(language, code, reason) for _, reason, language, code in _FENCE.findall(text)]


def test_blocks_are_found():
    text = "```sh\na\n```\n\n<!-- not run: needs a GPU -->\n```sh\nb\n```\n```python\nc\n```\n"
    assert blocks_of(text) == [("sh", "a\n", ""), ("sh", "b\n", "needs a GPU"), ("python", "c\n", "")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.fixture
def shell(tmp_path):
    """Runs a script in a folder of its own, with `sac-fast`, `python` and docs/ there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, arguments in (("sac-fast", "-m sac_fast"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "docs").symlink_to(ROOT / "docs")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    # the current folder comes first, as where python -c runs
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join([str(work), str(ROOT)])}

    def run(script):
        return subprocess.run(["bash", "-eu", "-c", script], cwd=work, env=environment, capture_output=True, text=True)

    return run


def as_shell(block):
    return block.text if block.language == "sh" else f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK\n"


def runs(block):
    """README's first two blocks install and test; CI's steps of these names do what they say."""
    return block.not_run == "" and block.language in ("sh", "python") and not block.text.startswith("pip install")


# Seconds of processor time: README 50, label-service 50, untrusted-folder 35, faces 5.
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_blocks_run_as_they_stand(page, shell):
    blocks = [block for block in blocks_of(page.read_text(encoding="utf-8")) if runs(block)]
    done = shell("\n".join(map(as_shell, blocks)))
    assert done.returncode == 0, done.stderr[-3000:]
    for word in {"README": "derived", "label-service": "derived", "faces": "copy derived 0.025"}.get(
        page.stem, ""
    ).split("|"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("myst_parser", reason="needs the extra docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "docs",
        tmp_path / "out",
        "-d",
        tmp_path / "tree",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    api = (tmp_path / "out" / "api.html").read_text()
    assert 'id="sac_fast.verify_suspects"' in api
