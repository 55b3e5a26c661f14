# SPDX-License-Identifier: MIT
"""A small Redfish client: one session where the BMC has sessions, TLS verified, every failure one sentence.

Only what BIOS settings need is here, for none of these carries it: community.general 11.4.2 has no check mode, writes
again between a write and the reboot, and finds no settings object on AMI's firmware; sushy 5.14.0 writes to the object
that the BIOS links for settings, and AMI links none; DMTF's redfish 3.4.2 knows HTTP and not the BIOS. Firmware often
has null where DMTF's schemas have an object or a list.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from typing import Any, Callable, NamedTuple, Optional

from ..machine import Machine
from ..text import clean
from .connection import MOST_SAID, Connection, Document, ElsewhereError, RedfishError, mapping, objects

POLL_SECONDS = 2.0
# How a task of DMTF's schema ends badly, and how a job of Dell's does.
FAILED = ("Exception", "Killed", "Cancelled", "Failed", "CompletedWithErrors")
# Of one collection, as many members are asked for: BMCs have a hundred registries at most, on two or three pages.
MOST_MEMBERS = 500


class SystemBios(NamedTuple):
    """What belongs to the BIOS of one system; ``pending`` is None where it cannot be read or shows no attributes."""

    system: dict[str, Any]
    bios: Document
    settings_path: str
    pending: Optional[Document]
    registry: Optional[dict[str, Any]]
    apply_on_reset: bool


class Redfish(Connection):
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
        super().__init__(host, ca_path, validate_certs, timeout)
        self._account = {"UserName": username, "Password": password}
        self._session: Optional[str] = None

    def __enter__(self) -> Redfish:
        self.login()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._session:
            with contextlib.suppress(RedfishError):  # the BMC ends it by itself
                self.request("DELETE", self._session)

    def login(self) -> None:
        """Open a session, whose token goes with every later request instead of the password.

        Where the BMC has no sessions, the password goes with each of them: basic authentication.
        """
        self.credentials, self._session = {}, None
        try:
            answer = self.request("POST", "/redfish/v1/SessionService/Sessions", self._account)
        except RedfishError as error:
            if error.status not in (404, 405, 501):
                raise
            both = ":".join(self._account.values()).encode()
            self.credentials = {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
            return
        token = answer.headers.get("X-Auth-Token")
        if not token:
            raise RedfishError(f"The BMC {self.host} opened a session without a token: its firmware is not supported.")
        self.credentials = {"X-Auth-Token": token}
        self._session = answer.headers.get("Location") or answer.body.get("@odata.id")

    def call(self, method: str, path: str, body: Any = None, etag: Optional[str] = None) -> Document:
        """A request; a session that the BMC has ended is opened again, once. Raises RedfishError."""
        try:
            return self.request(method, path, body, etag)
        except RedfishError as error:
            if error.status != 401 or "X-Auth-Token" not in self.credentials:
                raise
        self.login()
        return self.request(method, path, body, etag)

    def get(self, path: str) -> Document:
        """Read a resource."""
        return self.call("GET", path)

    def system(self, wanted: Optional[str] = None) -> dict[str, Any]:
        """The system of this BMC, or the one of an Id where it manages several."""
        collection = _link(self.get("/redfish/v1/").body.get("Systems"))
        if not collection:
            raise RedfishError("The BMC's documents have no link to Systems: its firmware is not supported.")
        systems = [self.get(path).body for path in self._members(collection)]
        if wanted is None and len(systems) == 1:
            return systems[0]
        for one in systems:
            if one.get("Id") == wanted:
                return one
        names = ", ".join(str(one.get("Id")) for one in systems) or "none"
        raise RedfishError(f"The BMC {self.host} manages these systems: {names}; say which one is meant.")

    def _members(self, collection: str) -> list[str]:
        """The links of a collection's members, of all its pages."""
        found: list[str] = []
        page, seen = collection, set[str]()
        while page and page not in seen and len(found) < MOST_MEMBERS and len(seen) < MOST_MEMBERS:
            seen.add(page)
            body = self.get(page).body
            found += filter(None, map(_link, objects(body.get("Members"))))
            page = _link(body.get("Members@odata.nextLink") or body.get("@odata.nextLink"))
        return found[:MOST_MEMBERS]

    def bios(self, wanted: Optional[str] = None) -> SystemBios:
        """Everything about the BIOS of a system, the registry of its attributes included."""
        system = self.system(wanted)
        path = _link(system.get("Bios"))
        bios = self.get(path) if path else None
        if bios is None or not mapping(bios.body.get("Attributes")):
            raise RedfishError(
                f"The BMC {self.host} shows no BIOS settings; some need a license, newer firmware, or that the machine "
                "was on once."
            )
        settings = mapping(bios.body.get("@Redfish.Settings"))
        # AMI has an object that takes settings and is neither linked nor, on some, readable.
        settings_path = _link(settings.get("SettingsObject")) or f"{path.rstrip('/')}/SD"
        pending = self._readable(settings_path)
        times = settings.get("SupportedApplyTimes") or (pending.body if pending else {}).get("SupportedApplyTimes")
        if pending and not isinstance(pending.body.get("Attributes"), dict):
            pending = None
        on_reset = isinstance(times, list) and "OnReset" in times
        return SystemBios(system, bios, settings_path, pending, self._registry(bios.body), on_reset)

    def _readable(self, path: str) -> Optional[Document]:
        """A resource, or None where there is none to read."""
        try:
            return self.get(path)
        except RedfishError as error:
            if error.status not in (404, 405):
                raise
            return None

    def _registry(self, bios: dict[str, Any]) -> Optional[dict[str, Any]]:
        """The attribute registry of a BIOS: the one that it names, or of that name and another version, or one that
        describes all of its attributes; None where the BMC has none of these."""
        wanted, attributes = str(bios.get("AttributeRegistry") or "").lower(), set(mapping(bios.get("Attributes")))
        collection = _link(self.get("/redfish/v1/").body.get("Registries")) or "/redfish/v1/Registries"
        try:
            members = self._members(collection)
        except RedfishError as error:
            if error.status not in (404, 405):
                raise
            return None
        best, most = None, 0
        for path in sorted(members, key=lambda path: _likeness(_last(path), wanted)):
            found = self._readable(path)
            if not found:
                continue
            names = [_last(path), *(str(found.body.get(key) or "").lower() for key in ("Registry", "Id"))]
            likeness = min(_likeness(name, wanted) for name in names)
            if likeness == UNLIKE and not any("attribute" in name for name in names):
                continue
            registry = self._registry_file(found.body)
            described = len(attributes & _described(registry))
            if described == len(attributes) or (likeness == SAME and described):
                return registry
            if likeness < UNLIKE and described > most:
                best, most = registry, described
        return best

    def _registry_file(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The file that an entry of the registries tells of, in English where there is that; or the entry itself."""
        if mapping(entry.get("RegistryEntries")):
            return entry
        files = objects(entry.get("Location")) or [mapping(entry.get("Location"))]
        for one in sorted(files, key=lambda one: not str(one.get("Language") or "en").lower().startswith("en")):
            path = _link(one.get("Uri"))
            # The file itself may be missing until the machine has first been switched on, or be at its vendor's.
            with contextlib.suppress(ElsewhereError):
                file = self._readable(path) if path else None
                if file:
                    return file.body
        return {}

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
        return str(location) if location else None

    def finished(self, task: str) -> bool:
        """Whether a task or a job of a write has ended; one that is gone has. Raises RedfishError where it failed."""
        try:
            found = self._readable(task)
        except ElsewhereError:  # what is pending tells as well
            found = None
        body = found.body if found else {}
        state = str(body.get("TaskState") or body.get("JobState") or "Completed")
        if state in FAILED:
            told = " ".join(str(one.get("Message")) for one in objects(body.get("Messages")) if one.get("Message"))
            said = clean(told or body.get("Message") or state)[:MOST_SAID]
            raise RedfishError(f"The BMC {self.host} could not apply the settings ({said.rstrip('.')}).", 200)
        return state == "Completed"

    def _reset_action(self, system: dict[str, Any]) -> tuple[str, Optional[list[str]]]:
        """Where a system is reset, and the kinds of reset that it has; None where the BMC does not say."""
        action = mapping(mapping(system.get("Actions")).get("#ComputerSystem.Reset"))
        kinds = action.get("ResetType@Redfish.AllowableValues")
        info = _link(action.get("@Redfish.ActionInfo"))
        if kinds is None and info:
            found = self._readable(info)
            for parameter in objects((found.body if found else {}).get("Parameters")):
                if parameter.get("Name") == "ResetType":
                    kinds = parameter.get("AllowableValues")
        return str(action.get("target") or ""), kinds if isinstance(kinds, list) else None

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


def machine_of_system(system: dict[str, Any]) -> Machine:
    """What tells the machine of a system from others. Of Dell's the SKU is what SMBIOS has as the serial number."""
    found, serials = system.get("UUID"), (system.get("SerialNumber"), system.get("SKU"))
    return {"uuid": str(found) if found else None, "serials": [str(serial) for serial in serials if serial]}


def _link(value: Any) -> str:
    """The path of a link, which some write without its object; an empty one where there is none."""
    path = value.get("@odata.id") if isinstance(value, dict) else value
    return path if isinstance(path, str) else ""


def _last(path: str) -> str:
    return path.lower().rstrip("/").rsplit("/", 1)[-1]


# How a registry's name is like the wanted one: the same, the same of another version, with more or less around it.
SAME, VERSION, PART, UNLIKE = range(4)


def _likeness(name: str, wanted: str) -> int:
    """Some leave the version out of the one or the other, or write another one."""
    bare, other = (re.sub(r"(\.json)?$|[._]v?\d+([._]\d+)*(\.json)?$", "", text) for text in (name, wanted))
    if not name or not wanted:
        return UNLIKE
    if name == wanted:
        return SAME
    if bare == other:
        return VERSION
    return PART if name in wanted or wanted in name else UNLIKE


def _described(registry: dict[str, Any]) -> set[str]:
    entries = objects(mapping(registry.get("RegistryEntries")).get("Attributes"))
    return {str(entry.get("AttributeName")) for entry in entries}
