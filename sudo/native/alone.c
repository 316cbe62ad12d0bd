/* The one decision that is made here is root's: where the daemon cannot be asked, root outside a session may go on. */
#define _GNU_SOURCE
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "native.h"

#define MAX_LOG 1500
#define MAX_COMMAND 4096
#define MAX_GROUPS 65536
#define LOG_AUTHPRIV_WARNING (10 << 3 | 4) /* syslog(3) */

bool is_root_outside(void)
{
    return getuid() == 0 && policy.session == NULL && jitsudo_is_outside(JITSUDO_CGROUP);
}

/* What root may not ask for while the daemon is away: it can do without sudo what needs more than this. */
static bool is_plain(const char *closefrom, const char *cwd)
{
    static const char *const others[] = {
        "sudoedit", "implied_shell", "cmnd_chroot", "timeout", "remote_host", "selinux_role", "selinux_type"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const char *value = jitsudo_value(told.settings, others[i]);
        if (value != NULL && strcmp(value, "false") != 0)
            return false;
    }
    return jitsudo_is_id(closefrom) && strtoul(closefrom, NULL, 10) >= 3 && (cwd == NULL || cwd[0] == '/');
}

static const struct passwd *find_user(const char *wanted)
{
    if (wanted[0] != '#')
        return getpwnam(wanted);
    return jitsudo_is_id(wanted + 1) ? getpwuid((uid_t)strtoul(wanted + 1, NULL, 10)) : NULL;
}

static const struct group *find_group(const char *wanted)
{
    if (wanted[0] != '#')
        return getgrnam(wanted);
    return jitsudo_is_id(wanted + 1) ? getgrgid((gid_t)strtoul(wanted + 1, NULL, 10)) : NULL;
}

static bool add_groups(char ***info, const char *user, gid_t gid)
{
    static gid_t groups[MAX_GROUPS];
    static char text[MAX_GROUPS * sizeof ",4294967295"];
    int count = MAX_GROUPS, used = snprintf(text, sizeof text, "%u", gid);
    if (getgrouplist(user, gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (groups[i] != gid)
            used += snprintf(text + used, sizeof text - (size_t)used, ",%u", groups[i]);
    return jitsudo_add(info, "runas_groups=%s", text);
}

static bool add_info(char ***info, const struct passwd *user, gid_t gid, const char *path, const char *closefrom, const char *cwd)
{
    if (cwd == NULL && is_set("login_shell"))
        cwd = user->pw_dir;
    return jitsudo_add(info, "command=%s", path) && jitsudo_add(info, "umask=022") &&
           jitsudo_add(info, "closefrom=%s", closefrom) && jitsudo_add(info, "use_pty=true") &&
           jitsudo_add(info, "runas_uid=%u", user->pw_uid) && jitsudo_add(info, "runas_euid=%u", user->pw_uid) &&
           jitsudo_add(info, "runas_gid=%u", gid) && jitsudo_add(info, "runas_egid=%u", gid) &&
           add_groups(info, user->pw_name, gid) && jitsudo_add(info, "runas_user=%s", user->pw_name) &&
           (cwd == NULL || jitsudo_add(info, "cwd=%s", cwd)) &&
           (!is_set("preserve_groups") || jitsudo_add(info, "preserve_groups=true"));
}

static bool add_argv(char ***run, char *const *argv, const char *path)
{
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    bool good = is_set("login_shell") ? jitsudo_add(run, "-%s", name) : jitsudo_add(run, "%s", argv[0]);
    for (size_t i = 1; good && argv[0] != NULL && argv[i] != NULL; i++)
        good = jitsudo_add(run, "%s", argv[i]);
    return good;
}

static bool is_kept(const char *item)
{
    static const char *const names[] = {"LANG=", "LC_ALL=", "TERM="};
    const char *equals = strchr(item, '=');
    if (equals == NULL || equals == item)
        return false;
    if (is_set("preserve_environment"))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(item, names[i], strlen(names[i])) == 0 && strpbrk(equals, "/%") == NULL)
            return true;
    return false;
}

static bool add_env(char ***env, const struct passwd *user, const char *shell, const char *command, char *const *env_add)
{
    bool good = jitsudo_add(env, "TERM=unknown");
    /* The first of a name is what getenv(3) finds. */
    for (size_t i = jitsudo_count(told.user_env); good && i > 0; i--)
        good = !is_kept(told.user_env[i - 1]) || jitsudo_set(env, "%s", told.user_env[i - 1]);
    good = good && jitsudo_set(env, "HOME=%s", user->pw_dir) && jitsudo_set(env, "LOGNAME=%s", user->pw_name) &&
           jitsudo_set(env, "MAIL=/var/mail/%s", user->pw_name) && jitsudo_set(env, "PATH=%s", SECURE_PATH) &&
           jitsudo_set(env, "SHELL=%s", shell) && jitsudo_set(env, "SUDO_COMMAND=%s", command) &&
           jitsudo_set(env, "SUDO_GID=%u", getgid()) && jitsudo_set(env, "SUDO_UID=0") &&
           jitsudo_set(env, "SUDO_USER=root") && jitsudo_set(env, "USER=%s", user->pw_name);
    for (; good && env_add != NULL && *env_add != NULL; env_add++)
        good = jitsudo_set(env, "%s", *env_add);
    return good;
}

/* Never waiting: not syslog(3), which does. */
static void put_on_record(const char *command, const char *user, const char *outage)
{
    char text[2 * MAX_COMMAND + 512], shown[MAX_LOG], line[MAX_LOG + 64];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JITSUDO_LOG};
    snprintf(text, sizeof text, "root ran '%s' as %s without a decision: %s", command, user, outage);
    jitsudo_printable(text, shown, sizeof shown);
    int length = snprintf(line, sizeof line, "<%d>jitsudo[%d]: %s", LOG_AUTHPRIV_WARNING, (int)getpid(), shown);
    int log = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (log < 0 || connect(log, (const struct sockaddr *)&address, sizeof address) != 0 ||
        send(log, line, (size_t)length, MSG_NOSIGNAL) < 0)
        told.print(SUDO_CONV_ERROR_MSG, "jitsudo: %s (and this could not be logged)\n", shown);
    if (log >= 0)
        close(log);
}

