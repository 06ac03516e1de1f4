"""Drop-in replacement of the reference scripts of SAC and SAC_JC: same names and values, less time and memory.

`sac_jc` and `sac` have the functions, `datasets` the readers and writers of their files, `correlation_differences` is
their main loop. ``python -m sac_fast.compat SCRIPT.py`` runs an unmodified script, `patched` does so in a notebook.

To modify a script instead, replace these lines of its newest version:

SAC_JC, SAC.py
    22-123   the functions           from sac_fast.compat.sac_jc import *
    3        the dataset classes     from sac_fast.compat.datasets import dataset_SAC, dataset_test
    126, 146-155  the main loop      diff = correlation_differences(models, train_loader)
SAC, correlation_wrong.py
    18-115   the functions           from sac_fast.compat.sac import *
    1        the dataset classes     from sac_fast.compat.datasets import dataset1
    121, 152-166  the main loop      diff = correlation_differences(models, train_loader)

`diff` does not have the scripts' last entry, which belongs to no model; the following slices stay unchanged. With
``load=lambda i: load_model(*names[i])`` and ``range(len(names))`` for the models, one model at a time is in memory.
"""

from .evaluation import correlation_differences, output_differences
from .patcher import patched, run_script

__all__ = ["correlation_differences", "output_differences", "patched", "run_script"]
