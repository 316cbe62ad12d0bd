/* The one decision that is made here is root's: where the daemon cannot be asked, root outside a session may go on. */
#define _GNU_SOURCE
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "native.h"

#define SESSIONS_SLICE "jitsudo.slice"
#define MAX_LOG 1500
#define MAX_COMMAND 4096
#define LOG_AUTHPRIV_WARNING (10 << 3 | 4) /* syslog(3) */
#define MAX_GROUPS 65536

static bool is_in_session(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    for (char *part; (part = strsep(&line, "/")) != NULL;)
        if (strcmp(part, SESSIONS_SLICE) == 0)
            return true;
    return false;
}

/* Not known to be outside is inside. */
bool is_root_outside(const char *session)
{
    char *line = NULL;
    size_t size = 0;
    bool is_inside = false, is_known = false;
    if (getuid() != 0 || session != NULL)
        return false;
    FILE *file = fopen(JITSUDO_CGROUP, "re");
    if (file == NULL)
        return false;
    while (getline(&line, &size, file) > 0) {
        is_known = true;
        is_inside = is_inside || is_in_session(line);
    }
    is_known = is_known && !ferror(file);
    free(line);
    fclose(file);
    return is_known && !is_inside;
}

/* --- A vector that grows --- */

struct list {
    char **items;
    size_t count;
    bool is_lost;
};

static void add(struct list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_item(struct list *list, char *item)
{
    char **grown = item == NULL || list->is_lost ? NULL : realloc(list->items, (list->count + 2) * sizeof *grown);
    if (grown == NULL) {
        free(item);
        list->is_lost = true;
        return;
    }
    list->items = grown;
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
}

static void add(struct list *list, const char *format, ...)
{
    char *item = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&item, format, arguments) < 0)
        item = NULL;
    va_end(arguments);
    add_item(list, item);
}

/* NAME=value in place of what has that name. */
static void set(struct list *list, char *item)
{
    size_t length = item != NULL ? strcspn(item, "=") + 1 : 0;
    for (size_t i = 0; item != NULL && i < list->count; i++) {
        if (strncmp(list->items[i], item, length) == 0) {
            free(list->items[i]);
            list->items[i] = item;
            return;
        }
    }
    add_item(list, item);
}

static void set_variable(struct list *list, const char *name, const char *value)
{
    char *item = NULL;
    set(list, asprintf(&item, "%s=%s", name, value) < 0 ? NULL : item);
}

/* --- What the command runs with --- */

/* What root may not ask for while the daemon is away: it can do without sudo what needs more than this. */
static bool is_plain(void)
{
    static const char *const others[] = {
        "sudoedit", "implied_shell", "cmnd_chroot", "timeout", "remote_host", "selinux_role", "selinux_type"};
    const char *closefrom = value_of(told.settings, "closefrom"), *cwd = value_of(told.settings, "cmnd_cwd");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const char *value = value_of(told.settings, others[i]);
        if (value != NULL && strcmp(value, "false") != 0)
            return false;
    }
    return (closefrom == NULL || (is_id(closefrom) && strtoul(closefrom, NULL, 10) >= 3)) && (cwd == NULL || cwd[0] == '/');
}

static bool unknown(const char *wanted, struct refusal *why)
{
    return refuse(why, NULL, "unknown user or group %s", wanted);
}

static struct passwd *find_user(const char *wanted)
{
    if (wanted[0] != '#')
        return getpwnam(wanted);
    return is_id(wanted + 1) ? getpwuid((uid_t)strtoul(wanted + 1, NULL, 10)) : NULL;
}

static bool find_group(const char *wanted, gid_t *gid, struct refusal *why)
{
    struct group *group = NULL;
    if (wanted[0] != '#')
        group = getgrnam(wanted);
    else if (is_id(wanted + 1))
        group = getgrgid((gid_t)strtoul(wanted + 1, NULL, 10));
    if (group == NULL)
        return unknown(wanted, why);
    *gid = group->gr_gid;
    return true;
}

static void add_groups(struct list *info, const char *user, gid_t gid)
{
    int count = 64;
    gid_t *groups = NULL;
    char *text = NULL;
    size_t size = 0;
    do {
        free(groups);
        groups = count <= MAX_GROUPS ? calloc((size_t)count, sizeof *groups) : NULL;
    } while (groups != NULL && getgrouplist(user, gid, groups, &count) < 0);
    FILE *stream = groups != NULL ? open_memstream(&text, &size) : NULL;
    if (stream != NULL) {
        fprintf(stream, "runas_groups=%u", gid);
        for (int i = 0; i < count; i++)
            if (groups[i] != gid)
                fprintf(stream, ",%u", groups[i]);
        if (fclose(stream) != 0) {
            free(text);
            text = NULL;
        }
    }
    free(groups);
    add_item(info, text);
}

static const char *shell_of(const struct passwd *user)
{
    return user->pw_shell[0] != '\0' ? user->pw_shell : "/bin/sh";
}

