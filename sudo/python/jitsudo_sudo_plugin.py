"""sudo's policy plugin: passes on to the daemon what sudo said, and obeys the answer.

No policy, option or environment rule lives here: anything but one exact, complete allow is a deny. The one decision made
here is root's: where the daemon cannot be asked, root outside a session may go on, and that is logged.

One file, past the usual length: sudo loads it at once or is disabled, and root must get on with this one alone. How people
prove who they are is in jitsudo_sudo_proof.py; without it, or with one of another version, everybody but root is refused.
"""

from __future__ import annotations

# The C halves of socket, json, signal and base64: the Python halves would cost 4 ms of every sudo.
import _json
import _signal
import _socket
import binascii
import errno
import os
import stat
import sys
import time

import sudo

VERSION = "0.1.0"
FRONT_END = "sudo-python"
INTERFACE = "io.jitsudo.Decide."
SECURE_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SESSIONS_SLICE = b"jitsudo.slice"

SILENCE_SECONDS = 2.0
TICK_SECONDS = 0.1
MAX_FRAME_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 65_536
MAX_ID = 0xFFFF_FFFE  # 0xFFFFFFFF is "no change" to setresuid(2): CVE-2019-14287
MAX_LOG_CHARS = 1500
LOG_AUTHPRIV_WARNING = 10 << 3 | 4  # syslog(3)

LOOK = "see `systemctl status jitsudod`; root is not affected"
LOOK_WHO = "have root look at who made it"
REINSTALL = "reinstall jitsudo; root is not affected"
# sudo's own handlers swallow these until the command runs: somebody who waits must be able to give up.
GIVE_UP = frozenset({_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM})
MAX_ROUNDS = 16  # of challenges before one answer
ACCOUNT = {"kind": "account", "message": "the state of the account", "service": "jitsudo-sudo"}
# The grammar of every command line assumes that it is not set, so no PAM stack may bring it back.
NEVER_FROM_PAM = frozenset({"POSIXLY_CORRECT"})
REPLY_KEYS = frozenset(
    {"verdict", "challenge", "session", "token", "command_info", "argv", "env", "code", "message", "hints", "speaker", "text"}
)
# Without runas_uid sudo runs as uid 0, without umask with the caller's: an allow that lacks one is not an allow.
INFO_KEYS = frozenset({"command", "umask", "closefrom", "use_pty", "runas_uid", "runas_gid", "runas_groups"})
INFO_IDS = frozenset({"runas_uid", "runas_euid", "runas_gid", "runas_egid"})
# What root may not ask for while the daemon is away: it can do without sudo what needs more than this.
NOT_ALONE = ("sudoedit", "implied_shell", "cmnd_chroot", "timeout", "remote_host", "selinux_role", "selinux_type")


class Refusal(Exception):
    """The command does not run; `message` and `hints` tell the person why and what to do. Without a message nothing is said."""

    speaker = "jitsudo"

    def __init__(self, message, *hints):
        super().__init__(message)
        self.message = message
        self.hints = hints


class SudosOwn(Refusal):
    """A refusal that sudo itself has words for, which programs know and wait for."""

    speaker = "sudo"


class Outage(Refusal):
    """The daemon cannot be asked, or did not answer with sense."""


class Disconnected(Outage):
    """The connection ended before the answer."""


def not_understood(why):
    return Outage(f"the daemon's answer was not understood ({why})", LOOK)


