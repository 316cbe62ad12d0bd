"""How people prove to sudo who they are: PAM inside sudo's own process, the SSH agent, a word typed on the terminal.

Loaded by jitsudo_sudo_plugin.py, which decides nothing from it: what came of a proof goes to the daemon. VERSION must be the
plugin's own, so that files of two versions never work together.
"""

from __future__ import annotations

# The C halves of ctypes and socket: the Python halves would cost every sudo 2 ms.
import _ctypes
import _signal
import _socket
import errno
import os
import time

import sudo

VERSION = "0.1.0"
SERVICE = "jitsudo-sudo"
SERVICE_FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d")
LIBPAM = "libpam.so.0"

# security/_pam_types.h
PAM_SUCCESS, PAM_SYSTEM_ERR, PAM_BUF_ERR, PAM_PERM_DENIED, PAM_AUTH_ERR = 0, 4, 5, 6, 7
PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_NEW_AUTHTOK_REQD, PAM_SESSION_ERR, PAM_CONV_ERR = 9, 11, 12, 14, 19
PAM_ACCT_EXPIRED, PAM_AUTHTOK_EXPIRED = 13, 27
PAM_USER, PAM_TTY, PAM_RUSER = 2, 3, 8
PAM_SILENT, PAM_DISALLOW_NULL_AUTHTOK = 0x8000, 0x1
PAM_DELETE_CRED, PAM_REINITIALIZE_CRED, PAM_CHANGE_EXPIRED_AUTHTOK = 0x4, 0x8, 0x20
PAM_DATA_SILENT = 0x4000_0000
ECHO_OFF, ECHO_ON, ERROR_MSG, TEXT_INFO = 1, 2, 3, 4
MAX_MESSAGES = 32  # PAM_MAX_NUM_MSG
MAX_ANSWER_BYTES = 512  # PAM_MAX_RESP_SIZE

PROMPT_SECONDS = 280  # for all of a challenge's questions: less than the daemon waits for the answer
TICK_SECONDS = 0.1
# What the terminal sends: blocked while PAM works, since it might interrupt a module half-way, and let through at a prompt.
KEYS = frozenset({_signal.SIGINT, _signal.SIGQUIT})
GIVE_UP = KEYS | {_signal.SIGHUP, _signal.SIGTERM}

# sudo_plugin(5); the Python host's own list of them lacks the one for errors.
CONV_ECHO_OFF, CONV_ECHO_ON, CONV_ERROR, CONV_PREFER_TTY = 1, 2, 3, 0x2000

WRONG = frozenset({PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_PERM_DENIED})
ACCOUNT_SENTENCES = {
    PAM_AUTH_ERR: "account validation failure, is your account locked?",
    PAM_ACCT_EXPIRED: 'Account expired or PAM config lacks an "account" section for sudo, contact your system administrator',
    PAM_AUTHTOK_EXPIRED: "Password expired, contact your system administrator",
}


class NotProven(Exception):
    """No proof; `outcome` is the daemon's word for why, the message is for the person, in sudo's own words where it has any."""

    def __init__(self, outcome, message, *hints):
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.hints = hints


def raw(text):
    # Not os.fsencode: in sudo the file system's encoding follows the caller's locale.
    return text.encode("utf-8", "surrogateescape")


def shown(data):
    """What a PAM module wants shown, with nothing that sudo's Python host could not pass on."""
    return (data or b"").decode("utf-8", "replace").replace("\0", "")


def tell(text):
    """A line on the terminal if there is one, on standard error otherwise: never in somebody's pipe."""
    try:  # noqa: SIM105 - contextlib is not worth its import
        sudo.conv(sudo.ConvMessage(CONV_ERROR | CONV_PREFER_TTY, text + "\n", 0))
    except Exception:  # noqa: BLE001, S110 - a line that cannot be shown changes nothing
        pass


def is_given_up(signals=KEYS):
    return bool(_signal.sigpending() & signals)


# libpam, through the C half of ctypes.


class Int(_ctypes._SimpleCData):
    _type_ = "i"


class Pointer(_ctypes._SimpleCData):
    _type_ = "P"


class Size(_ctypes._SimpleCData):
    _type_ = "L"


class Bytes(_ctypes._SimpleCData):
    _type_ = "z"


