# SPDX-License-Identifier: MIT
"""Where requests to a BMC may go, and what an answer may cost."""

from __future__ import annotations

import functools
import io
import tracemalloc
import zlib

import pytest

from plugins.module_utils.bios.connection import LARGEST, Connection, ElsewhereError, RedfishError, content


@functools.cache  # each reads the CAs of the system
def bmc(host: str) -> Connection:
    return Connection(host, None, True, 30)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("/redfish/v1/Systems/1/", "/redfish/v1/Systems/1/"),
        ("/redfish/v1/Registries?$skip=50", "/redfish/v1/Registries?$skip=50"),
        ("/redfish/v1/Chassis/1/Power#/PowerControl/0", "/redfish/v1/Chassis/1/Power"),
        ("https://BMC.lan/redfish/v1/Tasks/1", "/redfish/v1/Tasks/1"),
        ("https://bmc.lan:443/x", "/x"),
        ("/registries/a name\r\nHost: x.json", "/registries/a%20name%0D%0AHost:%20x.json"),
    ],
)
def test_a_path_on_the_bmc(link: str, path: str) -> None:
    assert bmc("bmc.lan").own_path(link) == path


@pytest.mark.parametrize("host", ["bmc.lan", "10.0.0.5", "10.0.0.5:4443", "fd00::1"])
@pytest.mark.parametrize(
    "link",
    ["1/redfish/v1", "3/x", ":4444/x", "@example.com/x", ".example.com/x", "https://example.com/x", "//example.com/x",
     "http://{host}/x", "https://{host}.example.com/x", "https://{host}@example.com/x", "https://user:password@{host}/x",
     "https:/x", "https://[/x", "https://{host}:99999/x", "ftp://{host}/x", "x", "", "None", "?x", "#x", "\\/x", " /x"],
)  # fmt: skip
def test_what_is_no_path_on_the_bmc(host: str, link: str) -> None:
    with pytest.raises(ElsewhereError, match="which is no path on it, and nothing was sent there"):
        bmc(host).own_path(link.format(host=bmc(host).host))


@pytest.mark.parametrize(
    ("location", "path"),
    [("/y/", "/y/"), ("y", "/a/y"), ("?x", "/a/b?x"), ("https://bmc.lan/a/b/", "/a/b/"), ("../../../y", "/y")],
)
def test_a_redirect_may_be_relative(location: str, path: str) -> None:
    assert bmc("bmc.lan").own_path(location, "/a/b") == path


@pytest.mark.parametrize("location", ["//example.com/y", "http://bmc.lan/y", "https://bmc.lan:8443/y", "javascript:x"])
def test_a_redirect_leads_nowhere_else(location: str) -> None:
    with pytest.raises(ElsewhereError):
        bmc("bmc.lan").own_path(location, "/a/b")


@pytest.mark.parametrize("host", ["", "bmc:port", "user@bmc", "[bmc"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(RedfishError, match="is no name or address of a BMC"):
        bmc(host)


class Answer(io.BytesIO):
    length = 0


def packed(count: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(count >> 20)) + packer.flush()


def test_what_is_packed_well_fills_no_memory() -> None:
    sent = packed(2**28)
    tracemalloc.start()
    with pytest.raises(ValueError, match="too large"):
        content(Answer(sent))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LARGEST, f"{len(sent)} bytes took {peak}"


def test_what_is_packed_is_unpacked_whatever_is_said_of_it() -> None:
    assert content(Answer(packed(2**20))) == bytes(2**20)
