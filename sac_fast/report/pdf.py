"""report.pdf: the page printed by headless Chromium, else by WeasyPrint; neither may read a file or the network."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..errors import SacFastError
from ..io.files import atomic_write

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 120
#: No request leaves: names resolve to nothing, and every proxy is a closed port. The page's own policy forbids
#: scripts, files and images besides.
_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-pdf-header-footer",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)


def print_pdf(page: Path, out: Path, *, required: bool = False) -> bool:
    """Print an HTML page.

    Args:
        page: its file.
        out: PDF that is written, all or nothing.
        required: raise where nothing prints.

    Returns:
        Whether a PDF was written.

    Raises:
        SacFastError: nothing prints, and one is required.
    """
    tried = []
    for name, make in (("Chromium", _by_chromium), ("WeasyPrint", _by_weasyprint)):
        try:
            content = make(page)
        except (OSError, subprocess.SubprocessError, RuntimeError, ValueError) as error:
            tried.append(f"{name}: {error}")
            continue
        if content is not None and content.startswith(b"%PDF-"):
            with atomic_write(out) as handle:
                handle.write(content)
            return True
        tried.append(f"{name}: {'not installed' if content is None else 'no PDF came out'}")
    if required:
        raise SacFastError(f"a PDF needs Chromium or WeasyPrint, got {'; '.join(tried)}")
    return False


def _by_chromium(page: Path) -> bytes | None:
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sac_fast-pdf-") as folder:
        # a copy in a folder of its own: nothing lies beside it
        copy, made = Path(folder) / "report.html", Path(folder) / "report.pdf"
        shutil.copyfile(page, copy)
        # Chromium's own sandbox does not start as root
        own = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [
            browser,
            *_OPTIONS,
            *own,
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={made}",
            copy.as_uri(),
        ]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": folder, "LANG": "C.UTF-8"}
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS, env=environment, cwd=folder)
        return made.read_bytes() if made.is_file() else b""


def _by_weasyprint(page: Path) -> bytes | None:
    if importlib.util.find_spec("weasyprint") is None:
        return None
    import weasyprint

    def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"the page must not ask for anything, got {url!r}")

    made = weasyprint.HTML(string=page.read_text(encoding="utf-8"), url_fetcher=refuse).write_pdf()
    return bytes(made)
