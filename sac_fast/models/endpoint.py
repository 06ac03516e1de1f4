"""What is known of a prediction service: where it is, what it is sent, how its answer is read."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import ModelError, require
from ..io.hashing import hash_json
from ..ops.arguments import check_choice
from .preprocessing import Preprocessing

Protocol = Literal["json", "open-inference", "hugging-face"]
Send = Literal["base64", "multipart", "tensor", "bytes"]
ImageFormat = Literal["png", "jpeg"]
#: Output forms that a service may answer in.
ANSWER_FORMS = ("labels", "top-k", "probabilities", "log-probabilities", "logits")
#: Stands for the image in a template.
IMAGE = "{image}"
SECRET = re.compile(r"\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")
MAX_LABELS = 100_000
# One form only, so that no two parsers see different hosts in one text.
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(/[!-~]*)?", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[ -~]{0,4000}")
# What the client itself sets.
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")


@dataclass(frozen=True)
class Endpoint:
    """A service that gives an answer for one image a request, over HTTP.

    Attributes:
        url: ``https://…``; ``http://`` for the loopback only. No user names or passwords.
        protocol: ``"json"``: `body` is a template and `answer` picks from what comes back; ``"open-inference"``: the
            Open Inference Protocol v2 (KServe, Triton), `url` ends in ``/v2/models/NAME/infer``; ``"hugging-face"``:
            the image as the request's body, ``[{"label": …, "score": …}, …]`` back.
        send: of ``"json"``: how the image is put into the request: ``"base64"`` of a file, ``"multipart"``: a file of a
            form, ``"tensor"``: numbers, ``"bytes"``: the file is the body.
        body: of ``"json"``: JSON in which ``"{image}"`` stands for the image; of a form its further fields.
        form_field: the image's field of a form.
        answer: JMESPath expression that picks the answer; None: all of it.
        output_form: one of `ANSWER_FORMS`: a class; classes with scores; one number a class.
        labels: names of the classes, in the order of the source's outputs.
        headers: sent with every request; ``{secret:NAME}`` stands for a secret (see `Secrets`).
        image_format: of image files.
        preprocessing: of ``"tensor"`` and ``"open-inference"``; None: pixels 0 … 255.
        input_name, datatype, output_name: of ``"open-inference"``; `output_name` None: its only output.
        rate: most requests a second; None: no limit.
        concurrency: most requests at once.
        timeout: seconds for connecting, and between two parts of an answer.
        retries: further attempts at a request that failed by time-out, connection, or the status 429 or 5xx.
        max_answer_bytes: a larger answer is refused.

    Raises:
        ModelError: a value that cannot be; the message names it.

    Example::

        >>> mine = Endpoint("https://example.org/predict", answer="label", output_form="labels", labels=["cat", "dog"])
        >>> mine.host, mine.labels
        ('example.org', ('cat', 'dog'))
    """

    url: str
    protocol: Protocol = "json"
    send: Send = "base64"
    body: Any = field(default_factory=lambda: {"image": IMAGE})
    form_field: str = "file"
    answer: str | None = None
    output_form: str = "probabilities"
    labels: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    image_format: ImageFormat = "png"
    preprocessing: Preprocessing | None = None
    input_name: str = "input"
    datatype: Literal["UINT8", "FP32"] = "FP32"
    output_name: str | None = None
    rate: float | None = None
    concurrency: int = 4
    timeout: float = 30.0
    retries: int = 4
    max_answer_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        parse_url(self.url)
        try:
            check_choice("protocol", self.protocol, get_args(Protocol))
            check_choice("send", self.send, get_args(Send))
            check_choice("image_format", self.image_format, get_args(ImageFormat))
            check_choice("output_form", self.output_form, ANSWER_FORMS)
            check_choice("datatype", self.datatype, ("UINT8", "FP32"))
        except ValueError as error:
            raise ModelError(str(error)) from error
        object.__setattr__(self, "labels", check_labels(self.labels))
        needs = self.protocol == "hugging-face" or self.output_form == "top-k"
        require(self.labels or not needs, "labels must be given where classes are named", (), ModelError)
        for name, text in self.headers.items():
            _check_header(name, text)
        numbers = {"rate": (1e-6, 1e6), "timeout": (0.01, 3600)}
        whole = {"concurrency": (1, 64), "retries": (0, 20), "max_answer_bytes": (1, 64 << 20)}
        for name, (low, high) in {**numbers, **whole}.items():
            value = getattr(self, name)
            kinds = int if name in whole else (int, float)
            number = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
            no_rate = name == "rate" and value is None
            require(number or no_rate, f"{name} must be in {low:g}…{high:g}", value, ModelError)

    @property
    def host(self) -> str:
        """Host name or address, lower case."""
        return parse_url(self.url)[1]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that the headers need."""
        found = [name for value in self.headers.values() for name in SECRET.findall(value)]
        return tuple(dict.fromkeys(found))

    @property
    def key(self) -> str:
        """Hash of what decides the answers: a changed limit or secret leaves recorded answers valid."""
        limits = ("rate", "concurrency", "timeout", "retries", "max_answer_bytes")
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in limits}
        shown = None if self.preprocessing is None else self.preprocessing.to_dict()
        return hash_json({**values, "labels": list(self.labels), "headers": dict(self.headers), "preprocessing": shown})


