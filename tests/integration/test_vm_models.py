# SPDX-License-Identifier: MIT
"""A model that arrives although the tower loses power, and what of it the page cache keeps."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.vm_site import SHARDS, Site, wait_until

DIRECTORY = "/var/lib/llama-models/shards"


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


@pytest.fixture
def hub(site: Site) -> Iterator[HubControl]:
    control = HubControl(site)
    control.call("DELETE", "/_hub/log")
    # As slow as the internet: an emulated tower would have all of it before anything can be cut.
    control.call("PUT", "/_hub/faults", [{"kind": "slow", "rate": 1_500_000}])
    yield control
    control.call("PUT", "/_hub/faults", [])
    site.ssh(f"sudo rm -rf {DIRECTORY} /var/lib/llama-models/.shards.*")


def resident(site: Site) -> int:
    """Bytes of the model in the page cache."""
    return sum(map(int, site.ssh(f"sudo fincore --bytes --noheadings --output RES {DIRECTORY}/*.gguf").split()))


def test_a_download_goes_on_after_a_power_failure(site: Site, hub: HubControl) -> None:
    variables = {"model_store_models": [SHARDS]}
    first = site.start("playbooks/models.yml", **variables)
    wait_until(lambda: hub.sent() > 100e6 or first.poll() is not None, "the hub has sent 100 MB", 300)
    before_cut = hub.sent()
    site.tower.stop(hard=True)
    assert first.poll() is None, first.communicate()[0]
    assert before_cut < 250e6
    hub.call("PUT", "/_hub/faults", [])
    site.tower.start()
    output, _ = first.communicate(timeout=600)
    print(output[-1500:])
    assert first.returncode != 0

    assert site.playbook("playbooks/models.yml", **variables).code == 0
    manifest = json.loads(site.ssh(f"sudo cat {DIRECTORY}/manifest.json"))
    sent = hub.sent()
    print(f"the hub has sent {sent} bytes of {manifest['bytes']}")
    assert sent <= 1.02 * manifest["bytes"]
    assert resident(site) < 0.01 * manifest["bytes"]

    assert site.playbook("playbooks/verify.yml", **variables).code == 0
    assert resident(site) < 0.01 * manifest["bytes"]
    sums = "".join(f"{entry['sha256']}  {DIRECTORY}/{entry['file']}\\n" for entry in manifest["files"])
    assert site.ssh(f"printf '{sums}' | sudo sha256sum --check --quiet") == ""
