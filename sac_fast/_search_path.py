"""`python -m sac_fast` must not import from the current folder, which Python searches first then.

Imported for its effect, before anything else: it imports only what the interpreter itself has loaded.
"""

import os
import sys


def _drop_current_folder() -> None:
    """Take the folder that ``-m`` puts first off `sys.path`, unless sac_fast itself is there; else change nothing."""
    words = sys.orig_argv
    # While Python looks for the module that -m names, argv[0] is "-m".
    is_ours = sys.argv[:1] == ["-m"] and ("-msac_fast" in words or "sac_fast" in words[words.index("-m") + 1 :][:1])
    if is_ours and not sys.flags.safe_path and sys.path:
        own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if os.path.realpath(sys.path[0]) != os.path.realpath(own):
            del sys.path[0]


_drop_current_folder()