def printable(text, keep=""):
    """The text with whatever could steer a terminal or a log written out (CVE-2023-28486)."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def raw(text):
    # Not os.fsencode: in sudo the file system's encoding follows the caller's locale.
    return text.encode("utf-8", "surrogateescape")


def to_wire(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"base64": binascii.b2a_base64(raw(text), newline=False).decode()}
    return text


def encode(value):
    write = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ":", ",", False, False, False)
    return "".join(write(value, 0)).encode()


class JsonRules:
    """What the scanner is to do: objects without doubled keys, no NaN, no floats."""

    strict = True
    object_hook = None
    parse_int = int

    @staticmethod
    def object_pairs_hook(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("doubled key")
        return found

    @staticmethod
    def parse_float(text):
        raise ValueError(f"number {text}")

    parse_constant = parse_float


def decode(frame):
    """The object that a frame holds. Raises Outage for anything else."""
    try:
        text = frame.decode()
        value, end = _json.make_scanner(JsonRules)(text, 0)
    except (ValueError, StopIteration, RecursionError) as fault:
        raise not_understood("not JSON") from fault
    if end != len(text) or type(value) is not dict:
        raise not_understood("not JSON")
    return value


def check_directory(path, owner):
    """Refuse to talk to a socket in a folder that somebody else could have planted."""
    try:
        status = os.lstat(path)
    except OSError as fault:
        raise Outage(f"the daemon is not running ({path}: {os.strerror(fault.errno)})", LOOK) from fault
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o022:
        raise Outage(f"{path} is not a folder of root's alone", LOOK_WHO)


class Channel:
    """One connection to the daemon: a call, then its replies, within the deadline."""

    def __init__(self, path, owner):
        self.deadline = time.monotonic() + SILENCE_SECONDS
        self.buffer = bytearray()
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self.socket.settimeout(TICK_SECONDS)
        try:
            self._connect(path)
            credentials = self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
            if int.from_bytes(credentials[4:8], sys.byteorder) != owner:
                raise Outage(f"what listens on {path} is not root's", LOOK_WHO)
        except BaseException:
            self.socket.close()
            raise

    def _connect(self, path):
        while True:
            try:
                return self.socket.connect(path)
            except OSError as fault:
                # A full backlog is EAGAIN at once, whatever the time-out (unix(7)).
                if fault.errno != errno.EAGAIN and not isinstance(fault, TimeoutError):
                    problem = os.strerror(fault.errno or errno.EIO)
                    raise Outage(f"the daemon is not running ({path}: {problem})", LOOK) from fault
            self._still_waiting()
            time.sleep(TICK_SECONDS / 2)

    def call(self, method, parameters, descriptors, on_pending):
        """The one final reply. Raises Outage where there is none, Refusal where the person gave up waiting."""
        frame = encode({"method": INTERFACE + method, "parameters": parameters, "more": True}) + b"\0"
        if len(frame) > MAX_FRAME_BYTES:
            raise Refusal("arguments and environment are too large", "run it with a smaller environment")
        self._expect_nothing()
        self.deadline = time.monotonic() + SILENCE_SECONDS
        self._send(frame, descriptors)
        while True:
            reply = decode(self._frame())
            parameters, continues = reply.get("parameters"), reply.get("continues", False)
            if not reply.keys() <= {"parameters", "continues", "error"} or type(parameters) is not dict:
                raise not_understood("not a reply")
            if continues is False:
                if self.buffer:
                    raise not_understood("more than one reply")
                return reply
            if continues is not True or "error" in reply or [*map(type, parameters.values())] != [str]:
                raise not_understood("not a reply")
            self.deadline = time.monotonic() + SILENCE_SECONDS
            on_pending(parameters.get("pending", ""))

    def _expect_nothing(self):
        # What comes unasked would be taken for the answer to the next call.
        self.socket.settimeout(0)
        try:
            if self.socket.recv(1):
                raise not_understood("more than one reply")
            raise Disconnected("the daemon closed the connection", LOOK)
        except BlockingIOError:
            self.socket.settimeout(TICK_SECONDS)
        except OSError as fault:
            raise Disconnected("the daemon closed the connection", LOOK) from fault

    def _send(self, frame, descriptors):
        rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else []
        rest = memoryview(frame)
        while rest:
            try:
                sent = self.socket.sendmsg([rest], ancillary)
                rest, ancillary = rest[sent:], []
            except TimeoutError:
                self._still_waiting()
            except OSError as fault:
                raise Disconnected("the daemon closed the connection", LOOK) from fault

    def _frame(self):
        seen, is_late = 0, False
        while (end := self.buffer.find(0, seen)) < 0:
            if is_late:
                self._still_waiting()
            seen = len(self.buffer)
            if len(self.buffer) > MAX_FRAME_BYTES:
                raise not_understood("too long")
            # Before it looks: what has come by then is in time, however long sudo itself was kept from looking.
            is_late = self._is_late()
            try:
                chunk = self.socket.recv(CHUNK_BYTES)
            except TimeoutError:
                chunk = None
            except OSError as fault:
                raise Disconnected("the daemon closed the connection", LOOK) from fault
            if chunk == b"":
                raise Disconnected("the daemon closed the connection", LOOK)
            self.buffer += chunk or b""
        frame = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return frame

    def _is_late(self):
        waiting = _signal.sigpending() & GIVE_UP
        if waiting and waiting - ignored_signals():
            raise Refusal("interrupted")
        return time.monotonic() >= self.deadline

    def _still_waiting(self):
        if self._is_late():
            raise Outage(f"the daemon did not answer for {SILENCE_SECONDS:.0f} seconds", LOOK)


def ignored_signals():
    """The signals that the caller ignores (nohup): those are kept pending too while they are blocked."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"SigIgn:"):
                bits = int(line[7:], 16)
                return {number for number in GIVE_UP if bits >> (number - 1) & 1}
    return set()


