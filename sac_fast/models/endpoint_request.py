"""The body of a request: one image as base64, a form, a tensor or bytes."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..probes.export import encode_image
from .endpoint import IMAGE, Endpoint


@dataclass(frozen=True)
class RequestBody:
    """What is sent.

    Attributes:
        content: the bytes.
        content_type: their media type.
    """

    content: bytes
    content_type: str


def make_body(endpoint: Endpoint, image: npt.NDArray[np.uint8]) -> RequestBody:
    """The body of the request for one image.

    Args:
        endpoint: the service.
        image: uint8 ``(H, W, 3)``.

    Example::

        >>> mine = Endpoint("https://example.org", send="tensor", body={"x": "{image}"})
        >>> make_body(mine, np.full((1, 1, 3), 7, np.uint8)).content
        b'{"x":[[[7]],[[7]],[[7]]]}'
    """
    if endpoint.protocol == "open-inference":
        return _json(_open_inference(endpoint, image))
    if endpoint.protocol == "json" and endpoint.send == "tensor":
        return _json(_filled(endpoint.body, _inputs(endpoint, image)[0].tolist()))
    file = encode_image(image, endpoint.image_format)
    if endpoint.protocol == "hugging-face" or endpoint.send == "bytes":
        return RequestBody(file, f"image/{endpoint.image_format}")
    if endpoint.send == "multipart":
        return _form(endpoint, file)
    return _json(_filled(endpoint.body, base64.b64encode(file).decode()))


def _json(value: Any) -> RequestBody:
    return RequestBody(json.dumps(value, separators=(",", ":")).encode(), "application/json")


def _inputs(endpoint: Endpoint, image: npt.NDArray[np.uint8]) -> torch.Tensor:
    pixels = torch.from_numpy(image[None].copy())
    if endpoint.preprocessing is None:
        return pixels.permute(0, 3, 1, 2).contiguous()
    return endpoint.preprocessing(pixels)


def _open_inference(endpoint: Endpoint, image: npt.NDArray[np.uint8]) -> dict[str, Any]:
    inputs = _inputs(endpoint, image)
    if endpoint.datatype == "UINT8":
        inputs = inputs.float().round().clamp(0, 255).to(torch.uint8)
    tensor = {"name": endpoint.input_name, "shape": list(inputs.shape), "datatype": endpoint.datatype}
    request: dict[str, Any] = {"inputs": [{**tensor, "data": inputs.flatten().tolist()}]}
    if endpoint.output_name is not None:
        request["outputs"] = [{"name": endpoint.output_name}]
    return request


def _filled(template: Any, image: Any) -> Any:
    """The template with the image in its place."""
    if isinstance(template, dict):
        return {key: _filled(value, image) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, image) for value in template]
    if template == IMAGE:
        return image
    return template.replace(IMAGE, image) if isinstance(template, str) and isinstance(image, str) else template


def _form(endpoint: Endpoint, file: bytes) -> RequestBody:
    """multipart/form-data, RFC 7578. Names and values come from the case and may not leave their places."""
    boundary = secrets.token_hex(16)
    parts = []
    fields = endpoint.body if isinstance(endpoint.body, dict) else {}
    for name, value in fields.items():
        if value != IMAGE:
            parts.append((f'name="{_quoted(name)}"', "", str(value).encode()))
    name = f'name="{_quoted(endpoint.form_field)}"; filename="image.{endpoint.image_format}"'
    parts.append((name, f"Content-Type: image/{endpoint.image_format}\r\n", file))
    content = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n{kind}\r\n".encode() + value + b"\r\n"
        for name, kind, value in parts
    )
    return RequestBody(content + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