class Converse(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = Int
    _argtypes_ = (Int, Pointer, Pointer, Pointer)


class Conversation(_ctypes.Structure):
    _fields_ = (("converse", Converse), ("data", Pointer))


POINTER_BYTES = _ctypes.sizeof(Pointer)
RESPONSE_BYTES = 2 * POINTER_BYTES  # struct pam_response: a pointer, an int, padding


def function(library, name, result, *arguments):
    members = {"_flags_": _ctypes.FUNCFLAG_CDECL, "_restype_": result, "_argtypes_": arguments}
    return type(name, (_ctypes.CFuncPtr,), members)(_ctypes.dlsym(library, name))


class Pam:
    """One PAM handle, from the first proof to the end of the session."""

    def __init__(self, user, caller, terminal, is_quiet):
        """`user` is whose account it is, `caller` who called sudo. `is_quiet`: no module may ask anything (sudo -n).

        Raises NotProven where PAM is not there to be asked.
        """
        # Without our own stack libpam takes the one for "other", which may be anything.
        if not any(os.path.exists(f"{folder}/{SERVICE}") for folder in SERVICE_FOLDERS):
            raise NotProven("unavailable", f"there is no {SERVICE_FOLDERS[0]}/{SERVICE}", "reinstall jitsudo")
        self.user = user
        self.caller = caller
        self.is_quiet = is_quiet
        self.prompt = None
        self.overrides = False
        self.is_broken_off = False
        self.deadline = 0.0
        self.has_session = False
        self.has_credentials = False
        self.code = PAM_SUCCESS
        library, libc = _ctypes.dlopen(LIBPAM, 0), _ctypes.dlopen(None, 0)
        self._calloc = function(libc, "calloc", Pointer, Size, Size)
        self._strdup = function(libc, "strdup", Pointer, Bytes)
        self._dgettext = function(libc, "dgettext", Bytes, Bytes, Bytes)
        self._start = function(library, "pam_start", Int, Bytes, Bytes, Pointer, Pointer)
        self._end = function(library, "pam_end", Int, Pointer, Int)
        self._set_item = function(library, "pam_set_item", Int, Pointer, Int, Bytes)
        self._strerror = function(library, "pam_strerror", Bytes, Pointer, Int)
        self._getenvlist = function(library, "pam_getenvlist", Pointer, Pointer)
        self._do = {
            name: function(library, f"pam_{name}", Int, Pointer, Int)
            for name in ("authenticate", "acct_mgmt", "chauthtok", "setcred", "open_session", "close_session")
        }
        self._converse = Converse(self._answer)
        self._conversation = Conversation(self._converse, None)
        handle = Pointer()
        code = self._start(raw(SERVICE), raw(user), _ctypes.byref(self._conversation), _ctypes.byref(handle))
        if code != PAM_SUCCESS or not handle.value:
            raise NotProven("unavailable", f"unable to initialize PAM (code {code})", "journalctl -t sudo")
        self._handle = handle.value
        self._set_item(self._handle, PAM_RUSER, raw(caller))
        # Modules take it for granted that there is one.
        self._set_item(self._handle, PAM_TTY, raw(terminal or ""))

    def explain(self, code):
        if code == PAM_SYSTEM_ERR:
            return os.strerror(errno.EIO)
        return shown(self._strerror(self._handle, code)) or f"PAM error {code}"

    def _run(self, what, flags):
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, KEYS)
        try:
            self.code = self._do[what](self._handle, flags)
            return self.code
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def authenticate(self, prompt, overrides, tries):
        """Ask until it is right, at most `tries` times. `prompt` stands in for the stack's question for a password, and with
        `overrides` for each of its questions. Raises NotProven.
        """
        self.prompt, self.overrides, self.is_broken_off = prompt, overrides, False
        self.deadline = time.monotonic() + PROMPT_SECONDS
        # From one try to the next, too: an interrupt while PAM delays its answer is not lost.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, KEYS)
        try:
            self._ask_until_right(tries)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def _ask_until_right(self, tries):
        wrong = 0
        while wrong < tries and not is_given_up():
            if wrong:
                tell("Sorry, try again.")
            # An account without a password proves nothing.
            code = self._run("authenticate", PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK)
            if self.is_broken_off:
                break
            if code == PAM_SUCCESS:
                return
            if code not in WRONG:
                raise NotProven("failed", f"PAM authentication error: {self.explain(code)}")
            wrong += 1
        sentence = f"{wrong} incorrect password attempt{'s' if wrong > 1 else ''}" if wrong else "a password is required"
        raise NotProven("failed" if wrong else "declined", sentence)

    def account(self, may_change):
        """None where the account may be used, else why not. `may_change`: an expired password can be changed, and has to be;
        otherwise nobody was asked for one, and its age does not matter.
        """
        code = self._run("acct_mgmt", PAM_SILENT)
        if code == PAM_NEW_AUTHTOK_REQD and may_change:
            tell("sudo: Account or password is expired, reset your password and try again")
            self.prompt, self.is_broken_off = None, False
            code = self._run("chauthtok", PAM_CHANGE_EXPIRED_AUTHTOK)
            return None if code == PAM_SUCCESS else f"unable to change expired password: {self.explain(code)}"
        if code == PAM_SUCCESS or (code in (PAM_NEW_AUTHTOK_REQD, PAM_AUTHTOK_EXPIRED) and not may_change):
            self.code = PAM_SUCCESS
            return None
        return ACCOUNT_SENTENCES.get(code) or f"PAM account management error: {self.explain(code)}"

    def open_session(self, target, is_silent):
        """Credentials and session for `target`; None, or what went wrong. Not every stack has credentials to give."""
        self._set_item(self._handle, PAM_USER, raw(target))
        self.has_credentials = self._run("setcred", PAM_REINITIALIZE_CRED) == PAM_SUCCESS
        code = self._run("open_session", PAM_SILENT if is_silent else 0)
        self.has_session = code == PAM_SUCCESS
        if code in (PAM_SUCCESS, PAM_SESSION_ERR):
            self.code = PAM_SUCCESS
            return None
        return f"pam_open_session: {self.explain(code)}"

    def environment(self):
        """What the stack put into its environment, "NAME=value"."""
        found = []
        address = self._getenvlist(self._handle)
        while address and (item := Bytes.from_address(address).value) is not None:
            found.append(item.decode("utf-8", "replace"))
            address += POINTER_BYTES
        return found

    def close(self):
        if self._handle is None:
            return
        if self.has_session:
            self._run("close_session", PAM_SILENT)
        if self.has_credentials:
            self._run("setcred", PAM_DELETE_CRED | PAM_SILENT)
        handle, self._handle = self._handle, None
        self._end(handle, self.code | PAM_DATA_SILENT)

    def _answer(self, count, messages, responses, _data):
        """The conversation; pam_conv(3) says who frees what. No import here: it runs for the first interpreter."""
        try:
            if not 0 < count <= MAX_MESSAGES:
                return PAM_CONV_ERR
            answers = [self._reply(Pointer.from_address(messages + i * POINTER_BYTES).value) for i in range(count)]
            array = self._calloc(count, RESPONSE_BYTES)
            if not array:
                return PAM_BUF_ERR
            for index, answer in enumerate(answers):
                if answer is not None:
                    Pointer.from_address(array + index * RESPONSE_BYTES).value = self._strdup(answer)
            Pointer.from_address(responses).value = array
        # Broad on purpose: an exception cannot cross C, and whatever it is, PAM must not go on.
        except BaseException:  # noqa: BLE001
            self.is_broken_off = True
            return PAM_CONV_ERR
        return PAM_SUCCESS

    def _reply(self, message):
        style, text = Int.from_address(message).value, Bytes.from_address(message + POINTER_BYTES).value
        if style in (ERROR_MSG, TEXT_INFO):
            tell(shown(text))
            return None
        if style not in (ECHO_OFF, ECHO_ON) or self.is_broken_off or self.is_quiet:
            raise ValueError(style)
        seconds = int(self.deadline - time.monotonic())
        if seconds <= 0:
            raise ValueError("too late")
        prompt = self.prompt if self.prompt is not None and self._is_password_prompt(text or b"") else shown(text)
        before = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, KEYS)
        try:
            kind = CONV_ECHO_OFF if style == ECHO_OFF else CONV_ECHO_ON
            (answer,) = sudo.conv(sudo.ConvMessage(kind, prompt, seconds))
        except UnicodeError:
            tell("jitsudo: sudo's Python plugins cannot take what is not UTF-8")
            raise
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        data = raw(answer)
        if len(data) >= MAX_ANSWER_BYTES or b"\0" in data:
            raise ValueError("password too long")
        return data

    def _is_password_prompt(self, text):
        """Whether it is the stack's plain question for a password, in the caller's language; sudo's own rule."""
        plain = (b"Password:", b"Password: ")
        if self.overrides or text in plain or text in [self._dgettext(b"Linux-PAM", item) for item in plain]:
            return True
        return text.removeprefix(raw(self.caller)) in (b"'s Password:", b"'s Password: ")


