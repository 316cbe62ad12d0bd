/*
 * sudo's policy plugin, without an interpreter: passes on to the daemon what sudo said, and obeys the answer.
 *
 * No policy, option or environment rule lives here: anything but one exact, complete allow is a deny. It behaves to the
 * letter as sudo/python/jitsudo_sudo_plugin.py does; sudo/conformance/ holds both to it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "native.h"

struct told told;
struct policy policy = {.executable = -1};

/* FOLDER/NAME, to be freed, if it is a program; NULL where it is none, or without memory. */
static char *program_in(const char *folder, size_t length, const char *name)
{
    struct stat status;
    char *path = NULL;
    if (asprintf(&path, "%.*s/%s", (int)length, folder, name) < 0)
        return NULL;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0)
        return path;
    free(path);
    return NULL;
}

/* The command's path, absolute, not resolved. */
static char *look_up(const char *name)
{
    char *path = NULL;
    if (name == NULL || name[0] == '\0')
        return NULL;
    if (name[0] == '/')
        return program_in("", 0, name + 1);
    if (strchr(name, '/') != NULL) {
        char *folder = getcwd(NULL, 0);
        if (folder != NULL)
            path = program_in(folder, folder[1] != '\0' ? strlen(folder) : 0, name);
        free(folder);
        return path;
    }
    for (const char *at = SECURE_PATH; path == NULL && *at != '\0'; at += strspn(at, ":")) {
        size_t length = strcspn(at, ":");
        path = program_in(at, length, name);
        at += length;
    }
    return path;
}

/* `execfd=command` is the file that the daemon was shown, and whose content it read: sudo executes that very one. */
static bool pin(struct jitsudo_terms *terms, struct jitsudo_fault *why)
{
    const char *pinned = jitsudo_value(terms->info, "execfd");
    char magic[2], path[64];
    if (pinned == NULL)
        return true;
    if (strcmp(pinned, "command") != 0 || policy.executable < 0)
        return refuse(why, "the program that was checked is no longer at hand");
    snprintf(path, sizeof path, "/proc/self/fd/%d", policy.executable);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? read(file, magic, sizeof magic) : -1;
    if (file >= 0)
        close(file);
    /* An interpreter opens its script by the descriptor, which must still be there then (fexecve(3), BUGS). */
    if (got < 0 || (got == 2 && memcmp(magic, "#!", 2) == 0 && fcntl(policy.executable, F_SETFD, 0) != 0))
        return refuse(why, "the program that was checked cannot be read");
    if (!jitsudo_set(&terms->info, "execfd=%d", policy.executable))
        return no(jitsudo_out_of_memory(why));
    policy.executable = -1; /* sudo's now */
    return true;
}

static void show_file(struct jitsudo_file *files, size_t *count, const char *name, int descriptor)
{
    if (descriptor >= 0)
        files[(*count)++] = (struct jitsudo_file){name, descriptor};
}

