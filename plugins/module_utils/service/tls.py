# SPDX-License-Identifier: MIT
"""HTTPS in front of a server: HAProxy takes it on the public address, and asks the server on loopback.

    tls start UNIT_NAME     before a start, as root: what llama-tls@UNIT_NAME.service reads
    tls reload UNIT_NAME    before a reload: the same, of the certificate that there is now

llama-server reads a certificate only when it starts, which takes as long as its model. HAProxy takes another one by a
reload that cuts no connection and refuses none (Debian's 2.6 and 3.0, under load; stunnel refuses those that come in
between), and the server has no connection before a request has come whole.

Where the certificate is, says ``tls.json`` of the instance, for root only; HAProxy, which has no privileges, gets a
copy in memory, in $RUNTIME_DIRECTORY, which is its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import time
from typing import Optional, TypedDict, cast
from urllib.parse import urlsplit

from ..files import read_json, write_beside, write_json
from .certificate import CertificateError, check_pem, leaf, pem_of
from .client import healthy
from .deployment import INSTANCES, Deployment, Instance, current_unit
from .document import PlannedUnit
from .settings import CLIENT_SECONDS
from .unit import RUNNING, UnitError, call, front_of, journal, show

# How long an answer may be silent on which the server computes; who asks is cut off sooner, as by the server itself.
SILENT_HOURS = 24
# How long it may take from a start or reload to the first answer.
FRONT_SECONDS = 60
RUN = "/run/llama-tls"
PEM, CONFIGURATION = "certificate.pem", "haproxy.cfg"


class Source(TypedDict):
    """``tls.json``: certificate and key as the variables give them, a path on the tower or PEM text."""

    certificate: str
    key: str


def source_path(instance: Instance) -> str:
    """Where the source of an instance's certificate is."""
    return os.path.join(instance.path, "tls.json")


def read_source(instance: Instance) -> Optional[Source]:
    """The source of an instance's certificate; None without one."""
    found = read_json(source_path(instance))
    return cast(Source, found) if isinstance(found, dict) and found.keys() == {"certificate", "key"} else None


def write_source(instance: Instance, source: Source) -> None:
    """Have an instance take its certificate from there. Raises OSError."""
    write_json(source_path(instance), source, mode=0o600)


def forget_unused(instance: Instance, needed: list[Deployment]) -> None:
    """Remove the source where no deployment serves HTTPS. Raises OSError."""
    if not any(unit.get("tls") for deployment in needed for unit in deployment["units"]):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(source_path(instance))


def configuration(unit: PlannedUnit, directory: str) -> str:
    """What HAProxy reads."""
    environment, address = unit["environment"], str(unit.get("tls"))
    return f"""\
global
    # The CPUs are for those that decode. The next process takes the sockets over with all that waits in them.
    nbthread 2
    stats socket {directory}/listeners.sock mode 600 expose-fd listeners
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout http-request {CLIENT_SECONDS}s
    timeout http-keep-alive {CLIENT_SECONDS}s
    timeout client {CLIENT_SECONDS}s
    timeout server {SILENT_HOURS}h
    # The server ends a connection after each answer; and what nobody waits for any more is not computed.
    option http-server-close
    option abortonclose
listen {unit["name"]}
    bind {address}{" v4v6" if address.startswith(":::") else ""} ssl crt {directory}/{PEM} alpn http/1.1
    server llama {environment["LLAMA_ARG_HOST"]}:{environment["LLAMA_ARG_PORT"]}
"""


def served_leaf(url: str) -> Optional[bytes]:
    """The certificate that a server shows, in DER; None where it shows none."""
    place = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        plain = socket.create_connection((place.hostname or "", place.port or 443), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname=place.hostname) as secure:
            return secure.getpeercert(binary_form=True)
    except OSError:
        return None


def front_difference(unit: PlannedUnit) -> Optional[str]:
    """A phrase where what takes HTTPS for a unit does not run as it is to, by the unit file that there is now."""
    front = front_of(unit["name"])
    shown = show(front, "ActiveState", "NeedDaemonReload")
    runs = shown.get("ActiveState") in RUNNING
    if runs != bool(unit.get("tls")):
        return f"{front} {'runs' if runs else 'does not run'}"
    return f"{front} is started by another file" if runs and shown.get("NeedDaemonReload") == "yes" else None


def await_front(unit: PlannedUnit) -> None:
    """Wait until a server that answers does so over HTTPS, too, where it has that. Raises UnitError."""
    front = front_of(unit["name"])
    for _second in range(FRONT_SECONDS if unit.get("tls") else 0):
        if healthy(unit["url"]):
            return
        time.sleep(1)
    if unit.get("tls"):
        said = journal(front)[1]
        raise UnitError(f"{front} does not answer, and the server behind it does. {said}".strip())


def outdated(instance: Instance, pem: str) -> list[PlannedUnit]:
    """The units that serve HTTPS now, and with another certificate than this."""
    deployment, found = instance.current(), []
    for unit in deployment["units"] if deployment else []:
        if unit.get("tls") and show(front_of(unit["name"]), "ActiveState").get("ActiveState") in RUNNING:
            try:
                with open(os.path.join(RUN, unit["name"], PEM), encoding="ascii") as file:
                    same = file.read() == pem
            except (OSError, ValueError):
                same = False
            if not same or served_leaf(unit["url"]) != leaf(pem):
                found.append(unit)
    return found


def renew(unit: PlannedUnit, pem: str) -> None:
    """Have what takes HTTPS for a unit take this certificate, which is that of its source. Raises UnitError."""
    front = front_of(unit["name"])
    call(["systemctl", "reload", front])
    for _second in range(FRONT_SECONDS):
        if served_leaf(unit["url"]) == leaf(pem):
            return
        time.sleep(1)
    raise UnitError(f"{front} was reloaded and still shows another certificate: journalctl -u {front}.")


def prepare(name: str, directory: str, renewed: bool, instances: str = INSTANCES) -> Optional[str]:
    """Write what the front of a unit reads; a sentence where its certificate is out of date.

    Raises CertificateError, LookupError and OSError; nothing was touched then. A certificate that has expired is
    better than nothing where it is all there is, and no renewal.
    """
    instance, _identity, _deployment, unit = current_unit(name, instances)
    source = read_source(instance)
    if source is None:
        raise CertificateError(f"{source_path(instance)} is missing: run ansible-playbook llamatower.tower.serve.")
    pem, late = pem_of(source["certificate"], source["key"]), None
    try:
        check_pem(pem)
    except CertificateError as error:
        if renewed or not error.of_time:
            raise
        late = str(error)
    owner = os.stat(directory)
    for file, text in ((PEM, pem), (CONFIGURATION, configuration(unit, directory))):
        write_beside(os.path.join(directory, file), text, mode=0o400, sync=False, owner=owner)  # in memory
    return late


def main(argv: list[str]) -> int:
    action, name = argv[1:]
    try:
        late, problem = prepare(name, os.environ.get("RUNTIME_DIRECTORY", f"{RUN}/{name}"), action == "reload"), None
    except (CertificateError, LookupError, OSError) as error:
        late, problem = None, str(error)
    if late or problem:
        print(late or problem, file=sys.stderr, flush=True)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
