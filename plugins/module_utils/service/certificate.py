# SPDX-License-Identifier: MIT
"""A certificate and its key as llama_service_tls_certificate and llama_service_tls_key give them, and whether they
can be used.

What is wrong is found by a handshake in memory, with the library that will make the real ones. No sentence has a word
of the key, and nothing of it is written anywhere here.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import stat
from typing import Optional

BLOCK = r"-----BEGIN ({label})-----\s.*?-----END \1-----"
CERTIFICATE = re.compile(BLOCK.format(label="CERTIFICATE"), re.DOTALL)
KEY = re.compile(BLOCK.format(label="(?:[A-Z0-9]+ )*PRIVATE KEY"), re.DOTALL)
CERTIFICATE_VARIABLE, KEY_VARIABLE = "llama_service_tls_certificate", "llama_service_tls_key"
# OpenSSL's X509_V_FLAG_PARTIAL_CHAIN (ssl.VERIFY_X509_PARTIAL_CHAIN of Python 3.10): a certificate vouches for
# itself, whoever signed it. Of its errors, X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
PARTIAL_CHAIN = 0x80000
NOT_YET, EXPIRED = 9, 10


class CertificateError(Exception):
    """Certificate and key cannot be used; the text is one sentence. ``of_time``: they could at another time."""

    def __init__(self, sentence: str, of_time: bool = False) -> None:
        super().__init__(sentence)
        self.of_time = of_time


def setting_problem(certificate: Optional[str], key: Optional[str]) -> Optional[str]:
    """One sentence where the two variables are not what they are to be: a path on the tower or PEM text, both or
    neither."""
    if bool(certificate) != bool(key):
        return f"TLS needs both {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}: set both or neither."
    for variable, value in ((CERTIFICATE_VARIABLE, certificate), (KEY_VARIABLE, key)):
        if value and not value.startswith("/") and "-----BEGIN " not in value:
            return f"{variable} is neither a path on the tower, which begins with /, nor PEM text: give it one."
    return None


def _read(variable: str, value: str) -> str:
    if not value.startswith("/"):
        return value
    try:
        with open(value, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise CertificateError(f"The file of {variable} cannot be read on the tower ({error.strerror}).") from None


def pem_of(certificate: str, key: str) -> str:
    """The key and all certificates of what the two variables give, as one PEM text. Raises CertificateError."""
    problem = setting_problem(certificate, key)
    if problem:
        raise CertificateError(problem)
    certificates = [found.group() for found in CERTIFICATE.finditer(_read(CERTIFICATE_VARIABLE, certificate))]
    own = KEY.search(_read(KEY_VARIABLE, key))
    if not certificates:
        raise CertificateError(f"{CERTIFICATE_VARIABLE} leads to no certificate in PEM.")
    if not own:
        raise CertificateError(f"{KEY_VARIABLE} leads to no private key in PEM.")
    if "ENCRYPTED" in own.group():
        raise CertificateError(f"{KEY_VARIABLE} leads to a key with a passphrase: give it without (openssl pkey).")
    return "\n".join([own.group(), *certificates]) + "\n"


def exposed_problem(key: str) -> Optional[str]:
    """One sentence where the key is a file on the tower that everybody may read, else None."""
    if key.startswith("/") and os.stat(key).st_mode & stat.S_IROTH:
        return f"Everybody on the tower may read the file of {KEY_VARIABLE}: chmod o= it, and think of a new key."
    return None


def leaf(pem: str) -> bytes:
    """The first certificate of a PEM text, which is the server's own, in DER."""
    found = CERTIFICATE.search(pem)
    return ssl.PEM_cert_to_DER_cert(found.group()) if found else b""


def check_pem(pem: str) -> str:
    """See whether a server can use these, and until when (UTC, as ``Dec  9 10:00:00 2026 GMT``).

    Raises CertificateError.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags(client.verify_flags | PARTIAL_CHAIN)
    try:
        with open(os.memfd_create("certificate"), "w", encoding="ascii") as file:  # never on a disk
            file.write(pem)
            file.flush()
            server.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        client.load_verify_locations(cadata=leaf(pem))
        return _handshake(server, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (NOT_YET, EXPIRED):
            when = "has expired" if error.verify_code == EXPIRED else "is not valid yet"
            raise CertificateError(f"The certificate of {CERTIFICATE_VARIABLE} {when}: renew it.", True) from None
        raise CertificateError(
            f"The certificate of {CERTIFICATE_VARIABLE} is none for a server: {error.verify_message}."
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            sentence = f"{KEY_VARIABLE} is not the key of the certificate in {CERTIFICATE_VARIABLE}: give its own."
        else:
            sentence = f"The certificate or key of {CERTIFICATE_VARIABLE} cannot be used: {error.reason or 'BROKEN'}."
        raise CertificateError(sentence) from None


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Let both shake hands, and return until when the client believes the server. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return str((ends[0].getpeercert() or {}).get("notAfter"))
