"""Exit codes of all commands. docs/commands.md has the same table."""

from __future__ import annotations

#: The job is finished, whatever the verdict.
FINISHED = 0
#: It failed; one line on stderr says why.
ERROR = 1
#: It was asked for wrongly: an option, an argument or a combination of them.
USAGE = 2
#: With ``--fail-on derived``: a suspect is called derived.
DERIVED = 3
#: With ``--fail-on undecided``: a suspect is *inconclusive*, and none is called derived where that is asked for too.
UNDECIDED = 4
#: A check found something: ``probes verify``, ``store check``, ``report check``, ``siblings draw --check``,
#: ``scan --fail-on failed``.
FINDING = 5
#: Interrupted by Ctrl-C. Other signals: 128 + their number.
INTERRUPTED = 130

#: Numbers and meanings, in the order of the documentation.
MEANINGS = {
    FINISHED: "finished, whatever the verdict",
    ERROR: "failed; one line on stderr says why",
    USAGE: "asked for wrongly",
    DERIVED: "with --fail-on derived: a suspect is called derived",
    UNDECIDED: "with --fail-on undecided: a suspect is inconclusive",
    FINDING: "a check found something, or scan --fail-on failed: a model failed",
    INTERRUPTED: "interrupted by Ctrl-C; the same command continues",
}
