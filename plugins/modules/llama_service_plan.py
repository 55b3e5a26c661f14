# SPDX-License-Identifier: MIT
"""Ansible module: how llama-server is to be started on this tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_service_plan
short_description: How the instances of llama-server are to be started on a tower, and whether they can be
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the manifests of the build and of the models, what C(llamatower.tower.tune) and C(llamatower.tower.bench) measured,
    the memory nodes, and what C(llama-server --help) and C(numactl --help) say, and decides NUMA policy, load mode,
    threads and all other settings.
  - Refuses, in one sentence for each reason, what cannot work on this tower or with the installed build, and instances
    that do not go together, those that are deployed on the tower and not declared any more among them.
  - With O(models), decides the same before anything is installed, of what is known then.
  - Changes nothing. What is not installed yet is not checked.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  settings:
    description:
      - The variables of the role llama_service without their prefix, all of them, for each instance; see there what they
        mean. P(llamatower.tower.instance_settings#filter) makes them.
    type: list
    elements: dict
    required: true
    suboptions:
      instance:
        description: The instance of C(llama-server@.service).
        type: str
        required: true
      model:
        description: Name of the model; null where none is declared.
        type: str
      model_path:
        description: The directory of the model.
        type: path
        required: true
      build_root:
        description: The directory of C(current), the build.
        type: path
        required: true
      host:
        description: Address to listen on.
        type: str
        required: true
      port:
        description: Port to listen on.
        type: int
        required: true
      cors_origins:
        description: Web pages that may ask the server.
        type: str
      tls:
        description: Whether HTTPS is served; the certificate is that of M(llamatower.tower.llama_certificate).
        type: bool
        required: true
      tls_backend_port:
        description: Where the server itself listens then, on loopback; null is 10000 above O(settings[].port).
        type: int
      metrics:
        description: Whether C(/metrics) answers.
        type: bool
        required: true
      context:
        description: Tokens of context, shared by the parallel requests.
        type: int
        required: true
      parallel:
        description: Requests decoded at the same time.
        type: int
        required: true
      checkpoints:
        description: Context checkpoints of each request, at most.
        type: int
        required: true
      threads:
        description: Threads that decode; null for what was measured, else every physical core.
        type: int
      threads_batch:
        description: Threads that read prompts; null likewise.
        type: int
      flash_attention:
        description: Whether flash attention is used; null for what was measured, else what the server thinks best.
        type: bool
      numa_policy:
        description: On which memory nodes weights and threads are.
        type: str
        choices: [auto, interleave, weighted, distribute, bind, per_node, none]
        required: true
      numa_node:
        description: The node of V(bind).
        type: int
      numa_weights:
        description: Weights of V(weighted), by node; empty or null for what was measured.
        type: dict
      load_mode:
        description: How the weights get into memory.
        type: str
        choices: [auto, dio, none, mlock, mmap, mmap+mlock]
        required: true
      huge_pages:
        description: The kind of pages.
        type: str
        choices: [thp, hugetlb, none]
        required: true
      huge_page_bytes:
        description: Bytes of a page of the pool.
        type: int
        choices: [2097152, 1073741824]
        required: true
      pool_bytes:
        description: Bytes of the pool; null is the memory budget.
        type: int
      reserve_bytes:
        description: Bytes that the budget must leave free for the system.
        type: int
        required: true
      bytes_per_second:
        description: The slowest disk that is waited for.
        type: int
        required: true
      tolerance:
        description: How far the bytes on the nodes may be apart, as a part of their mean.
        type: float
        required: true
      placement_failure:
        description: Whether a start whose memory lies elsewhere than intended fails, or is a warning.
        type: str
        choices: [fail, warn]
        required: true
      check_tokens:
        description: The longest answer that is asked for to prove a server, in tokens.
        type: int
        required: true
      extra:
        description: Further settings in the names of C(llama-server --help).
        type: dict
        required: true
  models:
    description:
      - C(model_store_plan), as the entry point C(validate) of the role model_store hands it on. The model is then taken
        from it, and not from what is installed, and C(llama-server --help) is not asked, since another build may come.
      - Null decides of what is installed.
    type: list
    elements: dict
  tuning_dir:
    description: Where C(llamatower.tower.tune) has stored what it found, in C(tuning-INSTANCE.json) for each.
    type: path
    default: /var/lib/llamatower
  benchmark_dir:
    description: Where C(llamatower.tower.bench) keeps its runs; weights of the nodes come from the last that read them all.
    type: path
    default: /var/lib/llamatower/benchmarks
  instances_path:
    description: Where the deployments of the instances are.
    type: path
    default: /var/lib/llamatower/instances
"""

