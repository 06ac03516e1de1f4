"""Write the report on a case."""

from __future__ import annotations

from pathlib import Path

from ..io.files import StrPath, atomic_write
from .case import load_case
from .document import make_document
from .files import PAGE_FILE, PDF_FILE, REPORT_FILE, SIGNATURE_FILE, SUMS_FILE, write_json, write_sums
from .page import make_page
from .pdf import print_pdf
from .signature import sign_report


def write_report(folder: StrPath, *, sign: StrPath | None = None, pdf: bool | None = None) -> list[Path]:
    """Write report.json, report.html, where possible report.pdf, and the hashes of all files of a case.

    Args:
        folder: of `save_case`; an older report in it is replaced.
        sign: PEM file of a private key (Ed25519, ECDSA or RSA, without a password): an in-toto statement on all files
            in a DSSE envelope is written too.
        pdf: True: a report.pdf must come out; False: none; None: where Chromium or WeasyPrint is there.

    Returns:
        The files written.

    Raises:
        FileFormatError: the folder holds no case, or a damaged one.
        SacFastError: a PDF or a signature was asked for and what makes it is not there, or the key cannot be read.
        OSError: the folder cannot be written to.
    """
    case = load_case(folder)
    report = make_document(case)
    page = make_page(report)
    for name in (REPORT_FILE, PAGE_FILE, PDF_FILE, SUMS_FILE, SIGNATURE_FILE):
        (case.folder / name).unlink(missing_ok=True)
    written = [write_json(case.folder / REPORT_FILE, report), case.folder / PAGE_FILE]
    with atomic_write(written[-1]) as handle:
        handle.write(page.encode())
    if pdf is not False and print_pdf(written[-1], case.folder / PDF_FILE, required=pdf is True):
        written.append(case.folder / PDF_FILE)
    evidence = [case.folder / row["fingerprint"] for row in report["evidence"]]
    evidence += [case.folder / name for name in report["files"]]
    written.append(write_sums(case.folder, [*written, *evidence]))
    if sign is not None:
        written.append(sign_report(case.folder, report, sign))
    return written
