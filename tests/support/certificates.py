"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Identity(NamedTuple):
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; all of them lie in one folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("makes its certificates with the openssl command")
        self._folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(
            "req", "-x509", *CURVE, "-days", 2, "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate
        )

    def identity(self, name: str, names: str = "", days: int = 2) -> Identity:
        """A certificate for ``names`` (``DNS:edge,IP:10.0.0.7``); with negative ``days`` it has expired."""
        request, key = self._folder / f"{name}.csr", self._folder / f"{name}.key"
        certificate, more = self._folder / f"{name}.pem", self._folder / f"{name}.cnf"
        more.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        _openssl("req", *CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        signing = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signing, "-days", days, "-extfile", more, "-out", certificate)
        return Identity(certificate, key)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
