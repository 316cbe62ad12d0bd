"""What is run under stock sudo and under jitsudo, one case each; data/run_cases.py says what a case may hold.

People: alice may do everything that the suite does, without a password and with every option; bob the same, and is asked
for his password; carol may run the probe as root and no more; mallory nothing; root is root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Case = dict[str, Any]
PROBE = "/usr/local/bin/probe"
EDITED = "/srv/compat/edit"
PASSWORD = ": "  # with which sudo's prompt ends

# Environment of sudo's manual, of CVEs and of daily life: each is set to a harmless value, and to others below.
KEPT = (  # noqa: SIM905  words read better than a list of strings
    "COLORS DISPLAY DPKG_COLORS HOSTNAME KRB5CCNAME LS_COLORS PS1 PS2 XAUTHORITY XAUTHORIZATION XDG_CURRENT_DESKTOP "
    "COLORTERM LANG LANGUAGE LC_ALL LC_CTYPE LC_MESSAGES LC_WHATEVER LINGUAS TERM TZ"
).split()
DROPPED = (  # noqa: SIM905
    "IFS CDPATH LOCALDOMAIN RES_OPTIONS HOSTALIASES NLSPATH PATH_LOCALE LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG "
    "_RLD_LIST _RLDN32 KRB5_CONFIG KRB5_CONFIG_X KRB5_KTNAME VAR_ACE USR_ACE DLC_ACE TERMINFO TERMINFO_DIRS TERMPATH TERMCAP "
    "ENV BASH_ENV PS4 GLOBIGNORE BASHOPTS SHELLOPTS JAVA_TOOL_OPTIONS _JAVA_OPTIONS CLASSPATH PERLIO_DEBUG PERLLIB PERL5LIB "
    "PERL5OPT PERL5DB FPATH NULLCMD READNULLCMD ZDOTDIR TMPPREFIX PYTHONHOME PYTHONPATH PYTHONINSPECT PYTHONUSERBASE "
    "PYTHONSTARTUP RUBYLIB RUBYOPT NODE_OPTIONS NODE_PATH GIT_SSH_COMMAND GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GCONV_PATH "
    "GETCONF_DIR MALLOC_CHECK_ MALLOC_TRACE GLIBC_TUNABLES TMPDIR TMP TEMP EDITOR VISUAL SUDO_EDITOR PAGER LESSOPEN "
    "LESSSECURE SYSTEMD_PAGER SYSTEMD_EDITOR POSIXLY_CORRECT POSIX_ME_HARDER SSH_AUTH_SOCK SSH_CONNECTION SSH_CLIENT "
    "XDG_RUNTIME_DIR XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS http_proxy HTTPS_PROXY NO_PROXY FOO foo _ OLDPWD PWD SHLVL "
    "SUDO_PS1 SUDO_PROMPT SUDO_ASKPASS SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID SUDO_HOME SUDO_TTY "
    "HOME LOGNAME USER USERNAME MAIL SHELL PATH CONSOLE LESS MANPATH LINES COLUMNS BASH_FUNC_x%% A.B A-B 1A"
).split()
VALUES = {
    "slash": "a/b",
    "percent": "a%b",
    "both": "/usr/share/%s/x",
    "function": "() { :;}; echo no",
    "empty": "",
    "long": "x" * 4096,
    "newline": "a\nb",
    "tab": "a\tb",
    "equals": "a=b",
    "shell": "$(id);`id`",
    "UTF-8": "caf\u00c3\u00a9",
}
ZONES = {
    "name": "Europe/Berlin",
    "absolute in the database": "/usr/share/zoneinfo/UTC",
    "absolute elsewhere": "/etc/passwd",
    "colon": ":UTC",
    "colon and absolute": ":/etc/shadow",
    "upwards": "../../etc/passwd",
    "dots in the middle": "Europe/../UTC",
    "POSIX rule": "CET-1CEST,M3.5.0,M10.5.0/3",
    "space": "a b",
    "empty": "",
    "long": "x" * 5000,
    "control": "UTC\x07",
}


def run(*argv: str, user: str = "alice", **case: Any) -> tuple[str, Case]:
    return user, {"argv": list(argv), **case}


def shell(script: str, user: str = "alice", **case: Any) -> tuple[str, Case]:
    """A line of shell, with the probe as $P."""
    return user, {"argv": [], "shell": f"P={PROBE}; {script}", **case}


def identities() -> Iterator[tuple[str, tuple[str, Case]]]:
    targets = [
        "root", "bob", "postgres", "nobody", "#0", "#1001", "#65534", "#-1", "#4294967295", "#4294967296", "#01001",
        "#99999", "#",
        "#x", "", "nosuch", "Bob", "bob ", "%web", "+web", "ALL", "root:root", "-1",
    ]  # fmt: skip
    for target in targets:
        yield f"-u {target!r}", run("-u", target, PROBE)
    for group in ("web", "root", "bob", "alice", "#0", "#1000", "#1001", "#-1", "#4294967295", "#99999", "nosuch", ""):
        yield f"-g {group!r}", run("-g", group, PROBE)
        yield f"-u bob -g {group!r}", run("-u", "bob", "-g", group, PROBE)
    for options in (
        ["-P"],
        ["-P", "-u", "bob"],
        ["-P", "-u", "bob", "-g", "web"],
        ["-H"],
        ["-H", "-u", "bob"],
        ["-H", "-E"],
    ):
        yield " ".join(options), run(*options, PROBE)
    for options in (
        ["--user=bob"],
        ["--user", "bob"],
        ["--group=web"],
        ["--set-home"],
        ["-ubob"],
        ["-nu", "bob"],
        ["-u", "bob", "-u", "root"],
    ):
        yield " ".join(options), run(*options, PROBE)
    for user in ("carol", "mallory", "root"):
        yield f"{user} runs", run(PROBE, user=user)
        yield f"{user} runs as bob", run("-u", "bob", PROBE, user=user)
        yield f"{user} runs with a group", run("-g", "web", PROBE, user=user)
        yield f"{user} runs as themselves", run("-u", user, PROBE, user=user)
    yield "root as postgres with a group", run("-u", "postgres", "-g", "web", PROBE, user="root")
    yield "alice as herself", run("-u", "alice", PROBE)
    yield "alice with her own group", run("-u", "alice", "-g", "alice", PROBE)
    yield "alice with a group of hers", run("-u", "alice", "-g", "web", PROBE)


def environments() -> Iterator[tuple[str, tuple[str, Case]]]:
    names = [*KEPT, *DROPPED]
    harmless = dict.fromkeys(names, "x")
    for user in ("alice", "carol", "root"):
        yield f"{user}: every variable", run(PROBE, user=user, env=harmless)
    yield "every variable, as bob", run("-u", "bob", PROBE, env=harmless)
    yield "every variable, -E", run("-E", PROBE, env=harmless)
    yield "every variable, -E -H", run("-E", "-H", PROBE, env=harmless)
    yield "every variable, -E as bob", run("-E", "-u", "bob", PROBE, env=harmless)
    yield "every variable, carol's -E", run("-E", PROBE, user="carol", env=harmless)
    yield "every variable, root's -E", run("-E", PROBE, user="root", env=harmless)
    yield "every variable, -i", run("-i", PROBE, env=harmless)
    yield "every variable, -s", run("-s", PROBE, env=harmless)
    for what, value in VALUES.items():
        yield f"every kept variable: {what}", run(PROBE, env=dict.fromkeys(KEPT, value))
        yield f"every kept variable, -E: {what}", run("-E", PROBE, env=dict.fromkeys([*KEPT, "FOO"], value))
    for what, zone in ZONES.items():
        yield f"TZ: {what}", run(PROBE, env={"TZ": zone})
    for name in ("TERM", "LANG", "HOME", "SHELL", "USER", "LOGNAME", "PATH"):
        yield f"without {name}", run(PROBE, without=[name])
        yield f"without {name}, -E", run("-E", PROBE, without=[name])
    yield "no variable at all", run(PROBE, without=["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"])
    for options in (
        ["--preserve-env=FOO"], ["--preserve-env=FOO,BAR"], ["--preserve-env=NOT_SET"], ["--preserve-env=PATH"],
        ["--preserve-env=HOME"], ["--preserve-env=LD_PRELOAD"], ["--preserve-env=USER,LOGNAME,SHELL"], ["--preserve-env="],
        ["--preserve-env=FOO", "--preserve-env=BAR"], ["--preserve-env=F*"], ["--preserve-env=SUDO_USER"],
        ["--preserve-env=BASH_ENV"], ["--preserve-env=PYTHONPATH"], ["--preserve-env=FUNCTION"], ["--preserve-env"],
    ):  # fmt: skip
        env = {
            "FOO": "foo", "BAR": "a/b%c", "LD_PRELOAD": "/tmp/x.so", "BASH_ENV": "/tmp/x", "PYTHONPATH": "/tmp",
            "FUNCTION": "() { :; }",
        }  # fmt: skip
        yield " ".join(options), run(*options, PROBE, env=env)
        yield f"carol: {' '.join(options)}", run(*options, PROBE, user="carol", env=env)
    for variables in (
        ["FOO=1"], ["FOO=1", "BAR=2"], ["FOO="], ["FOO=a=b"], ["FOO=1", "FOO=2"], ["PATH=/tmp"], ["HOME=/tmp"],
        ["LD_PRELOAD=/tmp/x.so"],
        ["USER=x"], ["SUDO_USER=x"], ["LANG=C"], ["TERM=dumb"], ["FOO=() { :; }"], ["IFS=x"], ["BASH_ENV=/tmp/x"],
        ["1A=x"], ["A.B=x"],
        ["TZ=/etc/passwd"], ["PYTHONPATH=/tmp"], ["FOO=a b\nc"], ["=x"], ["MAIL=x"], ["SHELL=/bin/false"], ["SUDO_COMMAND=x"],
    ):  # fmt: skip
        yield f"{variables}", run(*variables, PROBE)
    yield "carol: FOO=1", run("FOO=1", PROBE, user="carol")
    yield "carol: LANG=C", run("LANG=C", PROBE, user="carol")
    yield "root: FOO=1", run("FOO=1", PROBE, user="root")
    yield "FOO=1 -i", run("-i", "FOO=1", PROBE)
    yield "FOO=1 -s", run("-s", "FOO=1", PROBE)
    yield "FOO=1 -E", run("-E", "FOO=1", PROBE, env={"FOO": "2", "BAR": "3"})
    yield "a thousand variables", run(PROBE, env={f"V{i}": "x" * 100 for i in range(1000)})
    yield "a thousand variables, -E", run("-E", PROBE, env={f"V{i}": "x" * 100 for i in range(1000)})
    yield "exported functions", run(PROBE, env={"BASH_FUNC_x%%": "() { id; }", "BASH_FUNC_x()": "() { id; }"})
    yield (
        "-n with a prompt in the environment",
        run("-n", PROBE, env={"SUDO_PROMPT": "x", "SUDO_ASKPASS": "/bin/false"}),
    )


def places() -> Iterator[tuple[str, tuple[str, Case]]]:
    long = "/srv/compat/" + "/".join("d" * 200 for _ in range(10))
    folders = [
        "/",
        "/tmp",
        "/root",
        "/home/alice",
        "/home/alice/private",
        "/srv/compat/caf\u00c3\u00a9",
        long,
        "DELETED",
        "/srv/compat/link",
    ]
    for folder in folders:
        for options in ([], ["-u", "bob"], ["-i"], ["-s"]):
            if folder == "/root":
                yield f"{folder} {options}", run(*options, PROBE, user="root", cwd=folder)
            else:
                yield f"{folder[:40]} {options}", run(*options, PROBE, cwd=folder)
    for folder in (
        "/tmp",
        "/root",
        "/home/alice/private",
        "relative",
        "..",
        "~",
        "~bob",
        "~nosuch",
        "/nonexistent",
        "",
        "/etc/passwd",
        "/srv/compat/link",
    ):
        yield f"-D {folder!r}", run("-D", folder, PROBE)
        yield f"-D {folder!r} as bob", run("-u", "bob", "-D", folder, PROBE)
    yield "carol: -D", run("-D", "/tmp", PROBE, user="carol")
    yield "-i -D", run("-i", "-D", "/tmp", PROBE)
    yield "--chdir=/tmp", run("--chdir=/tmp", PROBE)


def hygiene() -> Iterator[tuple[str, tuple[str, Case]]]:
    for mask in ("000", "002", "022", "027", "077", "777"):
        yield f"umask {mask}", run(PROBE, umask=mask)
        yield f"umask {mask} -i", run("-i", PROBE, umask=mask)
    yield (
        "umask of what is made",
        shell(
            "umask 0; cd /srv/compat/open; rm -f made; $SUDO $P touch made; stat -c '%a %U %G' made; "
            "$SUDO -u bob $P touch made2; stat -c %a made2"
        ),
    )
    yield "descriptors left open", run(PROBE, files=[3, 4, 7, 20])
    for number in ("3", "4", "5", "8", "2", "0", "-1", "x", "", "4294967296"):
        yield f"-C {number!r}", run("-C", number, PROBE, files=[3, 4, 7, 20])
    yield "carol: -C 5", run("-C", "5", PROBE, user="carol", files=[3, 4])
    for streams in ([0], [1], [2], [0, 1], [0, 1, 2]):
        yield f"closed {streams}", run(PROBE, closed=streams)
    for name, value in {
        "nofile": (64, 128), "core": (0, 0), "cpu": (100, 200), "stack": (4 << 20, 8 << 20), "nproc": (500, 600),
        "memlock": (65536, 65536), "fsize": (1 << 30, 1 << 30), "data": (1 << 30, 1 << 30), "as": (4 << 30, 4 << 30),
    }.items():  # fmt: skip
        yield f"limit {name}", run(PROBE, limits={name: value})
    for signals in ([1], [2], [13], [15], [17], [1, 2, 3, 13, 15, 20, 21, 22]):
        yield f"ignored signals {signals}", run(PROBE, ignored=signals)
    yield "blocked signals", run(PROBE, blocked=[10, 12])
    yield "nice", run(PROBE, nice=7)


def endings() -> Iterator[tuple[str, tuple[str, Case]]]:
    for status in (0, 1, 2, 3, 42, 77, 126, 127, 128, 130, 137, 143, 200, 254, 255):
        yield f"exit {status}", run(PROBE, "exit", str(status))
    for signal in (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15):
        yield f"signal {signal}", run(PROBE, "kill", str(signal))
        yield f"signal {signal} seen by a shell", shell(f"$SUDO $P kill {signal}; echo $?")
    for signal in ("HUP", "INT", "TERM", "QUIT", "USR1", "USR2", "ALRM"):
        yield (
            f"SIG{signal} to sudo",
            shell(
                f"cd /srv/compat/open; $SUDO $P sleep 8 >slept & until grep -qs asleep slept; do sleep 0.05; done; "
                f"kill -{signal} $! 2>/dev/null; wait $! 2>/dev/null; echo $?; rm -f slept"
            ),
        )
    yield "-i exit 7", run("-i", PROBE, "exit", "7")
    yield "-s exit 7", run("-s", PROBE, "exit", "7")
    yield "-b", run("-b", PROBE, "exit", "7", linger=30.0)
    yield "-b says", run("-b", PROBE, "say", "out", "err", linger=30.0)
    for time in ("1", "1s", "0", "x", "-1", "1m", "1h1m", "999999999999", ""):
        yield f"-T {time!r}", run("-T", time, PROBE)
    yield "-T ends it", shell("$SUDO -T 1 $P sleep 8; echo $?")
    yield "carol: -T", run("-T", "1", PROBE, user="carol")


def streams() -> Iterator[tuple[str, tuple[str, Case]]]:
    every = "".join(map(chr, range(256)))
    for what, data in {
        "nothing": "",
        "every byte": every,
        "a megabyte": every * 4096,
        "no newline": "abc",
        "NUL": "\0\0",
    }.items():
        yield f"cat: {what}", run(PROBE, "cat", input=data)
        yield f"cat -i: {what}", run("-i", PROBE, "cat", input=data)
    yield "both streams", run(PROBE, "say", "out\n", "err\n")
    yield "a pipeline", shell("printf 'a\\0b\\377' | $SUDO $P cat | od -c")
    yield "a pipe that closes early", shell("$SUDO $P cat </dev/zero | head -c 5 | od -c")
    yield "to a file", shell("cd /srv/compat/open; $SUDO $P say out err >o 2>e; cat o e")
    yield "from a file", shell("$SUDO $P cat </etc/debian_version")
    yield "in the background", shell("$SUDO $P say out err & wait $!; echo $?")
    yield "nohup", shell("nohup $SUDO $P say out err; echo $?")
    yield "setsid", shell("setsid -w $SUDO $P say out err; echo $?")
    yield "timeout that is long", shell("timeout 10 $SUDO $P exit 3; echo $?")
    yield "timeout that is short", shell("timeout 1 $SUDO $P sleep 8; echo $?", seconds=60)
    yield "xargs", shell("printf '1\\n2\\n' | xargs -n 1 $SUDO $P say; echo $?")
    yield "find -exec", shell("find /srv/compat/edit -name '*.conf' -exec $SUDO $P say {} x ';' | sort")
    yield "in $( )", shell('x=$($SUDO $P say out err 2>&1); echo "[$x]"')


def terminals() -> Iterator[tuple[str, tuple[str, Case]]]:
    for tty in (True, "input", "output"):
        yield f"terminal {tty}", run(PROBE, tty=tty)
        yield f"terminal {tty} says", run(PROBE, "say", "out\n", "err\n", tty=tty)
        yield f"terminal {tty} exits 5", run(PROBE, "exit", "5", tty=tty)
        yield f"terminal {tty} is killed", run(PROBE, "kill", "15", tty=tty)
    yield "terminal of another size", run(PROBE, tty=True, size=[50, 132])
    yield "terminal -u bob", run("-u", "bob", PROBE, tty=True)
    yield "terminal -i", run("-i", PROBE, tty=True)
    yield "terminal -s", run("-s", PROBE, tty=True)
    yield "terminal -b", shell("$SUDO -b $P say out err; sleep 1", tty=True)
    yield "terminal, in a pipe", shell("$SUDO $P say out '' | cat", tty=True)
    yield "terminal, in the background", shell("$SUDO $P say out err & wait $!; echo $?", tty=True)
    yield "terminal, ^C", run(PROBE, "sleep", "8", tty=True, typing=[["asleep", "\x03"]])
    yield "terminal, typed", run(PROBE, "echo", tty=True, typing=[["ready", "abc\n"], ["abc\r\nabc", "\x04"]])


def passwords() -> Iterator[tuple[str, tuple[str, Case]]]:
    right, wrong = "bob\n", "nonsense\n"
    yield "-n", run("-k", "-n", PROBE, user="bob")
    yield "-n -v", run("-n", "-v", user="bob")
    yield "-n -l", run("-n", "-l", PROBE, user="bob")
    yield "-S", run("-k", "-S", PROBE, user="bob", input=right)
    yield "-S without newline", run("-k", "-S", PROBE, user="bob", input="bob")
    yield "-S wrong", run("-k", "-S", PROBE, user="bob", input=wrong)
    yield "-S wrong, then right", run("-k", "-S", PROBE, user="bob", input=wrong + right)
    yield "-S wrong three times", run("-k", "-S", PROBE, user="bob", input=wrong * 3 + right)
    yield "-S nothing", run("-k", "-S", PROBE, user="bob")
    yield "-S empty", run("-k", "-S", PROBE, user="bob", input="\n")
    yield "-S and data for the command", run("-k", "-S", PROBE, "cat", user="bob", input=right + "data\nmore")
    yield "-S NUL", run("-k", "-S", PROBE, user="bob", input="bo\0b\n")
    yield "-S long", run("-k", "-S", PROBE, user="bob", input="x" * 5000 + "\n")
    for prompt in (
        "Say it: ",
        "%p:%u:%U:%H:%h:%%:",
        "",
        "%",
        "%x",
        "two\nlines: ",
        "[sudo via ansible, key=abc] password:",
    ):
        yield f"-S -p {prompt!r}", run("-k", "-S", "-p", prompt, PROBE, user="bob", input=right)
    yield "-S with SUDO_PROMPT", run("-k", "-S", PROBE, user="bob", input=right, env={"SUDO_PROMPT": "from %p: "})
    yield "-S -u", run("-k", "-S", "-u", "postgres", "-p", "%p for %U: ", PROBE, user="bob", input=right)
    yield "typed", run("-k", PROBE, user="bob", tty=True, typing=[[PASSWORD, right]])
    yield (
        "typed wrong, then right",
        run("-k", PROBE, user="bob", tty=True, typing=[[PASSWORD, wrong], [PASSWORD, right]]),
    )
    yield "typed ^C", run("-k", PROBE, user="bob", tty=True, typing=[[PASSWORD, "\x03"]])
    yield "typed ^D", run("-k", PROBE, user="bob", tty=True, typing=[[PASSWORD, "\x04"]])
    yield "typed with -p", run("-k", "-p", "pw of %p: ", PROBE, user="bob", tty=True, typing=[[PASSWORD, right]])
    yield "no terminal", run("-k", PROBE, user="bob")
    yield "-A", run("-k", "-A", PROBE, user="bob", env={"SUDO_ASKPASS": "/usr/local/bin/askpass"})
    yield "-A without a program", run("-k", "-A", PROBE, user="bob")
    yield "-A that fails", run("-k", "-A", PROBE, user="bob", env={"SUDO_ASKPASS": "/bin/false"})
    yield "-A that does not exist", run("-k", "-A", PROBE, user="bob", env={"SUDO_ASKPASS": "/nonexistent"})
    yield "askpass without -A", run("-k", PROBE, user="bob", env={"SUDO_ASKPASS": "/usr/local/bin/askpass"})
    first = "$SUDO -K; echo bob | $SUDO -S -p '' $P; echo $?;"
    yield "a ticket", shell(f"{first} $SUDO -n $P; echo $?", user="bob", tty="output")
    yield "a ticket without a terminal", shell(f"{first} $SUDO -n $P; echo $?", user="bob")
    yield "a ticket in a child", shell(f"{first} sh -c '$SUDO -n $1; echo $?' x $P", user="bob")
    yield "a ticket, then -k", shell(f"{first} $SUDO -k; echo $?; $SUDO -n $P; echo $?", user="bob")
    yield "a ticket, then -K", shell(f"{first} $SUDO -K; echo $?; $SUDO -n $P; echo $?", user="bob")
    yield "a ticket, then -k CMD", shell(f"{first} $SUDO -k -n $P; echo $?; $SUDO -n $P; echo $?", user="bob")
    yield "a ticket of -v", shell("$SUDO -K; echo bob | $SUDO -S -p '' -v; echo $?; $SUDO -n $P; echo $?", user="bob")
    yield (
        "no ticket with -N",
        shell("$SUDO -K; echo bob | $SUDO -N -S -p '' $P; echo $?; $SUDO -n $P; echo $?", user="bob"),
    )
    yield "a ticket in another session", shell(f"{first} setsid -w $SUDO -n $P; echo $?", user="bob")
    yield "a ticket for another target", shell(f"{first} $SUDO -n -u postgres $P; echo $?", user="bob")
    yield "-v without a password", run("-v")
    yield "-v of nobody's", run("-n", "-v", user="mallory")
    yield "-k", run("-k", user="bob")
    yield "-K", run("-K", user="bob")
    yield "-k -K", run("-k", "-K", user="bob")
    yield "-K CMD", run("-K", PROBE, user="bob")
    yield "mallory's password", run("-k", "-S", PROBE, user="mallory", input="mallory\n")
    yield "agent without a password", run("-k", "-S", PROBE, user="agent", input="x\n")


def shells() -> Iterator[tuple[str, tuple[str, Case]]]:
    for option in ("-i", "-s"):
        for target in ("root", "bob", "postgres", "nobody"):
            yield f"{option} -u {target}", run(option, "-u", target, PROBE)
            yield f"{option} -u {target}, a shell", run(option, "-u", target, input=f"exec {PROBE}\n")
        for words in (
            ["a b"],
            ["$HOME"],
            ["*"],
            [";", "id"],
            ["'"],
            ['"'],
            ["\\"],
            ["`id`"],
            [""],
            ["a\nb"],
            ["caf\u00c3\u00a9"],
            ["-x"],
            ["a=b"],
            ["{x,y}"],
            ["~"],
            ["!"],
        ):
            yield f"{option} {words}", run(option, PROBE, *words)
        for caller in ("/bin/sh", "/bin/dash", "/bin/false", "/nonexistent", "", "bash", "/home/alice/evil"):
            yield f"{option} SHELL={caller}", run(option, PROBE, env={"SHELL": caller})
        yield f"{option} and a shell, terminal", run(option, tty=True, typing=[["# ", f"exec {PROBE}\n"]])
        yield f"{option} with a group", run(option, "-g", "web", PROBE)
        yield f"{option} with HOME", run(option, PROBE, env={"HOME": "/tmp"})
        yield f"{option} -H", run(option, "-H", PROBE)
        yield f"{option} -n", run(option, "-n", PROBE)
        yield f"{option} of carol", run(option, PROBE, user="carol")
        yield f"{option} of root", run(option, PROBE, user="root")
        yield f"{option} of root's as postgres", run(option, "-u", "postgres", PROBE, user="root")
        yield f"{option} of mallory", run(option, user="mallory")
    yield "-i -s", run("-i", "-s", PROBE)
    yield "-i -E", run("-i", "-E", PROBE, env={"FOO": "1"})
    yield "-s -E", run("-s", "-E", PROBE, env={"FOO": "1"})
    yield "-i of a command that does not exist", run("-i", "nosuchcommand")
    yield "-i of two commands", run("-i", "--", "sh", "-c", f"{PROBE}; {PROBE}")


def commands() -> Iterator[tuple[str, tuple[str, Case]]]:
    for words in (
        [PROBE],
        ["probe"],
        ["./probe"],
        ["../../usr/local/bin/probe"],
        ["/usr/local/bin/../bin/probe"],
        ["//usr/local/bin/probe"],
    ):
        yield f"named {words[0]}", run(*words, cwd="/usr/local/bin")
    for command in (
        "nosuchcommand",
        "/nonexistent",
        "/etc",
        "/etc/passwd",
        "",
        "/usr/local/bin/probe/",
        ".",
        "..",
        "~",
        "/usr/local/bin/link-to-probe",
        "link-to-probe",
        "/bin/sh",
    ):
        for user in ("carol", "root"):
            yield f"{user}: {command!r}", run(command, user=user)
    yield "the path of the caller", run("probe", env={"PATH": "/tmp"})
    yield (
        "a folder of the caller's in PATH",
        run("onlyhere", user="carol", env={"PATH": "/home/alice/bin:/usr/bin:/bin"}),
    )
    for words in (
        ["a", "b"],
        [""],
        ["", ""],
        ["a b"],
        ["a\nb"],
        ["caf\u00c3\u00a9"],
        ["\t"],
        ["*"],
        ["--"],
        ["-n"],
        ["--help"],
        ["x" * 100_000],
        ["a"] * 900,
    ):
        yield f"arguments {repr(words)[:40]}", run(PROBE, *words)
    yield "-- before", run("--", PROBE)
    yield "-- before an assignment", run("--", "FOO=1", PROBE)
    yield "-n -- ", run("-n", "--", PROBE, "--", "x")
    yield "mallory: nothing", run(user="mallory")
    for argv in (
        [],
        ["-Z"],
        ["--nosuch"],
        ["-u"],
        ["-n"],
        ["--"],
        ["-h"],
        ["--help"],
        ["-u", "bob"],
        ["-e"],
        ["-i", "-e", "x"],
        ["-v", PROBE],
        ["-k", "-i"],
        ["-b"],
        ["-l", "-e", "x"],
    ):
        yield f"usage {argv}", run(*argv)
    yield "-R", run("-R", "/srv", PROBE)
    yield "-R /", run("-R", "/", PROBE)
    yield "-h HOST", run("-h", "elsewhere", PROBE)
    yield "-r", run("-r", "x", PROBE)
    yield "-t", run("-t", "x", PROBE)
    yield "-V", run("-V")
    yield "mallory: -V", run("-V", user="mallory")


def lists() -> Iterator[tuple[str, tuple[str, Case]]]:
    for user in ("alice", "carol", "mallory", "root"):
        yield f"{user}: -l", run("-n", "-l", user=user)
        yield f"{user}: -ll", run("-n", "-ll", user=user)
        yield f"{user}: -l probe", run("-n", "-l", PROBE, "a", user=user)
        yield f"{user}: -l bare probe", run("-n", "-l", "probe", user=user)
        if user != "alice":
            yield f"{user}: -l sh", run("-n", "-l", "/bin/sh", "-c", "id", user=user)
        yield f"{user}: -l nosuch", run("-n", "-l", "nosuchcommand", user=user)
        yield f"{user}: -U carol -l", run("-n", "-l", "-U", "carol", user=user)
        yield f"{user}: -U carol -l probe", run("-n", "-l", "-U", "carol", PROBE, user=user)
        yield f"{user}: -U nosuch -l", run("-n", "-l", "-U", "nosuch", user=user)
        yield f"{user}: -l -u bob probe", run("-n", "-l", "-u", "bob", PROBE, user=user)


def edits() -> Iterator[tuple[str, tuple[str, Case]]]:
    lines = f"$(wc -l <{EDITED}/site.conf)"
    before, show = f"n={lines};", f"echo +$(({lines} - n)); stat -c '%a %U %G' {EDITED}/site.conf"
    for how in ("$SUDO -e", "sudoedit"):
        yield (
            f"{how}",
            shell(f"{before} {how} {EDITED}/site.conf; echo $?; {show}", env={"EDITOR": "/usr/local/bin/append"}),
        )
    yield (
        "sudoedit that changes nothing",
        shell(f"{before} sudoedit {EDITED}/site.conf; echo $?; {show}", env={"EDITOR": "/bin/true"}),
    )
    yield (
        "sudoedit whose editor fails",
        shell(
            f"{before} sudoedit {EDITED}/site.conf; echo $?; {show}", env={"EDITOR": "/usr/local/bin/append-and-fail"}
        ),
    )
    for names in (
        {"SUDO_EDITOR": "append"},
        {"VISUAL": "append"},
        {"EDITOR": "append two words"},
        {"SUDO_EDITOR": "append", "EDITOR": "false"},
    ):
        env = {name: f"/usr/local/bin/{value}" for name, value in names.items()}
        yield f"sudoedit with {names}", shell(f"{before} sudoedit {EDITED}/site.conf; echo $?; {show}", env=env)
    for editor in ("/nonexistent", "append", "/usr/local/bin/append -- /etc/shadow", ""):
        yield (
            f"sudoedit with editor {editor!r}",
            shell(f"{before} sudoedit {EDITED}/site.conf; echo $?; {show}", env={"EDITOR": editor}),
        )
    yield (
        "sudoedit a new file",
        shell(
            f"sudoedit {EDITED}/new.conf; echo $?; cat {EDITED}/new.conf; stat -c '%a %U %G' {EDITED}/new.conf; "
            f"$SUDO -i rm -f {EDITED}/new.conf",
            env={"EDITOR": "/usr/local/bin/append"},
        ),
    )
    yield (
        "sudoedit two files",
        shell(
            f"sudoedit {EDITED}/site.conf {EDITED}/other.conf; echo $?; tail -n 1 {EDITED}/other.conf",
            env={"EDITOR": "/usr/local/bin/append"},
        ),
    )
    yield (
        "sudoedit relative",
        shell(f"{before} cd {EDITED}; sudoedit site.conf; echo $?; {show}", env={"EDITOR": "/usr/local/bin/append"}),
    )
    yield "sudoedit a link", shell(f"sudoedit {EDITED}/link.conf; echo $?", env={"EDITOR": "/usr/local/bin/append"})
    yield (
        "sudoedit in an own folder",
        shell("sudoedit /home/alice/mine; echo $?", env={"EDITOR": "/usr/local/bin/append"}),
    )
    yield "sudoedit a folder", shell(f"sudoedit {EDITED}; echo $?", env={"EDITOR": "/usr/local/bin/append"})
    yield (
        "sudoedit what is not allowed",
        shell("sudoedit /etc/shadow; echo $?", user="carol", env={"EDITOR": "/usr/local/bin/append"}),
    )
    yield (
        "sudo sudoedit",
        shell(f"{before} $SUDO sudoedit {EDITED}/site.conf; echo $?; {show}", env={"EDITOR": "/usr/local/bin/append"}),
    )
    yield (
        "the editor's surroundings",
        shell(f"sudoedit {EDITED}/site.conf; echo $?", env={"EDITOR": PROBE, "FOO": "1"}, files=[5], umask="077"),
    )


def nested() -> Iterator[tuple[str, tuple[str, Case]]]:
    yield "sudo sudo", run("/usr/bin/sudo", PROBE)
    yield "sudo sudo -u bob", run("/usr/bin/sudo", "-u", "bob", PROBE)
    yield "sudo -i sudo", run("-i", "/usr/bin/sudo", PROBE)
    yield "sudo -s sudo -u postgres", run("-s", "/usr/bin/sudo", "-u", "postgres", PROBE)
    yield "sudo sudo exit 9", run("/usr/bin/sudo", PROBE, "exit", "9")
    yield "root: sudo sudo", run("/usr/bin/sudo", PROBE, user="root")


FAMILIES = {
    family.__name__: dict(family())
    for family in (
        identities, environments, places, hygiene, endings, streams, terminals, passwords, shells, commands, lists, edits,
        nested,
    )
}  # fmt: skip
CASES: dict[str, tuple[str, Case]] = {
    f"{family}: {name}": case for family, cases in FAMILIES.items() for name, case in cases.items()
}
