# SPDX-License-Identifier: MIT
"""A BMC with Redfish over TLS on loopback, as one of several vendors makes it, for tests.

What it shows are documents of DMTF's schemas, built here from a few attributes a vendor; how it behaves - where
settings are written, what it demands of a write, when they apply - is the vendor's. Writes are pending until a reset,
during which it answers 503. ``requests`` has every request; ``faults`` makes answers wrong.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import http.server
import ipaddress
import json
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "admin", "correct horse"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TASK = "/redfish/v1/TaskService/Tasks/JID_1"

# Setting -> attribute, what is displayed, its values (as written, as displayed), and the present one.
# fmt: off
ATTRIBUTES: dict[str, list[tuple[str, str, list[tuple[Any, str]], Any]]] = {
    "dell": [
        ("NumaNodesPerSocket", "NUMA Nodes Per Socket", [(n, n) for n in "0124"], "4"),
        ("CcxAsNumaDomain", "L3 cache as NUMA Domain", [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("LogicalProc", "Logical Processor", [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("DeterminismSlider", "Determinism Slider",
         [("PowerDeterminism", "Power Determinism"), ("PerfDeterminism", "Performance Determinism")],
         "PerfDeterminism"),
        ("ApbDis", "Algorithm Performance Boost Disable (ApbDis)",
         [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Disabled"),
        ("MemFrequency", "Memory Frequency", [("MaxPerf", "Maximum Performance"), ("4000", "4000 MHz")], "4000"),
        ("SystemServiceTag", "Service Tag", [], "ABC1234"),
    ],
    "hpe": [
        ("NumaMemoryDomainsPerSocket", "NUMA memory domains per socket", [
            ("Auto", "Auto"), ("OneMemoryDomainPerSocket", "One memory domain per socket"),
            ("TwoMemoryDomainsPerSocket", "Two memory domains per socket"),
            ("FourMemoryDomainsPerSocket", "Four memory domains per socket")], "FourMemoryDomainsPerSocket"),
        ("LastLevelCacheAsNUMANode", "Last-Level Cache (LLC) As NUMA Node",
         [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("ProcSMT", "AMD SMT Option", [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("ApplicationPowerBoost", "Application Power Boost",
         [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("DataFabricCStateEnable", "Data Fabric C-State Enable",
         [("Auto", "Auto"), ("ForceEnabled", "Force Enabled"), ("Disabled", "Disabled")], "Disabled"),
        ("WorkloadProfile", "Workload Profile",
         [("GeneralPowerEfficientCompute", "General Power Efficient Compute"), ("Custom", "Custom")], "Custom"),
        ("SerialNumber", "Serial Number", [], "CZ1234"),
    ],
    "lenovo": [
        ("Memory_NUMANodesperSocket", "NUMA Nodes per Socket", [(f"NPS{n}", f"NPS{n}") for n in "0124"], "NPS4"),
        ("Processors_ACPISRATL3CacheasNUMADomain", "ACPI SRAT L3 Cache as NUMA Domain",
         [("Enabled", "Enabled"), ("Disabled", "Disabled"), ("Auto", "Auto")], "Enabled"),
        ("Processors_SMTMode", "SMT Mode", [("Enabled", "Enabled"), ("Disabled", "Disabled")], "Enabled"),
        ("Processors_DeterminismSlider", "Determinism Slider",
         [("Power", "Power"), ("Performance", "Performance")], "Performance"),
        ("Memory_MemorySpeed", "Memory Speed", [("Maximum", "Maximum"), ("4000MHz", "4000 MHz")], "4000MHz"),
        ("SystemInformation_Serial", "Serial Number", [], "J900"),
    ],
    "supermicro": [
        ("NUMANodesPerSocket_703E", "NUMA Nodes Per Socket",
         [(v, v) for v in ("Auto", "NPS0", "NPS1", "NPS2", "NPS4")], "NPS4"),
        ("ACPISRATL3CacheAsNUMADomain_0099", "ACPI SRAT L3 Cache As NUMA Domain",
         [(v, v) for v in ("Disabled", "Enabled", "Auto")], "Enabled"),
        ("SMTControl_00CB", "SMT Control", [(v, v) for v in ("Disable", "Enable", "Auto")], "Auto"),
        ("APBDIS_00F6", "APBDIS", [("0", "0"), ("1", "1"), ("Auto", "Auto")], "Auto"),
        ("DFCstates_7103", "DF Cstates", [(v, v) for v in ("Disabled", "Enabled", "Auto")], "Disabled"),
        ("BIOSVersion_0001", "BIOS Version", [], "1.6"),
    ],
    "ami": [
        ("Rome0075", "NUMA nodes per socket", [(v, v) for v in ("NPS0", "NPS1", "NPS2", "NPS4", "Auto")], "NPS4"),
        ("Rome0080", "ACPI SRAT L3 Cache As NUMA Domain", [(v, v) for v in ("Disabled", "Enabled", "Auto")], "Enabled"),
        ("Rome0059", "SMT Control", [(v, v) for v in ("Disable", "Auto")], "Auto"),
        ("Rome0178", "Determinism Control", [("Manual", "Manual"), ("Auto", "Auto")], "Manual"),
        ("Rome0179", "Determinism Slider",
         [("Auto", "Auto"), ("Power", "Power"), ("Performance", "Performance")], "Auto"),
        ("Rome0000", "BIOS Version", [], "R10"),
    ],
    "crb": [
        ("CbsDfCmnDramNps", "NUMA nodes per socket",
         [(f"CbsDfCmnDramNpsNPS{n}", f"NPS{n}") for n in "0124"], "CbsDfCmnDramNpsNPS4"),
        ("CbsDfCmnAcpiSratL3Numa", "ACPI SRAT L3 Cache As NUMA Domain",
         [(f"CbsDfCmnAcpiSratL3Numa{v}", v) for v in ("Disabled", "Enabled", "Auto")], "CbsDfCmnAcpiSratL3NumaEnabled"),
        ("CbsCpuSmtCtrl", "SMT Control", [(0, "Disable"), (1, "Enable")], 1),
        ("CbsVersion", "AGESA Version", [], "1.0"),
    ],
}
# How they differ: paths of system and BIOS, the settings object, and what they demand.
VENDORS: dict[str, dict[str, Any]] = {
    "dell": {"system": "/redfish/v1/Systems/System.Embedded.1", "settings": "/Settings", "apply_times": ["OnReset"]},
    "hpe": {"system": "/redfish/v1/systems/1/", "settings": "settings/", "bios": "bios/", "gzip": True},
    "lenovo": {"system": "/redfish/v1/Systems/1", "settings": "/Pending"},
    "supermicro": {"system": "/redfish/v1/Systems/1", "settings": "/SD", "if_match": True},
    "ami": {"system": "/redfish/v1/Systems/Self", "settings": "/SD", "if_match": True, "write_only": True,
            "cold": "Rome0059"},
    "crb": {"system": "/redfish/v1/Systems/system", "settings": "/Settings", "objects": True, "cold": "CbsCpuSmtCtrl",
            "action_info": True},
}
# fmt: on


def certificate(directory: Path, days: int = 2) -> tuple[Path, Path]:
    """A CA and a server's certificate and key for 127.0.0.1: (CA file, file of both). Negative days have expired."""
    now = datetime.datetime.now(datetime.UTC)

    def sign(name: str, key: Any, issuer: str, by: Any, authority: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=9),
            not_valid_after=now + datetime.timedelta(days=2 if authority else days),
        )
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if authority:
            usage = dict.fromkeys(
                (
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                    "encipher_only",
                    "decipher_only",
                ),
                False,
            )
            builder = builder.add_extension(
                x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True
            )
        else:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        return builder.sign(by, hashes.SHA256())

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    authority, server = directory / "ca.pem", directory / "server.pem"
    authority.write_bytes(sign("test CA", root, "test CA", root, True).public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server.write_bytes(sign("bmc", key, "test CA", root, False).public_bytes(pem) + secret)
    return authority, server


class Bmc:
    """A running BMC; ``host`` is where, ``current`` and ``pending`` its settings."""

    def __init__(self, vendor: str, directory: Path, days: int = 2, reset_seconds: float = 0.5) -> None:
        self.vendor, self.how = vendor, VENDORS[vendor]
        self.entries = {name: (display, values) for name, display, values, _now in ATTRIBUTES[vendor]}
        self.current: dict[str, Any] = {name: now for name, _display, _values, now in ATTRIBUTES[vendor]}
        self.pending: dict[str, Any] = {}
        self.requests: list[tuple[str, str, Any]] = []
        # "expire": sessions end after so many requests; "PATCH", "GET" …: a status; "die": after a write;
        # "never": a reset is accepted and nothing happens; "license": of writes; "early": pending values are current;
        # "drop": attributes that a write is said to have set; "job": how the task of a write ends; "basic": there are
        # no sessions; "weak": its own ETags are refused; "undescribed": the file of the registry is missing;
        # "trickle": seconds between the bytes of each answer.
        self.faults: dict[str, Any] = {}
        # Answers by method and path: a redirect, as status and location, and what is sent whatever there is, as headers
        # and bytes. Where a path was moved, ``moved`` has what it was.
        self.redirects: dict[tuple[str, str], tuple[int, str]] = {}
        self.raw: dict[tuple[str, str], tuple[dict[str, str], bytes]] = {}
        self.raw_status = 200
        self.moved: dict[str, str] = {}
        # Makes other documents of those that there are, by path.
        self.on_documents: Callable[[dict[str, dict[str, Any]]], None] = lambda _documents: None
        self.uuid, self.serial = "4c4c4544-0042-4310-8031-b8c04f4e4b32", "ABC1234"
        self.on_reset: Callable[[dict[str, Any]], None] = lambda _settings: None
        self.on_request: Callable[[str, str], None] = lambda _method, _path: None
        self.power, self.reset_seconds, self.busy_until, self.used = "On", reset_seconds, 0.0, 0
        self.tokens: set[str] = set()
        self.version, self.resets = 1, 0
        self.kinds = ["On", "GracefulRestart", "GracefulShutdown", "ForceOff"]
        self.task = "Completed"
        self.dead = False
        self.ca, server = certificate(directory, days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        bmc = self

        class Handler(_Handler):
            owner = bmc

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.failures = []
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """End it, and print what went wrong in it, which is shown where the test has failed."""
        self.server.shutdown()
        self.server.server_close()
        print(*self.server.failures, sep="")

    @property
    def writes(self) -> list[Any]:
        """The bodies of all requests that write settings."""
        return [body for method, _path, body in self.requests if method in ("PATCH", "PUT")]

    def reset(self, kind: str) -> None:
        """Restart the system, and take pending settings over when it starts: cold ones only when power comes back."""
        if "never" in self.faults:
            return
        self.busy_until = float("inf")
        if kind == "GracefulShutdown":
            self.power = "Off"
        else:
            cold = self.how.get("cold") if kind == "GracefulRestart" else None
            now = self.current | {name: value for name, value in self.pending.items() if name != cold}
            if self.task == "Scheduled":
                self.task = self.faults.get("job", "Completed")
            if self.task == "Completed":
                self.on_reset(dict(now))
                self.current = now
                self.pending = {name: value for name, value in self.pending.items() if name == cold}
            self.power = "On"
            self.version += 1
            self.resets += 1
        self.busy_until = time.monotonic() + self.reset_seconds

    # --- documents ---------------------------------------------------------------------------------------

    def documents(self) -> dict[str, dict[str, Any]]:
        """Everything that can be read, by path."""
        system = self.how["system"]
        bios = system + self.how.get("bios", "/Bios")
        registry = f"BiosAttributeRegistry.{self.vendor}"
        # Dell may show what is pending before it has been applied.
        shown: dict[str, Any] = dict(self.current) | (self.pending if "early" in self.faults else {})
        if self.how.get("objects"):
            shown = {name: {"current_value": value, "default_value": value} for name, value in shown.items()}
        settings: dict[str, Any] = {"@odata.type": "#Settings.v1_3_0.Settings"}
        if self.vendor != "ami":
            settings["SettingsObject"] = {"@odata.id": bios + self.how["settings"]}
        if self.how.get("apply_times"):
            settings["SupportedApplyTimes"] = self.how["apply_times"]
        found: dict[str, dict[str, Any]] = {
            "/redfish/v1/": {
                "Systems": {"@odata.id": "/redfish/v1/Systems"},
                "Registries": {"@odata.id": "/redfish/v1/Registries"},
            },
            "/redfish/v1/Systems": {"Members": [{"@odata.id": system}]},
            system: {
                "Id": system.rstrip("/").rsplit("/", 1)[-1],
                "UUID": self.uuid,
                "SerialNumber": self.serial,
                "PowerState": self.power,
                **({"LastResetTime": f"2026-01-01T00:00:{self.resets:02}Z"} if self.vendor == "dell" else {}),
                "Bios": {"@odata.id": bios},
                "Actions": {
                    "#ComputerSystem.Reset": {
                        "target": f"{system.rstrip('/')}/Actions/ComputerSystem.Reset",
                        **(
                            {"@Redfish.ActionInfo": f"{system}/ResetActionInfo"}
                            if self.how.get("action_info")
                            else {"ResetType@Redfish.AllowableValues": self.kinds}
                        ),
                    }
                },
            },
            bios: {
                "@odata.id": bios,
                "AttributeRegistry": registry,
                "Attributes": shown,
                "@Redfish.Settings": settings,
            },
            "/redfish/v1/Registries": {"Members": [{"@odata.id": f"/redfish/v1/Registries/{registry}"}]},
            f"/redfish/v1/Registries/{registry}": {
                "Location": [{"Language": "en", "Uri": f"/registries/{registry}.json"}]
            },
            f"/registries/{registry}.json": {"RegistryEntries": self._registry()},
            f"{system}/ResetActionInfo": {"Parameters": [{"Name": "ResetType", "AllowableValues": self.kinds}]},
            TASK: {"TaskState": self.task, "Messages": [{"Message": f"The task is {self.task.lower()}."}]},
        }
        if "undescribed" in self.faults:
            del found[f"/registries/{registry}.json"]
        if not self.how.get("write_only"):
            # Some show what is pending and nothing else.
            shown = dict(self.pending) if self.how.get("objects") else dict(self.current) | self.pending
            found[bios + self.how["settings"]] = {"@odata.etag": self.etag} | ({"Attributes": shown} if shown else {})
        self.on_documents(found)
        return found

    @property
    def etag(self) -> str:
        return f'W/"{self.version}"'

    def _registry(self) -> dict[str, Any]:
        entries = []
        for name, (display, values) in self.entries.items():
            entry: dict[str, Any] = {"AttributeName": name, "DisplayName": display, "ReadOnly": not values}
            entry["Type"] = "Enumeration" if values else "String"
            if values:
                entry["Value"] = [{"ValueName": value, "ValueDisplayName": shown} for value, shown in values]
            if name == self.how.get("cold"):
                entry["HelpText"] = "A change needs a POWER CYCLE."
            entries.append(entry)
        owned = [
            {
                "DependencyFor": name,
                "Type": "Map",
                "Dependency": {
                    "MapFrom": [
                        {
                            "MapFromAttribute": "WorkloadProfile",
                            "MapFromProperty": "CurrentValue",
                            "MapFromCondition": "NEQ",
                            "MapFromValue": "Custom",
                        }
                    ],
                    "MapToAttribute": name,
                    "MapToProperty": "ReadOnly",
                    "MapToValue": True,
                },
            }
            for name in self.entries
            if self.vendor == "hpe" and name not in ("WorkloadProfile", "SerialNumber")
        ]
        return {"Attributes": entries, "Dependencies": owned}


class _Server(http.server.ThreadingHTTPServer):
    """Keeps what goes wrong in its threads, such as clients that do not trust it and hang up: a thread that prints does
    so whenever it likes, between two tests to the terminal."""

    daemon_threads = True
    failures: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failures.append(traceback.format_exc())


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: Bmc
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        if self.owner.how.get("gzip") and data:
            data = gzip.compress(data)
            headers["Content-Encoding"] = "gzip"
        self.send(status, data, headers)

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        step = 1 if "trickle" in self.owner.faults else len(data) or 1
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            time.sleep(self.owner.faults.get("trickle", 0))
        self.close_connection = True

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"@Message.ExtendedInfo": [{"Message": message}]}})

    def handle_one_request(self) -> None:
        if self.owner.dead:
            self.close_connection = True
            return
        super().handle_one_request()

    def serve(self) -> None:
        bmc, method, path = self.owner, self.command, self.path
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        secret = body and "Password" in body
        bmc.requests.append((method, path, None if secret else body))
        bmc.on_request(method, path)
        if (method, path) in bmc.redirects:
            status, location = bmc.redirects[method, path]
            return self.answer(status, None, Location=location)
        if (method, path) in bmc.raw:
            headers, data = bmc.raw[method, path]
            return self.send(bmc.raw_status, data, headers)
        path = bmc.moved.get(path, path)
        session = path == "/redfish/v1/SessionService/Sessions"
        if time.monotonic() < bmc.busy_until:
            return self.refuse(503, "The service is restarting.")
        if method in bmc.faults.get("break_off", ()):
            self.send_response(500)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
            return None
        if "hang" in bmc.faults:
            time.sleep(bmc.faults["hang"])
            return None
        if session and method == "POST" and "basic" in bmc.faults:
            return self.refuse(405, "There are no sessions.")
        if session and method == "POST":
            if body != {"UserName": USER, "Password": PASSWORD}:
                return self.refuse(401, "Invalid credentials.")
            token = f"token{len(bmc.requests)}"
            bmc.tokens.add(token)
            return self.answer(201, {}, X_Auth_Token=token, Location=f"{path}/{token}")
        if "basic" in bmc.faults:
            if self.headers.get("Authorization") != BASIC:
                return self.refuse(401, "Invalid credentials.")
        elif self.headers.get("X-Auth-Token") not in bmc.tokens:
            return self.refuse(401, "No session.")
        bmc.used += 1
        if bmc.faults.get("expire") and bmc.used % bmc.faults["expire"] == 0:
            bmc.tokens.clear()
        if method == "DELETE":
            return self.answer(204)
        if method in bmc.faults:
            return self.refuse(bmc.faults[method], "This was asked for.")
        documents = bmc.documents()
        if method == "GET":
            return self.answer(200, documents[path]) if path in documents else self.refuse(404, "There is none.")
        if method == "PATCH" and body:
            return self.patch(body, path)
        if method == "POST" and body and path.endswith("/ComputerSystem.Reset"):
            self.answer(204)
            return bmc.reset(body["ResetType"])
        return self.refuse(405, "Not here.")

    def patch(self, body: dict[str, Any], path: str) -> None:
        bmc = self.owner
        if path != bmc.how["system"] + bmc.how.get("bios", "/Bios") + bmc.how["settings"]:
            return self.refuse(405, "Not here.")
        if "license" in bmc.faults:
            return self.refuse(403, "A license is needed: SFT-OOB-LIC.")
        match = self.headers.get("If-Match")
        if bmc.how.get("if_match") and not match:
            return self.refuse(428, "PreconditionHeaderMissing")
        if match not in (None, "*", None if "weak" in bmc.faults else bmc.etag):
            return self.refuse(412, "Precondition failed.")
        if bmc.how.get("apply_times") and body.get("@Redfish.SettingsApplyTime") != {"ApplyTime": "OnReset"}:
            return self.refuse(400, "No apply time.")
        for name, value in body["Attributes"].items():
            allowed = [one for one, _shown in bmc.entries.get(name, ("", []))[1]]
            if value not in allowed:
                return self.refuse(400, f"{name} cannot be {value}.")
        dropped = bmc.faults.get("drop", ())
        bmc.pending |= {name: value for name, value in body["Attributes"].items() if name not in dropped}
        bmc.version += 1
        if "die" in bmc.faults:
            bmc.dead = True
        if not bmc.how.get("apply_times"):
            return self.answer(202, {})
        bmc.task = "Scheduled"
        return self.answer(202, {}, Location=f"https://{bmc.host}{TASK}")

    do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815