/* Ask with what the daemon is shown: where the command's paths begin, the terminal, and the command, which stays open. */
static struct json_object *shown(struct json_object *asked, const char *path, struct jitsudo_fault *why)
{
    struct jitsudo_file files[4];
    size_t count = 0;
    if (policy.executable >= 0)
        close(policy.executable);
    policy.executable = path != NULL ? open(path, O_PATH | O_CLOEXEC) : -1;
    show_file(files, &count, "root", open("/", O_PATH | O_CLOEXEC));
    show_file(files, &count, "cwd", open(".", O_PATH | O_CLOEXEC));
    show_file(files, &count, "terminal", open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
    show_file(files, &count, "command", policy.executable);
    struct json_object *reply = established("Check", asked, files, count, why);
    while (count-- > 0)
        if (files[count].descriptor != policy.executable)
            close(files[count].descriptor);
    return reply;
}

static bool decide(char *const argv[], char *const env_add[], const char *path, struct jitsudo_terms *terms,
    struct jitsudo_fault *why)
{
    struct json_object *asked = question();
    bool is_built = jitsudo_put(asked, "argv", jitsudo_texts(argv)) && jitsudo_put(asked, "env_add", jitsudo_texts(env_add)) &&
                    jitsudo_put_text(asked, "command", path) &&
                    jitsudo_put(asked, "sub_command", jitsudo_boolean(policy.accepted > 0)) && jitsudo_put_null(asked, "account");
    struct json_object *reply = shown(jitsudo_built(asked, is_built), path, why);
    bool is_good = reply != NULL && jitsudo_read_terms(reply, policy.session, terms, why) == JITSUDO_OK;
    json_object_put(reply);
    /* Only root runs without a session. */
    if (is_good && terms->session == NULL && getuid() != 0)
        is_good = no(jitsudo_puzzled(why, "no session"));
    if (is_good || !jitsudo_is_outage(why->status) || !is_root_outside())
        return is_good && pin(terms, why);
    jitsudo_free_terms(terms);
    return root_alone(argv, env_add, path, terms, why);
}

static void accept_terms(struct jitsudo_terms *terms)
{
    free(policy.session);
    free(policy.token);
    policy.session = terms->session;
    policy.token = terms->token;
    terms->session = terms->token = NULL;
    /* The first allow is the command's own, and sudo points into it until the end. */
    struct jitsudo_terms *slot = &policy.kept[policy.accepted == 0 ? 0 : 1 + policy.accepted % (KEPT - 1)];
    jitsudo_free_terms(slot);
    *slot = *terms;
    policy.accepted++;
}

static int check_policy(int argc, char *const argv[], char *env_add[], char **command_info[], char **argv_out[],
    char **user_env_out[], const char **errstr)
{
    struct jitsudo_fault why = {.status = JITSUDO_OK};
    struct jitsudo_terms terms = {.session = NULL};
    (void)errstr; /* said at once, with the hints */
    char *path = look_up(argc > 0 ? argv[0] : NULL);
    bool is_allowed = decide(argv, env_add, path, &terms, &why);
    free(path);
    if (!is_allowed) {
        jitsudo_free_terms(&terms);
        /* sudo calls no close after a refusal. Within a session its PAM handle stays open. */
        if (policy.accepted == 0)
            pam_finish();
        return say(&why);
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
    return jitsudo_built(made, jitsudo_put_text(made, "session", policy.session) && jitsudo_put_text(made, "token", policy.token));
}

static bool start(const struct passwd *target, char ***env, struct jitsudo_fault *why)
{
    bool is_shell = is_set("run_shell") || is_set("login_shell");
    /* A bare uid has no account to open a session for. */
    bool is_good = pam_begin(NULL, why) &&
                   (target == NULL || (pam_open(target->pw_name, !is_shell, why) && pam_add_environment(env, why)));
    if (policy.session == NULL && getuid() == 0 && !is_good) {
        /* A PAM stack that is broken must not lock root out. */
        pam_finish();
        say(why);
        return true;
    }
    if (policy.session == NULL || !is_good)
        return is_good;
    struct json_object *reply = ask("Started", session_call(), NULL, 0, why);
    is_good = is_allowed(reply, why);
    json_object_put(reply);
    return is_good;
}

static int init_session(struct passwd *target, char **user_env_out[], const char **errstr)
{
    struct jitsudo_fault why = {.status = JITSUDO_OK};
    (void)errstr;
    if (policy.accepted == 0)
        return 0;
    if (start(target, user_env_out, &why))
        return 1;
    /* sudo calls no close for a session that did not begin. */
    pam_finish();
    return say(&why);
}

static void close_policy(int wait_status, int error)
{
    pam_finish();
    if (policy.session != NULL) {
        struct json_object *asked = session_call();
        bool is_built = jitsudo_put(asked, "wait_status", jitsudo_number(error == 0 ? wait_status : -1)) &&
                        jitsudo_put(asked, "errno", jitsudo_number(error));
        jitsudo_tell(&policy.client, &options, "Close", jitsudo_built(asked, is_built), NULL);
    }
    jitsudo_hang_up(&policy.client);
}

static int list(int argc, char *const argv[], int verbose, const char *user, const char **errstr)
{
    struct jitsudo_fault why = {.status = JITSUDO_OK};
    (void)errstr;
    char *path = look_up(argc > 0 ? argv[0] : NULL);
    struct json_object *asked = question();
    bool is_built = jitsudo_put(asked, "argv", jitsudo_texts(argc > 0 ? argv : NULL)) && jitsudo_put_text(asked, "command", path) &&
                    jitsudo_put(asked, "verbose", jitsudo_boolean(verbose != 0)) && jitsudo_put_text(asked, "user", user);
    struct json_object *reply = ask("List", jitsudo_built(asked, is_built), NULL, 0, &why);
    free(path);
    bool is_good = is_allowed(reply, &why);
    const char *text = is_good ? jitsudo_string(reply, "text") : NULL;
    char *shown = text != NULL ? jitsudo_printable_lines(text) : NULL;
    if (shown != NULL)
        told.print(SUDO_CONV_INFO_MSG, "%s\n", shown);
    free(shown);
    json_object_put(reply);
    return is_good || say(&why);
}

static int validate(const char **errstr)
{
    struct jitsudo_fault why = {.status = JITSUDO_OK};
    struct json_object *asked = question();
    (void)errstr;
    struct json_object *reply = established("Validate", jitsudo_built(asked, jitsudo_put_null(asked, "account")), NULL, 0, &why);
    bool is_good = reply != NULL || (jitsudo_is_outage(why.status) && is_root_outside());
    json_object_put(reply);
    pam_finish();
    return is_good || say(&why);
}

static void invalidate(int remove)
{
    struct jitsudo_fault why = {.status = JITSUDO_OK};
    struct json_object *asked = question();
    bool is_built = jitsudo_put(asked, "remove", jitsudo_boolean(remove != 0));
    struct json_object *reply = ask("Invalidate", jitsudo_built(asked, is_built), NULL, 0, &why);
    if (reply == NULL)
        say(&why);
    json_object_put(reply);
}

static int show_version(int verbose)
{
    (void)verbose;
    told.print(SUDO_CONV_INFO_MSG, "jitsudo policy plugin for sudo, version %s\n", VERSION);
    return 1;
}

static int open_policy(unsigned int version, sudo_conv_t conversation, sudo_printf_t plugin_printf, char *const settings[],
    char *const user_info[], char *const user_env[], char *const plugin_options[], const char **errstr)
{
    (void)version, (void)plugin_options, (void)errstr;
    /* Copies, as sudo said it: PAM modules and sudo itself change the environment later. */
    told = (struct told){conversation, plugin_printf, jitsudo_copy_vector(settings), jitsudo_copy_vector(user_info),
        jitsudo_copy_vector(user_env)};
    return told.settings != NULL && told.user_info != NULL && told.user_env != NULL ? 1 : -1;
}

__attribute__((visibility("default"))) struct policy_plugin jitsudo_native = {
    .type = SUDO_POLICY_PLUGIN, .version = SUDO_API_VERSION, .open = open_policy, .close = close_policy,
    .show_version = show_version, .check_policy = check_policy, .list = list, .validate = validate,
    .invalidate = invalidate, .init_session = init_session,
};
