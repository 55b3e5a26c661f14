# SPDX-License-Identifier: MIT
"""What takes HTTPS for a server: what it reads, before a start and before a reload."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.certificate import CertificateError, leaf
from plugins.module_utils.service.deployment import SCHEMA_VERSION, Instance
from plugins.module_utils.service.tls import (
    configuration,
    forget_unused,
    prepare,
    read_source,
    source_path,
    write_source,
)
from tests.certificates import Pair, make_pair


def unit(tls: str | None = "0.0.0.0:8443") -> Any:
    environment = {"LLAMA_ARG_HOST": "127.0.0.1", "LLAMA_ARG_PORT": "18443"}
    return {"name": "main", "unit": "llama-server@main.service", "environment": environment, "tls": tls}


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """One whose current deployment serves HTTPS."""
    made = Instance("main", str(tmp_path / "instances"))
    directory = Path(made.directory("a1"))
    directory.mkdir(parents=True)
    found = {"schema_version": SCHEMA_VERSION, "instance": "main", "units": [unit()]}
    (directory / "deployment.json").write_text(json.dumps(found))
    made.point("current", "a1")
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory that is HAProxy's own."""
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path / "run"


def give(instance: Instance, pair: Pair, text: bool = False) -> None:
    certificate, key = pair.texts() if text else map(str, pair)
    write_source(instance, {"certificate": certificate, "key": key})


def ready(run: Path, instance: Instance, renewed: bool = False) -> str | None:
    return prepare("main", str(run), renewed, os.path.dirname(instance.path))


@pytest.mark.parametrize("text", [False, True], ids=["files of the tower", "text"])
def test_a_start_writes_what_is_read_and_a_reload_what_is_there_then(
    instance: Instance, run: Path, tmp_path: Path, text: bool
) -> None:
    pair = make_pair(tmp_path, "first")
    give(instance, pair, text)
    assert ready(run, instance) is None
    assert leaf((run / "certificate.pem").read_text()) == leaf(pair.certificate.read_text())
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in run.iterdir()}
    assert modes == {"certificate.pem": "0o400", "haproxy.cfg": "0o400"}
    second = make_pair(tmp_path, "second")
    if text:
        give(instance, second, text)
    else:
        for old, new in zip(pair, second, strict=True):
            os.replace(new, old)
            second = pair
    assert ready(run, instance, renewed=True) is None
    assert leaf((run / "certificate.pem").read_text()) == leaf(second.certificate.read_text())


def test_a_renewal_that_cannot_be_used_changes_nothing(instance: Instance, run: Path, tmp_path: Path) -> None:
    good = make_pair(tmp_path, "good")
    give(instance, good)
    ready(run, instance)
    before = (run / "certificate.pem").read_text()
    for wrong in (Pair(good.certificate, make_pair(tmp_path, "other").key), make_pair(tmp_path, "old", days=-1)):
        give(instance, wrong)
        with pytest.raises(CertificateError):
            ready(run, instance, renewed=True)
        assert (run / "certificate.pem").read_text() == before


def test_after_a_boot_an_expired_certificate_is_better_than_none(instance: Instance, run: Path, tmp_path: Path) -> None:
    give(instance, make_pair(tmp_path, "old", days=-1))
    assert "has expired" in str(ready(run, instance))
    assert (run / "certificate.pem").exists()


def test_the_source_is_for_root_only_and_goes_when_nothing_serves_https(instance: Instance, tmp_path: Path) -> None:
    give(instance, make_pair(tmp_path, "first"), text=True)
    path = Path(source_path(instance))
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    without: Any = {"units": [unit(None)]}
    forget_unused(instance, [without, {"units": [unit()]}])  # type: ignore[typeddict-item]
    assert read_source(instance) is not None
    # Of before there was such a thing.
    del without["units"][0]["tls"]
    forget_unused(instance, [without])
    assert not path.exists()
    forget_unused(instance, [without])


@pytest.mark.parametrize(
    ("address", "bind"),
    [("0.0.0.0:8443", "0.0.0.0:8443 ssl"), (":::8443", ":::8443 v4v6 ssl"), ("::1:443", "::1:443 ssl")],
)
def test_it_listens_where_clients_come_and_asks_the_server_on_loopback(address: str, bind: str) -> None:
    text = configuration(unit(address), "/run/llama-tls/main")
    assert f"    bind {bind} crt /run/llama-tls/main/certificate.pem alpn http/1.1\n" in text
    assert "    server llama 127.0.0.1:18443\n" in text
