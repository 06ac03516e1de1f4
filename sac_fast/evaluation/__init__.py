"""Evaluation on labelled zoos: figures of merit of scores and peers, tables and figures."""

from .crossfit import CrossFit, Fold, cross_fit, make_folds
from .figures import FigureError, write_figures
from .fitting import fit_calibration, split_independents
from .loaded_zoo import LoadedZoo, is_adaptive
from .methods import Method, calibrated_method, preset_method, read_peers, score_method
from .run import ZooEvaluation, evaluate
from .summary import attack_aucs, mean_auc, mean_tpr, summarise
from .tables import csv_rows, markdown

__all__ = [
    "CrossFit",
    "FigureError",
    "Fold",
    "LoadedZoo",
    "Method",
    "ZooEvaluation",
    "attack_aucs",
    "calibrated_method",
    "cross_fit",
    "csv_rows",
    "evaluate",
    "fit_calibration",
    "is_adaptive",
    "make_folds",
    "markdown",
    "mean_auc",
    "mean_tpr",
    "preset_method",
    "read_peers",
    "score_method",
    "split_independents",
    "summarise",
    "write_figures",
]