EXAMPLES = r"""
- name: Decide how the server is started
  llamatower.tower.llama_service_plan:
    settings:
      - instance: main
        model: glm-4.6
        model_path: /var/lib/llama-models/glm-4.6
        build_root: /opt/llama.cpp
        host: 127.0.0.1
        port: 8080
        cors_origins: null
        tls: false
        tls_backend_port: null
        metrics: false
        context: 8192
        parallel: 1
        checkpoints: 8
        threads: null
        threads_batch: null
        flash_attention: null
        numa_policy: auto
        numa_node: null
        numa_weights: {}
        load_mode: auto
        huge_pages: thp
        huge_page_bytes: 2097152
        pool_bytes: null
        reserve_bytes: 4294967296
        bytes_per_second: 100000000
        tolerance: 0.01
        placement_failure: warn
        check_tokens: 48
        extra: {}
  register: decided

- name: Say why so
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.plan.numa_policy }}, {{ item.plan.why.numa_policy }}"
  loop: "{{ decided.instances }}"
"""

RETURN = r"""
instances:
  description: One entry for each of O(settings).
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Name of the instance., type: str, returned: always, sample: main}
    settings: {description: "Its entry in O(settings), with all of its keys.", type: dict, returned: always, sample: {instance: main, port: 8080}}
    model:
      description: The manifest of the installed model, with the keys of RV(llamatower.tower.model_store_info#module:models[].manifest), or its entry of O(models); empty without one.
      returned: always
      type: dict
    turn:
      description: Which is switched when, from 0 - in an order in which each finds its room and its port beside the others.
      returned: always
      type: int
    plan:
      description: The settings, where they came from, and one entry in C(units) for each unit.
      returned: always
      type: dict
      contains:
        numa_policy: {description: The policy that was chosen., type: str, returned: always}
        load_mode: {description: The load mode that was chosen., type: str, returned: always}
        huge_pages: {description: "C(thp), C(hugetlb) or C(none).", type: str, returned: always}
        why:
          description: Where these came from.
          type: dict
          returned: always
          contains:
            numa_policy: {description: A phrase., type: str, returned: always, sample: "not measured yet: llamatower.tower.tune does"}
            load_mode: {description: A phrase., type: str, returned: always, sample: as set}
        threads: {description: Threads that decode., type: int, returned: always}
        threads_batch: {description: Threads that read prompts., type: int, returned: always}
        flash_attention: {description: Whether flash attention is on; null leaves it to the server., type: bool, returned: always}
        options: {description: Words after the command., type: list, elements: str, returned: always}
        needed_bytes: {description: Bytes that each instance takes at most., type: int, returned: always}
        budget:
          description: The parts of them.
          type: dict
          returned: always
          contains:
            weights: {description: Bytes of the model's files., type: int, returned: always}
            kv_cache: {description: Bytes of the KV cache and of recurrent states., type: int, returned: always}
            checkpoints: {description: Bytes of the context checkpoints of all requests., type: int, returned: always}
            prompt_cache: {description: "Bytes of the prompt cache; 0 unless O(settings[].extra) sets one.", type: int, returned: always}
            compute: {description: Bytes of the compute buffers., type: int, returned: always}
            process: {description: Bytes of the program and its tables., type: int, returned: always}
            rounding: {description: Bytes that whole pages add., type: int, returned: always}
            total: {description: The sum., type: int, returned: always}
        start_seconds: {description: Seconds that a start may take., type: int, returned: always}
        weights:
          description: Weights of the nodes to set before a start, by node; empty for other policies than weighted.
          type: dict
          returned: always
          sample: {"0": 3, "1": 2}
        pool:
          description: The huge pages that it needs; null without a pool.
          type: dict
          returned: always
          contains:
            page_bytes: {description: Bytes of a page., type: int, returned: always}
            pages: {description: Pages by node., type: dict, returned: always, sample: {"0": 150, "1": 150}}
        units:
          description: One entry for each unit.
          type: list
          elements: dict
          returned: always
          contains:
            name: {description: Name of the instance., type: str, returned: always, sample: main}
            unit: {description: Its unit., type: str, returned: always, sample: llama-server@main.service}
            port: {description: Its port., type: int, returned: always}
            node: {description: The node it is bound to; null where it is bound to none., type: int, returned: always}
            url: {description: Where it answers., type: str, returned: always, sample: "http://127.0.0.1:8080"}
            tls: {description: Address and port where HTTPS is taken for it; null where it is not., type: str, returned: always, sample: "127.0.0.1:8080"}
            prefix: {description: Words before the command., type: list, elements: str, returned: always, sample: [/usr/bin/numactl, --interleave=0-1]}
            environment: {description: "Its environment, by name.", type: dict, returned: always, sample: {LLAMA_ARG_CTX_SIZE: "8192"}}
            intent:
              description: What M(llamatower.tower.numa_placement_info) and the check after a start compare with what they find.
              type: dict
              returned: always
              contains:
                url: {description: Where it answers., type: str, returned: always}
                nodes: {description: The nodes that should hold its memory., type: list, elements: int, returned: always}
                weights: {description: "How much each node should have, by node; empty for the same.", type: dict, returned: always, sample: {}}
                kernel_policy: {description: The kernel's memory policy; null for any., type: str, returned: always, sample: "interleave:0-1"}
                huge_pages: {description: The kind of its pages., type: str, returned: always}
                page_bytes: {description: Bytes of a page of the pool; null without one., type: int, returned: always}
                tolerance: {description: How far the nodes may be apart; null for any., type: float, returned: always}
                least_share: {description: How much of the mean each node has at least; null for any., type: float, returned: always}
                warm_up_tokens: {description: Tokens that are generated before it counts as started., type: int, returned: always}
                placement_failure: {description: Whether memory that lies elsewhere makes the start V(fail) or is a warning (V(warn))., type: str, returned: always}
        problems: {description: "Why it cannot be carried out, one sentence each.", type: list, elements: str, returned: always}
build:
  description: The manifest of the installed build, with the keys of RV(llamatower.tower.llama_build#module:manifest); empty without one.
  returned: always
  type: dict
missing:
  description: The manifests that are not there; empty with O(models).
  returned: always
  type: list
  elements: str
problems:
  description: Why the instances cannot be started so, one sentence each; those of each plan, and of all together.
  returned: always
  type: list
  elements: str
undeclared:
  description: Instances that are deployed on this tower and not in O(settings); they are left alone, and counted.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path
from typing import Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.history import node_weights, read_history
from ..module_utils.files import read_json
from ..module_utils.limits import usable
from ..module_utils.model.document import PlanEntry
from ..module_utils.model.fit import named, undeclared_problem
from ..module_utils.model.store import read_manifest
from ..module_utils.service.deployment import INSTANCES
from ..module_utils.service.document import Settings
from ..module_utils.service.instances import Known, decide, together
from ..module_utils.service.numa_policy import memory_nodes
from ..module_utils.service.tuned import read_tuned
from ..module_utils.tower import read_tower

SETTINGS = {
    "instance": {"type": "str", "required": True},
    "model": {"type": "str"},
    "model_path": {"type": "path", "required": True},
    "build_root": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "cors_origins": {"type": "str"},
    "tls": {"type": "bool", "required": True},
    "tls_backend_port": {"type": "int"},
    "metrics": {"type": "bool", "required": True},
    "context": {"type": "int", "required": True},
    "parallel": {"type": "int", "required": True},
    "checkpoints": {"type": "int", "required": True},
    "threads": {"type": "int"},
    "threads_batch": {"type": "int"},
    "flash_attention": {"type": "bool"},
    "numa_policy": {
        "type": "str",
        "choices": ["auto", "interleave", "weighted", "distribute", "bind", "per_node", "none"],
        "required": True,
    },
    "numa_node": {"type": "int"},
    "numa_weights": {"type": "dict"},
    "load_mode": {"type": "str", "choices": ["auto", "dio", "none", "mlock", "mmap", "mmap+mlock"], "required": True},
    "huge_pages": {"type": "str", "choices": ["thp", "hugetlb", "none"], "required": True},
    "huge_page_bytes": {"type": "int", "choices": [2**21, 2**30], "required": True},
    "pool_bytes": {"type": "int"},
    "reserve_bytes": {"type": "int", "required": True},
    "bytes_per_second": {"type": "int", "required": True},
    "tolerance": {"type": "float", "required": True},
    "placement_failure": {"type": "str", "choices": ["fail", "warn"], "required": True},
    "check_tokens": {"type": "int", "required": True},
    "extra": {"type": "dict", "required": True},
}


def output(module: AnsibleModule, argv: list[str]) -> Optional[str]:
    """What a program prints, None where there is no such program. numactl's usage ends with 1."""
    if not Path(argv[0]).exists():
        return None
    _rc, out, error = module.run_command(argv, environ_update={"LC_ALL": "C"})
    return f"{out}\n{error}"


