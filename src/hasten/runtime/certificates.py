"""What both sides of a TLS connection do with certificates."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError

NOT_YET_VALID, EXPIRED = 9, 10
OTHER_NAME, OTHER_ADDRESS = 62, 64
"""Of OpenSSL's codes why a certificate is not accepted, those that have words of their own."""


def load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have ``context`` show this certificate.

    Raises:
        InputError: the files cannot be used. Nobody is asked for a password.
    """
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        expected = f"a PEM certificate and its key without a password ({error})"
        raise InputError(certificate, "certificate", str(key), expected) from None


def names_in(certificate: Mapping[str, Any]) -> str:
    """The names and addresses that a certificate is for, as ``getpeercert()`` tells it: ``DNS:edge, IP:10.0.0.7``."""
    kinds = {"DNS": "DNS", "IP Address": "IP"}
    names = certificate.get("subjectAltName", ())
    return ", ".join(f"{kinds[kind]}:{name}" for kind, name in names if kind in kinds)
