"""Runs the module cis_controls in a folder, with as much of ansible as it needs: module.py ROLES FAMILY ROOT < parameters.

ROLES is a folder. FAMILY is the role that brings the family's states.
"""

import importlib.util
import json
import os
import sys
import types

roles, family, root = sys.argv[1:]
utils = {"common": ("rootfs", "accounts", "pam", "controls"), "cis_debian": ("cracklib", "debian_pam", "family"), "rpm": ("rpm_pam", "family")}


class AnsibleModule:
    def __init__(self, argument_spec, supports_check_mode):
        given = json.load(sys.stdin)
        self.check_mode = given.pop("check", False) and supports_check_mode
        self.params = {key: given.get(key, spec.get("default")) for key, spec in argument_spec.items()}

    def exit_json(self, **result):
        print(json.dumps(result))
        sys.exit(0)

    def fail_json(self, **result):
        print(json.dumps(dict(result, failed=True)))
        sys.exit(0)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
for package in ("ansible", "ansible.module_utils", "ansible.module_utils.basic"):
    sys.modules[package] = types.ModuleType(package)
sys.modules["ansible.module_utils.basic"].AnsibleModule = AnsibleModule
for role in ("common", family):
    for util in utils[role]:
        load("ansible.module_utils." + util, "%s/%s/module_utils/%s.py" % (roles, role, util))
module = load("cis_controls", roles + "/common/library/cis_controls.py")
"".encode("ascii")  # codecs are files too
os.chroot(root)
os.chdir("/")
module.main()