# The word yes, on the terminal itself: `sudo -S` and an askpass program must not be able to say it.


def confirm(message):
    """Return once the person has typed yes. Raises NotProven."""
    import select
    import termios

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise NotProven("unavailable", f"{message} This has to be confirmed on a terminal, and there is none") from None
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, GIVE_UP)
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            raise NotProven("unavailable", f"{message} This has to be confirmed in the foreground")
        # What was typed before the question is no answer to it.
        termios.tcflush(terminal, termios.TCIFLUSH)
        os.write(terminal, raw(f"{message}\nType yes to go on: "))
        deadline = time.monotonic() + PROMPT_SECONDS
        while not select.select([terminal], [], [], TICK_SECONDS)[0]:
            if is_given_up(GIVE_UP) or time.monotonic() >= deadline:
                os.write(terminal, b"\n")
                raise NotProven("declined", "not confirmed")
        if os.read(terminal, 64).strip() != b"yes":
            raise NotProven("declined", "not confirmed")
    except OSError as fault:
        raise NotProven("unavailable", f"{message} The terminal is gone ({os.strerror(fault.errno)})") from None
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        os.close(terminal)


# The SSH agent. What it says is for the daemon to read: nothing of it is parsed in a setuid program.


def agent(path, uid):
    """The descriptor of a connection to the caller's SSH agent, for the caller to close. Raises NotProven."""
    if not path:
        raise NotProven("unavailable", "no SSH agent: SSH_AUTH_SOCK is not set", "ssh -A, or ssh-add on this host")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    try:
        # As the caller: the path is theirs to choose, and must not lead to a socket that only root may open.
        os.seteuid(uid)
        try:
            connection.connect(raw(path))
        finally:
            os.seteuid(0)
        return connection.detach()
    except (OSError, ValueError) as fault:
        connection.close()
        why = os.strerror(getattr(fault, "errno", None) or errno.EINVAL)
        raise NotProven("unavailable", f"your SSH agent cannot be reached ({why})", "ssh-add -l") from None
