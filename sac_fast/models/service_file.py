"""A file that says where a service is and how it is asked."""

from __future__ import annotations

from ..errors import FileFormatError
from ..formats.toml_text import parse_toml
from ..io.files import StrPath, read_regular
from .endpoint import Endpoint, endpoint_from_table

MAX_SERVICE_FILE = 8 << 20


def read_service_file(path: StrPath) -> Endpoint:
    """Read a TOML file with the keys of `endpoint_from_table`.

    Args:
        path: the file.

    Raises:
        FileFormatError: no TOML.
        ModelError: an unknown key or a wrong value.

    Example::

        >>> from pathlib import Path
        >>> _ = Path("service.toml").write_text("url = 'https://example.org/predict'\\nanswer = 'scores'\\n")
        >>> read_service_file("service.toml").answer
        'scores'
    """
    content = read_regular(path, MAX_SERVICE_FILE, "as a description of a service")
    try:
        table = parse_toml(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} must be TOML, got {error}") from error
    return endpoint_from_table(table)
