"""Drop-in for the reference scripts of SAC and SAC_JC: their names, their values, less time and memory.

`sac_jc` and `sac` hold the functions, `datasets` the readers and writers of their files, `correlation_differences`
is their main loop. ``python -m sac_fast.compat SCRIPT.py`` runs a script as it is, `patched` does so in a notebook.
"""

from .evaluation import correlation_differences, output_differences
from .patcher import patched, run_script

__all__ = ["correlation_differences", "output_differences", "patched", "run_script"]
