#!/usr/bin/python3
"""Puts a policy in force on a host, whole or not at all.

1. The files are written beside /etc/jitsudo/policy.d.
2. `jitsudo policy check` has to accept them, their tests included.
3. The two folders are exchanged in one step (renameat2(2)): at no time is there half a policy, or none.
4. The daemon reads it. If it does not take it, the folders are exchanged again.

Nothing is done where the files are there already and the daemon keeps a copy of the same.
"""

from __future__ import annotations

import base64
import ctypes
import os
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

FOLDER = "/etc/jitsudo"
POLICY = f"{FOLDER}/policy.d"
KEPT = "/var/lib/jitsudo/policy"  # the daemon's copy of what was last in force
JITSUDO = "/usr/bin/jitsudo"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, renameat2(2)


def wanted_files(module: AnsibleModule) -> dict[str, bytes]:
    """By their paths; those that would lead elsewhere are refused."""
    files = {}
    for path, content in module.params["files"].items():
        if os.path.isabs(path) or path != os.path.normpath(path) or path.startswith("."):
            module.fail_json(msg=f"not a path below a policy folder: {path}")
        files[path] = base64.b64decode(content, validate=True)
    return files


def present_files(folder: str, *, deep: bool = True) -> dict[str, bytes]:
    """What is there, by path. What is not root's, or can be written by others, is taken for something else than it holds."""
    files = {}
    for here, folders, names in os.walk(folder):
        if not deep:
            folders[:] = []
        for name in names:
            path = os.path.join(here, name)
            found = os.lstat(path)
            is_fine = stat.S_ISREG(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022
            with open(path, "rb") if is_fine else open(os.devnull, "rb") as file:
                files[os.path.relpath(path, folder)] = file.read() if is_fine else b"\0not root's alone"
    return files


def is_safe(folder: str) -> bool:
    """Whether the folder itself is root's alone."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022


def top(files: dict[str, bytes]) -> dict[str, bytes]:
    """The policy proper: tests and calendars are read from elsewhere."""
    return {path: content for path, content in files.items() if path.endswith(".yaml") and "/" not in path}


def write(files: dict[str, bytes], folder: str) -> None:
    """Durable when it returns; readable by everybody, writable by root."""
    os.chmod(folder, 0o755)  # noqa: S103  everybody may read what the policy says
    for path, content in files.items():
        whole = os.path.join(folder, path)
        os.makedirs(os.path.dirname(whole), mode=0o755, exist_ok=True)
        with open(whole, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync(folder)


def sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one: str, other: str) -> None:
    """Each takes the other's place, in one step. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), other)
    sync(FOLDER)


def check(module: AnsibleModule, folder: str) -> None:
    """Fails with everything that is wrong with the policy."""
    strict = ["--strict"] if module.params["strict"] else []
    status, out, err = module.run_command([JITSUDO, "policy", "check", *strict, folder])
    if status:
        said = (out + err).replace(f"{folder}/", "").strip()
        module.fail_json(msg=f"the policy is refused, and the host keeps the one that it has:\n{said}", rc=status)


def reload(module: AnsibleModule) -> str:
    """What is wrong with the policy in /etc, in the daemon's words; empty once it is in force.

    By systemd: `jitsudo policy reload` itself is not for root inside a session, which a play may well be.
    """
    status, _, err = module.run_command(["/usr/bin/systemctl", "reload-or-restart", "jitsudod.service"])
    if status == 0 and in_force() == top(present_files(POLICY)):
        return ""
    _, log, _ = module.run_command(["/usr/bin/journalctl", "-q", "-u", "jitsudod.service", "-n", "5", "-o", "cat"])
    return (err + log).strip() or "the daemon does not say why"


def in_force() -> dict[str, bytes]:
    return top(present_files(KEPT, deep=False))


def replace(module: AnsibleModule, new: str) -> None:
    """`new` takes the policy's place, and the daemon takes it; or everything is as it was."""
    is_first = not os.path.lexists(POLICY)
    if is_first:
        os.mkdir(POLICY, 0o755)
    exchange(new, POLICY)
    refused = reload(module)
    if refused:
        exchange(new, POLICY)
        reload(module)
        module.fail_json(msg=f"the daemon does not take the policy, and the host has the one before again:\n{refused}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "strict": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    if os.path.islink(POLICY):
        module.fail_json(msg=f"{POLICY} is a link, which jitsudo does not follow: remove it")
    files, present = wanted_files(module), present_files(POLICY)
    names = sorted(path for path in {*files, *present} if files.get(path) != present.get(path))
    is_there = not names and os.path.isdir(POLICY) and is_safe(POLICY)
    diff = [
        {"before_header": path, "after_header": path, "before": text(present.get(path)), "after": text(files.get(path))}
        for path in names
    ]
    if not os.path.exists(JITSUDO):
        if not module.check_mode:
            module.fail_json(msg="jitsudo is not installed on this host")
        module.exit_json(changed=True, diff=diff, msg="not checked: jitsudo is not installed on this host yet")
    if is_there and in_force() == top(files):
        module.exit_json(changed=False)
    with tempfile.TemporaryDirectory(prefix=".policy.d.", dir=None if module.check_mode else FOLDER) as new:
        write(files, new)
        check(module, new)
        if not module.check_mode:
            put(module, new, is_there=is_there)
    module.exit_json(changed=True, diff=diff)


def put(module: AnsibleModule, new: str, *, is_there: bool) -> None:
    """Put the checked files in place, or if they are there already, only have them read."""
    if not is_there:
        replace(module, new)
    elif refused := reload(module):
        module.fail_json(msg=f"the daemon does not take the policy that is in /etc/jitsudo/policy.d:\n{refused}")


def text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
