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
options:
  controls:
    description: What to do. Each has C(control) (its id), C(reason), C(ensure) (a list of states), and may have C(needs)
      (paths without which it has no effect). A state may have C(scope) when it is for one scope alone.
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

import glob

from ansible.module_utils.accounts import Verified
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cracklib import Dictionary
from ansible.module_utils.pam import PAM
from ansible.module_utils.rootfs import PLAIN, lines_of

STATES = dict(PLAIN, verified=Verified, dictionary=Dictionary, **PAM)


def release():
    for line in lines_of("/etc/os-release"):
        if line.startswith("VERSION_ID="):
            return line.partition("=")[2].strip("\"'")
    return ""


def states(item, scope):
    """The states that an item asks for in a scope."""
    out = []
    for spec in item["ensure"]:
        spec = dict(spec)
        if spec.pop("scope", scope) != scope:
            continue
        (kind, args), = spec.items()
        if kind not in STATES:
            raise ValueError("unknown state %s" % kind)
        out.append(STATES[kind](**args) if isinstance(args, dict) else STATES[kind](args))
    if not out:
        raise ValueError("nothing to ensure in the scope %s" % scope)
    return out


class Deviation(Exception):
    """A control is not in force, and nothing here may bring it there."""


class Control:
    """One control on its way from the catalogue to its outcome."""

    def __init__(self, item, entry):
        self.item, self.entry = item, entry
        self.states, self.changes = [], []
        self.outcome, self.reason = "", ""

    def end(self, outcome, reason):
        self.outcome, self.reason = outcome, reason

    def skip(self, scope, level, found_release, exempt):
        """Decides whether the control is in play at all."""
        releases = self.entry.get("releases")
        missing = [path for path in self.item.get("needs", []) if not glob.glob(path)]
        if self.item["control"] in exempt:
            self.end("exempt", "exempted by the image's definition")
        elif scope not in self.entry["scope"]:
            self.end("not applicable", "has no effect in a %s" % scope)
        elif self.entry["level"] > level:
            self.end("not applicable", "belongs to level %d, this image asks for level %d" % (self.entry["level"], level))
        elif releases and found_release not in releases:
            self.end("not applicable", "is for release %s only" % " and ".join(releases))
        elif missing:
            self.end("not applicable", "%s is not there" % " and ".join(missing))
        return self.outcome != ""

    def guard(self, step, *args):
        """Runs a step; what goes wrong is this control's failure and nobody else's."""
        if self.outcome == "failed":
            return
        try:
            step(*args)
        except Deviation as e:
            self.end("failed", str(e))
        except Exception as e:  # pylint: disable=broad-except
            self.end("failed", "%s: %s" % (type(e).__name__, e))

    def look(self, scope, check_mode):
        self.states = states(self.item, scope)
        for state in self.states:
            off = state.off()
            if off and not hasattr(state, "fix"):
                if not (check_mode and self.changes):
                    raise Deviation("; ".join(off[:5]))
            self.changes += off
        self.outcome = "applied" if self.changes else "already"

    def fix(self):
        for state in self.states:
            if hasattr(state, "fix") and state.off():
                state.fix()

    def verify(self):
        off = [what for state in self.states for what in state.off()]
        if off:
            raise Deviation("did not hold: " + "; ".join(off[:5]))

    def result(self):
        return {"control": self.item["control"], "outcome": self.outcome, "reason": self.reason,
                "changes": self.changes if self.outcome in ("applied", "failed") else []}


def main():
    module = AnsibleModule(
        argument_spec={
            "controls": {"type": "list", "elements": "dict", "required": True},
            "catalogue": {"type": "list", "elements": "dict", "required": True},
            "scope": {"type": "str", "choices": ["container", "vm"], "required": True},
            "level": {"type": "int", "choices": [1, 2], "required": True},
            "exempt": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    args, found_release = module.params, release()
    known = {entry["id"]: entry for entry in args["catalogue"]}
    unknown = [item["control"] for item in args["controls"] if item["control"] not in known]
    if unknown:
        module.fail_json(msg="not in the catalogue: %s" % ", ".join(unknown), outcomes=[])

    controls = [Control(item, known[item["control"]]) for item in args["controls"]]
    active = [c for c in controls if not c.skip(args["scope"], args["level"], found_release, args["exempt"])]
    for control in active:
        control.guard(control.look, args["scope"], module.check_mode)
    if not module.check_mode:
        for control in active:
            control.guard(control.fix)
        for control in active:
            control.guard(control.verify)

    outcomes = [c.result() for c in controls]
    failed = [c for c in active if c.outcome == "failed"]
    if failed:
        module.fail_json(msg="; ".join("%s: %s" % (c.item["control"], c.reason) for c in failed), outcomes=outcomes)
    module.exit_json(changed=any(c.outcome == "applied" for c in active), outcomes=outcomes)


if __name__ == "__main__":
    main()
