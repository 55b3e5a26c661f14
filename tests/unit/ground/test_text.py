# SPDX-License-Identifier: MIT
"""How numbers are said."""

from __future__ import annotations

import pytest

from plugins.module_utils.text import file_name, number, rate, tower_names, without_secrets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.00001234, "0.0000123"),
        (0.02263, "0.0226"),
        (1.2345, "1.23"),
        (9.999, "10.0"),
        (16.0, "16.0"),
        (123.4, "123"),
        (999.6, "1,000"),
        (30_012.0, "30,000"),
    ],
)
def test_numbers_have_three_figures_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((38.4,), "38.4 GB/s"),
        ((921.6,), "922 GB/s"),
        ((400, 530.0), "400 to 530 GB/s"),
        ((480.0, 480.1), "480 GB/s"),
    ],
)
def test_a_rate_is_a_number_and_its_unit(ends: tuple[float, ...], text: str) -> None:
    assert rate(*ends) == text
    assert rate(1.2, 1.6, unit="tokens/s") == "1.20 to 1.60 tokens/s"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hub:token@example.com:8443/a/b.git", "https://example.com:8443/a/b.git"),
        ("https://hub@example.com/a", "https://example.com/a"),
        ("https://example.com/m.gguf?X-Amz-Signature=s3cret&a=b#c", "https://example.com/m.gguf"),
        ("https://[host/a", "https://"),
        ("https://example.com/a", "https://example.com/a"),
        ("/models/a?b.gguf", "/models/a?b.gguf"),
        (7, 7),
        (
            "fatal: unable to access 'https://me:s3cret@example.com/a.git/': (see http://example.com/b?sig=s3cret)",
            "fatal: unable to access 'https://example.com/a.git/': (see http://example.com/b",
        ),
        ("http://me:s3cret@proxy:3128", "http://proxy:3128"),
        ("http://example.com/with blank?sig=s3cret&a=b c", "http://example.com/with blank"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url: object, shown: object) -> None:
    assert without_secrets({"source": [{"url": url}]}) == {"source": [{"url": shown}]}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("tower1, tower2", ["tower1", "tower2"]),
        (["tower1", "tower12"], ["tower1", "tower12"]),
        ("", []),
        ([], []),
        (False, ["False"]),
        ("True", ["True"]),
    ],
)
def test_towers_are_named_in_a_list_or_a_text(given: object, names: list[str]) -> None:
    assert tower_names(given) == names


@pytest.mark.parametrize("given", [True, "true", "True", [True], ["tower3", "true"]])
def test_true_names_everyone_where_that_is_allowed(given: object) -> None:
    assert tower_names(given, everyone=["tower1", "tower2"]) == ["tower1", "tower2"]


@pytest.mark.parametrize("host", ["../../etc/x", "<b>", "a/b", "index", ".x"])
def test_a_host_that_is_no_file_name_gets_one_in_the_directory(host: str) -> None:
    name = file_name(host)
    assert "/" not in name
    assert not name.startswith(".")
    assert name not in {host, "index"}


def test_two_hosts_never_share_a_file() -> None:
    hosts = ["a/b", "a_b", "a b", "tower1", "TOWER-1.lan"]
    assert len({file_name(host) for host in hosts}) == len(hosts)
    assert file_name("TOWER-1.lan") == "TOWER-1.lan"
