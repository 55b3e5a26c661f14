# SPDX-License-Identifier: MIT
"""A small Redfish client: one session where the BMC has sessions, TLS verified, every failure one sentence.

Only what BIOS settings need is here, for none of these carries it: community.general 11.4.2 has no check mode, writes
again between a write and the reboot, and finds no settings object on AMI's firmware; sushy 5.14.0 writes to the object
that the BIOS links for settings, and AMI links none; DMTF's redfish 3.4.2 knows HTTP and not the BIOS.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, NamedTuple, Optional

# A BMC that restarts answers 503, refuses connections, or lets them time out.
BUSY = (502, 503, 504)
POLL_SECONDS = 2.0
# How a task of DMTF's schema ends badly, and how a job of Dell's does.
FAILED = ("Exception", "Killed", "Cancelled", "Failed", "CompletedWithErrors")


class RedfishError(Exception):
    """One sentence: what was asked, what came back, what mends it. ``status`` is that of HTTP, where there is one."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it may be better in a while: nobody answered, or what answers is restarting."""
        return self.status is None or self.status in (*BUSY, 401, 404)


class Document(NamedTuple):
    """A resource, its ETag (None where it has none), and the headers of the answer."""

    body: dict[str, Any]
    etag: Optional[str]
    headers: Any


class SystemBios(NamedTuple):
    """What belongs to the BIOS of one system; ``pending`` is None where it cannot be read or shows no attributes."""

    system: dict[str, Any]
    bios: Document
    settings_path: str
    pending: Optional[Document]
    registry: Optional[dict[str, Any]]
    apply_on_reset: bool


def content(answer: Any) -> bytes:
    """The body of an answer, unpacked."""
    raw: bytes = answer.read()
    return gzip.decompress(raw) if answer.headers.get("Content-Encoding") == "gzip" else raw


