# SPDX-License-Identifier: MIT
"""Where clients reach an instance, and by which keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.access import access, url_of

KEYS = "# ann\nsecret-1\n\n# ben\nsecret#2\nsecret-3\n# (generated)\nsecret-4\n"


@pytest.mark.parametrize(
    ("url", "listens", "host", "expected"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", "example.com", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "0.0.0.0", "example.com", "http://example.com:8080"),
        ("https://[::1]:8080", "::", "::7", "https://[::7]:8080"),
        ("http://192.0.2.11:8080", "192.0.2.11", "example.com", "http://192.0.2.11:8080"),
    ],
)
def test_the_url_is_the_towers_where_it_listens_on_every_address(
    url: str, listens: str, host: str, expected: str
) -> None:
    assert url_of(url, listens, host) == expected


def test_behind_https_it_is_where_that_is_taken_and_not_where_the_server_is(tmp_path: Path) -> None:
    unit: Any = {"url": "https://127.0.0.1:8443", "environment": {"LLAMA_ARG_HOST": "127.0.0.1"}, "tls": "0.0.0.0:8443"}
    document = {"schema_version": 1, "model": {"name": "glm"}, "units": [unit], "loopback": True}
    path = tmp_path / "main/deployments/a1"
    path.mkdir(parents=True)
    (path / "deployment.json").write_text(json.dumps(document))
    (path / "keys").write_text(KEYS)
    (tmp_path / "main/current").symlink_to("deployments/a1")
    (found,) = access("example.com", str(tmp_path))
    assert (found["urls"], found["loopback"]) == (["https://example.com:8443"], False)


def test_all_instances_with_their_keys_by_name(tmp_path: Path) -> None:
    unit: Any = {"url": "http://127.0.0.1:8080", "environment": {"LLAMA_ARG_HOST": "0.0.0.0"}}
    document = {"schema_version": 1, "model": {"name": "glm"}, "units": [unit], "loopback": False}
    for name in ("main", "second", "empty"):
        path = tmp_path / name / "deployments/a1"
        path.mkdir(parents=True)
        (path / "deployment.json").write_text(json.dumps(document))
        (path / "keys").write_text(KEYS)
        if name != "empty":
            (tmp_path / name / "current").symlink_to("deployments/a1")
    first, second = access("example.com", str(tmp_path))
    assert [first["instance"], second["instance"]] == ["main", "second"]
    assert first["urls"] == ["http://example.com:8080"]
    assert first["keys"] == {
        "ann": "secret-1",
        "ben": "secret#2",
        "key 3": "secret-3",
        "generated": "secret-4",
    }
