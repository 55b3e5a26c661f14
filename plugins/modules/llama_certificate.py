# SPDX-License-Identifier: MIT
"""Ansible module: the certificate of an instance of the service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_certificate
short_description: Give an instance of the service its certificate
version_added: 0.1.0
author: llamatower contributors
description:
  - Refuses, in one sentence, a certificate that does not match its key, has expired or cannot be read, before anything is
    touched.
  - Keeps where the certificate is, or its text, in C(/var/lib/llamatower/instances/INSTANCE/tls.json), for root only. Where
    HTTPS is served with another certificate, that is reloaded, which neither the server nor a connection notices.
  - Whether HTTPS is served at all is a setting of M(llamatower.tower.llama_service_plan).
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  instance:
    description: The instance of C(llama-server@.service).
    type: str
    default: main
  certificate:
    description: A path on the tower, which begins with C(/), or PEM text; with the certificates of intermediate authorities.
    type: str
    required: true
  key:
    description: The key, likewise, without a passphrase.
    type: str
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: A key is not shown.
"""

EXAMPLES = r"""
- name: Serve with what certbot keeps on the tower
  llamatower.tower.llama_certificate:
    certificate: /etc/letsencrypt/live/tower1.example.org/fullchain.pem
    key: /etc/letsencrypt/live/tower1.example.org/privkey.pem
"""

RETURN = r"""
not_after:
  description: Until when it is valid, in UTC.
  returned: success
  type: str
  sample: Mar  1 10:00:00 2027 GMT
renewed:
  description: The units that served HTTPS with another certificate.
  returned: success
  type: list
  elements: str
  sample: [llama-tls@main.service]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import make_directory
from ..module_utils.service.certificate import CertificateError, check_pem, exposed_problem, pem_of
from ..module_utils.service.deployment import Instance
from ..module_utils.service.tls import Source, outdated, read_source, renew, write_source
from ..module_utils.service.unit import UnitError, front_of


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": "main"},
            "certificate": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    instance = Instance(module.params["instance"])
    source: Source = {"certificate": module.params["certificate"], "key": module.params["key"]}
    try:
        pem = pem_of(source["certificate"], source["key"])
        not_after = check_pem(pem)
        problem = exposed_problem(source["key"])
        if problem:
            module.fail_json(msg=problem)
        another, units = read_source(instance) != source, outdated(instance, pem)
        if another and not module.check_mode:
            make_directory(instance.path)
            write_source(instance, source)
        for unit in units if not module.check_mode else []:
            renew(unit, pem)
    except (CertificateError, UnitError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or instance.path} cannot be used ({error.strerror}): make room there.")
    renewed = [front_of(unit["name"]) for unit in units]
    module.exit_json(changed=another or bool(units), not_after=not_after, renewed=renewed)


if __name__ == "__main__":
    main()
