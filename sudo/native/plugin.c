/*
 * sudo's policy plugin, without an interpreter: passes on to the daemon what sudo said, and obeys the answer.
 *
 * No policy, option or environment rule lives here: anything but one exact, complete allow is a deny. It behaves to the
 * letter as sudo/python/jitsudo_sudo_plugin.py does; sudo/conformance/ holds both to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "native.h"

#define FRONT_END "sudo-native"

struct told told;
struct policy policy = {.executable = -1};

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0;
}

/* The command's path, absolute, not resolved, to be freed; NULL where there is no such program, or no memory. */
static char *look_up(const char *name)
{
    char *path = NULL, *folder = NULL;
    if (name == NULL || name[0] == '\0')
        return NULL;
    if (strchr(name, '/') != NULL) {
        if (name[0] != '/' && (folder = getcwd(NULL, 0)) == NULL)
            return NULL;
        bool is_root = folder != NULL && strcmp(folder, "/") == 0;
        int length = folder == NULL ? asprintf(&path, "%s", name) : asprintf(&path, "%s/%s", is_root ? "" : folder, name);
        free(folder);
        if (length >= 0 && is_program(path))
            return path;
        if (length >= 0)
            free(path);
        return NULL;
    }
    for (const char *at = SECURE_PATH; *at != '\0'; at += strspn(at, ":")) {
        int length = (int)strcspn(at, ":");
        if (asprintf(&path, "%.*s/%s", length, at, name) < 0)
            return NULL;
        if (is_program(path))
            return path;
        free(path);
        at += length;
    }
    return NULL;
}

/* `execfd=command` is the file that the daemon was shown, and whose content it read: sudo executes that very one. */
static bool pin(struct terms *terms, struct refusal *why)
{
    char **item = NULL, magic[2], *pinned = NULL, path[64];
    for (char **at = terms->info; *at != NULL; at++)
        if (strncmp(*at, "execfd=", 7) == 0)
            item = at;
    if (item == NULL) {
        keep_executable(-1);
        return true;
    }
    if (strcmp(*item, "execfd=command") != 0 || policy.executable < 0)
        return refuse(why, NULL, "the program that was checked is no longer at hand");
    snprintf(path, sizeof path, "/proc/self/fd/%d", policy.executable);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? read(file, magic, sizeof magic) : -1;
    if (file >= 0)
        close(file);
    if (got < 0)
        return refuse(why, NULL, "the program that was checked cannot be read");
    /* An interpreter opens its script by the descriptor, which must still be there then (fexecve(3), BUGS). */
    if (got == 2 && magic[0] == '#' && magic[1] == '!' && fcntl(policy.executable, F_SETFD, 0) != 0)
        return refuse(why, NULL, "the program that was checked cannot be kept open");
    if (asprintf(&pinned, "execfd=%d", policy.executable) < 0)
        return no_memory(why);
    free(*item);
    *item = pinned;
    policy.executable = -1;
    return true;
}

static bool decide(char *const argv[], char *const env_add[], const char *path, struct terms *terms, struct refusal *why)
{
    struct files files = {.command = path};
    struct json_object *asked = question();
    bool good = asked != NULL && jitsudo_put(asked, "argv", jitsudo_texts((const char *const *)argv)) &&
                jitsudo_put(asked, "env_add", jitsudo_texts((const char *const *)env_add)) &&
                put_text(asked, "command", path) && jitsudo_put(asked, "sub_command", jitsudo_boolean(policy.accepted > 0));
    struct json_object *reply = good ? established("Check", asked, &files, why) : NULL;
    if (!good)
        no_memory(why);
    json_object_put(asked);
    bool allowed = reply != NULL && read_terms(reply, terms, why);
    json_object_put(reply);
    if (allowed || !why->is_outage || !is_root_outside(policy.session))
        return allowed && pin(terms, why);
    struct refusal outage = *why;
    *why = (struct refusal){.speaker = "jitsudo"};
    free_terms(terms);
    return root_alone(argv, env_add, path, &outage, terms, why) && pin(terms, why);
}

static void accept_terms(struct terms *terms)
{
    free(policy.session);
    free(policy.token);
    policy.session = terms->session;
    policy.token = terms->token;
    terms->session = terms->token = NULL;
    /* The first allow is the command's own, and sudo points into it until the end. */
    struct terms *slot = &policy.kept[policy.accepted == 0 ? 0 : 1 + policy.accepted % (KEPT - 1)];
    free_terms(slot);
    *slot = *terms;
    policy.accepted++;
}

