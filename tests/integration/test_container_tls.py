# SPDX-License-Identifier: MIT
"""HTTPS before a server, and another certificate while it answers: HAProxy of Debian, and the real llama-server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.certificates import Pair, make_pair
from tests.integration.container_site import Places, pid, playbook, tower
from tests.integration.vm_site import Run
from tests.waiting import wait_until

PLACES = Places("bookworm")
FRONT = f"llama-tls@{PLACES.instance}.service"
BEHIND = PLACES.port + 10000
OWN = "/etc/ssl/private/tower"
# What a client sees: the name in the certificate, by one that trusts just that, and the status of /health.
LOOK = """
import http.client, json, ssl, sys
trusted = ssl.create_default_context(cadata=sys.stdin.read())
trusted.check_hostname = False
trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
asked = http.client.HTTPSConnection("127.0.0.1", {port}, context=trusted, timeout=10)
asked.request("GET", "/health")
name = dict(pair[0] for pair in asked.sock.getpeercert()["subject"])["commonName"]
print(json.dumps([name, asked.getresponse().status]))
"""
# Reads a long answer as it comes, and writes down how many of its tokens came, and the last words.
STREAM = """
import http.client, json, ssl
context = ssl._create_unverified_context()
asked = http.client.HTTPSConnection("127.0.0.1", {port}, context=context, timeout=120)
body = {{"prompt": "Once", "n_predict": 600, "ignore_eos": True, "stream": True}}
headers = {{"Content-Type": "application/json", "Authorization": "Bearer {key}"}}
asked.request("POST", "/completion", json.dumps(body), headers)
answer, lines = asked.getresponse(), 0
for line in answer:
    lines += line.startswith(b"data: ")
    last = line if line.startswith(b"data: ") else last
    if lines == 1:
        open("/tmp/stream.begun", "w").close()
open("/tmp/stream.json", "w").write(json.dumps([lines, json.loads(last[6:])["stop"]]))
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    directory = tmp_path_factory.mktemp("certificates")
    return {name: make_pair(directory, name) for name in ("first", "second", "third")}


def serve(**variables: Any) -> Run:
    return playbook("playbooks/serve.yml", "--limit", PLACES.name, **variables)


def given(certificate: str, key: str) -> dict[str, str]:
    return {"llama_service_tls_certificate": certificate, "llama_service_tls_key": key}


@pytest.fixture(scope="module")
def host(pairs: dict[str, Pair]) -> Iterator[Any]:
    """The tower with HTTPS, whose certificate and key are text, as of a vault; afterwards as it was."""
    host = tower(PLACES.name)
    run = serve(**given(*pairs["first"].texts()))
    try:
        assert run.code == 0, run.output
        assert not any(line in run.output for line in pairs["first"].key.read_text().splitlines()[1:-1])
        yield host
    finally:
        assert serve().code == 0
        host.check_output("apt-get purge --quiet --quiet --yes haproxy")
        host.check_output(f"rm -f {OWN}.* /tmp/stream.*")


def look(host: Any, pair: Pair) -> list[Any]:
    """The name in the certificate that is served, and the status of /health; raises where another one is served."""
    program = LOOK.format(port=PLACES.port)
    done = host.run("printf %%s %s | python3 -c %s", pair.certificate.read_text(), program)
    assert done.rc == 0, done.stderr
    return list(json.loads(done.stdout))


def put(host: Any, pair: Pair) -> None:
    """As certbot does, a file of the tower for the certificate, and one for the key, each in one step."""
    for path, mode in zip(pair, ("644", "600"), strict=True):
        new = f"{OWN}{path.suffix}.new"
        host.check_output(f"install --mode={mode} /dev/null {new} && printf %%s %s > {new}", path.read_text())
        host.check_output(f"mv {new} {OWN}{path.suffix}")


def test_clients_have_https_and_the_server_is_on_loopback(host: Any, pairs: dict[str, Pair]) -> None:
    assert look(host, pairs["first"]) == ["first", 200]
    listening = host.check_output("ss --listening --tcp --numeric --no-header")
    assert f"127.0.0.1:{PLACES.port} " in listening and f"127.0.0.1:{BEHIND} " in listening
    # Debian's own service was not there before, and is not made to be.
    assert not host.service("haproxy").is_running and not host.service("haproxy").is_enabled