def refused(name, parameters):
    message, hint = parameters.get("message"), parameters.get("hint")
    if name != INTERFACE + "Refused" or type(message) is not str:
        return not_understood("an error that the protocol does not have")
    # A daemon that failed has not refused: root may go on as if it were away.
    kind = Outage if parameters.get("code") == "internal" else Refusal
    return kind(message, *([hint] if type(hint) is str else []))


def verdict_of(reply):
    """Return only where the reply says "allow"; raise a Refusal for everything else."""
    verdict = reply.get("verdict")
    if type(verdict) is not str or "\0" in verdict:
        raise not_understood("no verdict")
    if verdict == "allow":
        if not reply.keys() <= REPLY_KEYS or reply.get("challenge") is not None:
            raise not_understood("an allow with terms that are not known here")
        return
    message, hints = reply.get("message"), reply.get("hints")
    if verdict == "challenge":
        raise Refusal("the daemon asks for more than it can be asked for here")
    if verdict != "deny":
        raise Refusal(f"the daemon answered '{printable(verdict)[:100]}', which is not known here")
    hints = [hint for hint in hints if type(hint) is str] if type(hints) is list else []
    kind = SudosOwn if reply.get("speaker") == "sudo" else Refusal
    raise kind(message if message is None or (type(message) is str and message) else "denied", *hints)


def challenge_of(reply):
    """The challenge of a reply that is one and nothing else, else None."""
    if reply.get("verdict") != "challenge":
        return None
    challenge = reply.get("challenge")
    if any(reply[key] is not None for key in reply.keys() - {"verdict", "challenge"}) or type(challenge) is not dict:
        raise Refusal("the daemon asks for something that was not understood")
    return challenge


def one_text(value, what):
    return texts([value], what, "text")[0]


def load_proof():
    """The other half of this plugin. Raises Refusal where it is not there, or not of this version (an upgrade under way)."""
    try:
        import jitsudo_sudo_proof as proof

        version = proof.VERSION
    # Broad on purpose: a file that is damaged counts as one that is missing.
    except Exception as fault:
        raise Refusal("a part of sudo's plugin is missing", REINSTALL) from fault
    if version != VERSION:
        raise Refusal(f"a part of sudo's plugin is of version {version}, not {VERSION}", REINSTALL)
    return proof


