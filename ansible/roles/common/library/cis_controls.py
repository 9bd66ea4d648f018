#!/usr/bin/python
"""Brings a list of CIS controls in force, and says of each what came of it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: cis_controls
short_description: Apply CIS controls to plain files, with one outcome for each control
description:
  - Applies many controls in one task, because a task costs about half a second and a control a millisecond.
  - All controls are looked at before the first is changed, so that an outcome speaks of the image as it came. After the
    changes all are looked at again, and one that still deviates has failed.
  - One that can have no effect (wrong scope, level or release, or the thing it is about is not there) is reported as not
    applicable and never run.
  - The states are those of C(module_utils/rootfs.py) and those of the family, which one of the play's roles brings as
    C(STATES) in its C(module_utils/family.py).
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
    description: The distribution's release, as the catalogue names it. Without it, what C(/etc/os-release) calls its version.
    type: str
  exempt:
    description: Ids of controls to leave alone.
    type: list
    elements: str
    default: []
author: the image factory
"""

EXAMPLES = r"""
- name: Password ageing (CIS 5.4.1.1)
  cis_controls:
    catalogue: "{{ hardening_catalogue.controls }}"
    scope: container
    level: 1
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

from ansible.module_utils.accounts import Verified
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.controls import Target, run
from ansible.module_utils.family import STATES
from ansible.module_utils.pam import Option
from ansible.module_utils.rootfs import PLAIN, lines_of


def release():
    for line in lines_of("/etc/os-release"):
        if line.startswith("VERSION_ID="):
            return line.partition("=")[2].strip("\"'")
    return ""


def main():
    module = AnsibleModule(
        argument_spec={
            "controls": {"type": "list", "elements": "dict", "required": True},
            "catalogue": {"type": "list", "elements": "dict", "required": True},
            "scope": {"type": "str", "choices": ["container", "vm"], "required": True},
            "level": {"type": "int", "choices": [1, 2], "required": True},
            "release": {"type": "str"},
            "exempt": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    args = module.params
    known = {entry["id"] for entry in args["catalogue"]}
    unknown = [item["control"] for item in args["controls"] if item["control"] not in known]
    if unknown:
        module.fail_json(msg="not in the catalogue: %s" % ", ".join(unknown), outcomes=[])
    kinds = dict(PLAIN, verified=Verified, pam_option=Option, **STATES)
    target = Target(kinds, args["scope"], args["level"], args["release"] or release(), args["exempt"])
    outcomes = run(args["controls"], args["catalogue"], target, module.check_mode)
    failed = ["%s: %s" % (o["control"], o["reason"]) for o in outcomes if o["outcome"] == "failed"]
    if failed:
        module.fail_json(msg="; ".join(failed), outcomes=outcomes)
    module.exit_json(changed=any(o["outcome"] == "applied" for o in outcomes), outcomes=outcomes)


if __name__ == "__main__":
    main()
