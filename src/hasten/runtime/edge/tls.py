"""TLS on the edge's side: its certificate, which devices it believes, and in words why a handshake failed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError
from hasten.runtime.certificates import EXPIRED, NOT_YET_VALID, load_identity, names_in

TROUBLES = {
    "WRONG_VERSION_NUMBER": ("tls_plain", "got no TLS handshake, expected one: this edge speaks TLS only"),
    "HTTP_REQUEST": ("tls_plain", "got no TLS handshake, expected one: this edge speaks TLS only"),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "tls_untrusted",
        "the other side does not trust this edge's certificate: its --tls-ca is of another authority",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        "tls_expired",
        "the device says that this edge's certificate has expired: renew it, or set the device's clock",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": (
        "tls_name",
        "the device says that this edge's certificate is of another name than it connects to, or not valid yet",
    ),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "tls_no_certificate",
        "the device shows no certificate, expected one of --client-ca",
    ),
}
"""What OpenSSL says -> the kind that is counted, and words."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the edge's certificate and its key; and what signed those of who asks, who then must have one."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def server_tls(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """A TLS context for the edge from PEM files.

    Args:
        certificate: the edge's, and what signed it up to an authority.
        key: its private key, without a password.
        client_ca: devices must have a certificate that one of these authorities signed; None: they need none.

    Raises:
        InputError: a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_identity(context, certificate, key)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError("edge", "client-ca", str(client_ca), f"a PEM certificate ({error})") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def tls_trouble(error: BaseException) -> tuple[str, str]:
    """Why a TLS connection was not made: the kind that is counted, and words."""
    reason = str(getattr(error, "reason", None) or error or type(error).__name__)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls_certificate", f"the device's certificate is not accepted ({error.verify_message})"
    if isinstance(error, ConnectionError):  # Python's own clients send no alert
        return "tls_left", "it broke off the TLS handshake; a device that does not trust this certificate says why"
    return TROUBLES.get(reason, ("tls", f"no TLS connection ({reason})"))


def own_certificate(certificate: Path, shown: str, context: ssl.SSLContext) -> str:
    """What devices will find of the edge's certificate, in words: whom it names, until when, and what is wrong.

    Asked of a handshake in memory, as a device would make it that trusts what is shown.

    Args:
        certificate: the file, for the words.
        shown: its text when the edge began, which is what devices see until it starts again.
        context: the edge's.
    """
    device = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    device.check_hostname = False
    device.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    device.load_verify_locations(cadata=shown)
    try:
        found = _shaken(context, device)
    except ssl.SSLCertVerificationError as error:
        clocks = error.verify_code in (EXPIRED, NOT_YET_VALID)
        hint = "renew it, or set this machine's clock" if clocks else "devices will refuse it"
        return f"edge: its certificate {certificate} is not valid ({error.verify_message}): {hint}"
    except ssl.SSLError as error:
        return f"edge: its certificate {certificate} could not be looked at ({error})"
    names = names_in(found)
    if not names:
        return f"edge: its certificate {certificate} has no subjectAltName: devices will refuse it by any name"
    return f"edge: its certificate is of {names}, valid until {found.get('notAfter')}"


def _shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> Mapping[str, Any]:
    """The server's certificate after a handshake in memory, as far as the client's part of it goes."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up)
    for side in (theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return theirs.getpeercert() or {}