def texts(value, what, kind="a list of texts"):
    """A non-empty tuple of str from a list of wire texts, each fit to be passed to execve(2) by sudo."""
    if type(value) is not list or not value:
        raise not_understood(f"{what} is not {kind}")
    found = []
    for item in value:
        try:
            if type(item) is dict and len(item) == 1:
                item = binascii.a2b_base64(item["base64"], strict_mode=True).decode()
            item.encode()
        except UnicodeError as fault:
            # sudo's Python host would crash on it, or run something else.
            raise Refusal("sudo's Python plugins cannot pass on bytes that are not UTF-8") from fault
        except Exception as fault:
            raise not_understood(f"{what} is not {kind}") from fault
        if type(item) is not str or "\0" in item:
            raise not_understood(f"{what} is not {kind}")
        found.append(item)
    return tuple(found)


def pairs(items, what):
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not equals or key in found:
            raise not_understood(f"{what} is malformed")
        found[key] = value
    return found


def is_id(text):
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and int(text) <= MAX_ID


def terms(reply, current):
    """(session, token, command_info, argv, env) of an allow. Raises Outage where it is not complete and exact."""
    session, token = reply.get("session"), reply.get("token")
    if session is None and token is None:
        # Only root, outside a session, runs without one.
        if os.getuid() != 0 or current is not None:
            raise not_understood("no session")
    elif type(session) is not str or type(token) is not str or not session or not token:
        raise not_understood("session and token")
    elif current not in (None, session):
        raise not_understood("another session")
    info = texts(reply.get("command_info"), "command_info")
    found = pairs(info, "command_info")
    if (
        not found.keys() >= INFO_KEYS
        or not found["command"].startswith("/")
        or found["use_pty"] != "true"
        or not all(is_id(found[key]) for key in INFO_IDS & found.keys())
        or not all(is_id(gid) for gid in found["runas_groups"].split(","))
        or not found["closefrom"].isdigit()
        or not found["umask"]
        or not set(found["umask"]) <= set("01234567")
    ):
        raise not_understood("command_info is incomplete")
    argv, env = texts(reply.get("argv"), "argv"), texts(reply.get("env"), "env")
    pairs(env, "env")
    return session, token, info, argv, env


def look_up(name):
    """The command's path, absolute, not resolved; None where there is no such program."""
    if "/" in name:
        try:
            candidates = (os.path.join(os.getcwdb(), raw(name)) if name[0] != "/" else raw(name),)
        except OSError:
            return None
    else:
        candidates = tuple(raw(f"{folder}/{name}") for folder in SECURE_PATH) if name else ()
    for path in candidates:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return path.decode("utf-8", "surrogateescape")
    return None


def is_rc(answer):
    return isinstance(answer, sudo.RC)


def is_session(answer):
    """A code, or ACCEPT with the environment."""
    if type(answer) is tuple and len(answer) == 2:
        return answer[0] is sudo.RC.ACCEPT and type(answer[1]) is tuple
    return is_rc(answer)


def is_verdict(answer):
    """REJECT, or ACCEPT with everything: sudo crashes on a bare ACCEPT, on True and on None."""
    if type(answer) is tuple and len(answer) == 4:
        return answer[0] is sudo.RC.ACCEPT and all(type(part) is tuple for part in answer[1:])
    return is_rc(answer) and answer is not sudo.RC.ACCEPT


def explicit(is_complete):
    """Make a callback answer with an explicit code, whatever happens inside it."""

    def wrap(callback):
        def answer(self, *given, **named):
            code = sudo.RC.REJECT
            try:
                code = callback(self, *given, **named)
            except Refusal as refusal:
                self._say(refusal)
            # Broad on purpose: whatever goes wrong while a command is judged is a deny.
            except BaseException as fault:  # noqa: BLE001
                self._say(Refusal(f"internal error in sudo's plugin ({type(fault).__name__})", LOOK))
            return code if is_complete(code) else sudo.RC.REJECT

        answer.__name__ = callback.__name__
        return answer

    return wrap


