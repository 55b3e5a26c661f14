# SPDX-License-Identifier: MIT
"""A model that arrives although the tower loses power, and what of it the page cache keeps."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.vm_site import SHARDS, Site, apart
from tests.waiting import wait_until

DIRECTORY = "/var/lib/llama-models/shards"
VARIABLES = {"model_store_models": [SHARDS]}
TOLERANCE = 0.02


class HubControl:
    """The control of the hub that serves this tower."""

    def __init__(self, site: Site) -> None:
        self.url = (site.tower.dir / "hub.url").read_text().strip()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, method=method), timeout=10) as answer:
            return json.load(answer)

    def sent(self) -> int:
        """Bytes of the model's shards since the log was cleared. Ranges with an end are headers, which the controller
        reads to know what it will fetch: 10 MB of 300 GB, but 2 % of this small model for each run."""
        return sum(
            request["bytes"]
            for request in self.call("GET", "/_hub/log")["requests"]
            if request["file"].startswith(SHARDS["repo"]) and (request["range"] or "-").endswith("-")
        )


class Cut(NamedTuple):
    """A power failure in the middle of a download, and what the hub had sent by then."""

    hub: HubControl
    sent: int
    play: str
    code: int


@pytest.fixture(scope="module")
def cut(site: Site) -> Iterator[Cut]:
    hub = HubControl(site)
    hub.call("DELETE", "/_hub/log")
    # As slow as the internet: an emulated tower would have all of it before anything can be cut.
    hub.call("PUT", "/_hub/faults", [{"kind": "slow", "rate": 1_500_000}])
    first = site.start("playbooks/models.yml", **VARIABLES)
    wait_until(lambda: hub.sent() > 30e6 or first.poll() is not None, "the hub has sent 30 MB", 300)
    sent = hub.sent()
    site.tower.stop(hard=True)
    assert first.poll() is None, first.communicate()[0]
    hub.call("PUT", "/_hub/faults", [])
    site.tower.start()
    output, _ = first.communicate(timeout=600)
    yield Cut(hub, sent, output, first.returncode)
    site.ssh(f"sudo rm -rf {DIRECTORY} /var/lib/llama-models/.shards.*")


def resident(site: Site) -> int:
    """Bytes of the model in the page cache."""
    return sum(map(int, site.ssh(f"sudo fincore --bytes --noheadings --output RES {DIRECTORY}/*.gguf").split()))


def test_a_tower_whose_power_failed_comes_back_serving(site: Site, cut: Cut) -> None:
    wait_until(site.healthy, "llama-server answers on /health", 300)
    site.ask()
    assert apart(site.shares()) <= TOLERANCE


def test_a_download_goes_on_after_a_power_failure(site: Site, cut: Cut) -> None:
    print(cut.play[-1500:])
    assert cut.code != 0

    assert site.playbook("playbooks/models.yml", **VARIABLES).code == 0
    manifest = json.loads(site.ssh(f"sudo cat {DIRECTORY}/manifest.json"))
    sent = cut.hub.sent()
    print(f"the hub has sent {cut.sent}, and {sent} bytes of {manifest['bytes']} in all")
    assert cut.sent < 0.9 * manifest["bytes"]
    assert sent <= 1.02 * manifest["bytes"]
    assert resident(site) < 0.01 * manifest["bytes"]

    assert site.playbook("playbooks/verify.yml", **VARIABLES).code == 0
    assert resident(site) < 0.01 * manifest["bytes"]
    sums = "".join(f"{entry['sha256']}  {DIRECTORY}/{entry['file']}\\n" for entry in manifest["files"])
    assert site.ssh(f"printf '{sums}' | sudo sha256sum --check --quiet") == ""
