"""Secrets for services: named on the command line, read from the environment, sent to one host only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ModelError
from .endpoint import SECRET, Endpoint, parse_url

_GIVEN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_VALUE = re.compile(r"[!-~]{1,4000}")


@dataclass(frozen=True)
class Secrets:
    """Secrets by name, each with the host that it may be sent to.

    A case file can ask for a secret, but who runs the case says on the command line which host gets it. Values are in
    no message and in no file.

    Args:
        given: ``NAME=HOST`` or ``NAME=HOST:PORT``; NAME is a variable of the environment.
        environment: None: `os.environ`.

    Raises:
        ModelError: another form, or no such variable.

    Example::

        >>> secrets = Secrets(["API_KEY=example.org"], {"API_KEY": "s3cret"})
        >>> mine = Endpoint("https://example.org/predict", headers={"Authorization": "Bearer {secret:API_KEY}"})
        >>> secrets.headers(mine)
        {'Authorization': 'Bearer s3cret'}
        >>> secrets.headers(Endpoint("https://example.com/predict", headers=mine.headers))
        Traceback (most recent call last):
        sac_fast.errors.ModelError: secret API_KEY must be allowed for example.com:443 (--secret API_KEY=example.com)...
    """

    given: Sequence[str] = ()
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    _known: dict[str, list[tuple[str, int | None, str]]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        environment = os.environ if self.environment is None else self.environment
        for text in self.given:
            match = _GIVEN.fullmatch(text)
            if match is None:  # the text may hold a secret by mistake
                raise ModelError("secret must be NAME=HOST or NAME=HOST:PORT, got a text of another form")
            name, host, port = match[1], match[2].lower(), match[3]
            value = environment.get(name)
            if value is None or not _VALUE.fullmatch(value):
                found = "no such variable" if value is None else "a value with other characters"
                raise ModelError(f"secret {name} must be a variable of the environment, visible ASCII, got {found}")
            self._known.setdefault(name, []).append((host, None if port is None else int(port), value))
        object.__setattr__(self, "environment", None)

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The endpoint's headers, with secrets in their places.

        Raises:
            ModelError: a secret that is not there, or not for this host.
        """
        _, host, port = parse_url(endpoint.url)

        def value_of(name: str) -> str:
            for allowed, only, value in self._known.get(name, []):
                if allowed == host and only in (None, port):
                    return value
            others = ", ".join(entry[0] for entry in self._known.get(name, [])) or "no host"
            wanted = f"secret {name} must be allowed for {host}:{port} (--secret {name}={host})"
            raise ModelError(f"{wanted}, got {others}")

        return {name: SECRET.sub(lambda match: value_of(match[1]), text) for name, text in endpoint.headers.items()}

    def redact(self, text: str) -> str:
        """A text without the secrets' values, for messages that repeat what a service said."""
        for entries in self._known.values():
            for _, _, value in entries:
                text = text.replace(value, "…")
        return text
