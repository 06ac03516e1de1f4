"""One request to a service over HTTP: no redirects, no proxies, a cap on what comes back."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ModelError
from ..formats.json_text import parse_json
from ..io.text import escape_text
from .endpoint import Endpoint
from .endpoint_request import make_body
from .endpoint_secrets import Secrets

if TYPE_CHECKING:
    import httpx2

#: Statuses after which the same request may succeed later.
RETRIED = (408, 425, 429, 500, 502, 503, 504)
MAX_RETRY_AFTER = 60.0
# A whole answer may take so many times the time-out between its parts.
_MAX_PARTS = 10
_MAX_ERROR_BYTES = 4096


class AskError(Exception):
    """A request that got no answer that can be used.

    Args:
        message: what was expected and what was got.
        retry: whether the same request may succeed later.
        in_doubt: whether the service may have worked on it all the same.
        wait: seconds that the service asked to wait.
    """

    def __init__(self, message: str, *, retry: bool, in_doubt: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.retry, self.in_doubt, self.wait = retry, in_doubt, wait


class HttpPredict:
    """Asks a service for one image; may be called from several threads.

    Args:
        endpoint: the service.
        secrets: for its headers.

    Raises:
        ModelError: httpx2 or jmespath is not installed, an expression that is none, a secret that is not allowed.
    """

    def __init__(self, endpoint: Endpoint, secrets: Secrets | None = None) -> None:
        try:
            import httpx2
            import jmespath
        except ImportError as error:
            raise ModelError(f"services need the extra 'endpoints': {error}", reason="missing-extra") from error
        self.endpoint = endpoint
        self._secrets = secrets or Secrets()
        self._http = httpx2
        try:
            self._pick = None if endpoint.answer is None else jmespath.compile(endpoint.answer)
        except Exception as error:
            raise ModelError(f"answer must be a JMESPath expression, got {endpoint.answer!r}: {error}") from error
        self._headers = self._secrets.headers(endpoint)
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None

    def __call__(self, images: npt.NDArray[np.uint8]) -> list[Any]:
        """The answer for one image, as JSON values.

        Args:
            images: uint8 ``(1, H, W, 3)``.

        Raises:
            AskError: no answer that can be used.
        """
        body = make_body(self.endpoint, images[0])
        return [self._picked(self._post(body.content, body.content_type))]

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _connected(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                self._client = self._http.Client(
                    headers={**self._headers, "Accept": "application/json", "Accept-Encoding": "identity"},
                    timeout=self.endpoint.timeout,
                    follow_redirects=False,  # headers would go with them
                    trust_env=False,  # neither proxies nor .netrc
                    limits=self._http.Limits(max_connections=self.endpoint.concurrency),
                )
            return self._client

    def _post(self, content: bytes, content_type: str) -> bytes:
        errors = self._http
        # the time-out is one between two parts: a service may send a byte of its header at a time
        watch = threading.Timer(_MAX_PARTS * self.endpoint.timeout, self.close)
        watch.daemon = True
        watch.start()
        try:
            with self._connected().stream(
                "POST", self.endpoint.url, content=content, headers={"Content-Type": content_type}
            ) as response:
                return self._read(response)
        except (errors.ConnectError, errors.ConnectTimeout, errors.PoolTimeout) as error:
            raise AskError(f"no connection: {self._shown(error)}", retry=True) from None
        except (errors.HTTPError, errors.StreamError, errors.InvalidURL) as error:
            message = f"no answer: {type(error).__name__} {self._shown(error)}".rstrip()
            raise AskError(message, retry=True, in_doubt=True) from None
        except (OSError, RuntimeError) as error:  # of a connection that was closed under it
            raise AskError(f"no answer in time: {self._shown(error)}", retry=True, in_doubt=True) from None
        finally:
            watch.cancel()

    def _read(self, response: httpx2.Response) -> bytes:
        """The body of an answer with the status 200; a few bytes of others, for the message."""
        good = 200 <= response.status_code < 300
        most = self.endpoint.max_answer_bytes if good else _MAX_ERROR_BYTES
        if good and response.headers.get("content-encoding", "identity").lower() != "identity":
            raise AskError("answer must not be compressed, got a Content-Encoding that was not asked for", retry=False)
        started, found = time.monotonic(), bytearray()
        for part in response.iter_raw(8192):
            found += part
            if len(found) > most:
                if not good:
                    break
                raise AskError(f"answer must have at most {most:,} bytes, got more", retry=False)
            if time.monotonic() - started > _MAX_PARTS * self.endpoint.timeout:
                raise AskError("answer must come in time, got one part after the other", retry=True, in_doubt=True)
        if good:  # a service may repeat what it was sent; an answer ends in messages and in the ledger
            return self._secrets.redact(bytes(found).decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        status = response.status_code
        shown = self._shown(bytes(found[:most]).decode("utf-8", "replace"))
        note = " (redirects are not followed)" if 300 <= status < 400 else ""
        wait = 0.0
        with contextlib.suppress(ValueError):
            wait = min(max(float(response.headers.get("retry-after", "0")), 0.0), MAX_RETRY_AFTER)
        raise AskError(f"status {status}{note}: {shown}", retry=status in RETRIED, wait=wait)

    def _picked(self, content: bytes) -> Any:
        try:
            found: Any = parse_json(content, "answer")
            value = found[""] if set(found) == {""} else found
            if self.endpoint.protocol == "open-inference" and self._pick is None:
                return _open_inference_output(value, self.endpoint.output_name)
            picked = value if self._pick is None else self._pick.search(value)
        except FileFormatError as error:
            raise AskError(self._shown(error), retry=True) from None
        except Exception as error:  # what jmespath raises for an answer of another form
            raise AskError(f"answer must fit {self.endpoint.answer!r}: {self._shown(error)}", retry=False) from None
        if picked is None:
            expression = self.endpoint.answer or "its outputs"
            raise AskError(f"answer must have {expression!r}, got {self._shown(content[:100])}", retry=False)
        return picked

    def _shown(self, what: object) -> str:
        """What a service sent, harmless on a terminal and without our secrets."""
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
        return escape_text(self._secrets.redact(text))[:300]


def _open_inference_output(value: Any, name: str | None) -> Any:
    """``data`` of the output of this name; of the only one where none is named; None where there is none."""
    outputs = value.get("outputs") if isinstance(value, dict) else None
    if not isinstance(outputs, list):
        return None
    found = [item for item in outputs if isinstance(item, dict) and name in (None, item.get("name"))]
    return found[0].get("data") if len(found) == 1 else None
