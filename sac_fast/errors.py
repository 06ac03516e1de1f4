"""Typed errors. Each message names the argument, what was expected and what was got.

Wrong numeric arguments of the ops raise plain ``ValueError``/``TypeError`` as PyTorch users expect;
what comes from files, models and images raises one of these.
"""

from __future__ import annotations


class SacFastError(Exception):
    """Base of every error that sac_fast raises on purpose.

    Args:
        message: names the argument, what was expected and what was got.
        reason: a short code that a program can read (``"not-finite"``); None where there is none.
    """

    reason: str | None = None

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


def describe_error(error: BaseException) -> str:
    """An error as part of a message."""
    return f"{type(error).__name__}: {error}"


class BackendError(SacFastError, RuntimeError):
    """A backend was asked for by name and is not there."""


class ProbeError(SacFastError, ValueError):
    """Images or labels that cannot become a probe set."""


class FileFormatError(SacFastError, ValueError):
    """A file that is damaged, truncated, of another kind, or not what it says it is."""


class ModelError(SacFastError, RuntimeError):
    """A model that cannot be loaded or whose outputs cannot be used."""


class ModelRefusedError(ModelError, FileFormatError):
    """An untrusted model file that is not opened, for a reason that a program can read.

    Both parents are true: the model cannot be loaded, and the file is not one that can be read safely.

    Args:
        message: names the file, what was expected and what was got.
        reason: a short code, one of `sac_fast.models.REASONS`.
    """

    reason: str

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason=reason)

    def __reduce__(self) -> tuple[type[ModelRefusedError], tuple[str, str | None]]:
        return type(self), (str(self), self.reason)  # for processes that hand errors on


class FingerprintError(SacFastError, ValueError):
    """Fingerprints that cannot be compared."""


class StoreError(SacFastError, RuntimeError):
    """A store that cannot be opened, is damaged, or could not be written to."""


class StoreDamagedError(StoreError):
    """A store whose database is damaged or lost, or which needs repair."""


class StoreLockedError(StoreError):
    """Another process writes to the store. Attribute ``pid``: its process ID, None where it is not known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


def require(fits: object, expected: str, got: object, error: type[Exception] = ValueError) -> None:
    """Raise ``error`` with the message "``expected``, got …" where ``fits`` is false.

    Args:
        fits: whether the value is as expected.
        expected: the argument's name and what it must be.
        got: the value.
        error: what is raised.
    """
    if not fits:
        raise error(f"{expected}, got {got!r}")
