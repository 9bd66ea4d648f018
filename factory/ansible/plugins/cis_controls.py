"""Runs the module cis_controls in Ansible's own process. A run by hand has no such plugin, and sends the module to its target.

The process that works on a task is the toolbox's Python already, at the root of the target: a build step runs the play there.
Packing the module for every task, starting another Python and compiling everything again costs more than all controls do.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json

import ansible.module_utils
import ansible.modules
from ansible import constants
from ansible.plugins.action import normal
from ansible.plugins.loader import module_loader, module_utils_loader
from ansible.vars.clean import remove_internal_keys

try:
    from ansible.module_utils._internal._ansiballz import _loader
    from ansible.module_utils.common.json import Direction, get_module_encoder
except ImportError:
    _loader = None  # another Ansible, with other insides: the module is sent, as ever

MODULE = "ansible.modules.cis_controls"
PROFILE = "legacy"

# What the roles bring comes before Ansible's own, as it does in a module that is sent.
for package, loader in ((ansible.modules, module_loader), (ansible.module_utils, module_utils_loader)):
    package.__path__ = loader._get_paths(subdirs=False) + list(package.__path__)
# This file is read before tasks get a process each: what is imported here is there for all of them.
importlib.import_module(MODULE)
# Ansible asks a thousand times a second whether a task is done, which costs as much as the task. No variable of the environment says this.
constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01


class ActionModule(normal.ActionModule):
    def run(self, tmp=None, task_vars=None):
        task, connection = self._task, self._connection
        elsewhere = _loader is None or connection.transport != "local" or connection.become or task.delegate_to
        if elsewhere or task.async_val or any(task.environment):
            return super().run(tmp, task_vars)
        args = dict(task.args)
        self._update_module_args(task.action, args, task_vars)
        params = json.dumps({"ANSIBLE_MODULE_ARGS": args}, cls=get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE))
        said, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors), contextlib.suppress(SystemExit):
            # Ansible's own way into a module that was sent. It may leave traces: this process is a fork for this task alone.
            _loader.run_module(json_params=params.encode(), profile=PROFILE, module_fqn=MODULE, modlib_path="", extensions={})
        data = self._parse_returned_data({"stdout": said.getvalue(), "stderr": errors.getvalue()}, PROFILE)
        remove_internal_keys(data)
        # The task knows what it asked; sent back, it would be copied for every plugin that hears of the result.
        data.pop("invocation", None)
        return data
