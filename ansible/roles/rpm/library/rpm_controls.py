#!/usr/bin/python
"""Brings a list of CIS controls in force in a root filesystem of an RPM family, and says of each what came of it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: rpm_controls
short_description: Apply CIS controls to plain files of an RPM distribution, with one outcome for each control
description:
  - Does for RPM families what the module cis_controls does for Debian, with the same states and with those of
    module_utils/rpm_states.py, and it returns the same outcomes.
  - All controls are looked at before the first is changed, so that an outcome speaks of the image as it came. After the
    changes all are looked at again, and one that still deviates has failed.
options:
  controls:
    description: What to do. Each has C(control) (its id), C(reason), C(ensure) (a list of states), and may have C(needs)
      (paths without which it has no effect). A state may have C(scope) or C(releases) when it is for one scope or for some
      releases alone, and C(when), paths of which one must be there.
    type: list
    elements: dict
    required: true
  catalogue:
    description: The profile's controls, with id, title, level, scope and releases.
    type: list
    elements: dict
    required: true
  scope:
    description: What the root filesystem will be.
    type: str
    choices: [container, vm]
    required: true
  level:
    description: The CIS level to reach.
    type: int
    choices: [1, 2]
    required: true
  release:
    description: The distribution's major version, as the target says itself.
    type: str
    required: true
  exempt:
    description: Ids of controls to leave alone.
    type: list
    elements: str
    default: []
author: the image factory
"""

EXAMPLES = r"""
- name: Password ageing (CIS 5.4.1.1)
  rpm_controls:
    catalogue: "{{ hardening_catalogue.controls }}"
    scope: container
    level: 1
    release: "9"
    controls:
      - control: "5.4.1.1"
        reason: an old password is a known password
        needs: [/etc/login.defs]
        ensure:
          - setting: {path: /etc/login.defs, key: PASS_MAX_DAYS, value: "365"}
"""

RETURN = r"""
outcomes:
  description: One entry for each control, with control, outcome (applied, already, not applicable, exempt, failed), reason
    and changes.
  type: list
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.rpm_run import Target, run


def main():
    module = AnsibleModule(
        argument_spec={
            "controls": {"type": "list", "elements": "dict", "required": True},
            "catalogue": {"type": "list", "elements": "dict", "required": True},
            "scope": {"type": "str", "choices": ["container", "vm"], "required": True},
            "level": {"type": "int", "choices": [1, 2], "required": True},
            "release": {"type": "str", "required": True},
            "exempt": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    args = module.params
    unknown = {c["control"] for c in args["controls"]} - {entry["id"] for entry in args["catalogue"]}
    if unknown:
        module.fail_json(msg="not in the catalogue: %s" % ", ".join(sorted(unknown)), outcomes=[])
    target = Target(args["scope"], args["level"], args["release"], args["exempt"])
    outcomes = run(args["controls"], args["catalogue"], target, module.check_mode)
    failed = ["%s: %s" % (o["control"], o["reason"]) for o in outcomes if o["outcome"] == "failed"]
    if failed:
        module.fail_json(msg="; ".join(failed), outcomes=outcomes)
    module.exit_json(changed=any(o["outcome"] == "applied" for o in outcomes), outcomes=outcomes)


if __name__ == "__main__":
    main()
