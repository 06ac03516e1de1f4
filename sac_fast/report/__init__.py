"""Reports on verdicts: a folder that holds the evidence, the numbers that follow from it, and a page to read."""

from .case import load_case, save_case
from .check import ReportCheck, check_report
from .write import write_report

__all__ = ["ReportCheck", "check_report", "load_case", "save_case", "write_report"]
