# SPDX-License-Identifier: MIT
"""API keys of a list on the real server: who has one, whose was replaced or taken back, and who has none."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.module_utils.service.api_keys import read_keys
from tests.integration.container_site import Places, playbook, tower

PLACES = Places("bookworm")
LIMIT = ("--limit", PLACES.name)
PROBE = """
import sys, urllib.error, urllib.request
for key in sys.stdin.read().split("\\n"):
    headers = {"Authorization": "Bearer " + key} if key else {}
    request = urllib.request.Request("http://127.0.0.1:%d/props", headers=headers)
    try:
        print(urllib.request.urlopen(request, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    """The tower; afterwards it has a random key again."""
    yield tower(PLACES.name)
    assert playbook("playbooks/serve.yml", *LIMIT).code == 0


def statuses(host: Any, *keys: str) -> list[int]:
    """How a question is answered with each of these keys; "" is none."""
    said = host.check_output("printf %s %s | python3 -c %s", "%s", "\n".join(keys), PROBE % PLACES.port)
    return [int(line) for line in said.split()]


def serve(*keys: tuple[str, str]) -> None:
    given = [{"name": name, "key": key} for name, key in keys]
    assert playbook("playbooks/serve.yml", *LIMIT, llama_service_api_keys=given).code == 0


def test_a_key_is_valid_from_the_run_that_gives_it_to_the_run_that_takes_it_back(host: Any) -> None:
    random = host.check_output(f"grep -vm1 '^#' {PLACES.keys}")
    # The sign begins a comment only at the start of a line.
    ann, ben, new = (f"{secrets.token_hex(16)}{end}" for end in ("#1", "", ""))
    serve(("ann", ann), ("ben", ben))
    text = host.file(PLACES.keys).content_string
    assert text == f"# ann\n{ann}\n# ben\n{ben}\n"
    assert statuses(host, ann, ben, "", random, "# ann", "ann") == [200, 200, 401, 401, 401, 401]
    serve(("ann", new))
    assert statuses(host, new, ann, ben, "") == [200, 401, 401, 401]


def test_the_server_reads_a_file_with_comments_blank_lines_and_signs_as_the_roles_do(host: Any) -> None:
    """Whoever wrote it: what is no key to the roles is none to the server, and the other way round."""
    ann, ben = (secrets.token_hex(16) for _key in range(2))
    text = f"\n# ann\n#\n{ann}\n\n#{ben}\n## a#b\n{ben}#2\n\n"
    before = host.file(PLACES.keys).content_string
    put = f"printf %s %s > {PLACES.keys} && systemctl restart {PLACES.unit}"
    host.check_output(put, "%s", text)
    try:
        assert read_keys(text) == [ann, f"{ben}#2"]
        assert statuses(host, ann, f"{ben}#2", ben, f"#{ben}", "# ann", "#", "") == [200, 200, 401, 401, 401, 401, 401]
    finally:
        host.check_output(put, "%s", before)


@pytest.mark.parametrize("key", ["#begins-as-a-comment", "has a blank", ""])
def test_what_the_server_would_not_read_as_a_key_is_refused_before_anything_is_touched(key: str, host: Any) -> None:
    before = host.file(PLACES.keys).content_string
    run = playbook("playbooks/serve.yml", *LIMIT, llama_service_api_keys=[{"name": "ann", "key": key}])
    assert run.code != 0
    assert run.finds("would not be read as a key by llama-server")
    assert host.file(PLACES.keys).content_string == before
    assert statuses(host, "") == [401]