def look(module: AnsibleModule, settings: Settings) -> tuple[Known, list[str]]:
    """What there is of an instance, and what is missing."""
    current, store = Path(settings["build_root"]) / "current", Path(settings["model_path"])
    declared: Optional[list[PlanEntry]] = module.params["models"]
    known = Known(
        build=read_json(str(current / "manifest.json")),
        model=read_manifest(str(store)) if declared is None else named(declared, settings["model"]),
        tuned=read_tuned(f"{module.params['tuning_dir']}/tuning-{settings['instance']}.json"),
        server_help=output(module, [str(current / "bin/llama-server"), "--help"]) if declared is None else None,
        undeclared=undeclared_problem(declared, settings["model"]) if declared is not None else None,
    )
    there = ((current, known.build), (store, known.model))
    missing = [str(path / "manifest.json") for path, manifest in there if declared is None and not manifest]
    return known, missing


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "list", "elements": "dict", "required": True, "options": SETTINGS},
            "models": {"type": "list", "elements": "dict"},
            "tuning_dir": {"type": "path", "default": "/var/lib/llamatower"},
            "benchmark_dir": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
            "instances_path": {"type": "path", "default": INSTANCES},
        },
        supports_check_mode=True,
    )
    # All but the weights, which are added for each.
    every: list[Settings] = module.params["settings"]
    tower, path = usable(read_tower("/")), module.params["instances_path"]
    measured = node_weights(read_history(module.params["benchmark_dir"]), memory_nodes(tower))
    numactl_help = output(module, ["/usr/bin/numactl", "--help"])
    found = [look(module, settings) for settings in every]
    known = [each for each, _missing in found]
    module.exit_json(
        changed=False,
        build=next((each.build for each in known if each.build), {}),
        missing=list(dict.fromkeys(path for _known, missing in found for path in missing)),
        **together(decide(every, known, tower, measured, numactl_help, path), tower, path),
    )


if __name__ == "__main__":
    main()