def test_the_key_is_for_root_and_the_one_that_uses_it(host: Any, pairs: dict[str, Pair]) -> None:
    source, copy = f"{PLACES.deployments}/tls.json", f"/run/llama-tls/{PLACES.instance}/certificate.pem"
    assert host.check_output(f"stat --format=%U:%a {source}") == "root:600"
    owner = host.check_output(f"stat --format=%u:%a {copy}")
    process = host.check_output(f"stat --format=%u /proc/{pid(host, FRONT)}")
    assert owner == f"{process}:400" and process not in ("0", host.check_output(f"id --user {PLACES.user}"))
    secret = pairs["first"].key.read_text().splitlines()[1]
    assert secret not in host.check_output("ps axeww; journalctl --no-pager --boot")
    kept = host.check_output(f"grep -rlF {secret} /etc /var/lib/llamatower /run /tmp /root || true").split()
    assert set(kept) == {source, copy}


def test_another_certificate_is_used_and_the_server_does_not_notice(host: Any, pairs: dict[str, Pair]) -> None:
    """Now of files on the tower."""
    before = pid(host, PLACES.unit), host.check_output(f"readlink {PLACES.deployments}/current")
    put(host, pairs["second"])
    run = serve(**given(f"{OWN}.pem", f"{OWN}.key"))
    assert (run.code, run.recap("changed")) == (0, 1), run.output
    assert look(host, pairs["second"]) == ["second", 200]
    assert (pid(host, PLACES.unit), host.check_output(f"readlink {PLACES.deployments}/current")) == before
    assert serve(**given(f"{OWN}.pem", f"{OWN}.key")).changes() == []


def test_a_renewal_on_the_tower_cuts_no_stream(host: Any, pairs: dict[str, Pair]) -> None:
    """The third is put where the second was, and systemctl is told, as certbot would; then one that is none."""
    key = host.check_output(f"grep --invert-match '^#' {PLACES.keys}").split()[0]
    program = STREAM.format(port=PLACES.port, key=key)
    host.check_output("systemd-run --quiet --unit=test-stream python3 -c %s", program)
    wait_until(lambda: host.file("/tmp/stream.begun").exists, "the stream has begun", 60)
    before = pid(host, PLACES.unit)
    put(host, pairs["third"])
    host.check_output("systemctl reload 'llama-tls@*.service'")
    wait_until(lambda: _shows(host, pairs["third"]), "the third is served", 30)
    assert not host.file("/tmp/stream.json").exists, "the stream was over before the renewal"
    put(host, Pair(pairs["first"].certificate, pairs["third"].key))
    assert host.run(f"systemctl reload {FRONT}").rc != 0
    assert "is not the key of the certificate" in host.check_output(f"journalctl --no-pager -o cat -n 20 -u {FRONT}")
    assert look(host, pairs["third"]) == ["third", 200]
    wait_until(lambda: host.file("/tmp/stream.json").exists, "the stream ends", 120)
    tokens, ended = json.loads(host.file("/tmp/stream.json").content_string)
    assert tokens >= 600 and ended, tokens
    assert pid(host, PLACES.unit) == before


def _shows(host: Any, pair: Pair) -> bool:
    try:
        return look(host, pair)[1] == 200
    except AssertionError:
        return False


def test_a_wrong_pair_is_refused_before_anything_is_touched(host: Any, pairs: dict[str, Pair]) -> None:
    before = pid(host, PLACES.unit), pid(host, FRONT)
    variables: dict[str, Any] = given(pairs["first"].texts()[0], pairs["second"].texts()[1])
    run = playbook("playbooks/validate.yml", "--limit", PLACES.name, **variables)
    assert run.code != 0
    assert run.finds("llama_service_tls_key is not the key of the certificate in llama_service_tls_certificate")
    assert (pid(host, PLACES.unit), pid(host, FRONT)) == before
