"""Evaluation on labelled zoos: every score's figures of merit beside its peers', tables and figures."""

from .answers import ZooAnswers, is_adaptive
from .crossfit import CrossFit, Fold, cross_fit, make_folds
from .figures import FigureError, write_figures
from .fitting import divide, fit_zoo
from .methods import Method, calibrated_method, preset_method, read_peers, score_method
from .run import evaluate
from .summary import attack_aucs, mean_auc, mean_tpr, summarise
from .tables import csv_rows, markdown

__all__ = [
    "CrossFit",
    "FigureError",
    "Fold",
    "Method",
    "ZooAnswers",
    "attack_aucs",
    "calibrated_method",
    "cross_fit",
    "csv_rows",
    "divide",
    "evaluate",
    "fit_zoo",
    "is_adaptive",
    "make_folds",
    "markdown",
    "mean_auc",
    "mean_tpr",
    "preset_method",
    "read_peers",
    "score_method",
    "summarise",
    "write_figures",
]