/* The command line, as far as it is shown. */
static void join(char *const *argv, const char *path, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; (i == 0 || (argv[0] != NULL && argv[i] != NULL)) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i == 0 ? "%s" : " %s", i == 0 ? path : argv[i]);
}

bool root_alone(char *const *argv, char *const *env_add, const char *path, struct jitsudo_terms *terms, struct jitsudo_fault *why)
{
    const char *runas = jitsudo_value(told.settings, "runas_user"), *runas_group = jitsudo_value(told.settings, "runas_group");
    const char *closefrom = jitsudo_value(told.settings, "closefrom"), *cwd = jitsudo_value(told.settings, "cmnd_cwd");
    char command[MAX_COMMAND + 1], outage[sizeof why->message];
    snprintf(outage, sizeof outage, "%s", why->message);
    closefrom = closefrom != NULL ? closefrom : "3";
    runas = runas != NULL ? runas : "root";
    if (!is_plain(closefrom, cwd))
        return refuse(why, "%s; until it is back, root can use sudo without -e, -h, -R, -T, -r and -t only", outage);
    const struct passwd *user = find_user(runas);
    const struct group *group = user != NULL && runas_group != NULL ? find_group(runas_group) : NULL;
    if (user == NULL || (runas_group != NULL && group == NULL))
        return refuse(why, "unknown user or group %s", user == NULL ? runas : runas_group);
    gid_t gid = group != NULL ? group->gr_gid : user->pw_gid;
    const char *shell = user->pw_shell[0] != '\0' ? user->pw_shell : "/bin/sh";
    if (is_set("login_shell"))
        path = shell;
    if (path == NULL)
        return refuse(why, "%s: command not found", argv[0] != NULL ? argv[0] : "command");
    join(argv, path, command, sizeof command);
    if (!add_info(&terms->info, user, gid, path, closefrom, cwd) || !add_argv(&terms->argv, argv, path) ||
        !add_env(&terms->env, user, shell, command, env_add))
        return no(jitsudo_out_of_memory(why));
    put_on_record(command, user->pw_name, outage);
    return true;
}
