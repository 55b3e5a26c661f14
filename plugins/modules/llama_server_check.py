# SPDX-License-Identifier: MIT
"""Ansible module: wait for a llama-server and ask it one question."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_server_check
short_description: Wait for a llama-server and ask it one question
version_added: 0.1.0
author: llamatower contributors
description:
  - Waits until the server has loaded its model, asks one question with a fixed seed, and returns the answer and its speed.
  - Fails at once, with the end of the journal, when the unit stops or restarts meanwhile.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  url:
    description: Where the server listens, without a path.
    type: str
    required: true
  unit:
    description: The systemd unit of the server.
    type: str
    required: true
  api_key_file:
    description: File whose first line is an API key of the server.
    type: path
  prompt:
    description: The text that the model goes on from.
    type: str
    required: true
  max_tokens:
    description: The longest answer in tokens.
    type: int
    default: 48
  timeout:
    description:
      - Seconds to wait for the model to be loaded, and again for the answer.
      - A unit that systemd still starts has two minutes more, so that the verdict is that of its own C(TimeoutStartSec).
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    details: Changes nothing either way.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Ask the main server one question
  llamatower.tower.llama_server_check:
    url: http://127.0.0.1:8080
    unit: llama-server@main.service
    api_key_file: /etc/llama-server/main.keys
    prompt: "Question: What is a memory channel?\nAnswer:"
  register: check
"""

RETURN = r"""
completion:
  description: The answer and its speed.
  returned: success
  type: dict
  contains:
    text: {description: The answer., type: str, returned: success}
    tokens: {description: Tokens of the answer., type: int, returned: success}
    tokens_per_second: {description: Speed of decoding., type: float, returned: success}
    prompt_tokens: {description: Tokens of the question., type: int, returned: success}
    prompt_tokens_per_second: {description: Speed of reading the question., type: float, returned: success}
server:
  description: What answers there.
  returned: success
  type: dict
  contains:
    build: {description: Version of llama.cpp., type: str, returned: success}
    model_path: {description: The model file it serves., type: str, returned: success}
    context: {description: Tokens a request may use., type: int, returned: success}
waited_seconds:
  description: Seconds until the model was loaded.
  returned: success
  type: float
journal:
  description: The last lines of the unit's journal.
  returned: failure
  type: list
  elements: str
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.client import ServerError, complete, healthy, properties

# The process before it may take all of its TimeoutStopSec.
VERDICT_SECONDS = 120


def unit_state(module: AnsibleModule) -> tuple[str, int]:
    """How the unit is (active after its check), and how often systemd has restarted it.

    While a start or restart is queued or going on, it is ``activating``, also where the process before it still stops.
    """
    unit = module.params["unit"]
    command = ["systemctl", "show", "--property=ActiveState,NRestarts,Job", unit]
    _rc, output, _error = module.run_command(command, check_rc=True)
    fields = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    state = "activating" if int(fields.get("Job") or 0) else fields.get("ActiveState", "unknown")
    return state, int(fields.get("NRestarts") or 0)


def fail(module: AnsibleModule, sentence: str) -> None:
    """Fail with the sentence of the check after the start, where it said one."""
    journal = ["journalctl", "--no-pager", "-o", "cat", "-n", "30", "-u", module.params["unit"]]
    _rc, output, _error = module.run_command(journal)
    _rc, checked, _error = module.run_command(
        [*journal, "-t", "python3", "_SYSTEMD_INVOCATION_ID=" + invocation(module)]
    )
    said = (checked.splitlines() or [""])[-1]
    module.fail_json(msg=f"{sentence} {said}".strip(), journal=output.splitlines())


def invocation(module: AnsibleModule) -> str:
    """The name of the unit's last start."""
    command = ["systemctl", "show", "--property=InvocationID", "--value", module.params["unit"]]
    _rc, output, _error = module.run_command(command, check_rc=True)
    return str(output).strip()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "api_key_file": {"type": "path", "no_log": False},
            "prompt": {"type": "str", "required": True},
            "max_tokens": {"type": "int", "default": 48, "no_log": False},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    options = module.params
    key = None
    if options["api_key_file"]:
        key = Path(options["api_key_file"]).read_text(encoding="utf-8").split("\n", 1)[0].strip()
    started = time.monotonic()
    _state, restarts = unit_state(module)
    while True:
        state, now = unit_state(module)
        if state == "active" and healthy(options["url"]):
            break
        ended = state not in ("active", "activating", "reloading") or now > restarts
        late = time.monotonic() - started - options["timeout"]
        if late > (0 if ended or state == "active" else VERDICT_SECONDS):
            fail(
                module,
                f"{options['unit']} has not loaded its model within {options['timeout']} s: the disk is slower than "
                "llama_service_slowest_load_bytes_per_second says, or the server hangs; its last words are under journal.",
            )
        if ended:
            fail(
                module,
                f"{options['unit']} did not start: its last words are under journal.",
            )
        time.sleep(1)
    waited = time.monotonic() - started
    try:
        server = properties(options["url"], key)
        completion = complete(
            options["url"],
            key,
            options["prompt"],
            options["max_tokens"],
            options["timeout"],
        )
    except (ServerError, OSError) as error:
        fail(module, f"{options['unit']} runs and gives no completion: {error}")
    module.exit_json(
        changed=False,
        completion=completion,
        server=server,
        waited_seconds=round(waited, 1),
    )


if __name__ == "__main__":
    main()