static void write_info(struct list *info, const struct passwd *user, gid_t gid, const char *path)
{
    const char *closefrom = value_of(told.settings, "closefrom"), *cwd = value_of(told.settings, "cmnd_cwd");
    add(info, "command=%s", path);
    add(info, "umask=022");
    add(info, "closefrom=%s", closefrom != NULL ? closefrom : "3");
    add(info, "use_pty=true");
    add(info, "runas_uid=%u", user->pw_uid);
    add(info, "runas_euid=%u", user->pw_uid);
    add(info, "runas_gid=%u", gid);
    add(info, "runas_egid=%u", gid);
    add_groups(info, user->pw_name, gid);
    add(info, "runas_user=%s", user->pw_name);
    if (cwd == NULL && is_set("login_shell"))
        cwd = user->pw_dir;
    if (cwd != NULL)
        add(info, "cwd=%s", cwd);
    if (is_set("preserve_groups"))
        add(info, "preserve_groups=true");
}

static void write_argv(struct list *list, char *const *argv, const char *path)
{
    if (is_set("login_shell"))
        add(list, "-%s", strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path);
    else
        add(list, "%s", argv[0]);
    for (size_t i = 1; argv[0] != NULL && argv[i] != NULL; i++)
        add(list, "%s", argv[i]);
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

static void write_env(struct list *env, const struct passwd *user, const char *command, char *const *env_add)
{
    char number[16], mail[512];
    add(env, "TERM=unknown");
    /* The first of a name is what getenv(3) finds. */
    for (size_t i = count_of(told.user_env); i > 0; i--)
        if (is_kept(told.user_env[i - 1]))
            set(env, strdup(told.user_env[i - 1]));
    snprintf(number, sizeof number, "%u", getgid());
    snprintf(mail, sizeof mail, "/var/mail/%s", user->pw_name);
    const char *const fixed[][2] = {{"HOME", user->pw_dir}, {"LOGNAME", user->pw_name}, {"MAIL", mail}, {"PATH", SECURE_PATH},
        {"SHELL", shell_of(user)}, {"SUDO_COMMAND", command}, {"SUDO_GID", number}, {"SUDO_UID", "0"}, {"SUDO_USER", "root"},
        {"USER", user->pw_name}};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        set_variable(env, fixed[i][0], fixed[i][1]);
    for (; env_add != NULL && *env_add != NULL; env_add++)
        set(env, strchr(*env_add, '=') != NULL ? strdup(*env_add) : NULL);
}

/* Never waiting: not syslog(3), which does. */
static void put_on_record(const char *text)
{
    char shown[MAX_LOG], line[MAX_LOG + 64];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JITSUDO_LOG};
    jitsudo_printable(text, shown, sizeof shown);
    int length = snprintf(line, sizeof line, "<%d>jitsudo[%d]: %s", LOG_AUTHPRIV_WARNING, (int)getpid(), shown);
    int log = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (log < 0 || connect(log, (const struct sockaddr *)&address, sizeof address) != 0 ||
        send(log, line, (size_t)length, MSG_NOSIGNAL) < 0)
        told.print(SUDO_CONV_ERROR_MSG, "jitsudo: %s (and this could not be logged)\n", shown);
    if (log >= 0)
        close(log);
}

/* The command line, as far as it is shown; to be freed. */
static char *joined(char *const *argv, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return NULL;
    fputs(path, stream);
    for (size_t i = 1; argv[0] != NULL && argv[i] != NULL; i++)
        fprintf(stream, " %s", argv[i]);
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    if (size > MAX_COMMAND)
        text[MAX_COMMAND] = '\0';
    return text;
}

bool root_alone(char *const *argv, char *const *env_add, const char *path, const struct refusal *outage, struct terms *terms,
    struct refusal *why)
{
    const char *runas = value_of(told.settings, "runas_user"), *group = value_of(told.settings, "runas_group");
    if (!is_plain())
        return refuse(why, NULL, "%s; until it is back, root can use sudo without -e, -h, -R, -T, -r and -t only",
            outage->message);
    const char *wanted = runas != NULL ? runas : "root";
    const struct passwd *user = find_user(wanted);
    if (user == NULL)
        return unknown(wanted, why);
    gid_t gid = user->pw_gid;
    if (group != NULL && !find_group(group, &gid, why))
        return false;
    if (is_set("login_shell"))
        path = shell_of(user);
    if (path == NULL)
        return refuse(why, NULL, "%s: command not found", argv[0] != NULL ? argv[0] : "command");
    struct list info = {.items = NULL}, run = {.items = NULL}, env = {.items = NULL};
    char *command = joined(argv, path), *record = NULL;
    write_info(&info, user, gid, path);
    write_argv(&run, argv, path);
    write_env(&env, user, command != NULL ? command : path, env_add);
    *terms = (struct terms){.info = info.items, .argv = run.items, .env = env.items};
    bool good = !info.is_lost && !run.is_lost && !env.is_lost &&
                asprintf(&record, "root ran '%s' as %s without a decision: %s", command != NULL ? command : path, user->pw_name,
                    outage->message) >= 0;
    if (good)
        put_on_record(record);
    free(record);
    free(command);
    return good || no_memory(why);
}
