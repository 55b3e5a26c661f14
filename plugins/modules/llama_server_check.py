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
  - Where it has API keys, asks once without one, too, and fails unless that is refused.
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
    description: File of the server's API keys, one a line, with comments that begin with C(#). The first key is used.
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
    api_key_file: /var/lib/llamatower/instances/main/current/keys
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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.client import ServerError, asks_for_key, complete, healthy, properties, read_key
from ..module_utils.service.unit import UnitError, await_start, journal, module_call


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
    options, run = module.params, module_call(module.run_command)
    url, unit, timeout = options["url"], options["unit"], options["timeout"]
    try:
        key = read_key(options["api_key_file"])
        waited = await_start(unit, lambda: healthy(url), timeout, run)
        try:
            if options["api_key_file"] and not asks_for_key(url):
                raise UnitError(
                    f"{unit} answers whoever asks, without an API key: look whether {options['api_key_file']} has one, "
                    "and restart the service."
                )
            server = properties(url, key)
            completion = complete(url, key, options["prompt"], options["max_tokens"], timeout)
        except (ServerError, OSError) as error:
            raise UnitError(f"{unit} runs and gives no completion: {error}") from error
    except UnitError as error:
        # Where the check after the start said what is wrong, that is what is wrong.
        lines, said = journal(unit, run)
        module.fail_json(msg=f"{error} {said}".strip(), journal=lines)
    module.exit_json(changed=False, completion=completion, server=server, waited_seconds=round(waited, 1))


if __name__ == "__main__":
    main()