def explanation(answer: urllib.error.HTTPError) -> str:
    """What a BMC says of an error: the messages of its extended info; nothing where it breaks off."""
    try:
        error = json.loads(content(answer)).get("error", {})
        told = [str(entry.get("Message")) for entry in error.get("@Message.ExtendedInfo") or [] if entry.get("Message")]
        return " ".join(told) or str(error.get("message") or "")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a BMC to another path of its own, and takes its token to no other machine."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        if urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Redfish:
    """A session with one BMC, as a context manager: ``with Redfish(...) as bmc: bmc.get("/redfish/v1/")``."""

    def __init__(
        self,
        host: str,
        username: str,
        password: str,
        ca_path: Optional[str] = None,
        validate_certs: bool = True,
        timeout: float = 30.0,
    ) -> None:
        self.host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        self.timeout = timeout
        self._account = {"UserName": username, "Password": password}
        self._credentials: dict[str, str] = {}
        self._session: Optional[str] = None
        try:
            context = ssl.create_default_context(cafile=ca_path)
        except (OSError, ssl.SSLError) as error:
            raise RedfishError(f"{ca_path} is no file of CA certificates ({error}).") from error
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects).open

    def __enter__(self) -> Redfish:
        self.login()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._session:
            with contextlib.suppress(RedfishError):  # the BMC ends it by itself
                self._request("DELETE", self._session)

    def login(self) -> None:
        """Open a session, whose token goes with every later request instead of the password.

        Where the BMC has no sessions, the password goes with each of them: basic authentication.
        """
        self._credentials, self._session = {}, None
        try:
            answer = self._request("POST", "/redfish/v1/SessionService/Sessions", self._account)
        except RedfishError as error:
            if error.status not in (404, 405, 501):
                raise
            both = ":".join(self._account.values()).encode()
            self._credentials = {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
            return
        token = answer.headers.get("X-Auth-Token")
        if not token:
            raise RedfishError(f"The BMC {self.host} opened a session without a token: its firmware is not supported.")
        self._credentials = {"X-Auth-Token": token}
        location = answer.headers.get("Location") or answer.body.get("@odata.id")
        self._session = _path(location) if location else None

    def _request(self, method: str, path: str, body: Any = None, etag: Optional[str] = None) -> Document:
        headers = {"Accept": "application/json", "OData-Version": "4.0", "Accept-Encoding": "gzip"}
        headers.update(self._credentials)
        if etag:
            headers["If-Match"] = etag
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"https://{self.host}{path}", data=data, headers=headers, method=method)
        try:
            with self._open(request, timeout=self.timeout) as answer:
                raw = content(answer)
                document = json.loads(raw) if raw.strip() else {}
                if not isinstance(document, dict):
                    raise ValueError("not an object")
                return Document(document, answer.headers.get("ETag") or document.get("@odata.etag"), answer.headers)
        except urllib.error.HTTPError as error:
            raise RedfishError(self._refusal(method, path, error.code, explanation(error)), error.code) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise RedfishError(self._untrusted(error.reason)) from error
            raise RedfishError(f"The BMC {self.host} cannot be reached ({error.reason}).") from error
        except (OSError, http.client.HTTPException) as error:
            raise RedfishError(f"The BMC {self.host} does not answer {method} {path} ({error}).") from error
        except ValueError as error:
            raise RedfishError(f"The BMC {self.host} answers {method} {path} with what is no JSON object.") from error

    def _untrusted(self, error: Exception) -> str:
        reason = getattr(error, "verify_message", None) or str(error)
        return f"The certificate of the BMC {self.host} is not trusted ({reason}): give its CA, or renew it."

    def _refusal(self, method: str, path: str, status: int, told: str) -> str:
        said = f" ({told})" if told else ""
        if status == 401 or (status == 403 and not self._credentials):
            return f"The BMC {self.host} refuses the user name or password{said}."
        if "licen" in told.lower():
            return f"The BMC {self.host} needs a license for {method} {path}{said}."
        if status in BUSY:
            return f"The BMC {self.host} is busy or restarting (HTTP {status}): try again in a few minutes."
        if status in (412, 428):
            return (
                f"The settings of the BMC {self.host} changed at the same time (HTTP {status}){said}: run this again."
            )
        return f"The BMC {self.host} answers {method} {path} with HTTP {status}{said}."

    def call(self, method: str, path: str, body: Any = None, etag: Optional[str] = None) -> Document:
        """A request; a session that the BMC has ended is opened again, once. Raises RedfishError."""
        try:
            return self._request(method, path, body, etag)
        except RedfishError as error:
            if error.status != 401 or "X-Auth-Token" not in self._credentials:
                raise
        self.login()
        return self._request(method, path, body, etag)

    def get(self, path: str) -> Document:
        """Read a resource."""
        return self.call("GET", path)

    def system(self, wanted: Optional[str] = None) -> dict[str, Any]:
        """The system of this BMC, or the one of an Id where it manages several."""
        root = self.get("/redfish/v1/").body
        members = self.get(_link(root, "Systems")).body.get("Members") or []
        systems = [self.get(_link({"member": member}, "member")).body for member in members]
        if wanted is None and len(systems) == 1:
            return systems[0]
        for one in systems:
            if one.get("Id") == wanted:
                return one
        names = ", ".join(str(one.get("Id")) for one in systems) or "none"
        raise RedfishError(f"The BMC {self.host} manages these systems: {names}; say which one is meant.")

    def bios(self, wanted: Optional[str] = None) -> SystemBios:
        """Everything about the BIOS of a system, the registry of its attributes included."""
        system = self.system(wanted)
        if "Bios" not in system:
            raise RedfishError(f"The BMC {self.host} shows no BIOS settings; some need a license or newer firmware.")
        path = _link(system, "Bios")
        bios = self.get(path)
        settings = bios.body.get("@Redfish.Settings") or {}
        # AMI has an object that takes settings and is neither linked nor, on some, readable.
        settings_path = (settings.get("SettingsObject") or {}).get("@odata.id") or f"{path.rstrip('/')}/SD"
        pending = self._readable(settings_path)
        times = (
            settings.get("SupportedApplyTimes") or (pending.body if pending else {}).get("SupportedApplyTimes") or []
        )
        if pending and "Attributes" not in pending.body:
            pending = None
        return SystemBios(system, bios, settings_path, pending, self._registry(bios.body), "OnReset" in times)

    def _readable(self, path: str) -> Optional[Document]:
        """A resource, or None where there is none to read."""
        try:
            return self.get(path)
        except RedfishError as error:
            if error.status not in (404, 405):
                raise
            return None

    def _registry(self, bios: dict[str, Any]) -> Optional[dict[str, Any]]:
        """The attribute registry that a BIOS names, or None where the BMC has none of that name."""
        wanted = str(bios.get("AttributeRegistry") or "").lower()
        root = self.get("/redfish/v1/").body
        if not wanted or "Registries" not in root:
            return None
        members = self.get(_link(root, "Registries")).body.get("Members") or []
        names = {_link({"member": member}, "member"): "" for member in members}
        names = {path: path.lower().rstrip("/").rsplit("/", 1)[-1] for path in names}
        # Some leave the version out of the one or the other.
        alike = [path for path, name in names.items() if name and (name in wanted or wanted in name)]
        for path in sorted(alike, key=lambda path: names[path] != wanted):
            found = self._readable(path)
            files = (found.body if found else {}).get("Location") or []
            english = [one for one in files if str(one.get("Language", "en")).startswith("en")] or files
            uri = english[0].get("Uri") if english else None
            # The file itself may be missing until the machine has first been switched on.
            file = self._readable(str(uri["@odata.id"] if isinstance(uri, dict) else uri)) if uri else None
            if file:
                return file.body
        return None

    def write(self, found: SystemBios, changes: dict[str, Any]) -> Optional[str]:
        """Ask for new values at the next reset: one PATCH of the settings object. Returns its task, or None."""
        body: dict[str, Any] = {"Attributes": changes}
        if found.apply_on_reset:
            body["@Redfish.SettingsApplyTime"] = {"ApplyTime": "OnReset"}
        # The ETag is that of the settings; AMI wants one, and shows none for an object that cannot be read.
        etag = (found.pending and found.pending.etag) or "*"
        try:
            answer = self.call("PATCH", found.settings_path, body, etag)
        except RedfishError as error:
            # Some refuse the weak ETag that they give themselves; where it has changed, so have the settings.
            if error.status != 412 or etag == "*" or self.get(found.settings_path).etag != etag:
                raise
            answer = self.call("PATCH", found.settings_path, body, "*")
        location = answer.headers.get("Location")
        return _path(location) if location else None

    def finished(self, task: str) -> bool:
        """Whether a task or a job of a write has ended; one that is gone has. Raises RedfishError where it failed."""
        found = self._readable(task)
        body = found.body if found else {}
        state = str(body.get("TaskState") or body.get("JobState") or "Completed")
        if state in FAILED:
            told = " ".join(str(one.get("Message")) for one in body.get("Messages") or [] if one.get("Message"))
            said = told or str(body.get("Message") or state)
            raise RedfishError(f"The BMC {self.host} could not apply the settings ({said.rstrip('.')}).", 200)
        return state == "Completed"

    def _reset_action(self, system: dict[str, Any]) -> tuple[str, Optional[list[str]]]:
        """Where a system is reset, and the kinds of reset that it has; None where the BMC does not say."""
        action = (system.get("Actions") or {}).get("#ComputerSystem.Reset") or {}
        kinds = action.get("ResetType@Redfish.AllowableValues")
        info = action.get("@Redfish.ActionInfo")
        if kinds is None and info:
            found = self._readable(str(info))
            for parameter in (found.body if found else {}).get("Parameters") or []:
                if parameter.get("Name") == "ResetType":
                    kinds = parameter.get("AllowableValues")
        return str(action.get("target") or ""), kinds

    def reset(self, system: dict[str, Any], kind: str) -> None:
        """Reset a system, as GracefulRestart, GracefulShutdown or On."""
        target, kinds = self._reset_action(system)
        if not target or (kinds is not None and kind not in kinds):
            raise RedfishError(f"The BMC {self.host} cannot do {kind}: reboot the machine from its own system.")
        self.call("POST", target, {"ResetType": kind})

    def restart(self, system: dict[str, Any], cold: bool, seconds: float) -> None:
        """Restart a system through its operating system; one that is off is switched on.

        With ``cold``, and where the BMC has no other way, the power is off in between.
        """
        _target, kinds = self._reset_action(system)
        if system.get("PowerState") != "Off":
            if not cold and (kinds is None or "GracefulRestart" in kinds):
                self.reset(system, "GracefulRestart")
                return
            self.reset(system, "GracefulShutdown")
            off = "The machine did not switch itself off"
            self.wait(off, lambda: self.system(system.get("Id")).get("PowerState") == "Off", seconds)

        def on() -> bool:
            self.reset(system, "On")
            return True

        self.wait("The machine could not be switched on", on, seconds)

    def wait(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, through the time in which the BMC does not answer."""
        end = time.monotonic() + seconds
        while True:
            last = ""
            try:
                if done():
                    return
            except RedfishError as error:
                if not error.passing:
                    raise
                last = f" Last: {error}"
            if time.monotonic() > end:
                raise RedfishError(f"{what} within {seconds:g} seconds.{last}")
            time.sleep(min(POLL_SECONDS, seconds / 10))


def _link(document: dict[str, Any], name: str) -> str:
    try:
        return str(document[name]["@odata.id"])
    except (KeyError, TypeError) as error:
        raise RedfishError(f"The BMC's documents have no link to {name}: its firmware is not supported.") from error


def _path(location: Any) -> str:
    """The path of a link, which some write whole."""
    return urllib.parse.urlsplit(str(location)).path
