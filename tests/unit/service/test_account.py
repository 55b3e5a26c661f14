# SPDX-License-Identifier: MIT
"""Nobody's own account becomes the service's."""

from __future__ import annotations

import pytest

from plugins.module_utils.service.account import account_problem


def entry(line: str) -> list[str]:
    return line.split(":")[1:]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llama:x:1000:1000:Lena Lama:/home/llama:/bin/bash", "has the number 1000"),
        ("llama:x:1001:1001::/home/llama:/usr/sbin/nologin", "has the number 1001"),
        ("root:x:0:0:root:/root:/bin/bash", "has the number 0"),
        ("toor:x:0:0:root:/root:/usr/sbin/nologin", "has the number 0"),
        ("postgres:x:105:110:PostgreSQL:/var/lib/postgresql:/bin/bash", "can log in with /bin/bash"),
        ("old:x:105:110::/:", "can log in with /bin/sh"),
    ],
)
def test_an_account_of_somebody_is_refused(line: str, words: str) -> None:
    name = line.split(":")[0]
    problem = account_problem(entry(line), name)
    assert problem is not None
    assert problem.startswith(f"The account {name} is there and {words}")
    assert "llama_service_user" in problem


@pytest.mark.parametrize(
    "line",
    [
        "llama:x:999:999::/nonexistent:/usr/sbin/nologin",
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
        "old:x:105:110::/:/bin/false",
    ],
)
def test_one_of_a_service_is_taken_as_it_is(line: str) -> None:
    assert account_problem(entry(line), "llama") is None


def test_one_that_is_not_there_is_made() -> None:
    assert account_problem(None, "llama") is None
