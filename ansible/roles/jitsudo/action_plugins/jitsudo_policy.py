"""Reads a folder with a policy on the controller and gives it, whole, to the module of the same name on the host."""

from __future__ import annotations

import base64
import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

MAX_BYTES = 16 * 1024 * 1024


def read_files(folder: str) -> dict[str, str]:
    """Every regular file but hidden ones, by its path below `folder`; the content in base64. Raises AnsibleActionFail."""
    files = {}
    total = 0
    for here, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(here, name)
            if name.startswith("."):
                continue
            if not os.path.isfile(path) or os.path.islink(path):
                raise AnsibleActionFail(f"{path} is not a regular file: a policy is made of nothing else")
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
            total += len(content)
            if total > MAX_BYTES:
                raise AnsibleActionFail(f"{folder} holds more than {MAX_BYTES} bytes")
            files[os.path.relpath(path, folder)] = base64.b64encode(content).decode("ascii")
    if not any(name.endswith(".yaml") and "/" not in name for name in files):
        raise AnsibleActionFail(f"there is no policy in {folder}: no file whose name ends in .yaml")
    return files


def _stop(error: OSError) -> None:
    raise AnsibleActionFail(f"the policy cannot be read: {error}")


class ActionModule(ActionBase):
    """`jitsudo_policy: {src: FOLDER, strict: true}`."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, object]:
        result = super().run(tmp, task_vars)
        unknown = self._task.args.keys() - {"src", "strict"}
        source = self._task.args.get("src")
        if unknown or not source:
            raise AnsibleActionFail("jitsudo_policy takes src, a folder on the controller, and strict")
        arguments = {"files": read_files(str(source)), "strict": self._task.args.get("strict", True)}
        result.update(self._execute_module(module_name="jitsudo_policy", module_args=arguments, task_vars=task_vars))
        return result
