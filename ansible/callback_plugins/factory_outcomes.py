"""Writes what came of each control as one JSON document, for the factory. A run by hand does not need it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
name: factory_outcomes
type: notification
short_description: Keep the outcome of every control in a file
description:
  - Collects the outcomes that the module cis_controls returns, and the tasks that failed.
  - Writes them at the end of the play to the file that the environment variable FACTORY_OUTCOMES names; without it, nothing.
requirements: []
"""

import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "factory_outcomes"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.doc = {"schema": 1, "outcomes": [], "failures": [], "changed": 0}

    def keep(self, result, failed):
        # The keys of the result live in _result up to core 2.18 and in result from 2.19 on.
        data = getattr(result, "result", None) or result._result
        task = getattr(result, "task", None) or result._task
        name, where = task.get_name(), task.get_path() or ""
        for outcome in data.get("outcomes") or []:
            self.doc["outcomes"].append(dict(outcome, task=name, file=where))
        self.doc["changed"] += 1 if data.get("changed") else 0
        if failed:
            self.doc["failures"].append({"task": name, "file": where, "message": str(data.get("msg", ""))})

    def v2_runner_on_ok(self, result):
        self.keep(result, False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.keep(result, not ignore_errors)

    def v2_runner_on_unreachable(self, result):
        self.keep(result, True)

    def v2_playbook_on_stats(self, stats):
        path = os.environ.get("FACTORY_OUTCOMES")
        if not path:
            return
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.doc, f, indent=1, sort_keys=True)
