# SPDX-License-Identifier: MIT
"""Certificates for tests, made by openssl: signed by themselves, and with a key that is quickly made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """The files of a certificate and its key."""

    certificate: Path
    key: Path

    def texts(self) -> tuple[str, str]:
        return self.certificate.read_text(), self.key.read_text()


def make_pair(directory: Path, name: str, *arguments: str, days: int = 2) -> Pair:
    """A certificate of this name; with days of -1 it expired yesterday."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    certificate, key, request = str(pair.certificate), str(pair.key), str(directory / f"{name}.csr")
    for command in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key],
        ["req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request, *arguments],
        [
            "x509",
            "-req",
            "-in",
            request,
            "-signkey",
            key,
            "-days",
            str(days),
            "-out",
            certificate,
            "-copy_extensions",
            "copy",
        ],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    pair.key.chmod(0o600)
    return pair