class JitsudoPolicy(sudo.Plugin):
    """The plugin; sudo makes one for each invocation."""

    # For tests, which replace them in a subclass: nothing that a caller controls may.
    RUN_DIRECTORY = "/run/jitsudo"
    OWNER = 0
    CGROUP = "/proc/self/cgroup"
    SYSLOG = "/dev/log"

    def __init__(self, user_env=(), settings=(), version="", user_info=(), plugin_options=(), **later):  # noqa: ARG002
        self.told = {"user_info": user_info, "settings": settings, "user_env": user_env}
        self.settings = dict(item.partition("=")[::2] for item in settings)
        self.user_info = dict(item.partition("=")[::2] for item in user_info)
        self.channel = self.process = self.session = self.token = self.pam = self.executable = None
        self.accepted = 0
        self.shown = set()

    @explicit(is_verdict)
    def check_policy(self, argv, env_add):
        try:
            return self._check(argv, env_add)
        except BaseException:
            # sudo calls no close after a refusal. Within a session its PAM handle stays open.
            if not self.accepted:
                self._end_pam()
            raise

    @explicit(is_rc)
    def validate(self):
        try:
            self._established("Validate", {"invocation": self._invocation()})
        except Outage:
            if not self._is_root_outside():
                raise
        finally:
            self._end_pam()
        return sudo.RC.ACCEPT

    def _check(self, argv, env_add):
        path = look_up(argv[0]) if argv else None
        question = {
            "invocation": self._invocation(),
            "argv": [*map(to_wire, argv)],
            "env_add": [*map(to_wire, env_add)],
            "command": path and to_wire(path),
            "descriptors": [],
            "sub_command": self.accepted > 0,
        }
        files = [("root", b"/", os.O_PATH), ("cwd", b".", os.O_PATH)]
        files += [("command", raw(path), os.O_PATH)] if path else []
        files += [("terminal", b"/dev/tty", os.O_RDWR | os.O_NOCTTY)]
        try:
            session, token, info, argv, env = terms(self._established("Check", question, files), self.session)
        except Outage as outage:
            session = token = None
            info, argv, env = self._root_alone(argv, env_add, path, outage)
        info = self._pinned(info)
        self.session, self.token = session, token
        self.accepted += 1
        return sudo.RC.ACCEPT, info, argv, env

    def _pinned(self, info):
        """`execfd=command` is the file that the daemon was shown, and whose content it read: sudo executes that very one."""
        wanted = [item for item in info if item.startswith("execfd=")]
        if not wanted:
            self._keep_executable(None)
            return info
        if wanted != ["execfd=command"] or self.executable is None:
            raise Refusal("the program that was checked is no longer at hand")
        descriptor, self.executable = self.executable, None
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            # An interpreter opens its script by the descriptor, which must still be there then (fexecve(3), BUGS).
            if file.read(2) == b"#!":
                os.set_inheritable(descriptor, True)
        return tuple(f"execfd={descriptor}" if item in wanted else item for item in info)

    @explicit(is_session)
    def init_session(self, user_pwd, user_env):
        if not self.accepted:
            return sudo.RC.REJECT
        try:
            added = self._open_pam_session(user_pwd, user_env)
            if self.session is not None:
                self._judged("Started", {"session": self.session, "token": self.token})
        except BaseException:
            # sudo calls no close for a session that did not begin.
            self._end_pam()
            raise
        return (sudo.RC.ACCEPT, (*user_env, *added)) if added else sudo.RC.ACCEPT

    @explicit(is_rc)
    def list(self, argv, is_verbose, user):
        path = look_up(argv[0]) if argv else None
        question = {
            "invocation": self._invocation(),
            "argv": [*map(to_wire, argv)],
            "command": path and to_wire(path),
            "verbose": bool(is_verbose),
            "user": user and to_wire(user),
        }
        text = self._judged("List", question).get("text")
        if type(text) is str:
            sudo.log_info(printable(text, keep="\n"))
        return sudo.RC.ACCEPT

    @explicit(is_rc)
    def invalidate(self, remove):
        self._ask("Invalidate", {"invocation": self._invocation(), "remove": bool(remove)})
        return sudo.RC.ACCEPT

    @explicit(is_rc)
    def show_version(self, is_verbose):  # noqa: ARG002
        sudo.log_info(f"jitsudo policy plugin for sudo, version {VERSION}")
        return sudo.RC.ACCEPT

    @explicit(is_rc)
    def close(self, exit_status, error):
        self._end_pam()
        ended = {"session": self.session, "token": self.token, "wait_status": exit_status, "errno": error}
        try:
            if self.session is not None:
                try:
                    self._ask("Close", ended)
                except Disconnected:
                    self._ask("Close", ended)
        except Refusal:
            # The command is over; the daemon learns it from the end of the connection.
            return sudo.RC.REJECT
        return sudo.RC.ACCEPT

    def _invocation(self):
        return {"front_end": FRONT_END} | {key: [*map(to_wire, items)] for key, items in self.told.items()}

    # Who it is: challenges, and the account.

    def _established(self, method, question, files=()):
        """An allow, once what the daemon wants to have established is. Raises Refusal, or Outage.

        The account is checked as sudo does, after the proof: a stack may count a check of the account as a success, and one
        before the proof would forget the wrong passwords of others (pam_faillock(8)). And before the daemon allows anything,
        so that no allow is on record for an account that is locked.
        """
        # Within a session, sudo asks for what the command executes. Root outside one is nobody's to lock out.
        is_checked = self.accepted > 0 or os.getuid() == 0
        reply = self._ask(method, question | {"account": None}, files)
        for _ in range(MAX_ROUNDS):
            challenge = challenge_of(reply)
            if challenge is None:
                break
            try:
                answer, passed, refusal = self._meet(challenge)
                reply = self._ask("Answer", answer, passed=passed)
            except Outage as fault:
                # Who has asked was there: root does not go on past a question.
                raise Refusal(fault.message, *fault.hints) from fault
            if refusal is not None:
                raise refusal
            is_checked = is_checked or answer["outcome"] == "proven"
        verdict_of(reply)
        if not is_checked:
            # A daemon that does not ask has allowed too early; the command of a locked account does not run all the same.
            refusal = self._meet(ACCOUNT | {"user": to_wire(self.user_info.get("user", ""))})[2]
            if refusal is not None:
                raise refusal
        return reply

    def _meet(self, challenge):
        """(what to answer, the descriptors that go along, the refusal that this comes to in the end or None)."""
        proof = load_proof()
        try:
            kind, message = challenge.get("kind"), one_text(challenge.get("message"), "message")
            if kind in ("account", "authenticate"):
                if challenge.get("service") != proof.SERVICE:
                    raise not_understood("another PAM service")
                user = one_text(challenge.get("user"), "user")
                if kind == "authenticate":
                    self._authenticate(proof, user, challenge)
                why = self._pam_for(proof, user).account(kind == "authenticate")
                refusal = None if why is None else SudosOwn(why)
                return {"outcome": "proven", "account": why and to_wire(why)}, {}, refusal
            if kind == "agent":
                path = dict(item.partition("=")[::2] for item in self.told["user_env"]).get("SSH_AUTH_SOCK")
                return {"outcome": "connected", "account": None}, {"agent": proof.agent(path, os.getuid())}, None
            if kind == "confirm":
                proof.confirm(printable(message, keep="\n"))
                return {"outcome": "confirmed", "account": None}, {}, None
            raise not_understood(f"challenge {printable(str(kind))[:100]}")
        except proof.NotProven as fault:
            speaker = SudosOwn if kind == "authenticate" else Refusal
            return {"outcome": fault.outcome, "account": None}, {}, speaker(fault.message, *fault.hints)

    def _authenticate(self, proof, user, challenge):
        tries, prompt, overrides = challenge.get("tries"), challenge.get("prompt"), challenge.get("overrides")
        if type(tries) is not int or tries < 1:
            raise not_understood("tries")
        if type(overrides) is not bool:
            raise not_understood("overrides")
        prompt = None if prompt is None else one_text(prompt, "prompt")
        self._pam_for(proof, user).authenticate(prompt, overrides, tries)

    def _pam_for(self, proof, user):
        if self.pam is not None and self.pam.user != user:
            self._end_pam()
        if self.pam is None:
            quiet = self.settings.get("noninteractive") == "true"
            self.pam = proof.Pam(user, self.user_info.get("user", ""), self.user_info.get("tty"), quiet)
        return self.pam

    def _open_pam_session(self, user_pwd, user_env):
        """What the PAM session adds to the environment; the daemon's own terms stay as they are."""
        try:
            proof = load_proof()
            try:
                pam = self._pam_for(proof, self.pam.user if self.pam is not None else self.user_info.get("user", ""))
            except proof.NotProven as fault:
                raise Refusal(fault.message, *fault.hints) from fault
            if not user_pwd:
                return ()  # a bare uid has no account to open a session for
            is_shell = "true" in (self.settings.get("run_shell"), self.settings.get("login_shell"))
            why = pam.open_session(user_pwd[0], not is_shell)
            if why is not None:
                raise SudosOwn(why)
        except Exception as fault:
            if self.session is not None or os.getuid() != 0:
                raise
            # A PAM stack that is broken must not lock root out.
            self._end_pam()
            self._say(fault if isinstance(fault, Refusal) else Refusal(f"no PAM session ({type(fault).__name__})"))
            return ()
        taken = {item.partition("=")[0] for item in user_env} | NEVER_FROM_PAM
        return tuple(item for item in pam.environment() if item.partition("=")[0] not in taken)

    def _end_pam(self):
        pam, self.pam = self.pam, None
        if pam is not None:
            pam.close()

    # What is said and heard.

    def _judged(self, method, parameters, files=()):
        reply = self._ask(method, parameters, files)
        verdict_of(reply)
        return reply

    def _ask(self, method, parameters, files=(), passed=None):
        """The parameters of the daemon's reply. Raises Refusal where it refuses, Outage where it does not answer.

        `files` are opened for the call; `passed` are open already, and closed here.
        """
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, GIVE_UP)
        opened = dict(passed or {})
        try:
            for name, path, flags in files:
                try:
                    opened[name] = os.open(path, flags | os.O_CLOEXEC)
                except OSError:
                    continue
            if files or passed:
                parameters = parameters | {"descriptors": [*opened]}
            if self.channel is not None and self.process != os.getpid():
                # `sudo -b` goes on in a child: the kernel would take it for its parent on the old connection.
                self._hang_up()
            if self.channel is None:
                self.process = os.getpid()
                check_directory(self.RUN_DIRECTORY, self.OWNER)
                self.channel = Channel(f"{self.RUN_DIRECTORY}/decide", self.OWNER)
            reply = self.channel.call(method, parameters, opened.values(), self._show)
            if files:
                self._keep_executable(opened.pop("command", None))
        except BaseException:
            # A connection on which an answer may still come is out of step.
            self._hang_up()
            raise
        finally:
            for descriptor in opened.values():
                os.close(descriptor)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        if "error" in reply:
            raise refused(reply["error"], reply["parameters"])
        return reply["parameters"]

    def _keep_executable(self, descriptor):
        if self.executable is not None:
            os.close(self.executable)
        self.executable = descriptor

    def _hang_up(self):
        if self.channel is not None:
            self.channel.socket.close()
            self.channel = None

    def _show(self, pending):
        if pending and pending not in self.shown and self.settings.get("noninteractive") != "true":
            self.shown.add(pending)
            sudo.log_error(f"jitsudo: {printable(pending)}")

    def _say(self, refusal):
        if refusal.message is None:
            return
        try:  # noqa: SIM105 - contextlib is not worth its import
            sudo.log_error("\n".join([f"{refusal.speaker}: " + printable(refusal.message), *map(printable, refusal.hints)]))
        except BaseException:  # noqa: BLE001, S110 - a person who cannot be told is refused all the same
            pass

    def _root_alone(self, argv, env_add, path, outage):
        """What root's own command runs with while the daemon cannot be asked; raises `outage` for everybody else."""
        if not self._is_root_outside():
            raise outage
        closefrom, cwd = self.settings.get("closefrom", "3"), self.settings.get("cmnd_cwd")
        if (
            any(self.settings.get(key, "false") != "false" for key in NOT_ALONE)
            or not (is_id(closefrom) and int(closefrom) >= 3)
            or (cwd is not None and not cwd.startswith("/"))
        ):
            raise Refusal(f"{outage.message}; until it is back, root can use sudo without -e, -h, -R, -T, -r and -t only")
        import grp
        import pwd

        user = entry(pwd.getpwuid, pwd.getpwnam, self.settings.get("runas_user", "root"))
        group = self.settings.get("runas_group")
        gid = user.pw_gid if group is None else entry(grp.getgrgid, grp.getgrnam, group).gr_gid
        extra = () if cwd is None else (f"cwd={cwd}",)
        if self.settings.get("preserve_groups") == "true":
            extra = (*extra, "preserve_groups=true")
        if self.settings.get("login_shell") == "true":
            path = user.pw_shell or "/bin/sh"
            argv = ("-" + path.rpartition("/")[2], *argv[1:])
            if cwd is None:
                extra = (*extra, f"cwd={user.pw_dir}")
        if path is None:
            raise Refusal(f"{argv[0] if argv else 'command'}: command not found")
        others = [str(other) for other in os.getgrouplist(user.pw_name, gid) if other != gid]
        info = (
            f"command={path}", "umask=022", f"closefrom={closefrom}", "use_pty=true", f"runas_uid={user.pw_uid}",
            f"runas_euid={user.pw_uid}", f"runas_gid={gid}", f"runas_egid={gid}",
            "runas_groups=" + ",".join([str(gid), *others]), f"runas_user={user.pw_name}", *extra,
        )  # fmt: skip
        told = dict(item.partition("=")[::2] for item in reversed(self.told["user_env"]))
        keep_all = self.settings.get("preserve_environment") == "true"
        ran = " ".join([path, *argv[1:]])
        env = {
            "TERM": "unknown",
            **{
                name: value for name, value in told.items()
                if name and (keep_all or (name in ("LANG", "LC_ALL", "TERM") and not set(value) & set("/%")))
            },
            "HOME": user.pw_dir, "LOGNAME": user.pw_name, "MAIL": f"/var/mail/{user.pw_name}",
            "PATH": ":".join(SECURE_PATH), "SHELL": user.pw_shell or "/bin/sh", "SUDO_COMMAND": ran[:4096],
            "SUDO_GID": str(os.getgid()), "SUDO_UID": "0", "SUDO_USER": "root", "USER": user.pw_name,
            **dict(item.partition("=")[::2] for item in env_add),
        }  # fmt: skip
        self._log(f"root ran {ran!r} as {user.pw_name} without a decision: {outage.message}")
        return info, tuple(argv), tuple(f"{name}={value}" for name, value in env.items())

    def _is_root_outside(self):
        if os.getuid() != 0 or self.session is not None:
            return False
        with open(self.CGROUP, "rb") as lines:
            return not any(SESSIONS_SLICE in line.rstrip().split(b"/") for line in lines)

    def _log(self, text):
        # Not the syslog module: since Python 3.12 it refuses to work in a sub-interpreter. And never waiting.
        line = f"<{LOG_AUTHPRIV_WARNING}>jitsudo[{os.getpid()}]: {printable(text)[:MAX_LOG_CHARS]}"
        log = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            log.settimeout(0)
            log.connect(self.SYSLOG)
            log.send(raw(line))
        except OSError:
            sudo.log_error(f"jitsudo: {printable(text)} (and this could not be logged)")
        finally:
            log.close()


def entry(by_id, by_name, wanted):
    """The user or group of a name or `#id`; ids are plain digits and nothing else (CVE-2019-14287)."""
    try:
        if wanted[:1] != "#":
            return by_name(wanted)
        if is_id(wanted[1:]):
            return by_id(int(wanted[1:]))
    except (KeyError, ValueError):
        pass
    raise Refusal(f"unknown user or group {wanted}")
