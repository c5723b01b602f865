"""TLS on the device's side: whom it trusts, what it shows of itself, and in words why there is no connection."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

from hasten.core.errors import InputError
from hasten.runtime.certificates import EXPIRED, NOT_YET_VALID, OTHER_ADDRESS, OTHER_NAME, load_identity

ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the edge asks for a certificate of this device (--tls-cert, --tls-key)",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the edge asks for a certificate of this device (--tls-cert, --tls-key)",
    "TLSV1_ALERT_UNKNOWN_CA": "the edge does not accept this device's certificate: its --client-ca did not sign it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the edge says that this device's certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the edge does not accept this device's certificate; is it valid already?",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the edge does not accept this device's certificate: it is not for clients",
}
"""What an edge's refusal means here."""


def client_tls(authority: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A TLS context for devices that trusts ``authority`` (PEM), or the system's authorities.

    Args:
        authority: who signed the edge's certificate, or that certificate.
        certificate: what the device shows of itself, where the edge asks for it.
        key: its private key.

    Raises:
        InputError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise InputError(authority or "tls", "authority", str(authority), f"a PEM certificate ({error})") from None
    if (certificate is None) != (key is None):
        raise InputError("device", "tls", str(certificate or key), "a certificate and a key, or neither")
    if certificate is not None and key is not None:
        load_identity(context, certificate, key)
    return context


def looking(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context that trusts the same authorities, whatever the name: to see a certificate's names, not to send by."""
    looker = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looker.check_hostname = False
    trusted = b"".join(context.get_ca_certs(binary_form=True))
    if trusted:
        looker.load_verify_locations(cadata=trusted)
    return looker


def distrust(error: ssl.SSLCertVerificationError, host: str, names: str) -> str:
    """Why the edge's certificate is not accepted, and who can mend it; ``names`` is whom it names, if that is known."""
    if error.verify_code == EXPIRED:
        return f"the edge's certificate has expired: renew it on the edge; {_today()}"
    if error.verify_code == NOT_YET_VALID:
        return f"the edge's certificate is not valid yet; {_today()}: is that right?"
    if error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
        kind = "IP" if error.verify_code == OTHER_ADDRESS else "DNS"
        told = f"is of {names}, not of {host}" if names else f"is not of {host}"
        return f"the edge's certificate {told}: connect by a name in it, or have {kind}:{host} added to its names"
    return f"the edge's certificate is not trusted ({error.verify_message}): is --tls-ca the one that signed it?"


def alert(error: Exception, otherwise: Callable[[Exception], str]) -> str:
    """What the end of a connection means, if it is the edge's refusal of this device; else what ``otherwise`` says."""
    said = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    return ALERTS.get(str(said)) or otherwise(error)


def _today() -> str:
    """The date that certificates are held against: no reckoning depends on this clock."""
    return f"this device's date is {time.strftime('%Y-%m-%d', time.gmtime())}"
