"""Typed errors. Each message names the argument, what was expected and what was got.

Wrong numeric arguments of the ops raise plain ``ValueError``/``TypeError`` as PyTorch users expect;
what comes from files, models and images raises one of these.
"""


class SacFastError(Exception):
    """Base of every error that sac_fast raises on purpose."""


class BackendError(SacFastError, RuntimeError):
    """A backend was asked for by name and is not there."""


class ProbeError(SacFastError, ValueError):
    """Images or labels that cannot become a probe set."""


class FileFormatError(SacFastError, ValueError):
    """A file that is damaged, truncated, of another kind, or not what it says it is."""


class ModelError(SacFastError, RuntimeError):
    """A model that cannot be loaded or whose answer cannot be used."""


class FingerprintError(SacFastError, ValueError):
    """Fingerprints that cannot be compared."""


class StoreError(SacFastError, RuntimeError):
    """A zoo store that cannot be opened, is damaged, or could not be written to."""


class StoreDamagedError(StoreError):
    """A zoo store whose database is damaged or lost, or which needs repair."""


class StoreLockedError(StoreError):
    """Another process writes to the store. Attribute ``pid``: its number, None where it is not known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid
