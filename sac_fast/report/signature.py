"""An in-toto statement on the files of a report, in a signed DSSE envelope.

Source: in-toto attestation framework, Statement v1; DSSE v1.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import SacFastError, describe_error, require
from ..io.files import StrPath, open_regular
from ..io.hashing import sha256_file
from .files import SIGNATURE_FILE, SUMS_FILE, read_json, read_sums, write_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:sac_fast:report:1"
_MAX_KEY_BYTES = 1 << 16


def sign_report(folder: Path, report: dict[str, Any], key: StrPath) -> Path:
    """Sign all files that SHA256SUMS names, and SHA256SUMS itself.

    Args:
        folder: of the report.
        report: contents of report.json.
        key: PEM file of a private key: Ed25519, ECDSA or RSA, without a password.

    Returns:
        The envelope's file.

    Raises:
        SacFastError: the key cannot be read, or securesystemslib is not installed.
    """
    dsse, signer, serialization = _library()
    private = _read_key(key, lambda raw: serialization.load_pem_private_key(raw, None), "private")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": value}} for name, value in _subjects(folder).items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "created": report["created"],
            "source": report["source"],
            "verdicts": {suspect["name"]: suspect["verdict"] for suspect in report["suspects"]},
            "alpha": sorted({test["alpha"] for test in report["tests"]}),
            "protocol_hash": report["protocol_hash"],
        },
    }
    try:
        envelope = dsse.Envelope(json.dumps(statement, sort_keys=True).encode(), PAYLOAD_TYPE, {})
        envelope.sign(signer.CryptoSigner(private))
    except ValueError as error:
        raise _wrong_kind(key, error) from error
    return write_json(folder / SIGNATURE_FILE, envelope.to_dict())


def check_signature(folder: Path, key: StrPath) -> tuple[str | None, list[str]]:
    """Verify the envelope with a public key, and compare the files that it names.

    Args:
        folder: of the report; untrusted.
        key: PEM file of the public key.

    Returns:
        The key's id if all is right, else None; and what is wrong.

    Raises:
        SacFastError: the key cannot be read, or securesystemslib is not installed.
    """
    dsse, signer, serialization = _library()
    read = _read_key(key, serialization.load_pem_public_key, "public")
    try:
        public = signer.SSlibKey.from_crypto(read)
    except ValueError as error:
        raise _wrong_kind(key, error) from error
    try:
        content = read_json(folder / SIGNATURE_FILE)
        envelope = dsse.Envelope.from_dict(json.loads(json.dumps(content)))
        # base64 may be spelled in several ways; only the one that was written counts
        require(envelope.to_dict() == content, "the envelope must be as it was written", "another spelling")
        require(envelope.payload_type == PAYLOAD_TYPE, f"payloadType must be {PAYLOAD_TYPE}", envelope.payload_type)
        require(
            list(envelope.signatures) == [public.keyid],
            f"the envelope must be signed by {public.keyid} alone",
            list(envelope.signatures),
        )
        envelope.verify([public], 1)
        statement = json.loads(envelope.payload)
        require(
            statement["predicateType"] == PREDICATE_TYPE,
            f"predicateType must be {PREDICATE_TYPE}",
            statement["predicateType"],
        )
        stated = {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in statement["subject"]}
        found = _subjects(folder)
    except Exception as error:  # whatever the library and hostile JSON raise: the signature is not verified
        return None, [f"the signature is not verified: {describe_error(error)}"]
    wrong = [
        f"{name} is not as it was signed" for name in sorted({*stated, *found}) if stated.get(name) != found.get(name)
    ]
    return (None, wrong) if wrong else (public.keyid, [])


def _wrong_kind(key: StrPath, error: Exception) -> SacFastError:
    return SacFastError(f"key {str(key)!r} must be of Ed25519, ECDSA or RSA, got {error}")


def _subjects(folder: Path) -> dict[str, str]:
    names = [*read_sums(folder), SUMS_FILE]
    return {name: sha256_file(folder / name).removeprefix("sha256:") for name in names}


def _read_key(path: StrPath, load: Any, what: str) -> Any:
    with open_regular(path) as handle:
        raw = handle.read(_MAX_KEY_BYTES)
    try:
        return load(raw)
    except (ValueError, TypeError) as error:
        raise SacFastError(
            f"key {str(path)!r} must be a PEM file of a {what} key without a password, got {error}"
        ) from error


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from securesystemslib import dsse, signer
    except ImportError as error:
        hint = "signatures need securesystemslib (pip install 'sac-fast[report]')"
        raise SacFastError(f"{hint}, which is not there: {describe_error(error)}") from error
    return dsse, signer, serialization
