"""An Ansible callback: the result of each task as one line of JSON."""

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: as_lines
type: stdout
short_description: one line of JSON a task
description: [The result of each task and the task's name]
"""


class CallbackModule(CallbackBase):
    """Prints results as they come."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "as_lines"

    def _tell(self, result, *, failed=False, **_how):
        print(json.dumps([result._task.get_name(), result._result | {"failed": failed}], default=str))  # noqa: T201  as callbacks do

    def _tell_of_failure(self, result, **_how):
        self._tell(result, failed=True)

    v2_runner_on_ok = _tell
    v2_runner_on_failed = v2_runner_on_unreachable = _tell_of_failure
