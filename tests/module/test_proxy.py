# SPDX-License-Identifier: MIT
"""A tower that has no way out but a proxy: what goes out there asks the proxy, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tests.controller import MODEL, ONE, REPO, SET, play, tiny_hub
from tests.proxy import proxy

PLAYBOOK = """
- hosts: towers
  gather_facts: false
  roles:
    - llamatower.tower.model_store
"""


def test_models_come_through_the_proxy_of_the_tower_also_in_a_job_that_is_detached(tmp_path: Path) -> None:
    """Nobody but the proxy knows the names. The controller asks the hub by itself."""
    with tiny_hub(tmp_path / "hub") as hub:
        place = hub.url.removeprefix("http://")
        with proxy({"hub": place, "host": place}) as server:
            url = f"http://host/{REPO}/resolve/main/one.gguf"
            one = {"name": "one", "url": url, "sha256": hashlib.sha256(ONE).hexdigest()}
            tower = {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "model_store_models": [MODEL, one],
                "model_store_dir": str(tmp_path / "größere Modelle"),
                "model_store_lock_file": str(tmp_path / "none.yml"),
                "model_store_hf_endpoint": "http://hub",
                "model_store_reserve_bytes": 0,
                "llamatower_proxy_environment": {"http_proxy": server.url},
            }
            (tmp_path / "towers.json").write_text(json.dumps({"towers": {"hosts": {"here": tower}}}))
            (tmp_path / "play.yml").write_text(PLAYBOOK)
            done = play(tmp_path / "towers.json", tmp_path / "play.yml", HF_ENDPOINT=hub.url)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert server.asked == {"hub", "host"}
    found = {path.name for path in (tmp_path / "größere Modelle").glob("*/*.gguf")}
    assert found == {"one.gguf", *(Path(name).name for name in SET)}
