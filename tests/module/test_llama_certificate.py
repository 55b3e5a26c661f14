# SPDX-License-Identifier: MIT
"""The module that gives an instance its certificate, without a tower that serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service import deployment
from plugins.modules import llama_certificate
from tests.certificates import Pair, make_pair
from tests.run_module import run_module


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "instances"
    monkeypatch.setattr(llama_certificate, "Instance", lambda name: deployment.Instance(name, str(path)))
    return path


def give(pair: Pair, check: bool = False) -> dict[str, Any]:
    certificate, key = pair.texts()
    return run_module("llama_certificate", check=check, certificate=certificate, key=key)


def test_it_is_kept_for_root_and_a_second_run_changes_nothing(instances: Path, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "tower1")
    assert give(pair, check=True)["changed"] is True
    assert not instances.exists()
    first = give(pair)
    assert (first["changed"], first["renewed"], first["not_after"][-3:]) == (True, [], "GMT")
    source = instances / "main/tls.json"
    assert json.loads(source.read_text()) == dict(zip(("certificate", "key"), pair.texts(), strict=True))
    assert oct(source.stat().st_mode & 0o777) == "0o600"
    assert give(pair)["changed"] is False


def test_what_cannot_be_used_is_refused_and_the_one_before_stays(instances: Path, tmp_path: Path) -> None:
    pair, other = make_pair(tmp_path, "tower1"), make_pair(tmp_path, "other")
    give(pair)
    before = (instances / "main/tls.json").read_text()
    wrong = Pair(pair.certificate, other.key)
    for check in (True, False):
        refused = give(wrong, check)
        assert refused["failed"] is True
        assert "is not the key of the certificate" in refused["msg"]
    assert give(make_pair(tmp_path, "old", days=-1))["msg"].endswith("has expired: renew it.")
    assert (instances / "main/tls.json").read_text() == before


def test_the_key_is_in_no_answer(instances: Path, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "tower1")
    answers = [give(pair), give(Pair(make_pair(tmp_path, "other").certificate, pair.key))]
    secret = pair.key.read_text().splitlines()[1]
    assert secret not in json.dumps(answers)
