/*
 * What a command finds when it starts, as one line of JSON appended to /run/compat/found; then what its arguments say:
 *   exit N | kill N | cat | echo (cat that says "ready" first) | say OUT ERR | sleep N (says "asleep" first) |
 *   touch FILE | anything else: nothing more
 * Bytes are written as the code points of the same number (\u00ff), so that no text is too strange.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#define FOUND "/run/compat/found"

extern char **environ;
static FILE *out;

static void text(const char *s, size_t size) {
    putc('"', out);
    for (; size; s++, size--) {
        unsigned char c = (unsigned char)*s;
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void named(const char *name, const char *value) {
    fprintf(out, ",\"%s\":", name);
    text(value, strlen(value));
}

static void number(const char *name, long value) { fprintf(out, ",\"%s\":%ld", name, value); }

static void list(const char *name, char **items) {
    fprintf(out, ",\"%s\":[", name);
    for (char **item = items; *item; item++) {
        if (item != items)
            putc(',', out);
        text(*item, strlen(*item));
    }
    putc(']', out);
}

static void ids(void) {
    uid_t r, e, s;
    gid_t groups[65536];
    int count = getgroups(65536, groups);
    getresuid(&r, &e, &s);
    number("uid", r), number("euid", e), number("suid", s);
    gid_t gr, ge, gs;
    getresgid(&gr, &ge, &gs);
    number("gid", gr), number("egid", ge), number("sgid", gs);
    fprintf(out, ",\"groups\":[");
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%u", i ? "," : "", groups[i]);
    putc(']', out);
}

static const char *kind(int fd) {
    struct stat status;
    if (fstat(fd, &status))
        return "?";
    if (S_ISCHR(status.st_mode))
        return isatty(fd) ? "terminal" : status.st_rdev == makedev(1, 3) ? "null" : "device";
    return S_ISFIFO(status.st_mode) ? "pipe" : S_ISSOCK(status.st_mode) ? "socket"
         : S_ISDIR(status.st_mode) ? "folder" : "file";
}

/* Before anything of ours is opened, up to where a test would open one. */
static void descriptors(void) {
    static const char *mode[] = {"read", "write", "both", "?"};
    int first = 1;
    fprintf(out, ",\"descriptors\":{");
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fd == fileno(out))
            continue;
        fprintf(out, "%s\"%d\":\"%s %s\"", first ? "" : ",", fd, kind(fd), mode[flags & O_ACCMODE]);
        first = 0;
    }
    putc('}', out);
}

static void limits(void) {
    static const char *names[RLIM_NLIMITS] = {
        "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending",
        "msgqueue", "nice", "rtprio", "rttime"};
    fprintf(out, ",\"limits\":{");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;
        getrlimit(i, &limit);
        fprintf(out, "%s\"%s\":\"%lld %lld\"", i ? "," : "", names[i], (long long)limit.rlim_cur, (long long)limit.rlim_max);
    }
    putc('}', out);
}

/* What the kernel says of this process in so many words. */
static void status(void) {
    static const char *wanted[] = {"SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", 0};
    char line[4096];
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        *value++ = 0;
        for (const char **name = wanted; *name; name++)
            if (!strcmp(*name, line)) {
                value += strspn(value, "\t ");
                value[strcspn(value, "\n")] = 0;
                named(line, value);
            }
    }
    if (file)
        fclose(file);
}

static void terminal(void) {
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    number("has_terminal", fd >= 0);
    number("leads_session", getsid(0) == getpid());
    number("leads_group", getpgrp() == getpid());
    if (fd < 0)
        return;
    struct winsize size;
    struct termios settings;
    number("foreground", tcgetpgrp(fd) == getpgrp());
    if (!ioctl(fd, TIOCGWINSZ, &size))
        number("rows", size.ws_row), number("columns", size.ws_col);
    if (!tcgetattr(fd, &settings))
        number("iflag", settings.c_iflag), number("oflag", settings.c_oflag), number("lflag", settings.c_lflag);
    close(fd);
}

static void found(int argc, char **argv) {
    char *line = NULL;
    size_t size = 0;
    mode_t mask = umask(0);
    umask(mask);
    out = open_memstream(&line, &size);
    fprintf(out, "{\"argc\":%d", argc);
    list("argv", argv);
    list("environment", environ);
    ids();
    number("umask", mask);
    char *cwd = getcwd(NULL, 0);
    named("cwd", cwd ? cwd : strerror(errno));
    char path[4096] = "";
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
        strcpy(path, strerror(errno));
    named("executable", path);
    descriptors();
    limits();
    status();
    terminal();
    number("nice", getpriority(PRIO_PROCESS, 0));
    fprintf(out, "}\n");
    fclose(out);
    int file = open(FOUND, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || write(file, line, size) != (ssize_t)size)
        perror("probe: " FOUND), exit(99);
    close(file);
}

int main(int argc, char **argv) {
    found(argc, argv);
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "exit") && argc > 2)
        return atoi(argv[2]);
    if (!strcmp(what, "kill") && argc > 2) {
        signal(atoi(argv[2]), SIG_DFL);
        kill(getpid(), atoi(argv[2]));
    }
    if (!strcmp(what, "echo") && write(1, "ready\n", 6) != 6)
        return 97;
    if (!strcmp(what, "cat") || !strcmp(what, "echo")) {
        char buffer[65536];
        ssize_t got;
        while ((got = read(0, buffer, sizeof buffer)) > 0)
            for (ssize_t done = 0, put; done < got; done += put)
                if ((put = write(1, buffer + done, (size_t)(got - done))) < 0)
                    return 98;
    }
    if (!strcmp(what, "say") && argc > 3)
        return write(1, argv[2], strlen(argv[2])) < 0 || write(2, argv[3], strlen(argv[3])) < 0;
    if (!strcmp(what, "sleep") && argc > 2 && write(1, "asleep\n", 7) == 7)
        sleep((unsigned)atoi(argv[2]));
    if (!strcmp(what, "touch") && argc > 2)
        return open(argv[2], O_WRONLY | O_CREAT | O_CLOEXEC, 0666) < 0;
    return 0;
}