static int check_policy(int argc, char *const argv[], char *env_add[], char **command_info[], char **argv_out[],
    char **user_env_out[], const char **errstr)
{
    struct refusal why = {.speaker = "jitsudo"};
    struct terms terms = {.session = NULL};
    (void)errstr; /* said at once, with the hints */
    char *path = look_up(argc > 0 ? argv[0] : NULL);
    bool allowed = decide(argv, env_add, path, &terms, &why);
    free(path);
    if (!allowed) {
        free_terms(&terms);
        /* sudo calls no close after a refusal. Within a session its PAM handle stays open. */
        if (policy.accepted == 0)
            pam_finish();
        say(&why);
        return 0;
    }
    *command_info = terms.info;
    *argv_out = terms.argv;
    *user_env_out = terms.env;
    accept_terms(&terms);
    return 1;
}

static struct json_object *session_call(void)
{
    struct json_object *made = jitsudo_object();
    return built(made, put_text(made, "session", policy.session) && put_text(made, "token", policy.token));
}

/* Judge a reply that is a verdict and nothing more. */
static bool judged(const char *method, struct json_object *parameters, struct refusal *why)
{
    struct json_object *reply = ask(method, parameters, NULL, why);
    bool allowed = reply != NULL && allows(reply, why);
    json_object_put(reply);
    return allowed;
}

/* POSIXLY_CORRECT: the grammar of every command line assumes that it is not set, so no PAM stack may bring it back. */
static bool is_taken(char *const *env, const char *item)
{
    size_t length = strcspn(item, "=");
    if (length == strlen("POSIXLY_CORRECT") && strncmp(item, "POSIXLY_CORRECT", length) == 0)
        return true;
    for (; *env != NULL; env++)
        if (strncmp(*env, item, length) == 0 && ((*env)[length] == '=' || (*env)[length] == '\0'))
            return true;
    return false;
}

/* The command's environment with what the PAM session adds; the daemon's own terms stay as they are. */
static bool add_environment(char ***env, struct refusal *why)
{
    char **added = pam_environment();
    size_t had = count_of(*env), more = added != NULL ? count_of(added) : 0;
    char **joined = added != NULL ? calloc(had + more + 1, sizeof *joined) : NULL;
    if (joined == NULL) {
        jitsudo_free_vector(added);
        return no_memory(why);
    }
    memcpy(joined, *env, had * sizeof *joined);
    size_t count = had;
    for (size_t i = 0; i < more; i++) {
        if (is_taken(*env, added[i]))
            free(added[i]);
        else
            joined[count++] = added[i];
    }
    free(added);
    if (count == had)
        free(joined);
    else
        *env = joined;
    return true;
}

static bool open_session(const struct passwd *target, char ***env, struct refusal *why)
{
    if (!begin_pam_for_caller(why))
        return false;
    if (target == NULL)
        return true; /* a bare uid has no account to open a session for */
    bool is_shell = is_set("run_shell") || is_set("login_shell");
    return pam_open(target->pw_name, !is_shell, why) && add_environment(env, why);
}

static bool start(const struct passwd *target, char ***env, struct refusal *why)
{
    if (!open_session(target, env, why)) {
        if (policy.session != NULL || getuid() != 0)
            return false;
        /* A PAM stack that is broken must not lock root out. */
        pam_finish();
        say(why);
    }
    if (policy.session == NULL)
        return true;
    struct json_object *asked = session_call();
    bool allowed = judged("Started", asked, why);
    json_object_put(asked);
    return allowed;
}

static int init_session(struct passwd *target, char **user_env_out[], const char **errstr)
{
    struct refusal why = {.speaker = "jitsudo"};
    (void)errstr;
    if (policy.accepted == 0)
        return 0;
    if (start(target, user_env_out, &why))
        return 1;
    /* sudo calls no close for a session that did not begin. */
    pam_finish();
    say(&why);
    return 0;
}

static void close_policy(int wait_status, int error)
{
    struct refusal why = {.speaker = "jitsudo"};
    pam_finish();
    if (policy.session != NULL) {
        struct json_object *asked = session_call();
        if (asked != NULL && jitsudo_put(asked, "wait_status", jitsudo_number(error == 0 ? wait_status : -1)) &&
            jitsudo_put(asked, "errno", jitsudo_number(error))) {
            /* On the connection that there was from the start nobody needs to be told that it was heard. */
            if (!mention("Close", asked))
                json_object_put(ask("Close", asked, NULL, &why));
        }
        json_object_put(asked);
    }
    hang_up();
}

