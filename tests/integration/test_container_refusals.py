# SPDX-License-Identifier: MIT
"""What cannot work is refused in one clear sentence, and leaves the tower as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import Places, footprint, hub, playbook, tower

PLACES = Places("bookworm")
GEMMA = {"name": "gemma-3-270m", "repo": "demo/gemma-3-270m-GGUF", "revision": "main", "files": "*-Q4_K_M.gguf"}


@pytest.fixture
def host() -> Any:
    return tower("bookworm")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param(
            {"model_store_models": [{"name": "other", "path": PLACES.model, "sha256": "0" * 64}]},
            "0{64}.*a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
            "|a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818.*0{64}",
            id="wrong-sha256",
        ),
        pytest.param({"model_store_models": [{**GEMMA, "files": "*-Q9_K.gguf"}]}, r"Q9_K", id="unknown-file"),
        pytest.param({"model_store_models": [{**GEMMA, "repo": "demo/nothing"}]}, r"demo/nothing", id="unknown-repo"),
        pytest.param(
            {"llama_service_context": 100_000_000},
            r"Model gemma-3-270m does not fit the memory: 253 MB of weights, [\d.]+ [GT]B of KV cache for 100000000",
            id="larger-than-memory",
        ),
        pytest.param(
            {"model_store_dir": "/mnt/small/models"},
            r"The disk of /mnt/small/models has 67 MB free, and 253 MB of models",
            id="disk-too-small",
        ),
        pytest.param({"model_store_models": []}, r"No model is declared; nothing was touched", id="no-model"),
        pytest.param(
            {"model_store_models": [{"name": "other"}]},
            r"Model other needs exactly one of repo, path and url",
            id="no-source",
        ),
        pytest.param(
            {"llama_service_metrics": "yes"},
            r"llama_service_metrics is the text 'yes', not a boolean: write true or false without quotes",
            id="boolean-as-text",
        ),
        pytest.param(
            {"llama_service_contxt": 4096},
            r"llama_service_contxt is not a variable of any role: did you mean llama_service_context\?",
            id="misspelled",
        ),
    ],
)
def test_refused_in_one_sentence(host: Any, variables: dict[str, Any], sentence: str) -> None:
    before = footprint(host)
    run = playbook("site.yml", "--limit", "bookworm", **variables)
    assert run.code != 0
    assert run.finds(sentence)
    assert "Traceback" not in run.output
    assert footprint(host) == before


@pytest.fixture
def fedora(host: Any) -> Iterator[Any]:
    host.run_expect([0], "mv /etc/os-release /etc/os-release.kept")
    text = 'ID=fedora\nVERSION_ID="41"\nNAME="Fedora Linux"\nPRETTY_NAME="Fedora Linux 41"\n'
    host.run_expect([0], "printf %s > /etc/os-release", text)
    yield host
    host.run_expect([0], "mv /etc/os-release.kept /etc/os-release")


def test_another_operating_system_is_refused(fedora: Any) -> None:
    before = footprint(fedora)
    run = playbook("site.yml", "--limit", "bookworm")
    assert run.code != 0
    assert run.finds(r"Fedora Linux 41 is not supported: install Debian 12 or 13, or Ubuntu 22\.04 or 24\.04\.")
    assert footprint(fedora) == before


@pytest.fixture
def lying_hub() -> Iterator[None]:
    hub("PUT", "/_hub/faults", [{"kind": "wrong", "at": 100_000_000}])
    yield
    hub("PUT", "/_hub/faults", [])


def test_bytes_that_changed_on_their_way_never_become_a_model(host: Any, lying_hub: None) -> None:
    before = footprint(host)
    run = playbook("playbooks/models.yml", "--limit", "bookworm", model_store_models=[{**GEMMA, "name": "other"}])
    assert run.code != 0
    assert run.finds(r"a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818")
    assert not host.file(f"{PLACES.models}/other").exists
    # What was fetched may stay for the next try, out of sight.
    new = {line.split()[0] for line in footprint(host) - before if line.startswith(f"{PLACES.models}/")}
    assert all(path.startswith(f"{PLACES.models}/.") for path in new), new
    host.run_expect([0], f"rm -rf {PLACES.models}/.other*")