def _check_header(name: object, value: object) -> None:
    good = isinstance(name, str) and _HEADER.fullmatch(name) is not None and name.lower() not in _OWN_HEADERS
    require(good, f"headers must have names other than {', '.join(_OWN_HEADERS)}", name, ModelError)
    line = isinstance(value, str) and _HEADER_VALUE.fullmatch(value) is not None
    require(line, f"header {name} must be one line of text", type(value).__name__, ModelError)


def endpoint_from_table(table: Mapping[str, Any]) -> Endpoint:
    """An endpoint from a table of a case file; keys are `Endpoint`'s attributes and those of `Preprocessing`.

    Raises:
        ModelError: an unknown key or a wrong value.
    """
    names = {item.name for item in dataclasses.fields(Endpoint)} - {"preprocessing"}
    pixels = {item.name for item in dataclasses.fields(Preprocessing)}
    unknown = sorted(set(table) - names - pixels)
    require(not unknown, f"endpoint must have keys of {', '.join(sorted(names | pixels))}", unknown, ModelError)
    require(isinstance(table.get("url"), str), "endpoint must have a url", table.get("url"), ModelError)
    given = {key: value for key, value in table.items() if key in pixels}
    try:
        made = Preprocessing.from_dict(given) if given else None
        return Endpoint(**{key: value for key, value in table.items() if key in names}, preprocessing=made)
    except (TypeError, ValueError) as error:
        raise ModelError(f"endpoint {table['url']!r}: {error}") from error


def parse_url(url: object) -> tuple[str, str, int]:
    """Scheme, host in lower case, and port.

    Raises:
        ModelError: no such URL, or http to another host than the loopback.
    """
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= 2000 else None
    found = "none" if not isinstance(url, str) else "one of another form"
    if match is None or "#" in (match[4] or "") or not 0 < int(match[3] or 443) < 65536:
        raise ModelError(f"url must be https://HOST[:PORT]/PATH without user name, password and #, got {found}")
    scheme, host = match[1], match[2].lower()
    if scheme == "http" and not is_loopback(host):
        raise ModelError(f"url must begin with https:// for a host that is not the loopback, got http://{host}")
    return scheme, host, int(match[3] or (443 if scheme == "https" else 80))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Names of classes, all different.

    Raises:
        ModelError: other values, or a name twice.
    """
    good = not isinstance(labels, (str, bytes)) and all(isinstance(name, str) and name for name in labels)
    require(good, "labels must be a list of names", type(labels).__name__, ModelError)
    names = tuple(labels)
    require(len(names) <= MAX_LABELS, f"labels must be at most {MAX_LABELS:,}", len(names), ModelError)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    require(not twice, "labels must be different names", twice[:3], ModelError)
    return names