static int list(int argc, char *const argv[], int verbose, const char *user, const char **errstr)
{
    static char *const nothing[] = {NULL};
    struct refusal why = {.speaker = "jitsudo"};
    (void)errstr;
    char *path = look_up(argc > 0 ? argv[0] : NULL);
    struct json_object *asked = question();
    bool good = asked != NULL && jitsudo_put(asked, "argv", jitsudo_texts((const char *const *)(argc > 0 ? argv : nothing))) &&
                put_text(asked, "command", path) && jitsudo_put(asked, "verbose", jitsudo_boolean(verbose != 0)) &&
                put_text(asked, "user", user);
    struct json_object *reply = good ? ask("List", asked, NULL, &why) : NULL;
    if (!good)
        no_memory(&why);
    bool allowed = reply != NULL && allows(reply, &why);
    /* The exit status is the answer. */
    bool is_silent = reply != NULL && argc > 0 && jitsudo_is(reply, "verdict", "deny") && jitsudo_is_null(reply, "message");
    const char *text = allowed ? jitsudo_string(reply, "text") : NULL;
    char *shown = text != NULL ? printable_lines(text) : NULL;
    if (shown != NULL) {
        for (size_t end = strlen(shown); end > 0 && shown[end - 1] == '\n'; end--)
            shown[end - 1] = '\0';
        told.print(SUDO_CONV_INFO_MSG, "%s\n", shown);
    }
    free(shown);
    json_object_put(reply);
    json_object_put(asked);
    free(path);
    if (!allowed && !is_silent)
        say(&why);
    return allowed;
}

static int validate(const char **errstr)
{
    struct refusal why = {.speaker = "jitsudo"};
    (void)errstr;
    struct json_object *asked = question(), *reply = established("Validate", asked, NULL, &why);
    bool allowed = reply != NULL || (why.is_outage && is_root_outside(policy.session));
    json_object_put(reply);
    json_object_put(asked);
    pam_finish();
    if (!allowed)
        say(&why);
    return allowed;
}

static void invalidate(int remove)
{
    struct refusal why = {.speaker = "jitsudo"};
    struct json_object *asked = question(), *reply = NULL;
    if (asked == NULL || !jitsudo_put(asked, "remove", jitsudo_boolean(remove != 0)))
        no_memory(&why);
    else
        reply = ask("Invalidate", asked, NULL, &why);
    if (reply == NULL)
        say(&why);
    json_object_put(reply);
    json_object_put(asked);
}

static int show_version(int verbose)
{
    (void)verbose;
    told.print(SUDO_CONV_INFO_MSG, "jitsudo policy plugin for sudo, version %s\n", VERSION);
    return 1;
}

/* In one piece. */
static char **copy_of(char *const *vector)
{
    size_t count = count_of(vector), size = (count + 1) * sizeof *vector;
    for (size_t i = 0; i < count; i++)
        size += strlen(vector[i]) + 1;
    char **copy = calloc(1, size);
    if (copy == NULL)
        return NULL;
    char *text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text;
        text = stpcpy(text, vector[i]) + 1;
    }
    return copy;
}

static int open_policy(unsigned int version, sudo_conv_t conversation, sudo_printf_t plugin_printf, char *const settings[],
    char *const user_info[], char *const user_env[], char *const plugin_options[], const char **errstr)
{
    (void)version, (void)plugin_options, (void)errstr;
    /* Copies, as sudo said it: PAM modules and sudo itself change the environment later. */
    told = (struct told){conversation, plugin_printf, copy_of(settings), copy_of(user_info), copy_of(user_env)};
    if (told.settings == NULL || told.user_info == NULL || told.user_env == NULL)
        return -1;
    struct json_object *made = jitsudo_object();
    policy.invocation = built(made, put_text(made, "front_end", FRONT_END) &&
            jitsudo_put(made, "user_info", jitsudo_texts((const char *const *)told.user_info)) &&
            jitsudo_put(made, "settings", jitsudo_texts((const char *const *)told.settings)) &&
            jitsudo_put(made, "user_env", jitsudo_texts((const char *const *)told.user_env)));
    return policy.invocation != NULL ? 1 : -1;
}

__attribute__((visibility("default"))) struct policy_plugin jitsudo_native = {
    .type = SUDO_POLICY_PLUGIN,
    .version = SUDO_API_VERSION,
    .open = open_policy,
    .close = close_policy,
    .show_version = show_version,
    .check_policy = check_policy,
    .list = list,
    .validate = validate,
    .invalidate = invalidate,
    .init_session = init_session,
};
