"""Runs a list of controls: looks at all, changes what is off, looks again.

Which states there are is the caller's to say: those of every distribution and those of one family.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob


class Deviation(Exception):
    """A control is not in force, and nothing here may bring it there."""


class Target:
    """What is hardened, how far, and by which kinds of states."""

    def __init__(self, kinds, scope, level, release, exempt):
        self.kinds, self.scope, self.level, self.release, self.exempt = kinds, scope, level, release, exempt

    def states(self, item):
        """The states that an item asks for here."""
        out = []
        for spec in item["ensure"]:
            spec = dict(spec)
            skip = spec.pop("scope", self.scope) != self.scope
            skip |= self.release not in spec.pop("releases", [self.release])
            when = spec.pop("when", [])
            skip |= bool(when) and not any(map(glob.glob, when))
            (kind, args), = spec.items()
            if kind not in self.kinds:
                raise ValueError("unknown state %s" % kind)
            if not skip:
                out.append(self.kinds[kind](**args) if isinstance(args, dict) else self.kinds[kind](args))
        if not out:
            raise ValueError("nothing to ensure for release %s in the scope %s" % (self.release, self.scope))
        return out


class Control:
    """One control on its way from the catalogue to its outcome."""

    def __init__(self, item, entry):
        self.item, self.entry = item, entry
        self.states, self.changes = [], []
        self.outcome, self.reason = "", ""

    def end(self, outcome, reason):
        self.outcome, self.reason = outcome, reason

    def skip(self, target):
        """Decides whether the control is in play at all."""
        releases = self.entry.get("releases")
        missing = [path for path in self.item.get("needs", []) if not glob.glob(path)]
        if self.item["control"] in target.exempt:
            self.end("exempt", "exempted by the image's definition")
        elif target.scope not in self.entry["scope"]:
            self.end("not applicable", "has no effect in a %s" % target.scope)
        elif self.entry["level"] > target.level:
            self.end("not applicable", "belongs to level %d, this image asks for level %d" % (self.entry["level"], target.level))
        elif releases and target.release not in releases:
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

    def look(self, target, check_mode):
        self.states = target.states(self.item)
        for state in self.states:
            off = state.off()
            if off and not hasattr(state, "fix") and not (check_mode and self.changes):
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


def run(items, catalogue, target, check_mode):
    """Returns the outcome of every item, in their order."""
    known = {entry["id"]: entry for entry in catalogue}
    controls = [Control(item, known[item["control"]]) for item in items]
    active = [c for c in controls if not c.skip(target)]
    for control in active:
        control.guard(control.look, target, check_mode)
    if not check_mode:
        for control in active:
            control.guard(control.fix)
        for control in active:
            control.guard(control.verify)
    return [c.result() for c in controls]
