# SPDX-License-Identifier: MIT
"""A certificate that a server cannot use is refused before it has one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils.service.certificate import (
    CertificateError,
    check_pem,
    exposed_problem,
    leaf,
    pem_of,
    setting_problem,
)
from tests.certificates import Pair, make_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("certificate"), "tower1")


def refusal(certificate: str, key: str) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        check_pem(pem_of(certificate, key))
    return caught.value


def test_a_path_and_text_lead_to_the_same(pair: Pair) -> None:
    by_path = pem_of(str(pair.certificate), str(pair.key))
    assert by_path == pem_of(*pair.texts())
    assert check_pem(by_path).endswith(" GMT")


def test_intermediate_certificates_follow_and_nothing_else_does(pair: Pair, tmp_path: Path) -> None:
    other = make_pair(tmp_path, "authority")
    certificate, key = pair.texts()
    # As files for other servers are: all in one, with words between.
    whole = f"words\n{key}\n{certificate}\nmore words\n{other.certificate.read_text()}"
    made = pem_of(whole, whole)
    assert (made.count("BEGIN CERTIFICATE"), made.count("PRIVATE KEY"), "words" in made) == (2, 2, False)
    assert leaf(made) == leaf(certificate)
    check_pem(made)


def test_the_key_of_another_certificate_is_refused(pair: Pair, tmp_path: Path) -> None:
    other = make_pair(tmp_path, "other")
    error = refusal(str(pair.certificate), str(other.key))
    assert "llama_service_tls_key is not the key of the certificate" in str(error)
    assert not error.of_time


def test_one_that_has_expired_is_refused_for_its_time(tmp_path: Path) -> None:
    error = refusal(*make_pair(tmp_path, "old", days=-1).texts())
    assert "has expired: renew it" in str(error)
    assert error.of_time


def test_one_of_a_client_is_none_for_a_server(tmp_path: Path) -> None:
    made = make_pair(tmp_path, "client", "-addext", "extendedKeyUsage=clientAuth")
    assert "is none for a server" in str(refusal(*made.texts()))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(pair: Pair, tmp_path: Path) -> None:
    for number, options in enumerate(([], ["-traditional"])):
        locked = tmp_path / f"{number}.key"
        command = [
            "openssl",
            "pkey",
            "-in",
            str(pair.key),
            "-aes256",
            "-passout",
            "pass:word",
            "-out",
            str(locked),
            *options,
        ]
        subprocess.run(command, check=True)
        assert "with a passphrase" in str(refusal(str(pair.certificate), str(locked)))


def test_what_is_not_there_or_something_else_is_refused_without_a_word_of_it(pair: Pair, tmp_path: Path) -> None:
    certificate, key = pair.texts()
    assert "cannot be read on the tower (No such file or directory)" in str(refusal(str(tmp_path / "none"), key))
    assert "leads to no certificate in PEM" in str(refusal(key, key))
    assert "leads to no private key in PEM" in str(refusal(certificate, certificate))
    broken = key.replace(key.splitlines()[1], "A" * 64)
    error = str(refusal(certificate, broken))
    assert "cannot be used" in error
    assert not any(line in error for line in key.splitlines())


def test_a_value_is_a_path_on_the_tower_or_text_and_there_are_two(pair: Pair) -> None:
    certificate, key = pair.texts()
    assert setting_problem(None, None) is None
    assert setting_problem("/etc/ssl/tower.pem", key) is None
    assert "set both or neither" in str(setting_problem(certificate, None))
    assert "is neither a path on the tower" in str(setting_problem("files/tower.pem", "/k"))


def test_a_key_that_everybody_may_read_is_refused(pair: Pair, tmp_path: Path) -> None:
    assert exposed_problem(str(pair.key)) is None
    opened = tmp_path / "open.key"
    opened.write_text(pair.key.read_text())
    opened.chmod(0o644)
    assert "Everybody on the tower may read" in str(exposed_problem(str(opened)))
    opened.chmod(0o640)  # root:ssl-cert, as Debian has it
    assert exposed_problem(str(opened)) is None
    assert exposed_problem(pair.texts()[1]) is None
