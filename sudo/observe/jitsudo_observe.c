/*
 * sudo's audit plugin of `jitsudo setup observe`: tells the daemon what sudo accepted or refused. sudoers decides.
 *
 * It must never harm sudo: each call says "all is well" whatever happens, nothing is printed, nothing is kept open, and all
 * of it together takes no longer than a quarter of a second, whether the daemon is there or not, hangs or talks nonsense.
 * There is no close function on purpose: sudo would stay around commands that it otherwise executes in its own place.
 * Only names of variables leave the process, never values.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include <sudo_plugin.h>

#include "jitsudo.h"

/* Where tests build the plugin anew to have it elsewhere: nothing that a caller controls may. */
#ifndef JITSUDO_RUN
#define JITSUDO_RUN JITSUDO_FOLDER
#define JITSUDO_OWNER 0
#endif

#define WAIT_MS 100 /* to connect, and again for the answer */
#define MAX_ITEMS ((size_t)1024) /* of one list */
#define MAX_BYTES ((size_t)32 * 1024) /* of one list: as a rule the call fits into the socket's buffer, and sending does not wait */

/* What sudo told when it opened the plugin; sudo keeps it until it ends. */
static struct {
    char *const *settings, *const *user_info, *const *argv;
    int first; /* where in argv sudo's own options end */
    bool is_told;
} sudo;

/* The beginnings of the vector's items, up to `end` if that is not NUL, as much as is sent of them; *cut: not all of it. */
static struct json_object *texts(char *const *vector, char end, bool *cut)
{
    struct json_object *array = jitsudo_array();
    size_t count = 0, bytes = 0;
    for (; vector != NULL && *vector != NULL; vector++) {
        const char *found = end != '\0' ? strchr(*vector, end) : NULL;
        size_t size = found != NULL ? (size_t)(found - *vector) : strlen(*vector);
        if (++count > MAX_ITEMS || size > MAX_BYTES - bytes) {
            *cut = true;
            break;
        }
        bytes += size;
        if (!jitsudo_push(array, jitsudo_text_of(*vector, size))) {
            json_object_put(array);
            return NULL;
        }
    }
    return array;
}

static bool put_text(struct json_object *object, const char *key, const char *text)
{
    if (text == NULL)
        return jitsudo_put_null(object, key);
    size_t size = strlen(text);
    return jitsudo_put(object, key, jitsudo_text_of(text, size < MAX_BYTES ? size : MAX_BYTES));
}

/* What is told, NULL without memory. */
static struct json_object *told(const char *outcome, const char *plugin, unsigned int type, const char *message,
    char *const *info, char *const *argv, char *const *env)
{
    struct json_object *made = jitsudo_object();
    bool cut = false, ignored = false;
    bool good = jitsudo_put(made, "outcome", jitsudo_text(outcome)) && put_text(made, "plugin", plugin) &&
        jitsudo_put(made, "plugin_type", jitsudo_number(type)) && put_text(made, "message", message) &&
        jitsudo_put(made, "user_info", texts(sudo.user_info, '\0', &ignored)) &&
        jitsudo_put(made, "settings", texts(sudo.settings, '\0', &ignored)) &&
        jitsudo_put(made, "submit_argv", texts(sudo.argv, '\0', &cut)) &&
        jitsudo_put(made, "submit_optind", jitsudo_number(sudo.first)) &&
        jitsudo_put(made, "command_info", texts(info, '\0', &ignored)) &&
        jitsudo_put(made, "run_argv", texts(argv, '\0', &cut)) && jitsudo_put(made, "run_env", texts(env, '=', &ignored)) &&
        jitsudo_put(made, "cut", jitsudo_boolean(cut));
    if (good)
        return made;
    json_object_put(made);
    return NULL;
}

/* Once for each sudo: it is about what somebody asked for, not about what that command executes (sudoers' log_subcmds). */
static void tell(const char *outcome, const char *plugin, unsigned int type, const char *message, char *const *info,
    char *const *argv, char *const *env)
{
    const struct jitsudo_options options = {
        .folder = JITSUDO_RUN, .owner = JITSUDO_OWNER, .silence_ms = WAIT_MS, .patience_ms = WAIT_MS};
    struct jitsudo *client = NULL;
    struct json_object *reply = NULL;
    int number = errno;
    if (sudo.is_told)
        return;
    sudo.is_told = true;
    if (jitsudo_connect(&options, &client, NULL) == JITSUDO_OK) {
        struct json_object *parameters = told(outcome, plugin, type, message, info, argv, env);
        /* The answer says that the daemon has looked at this process; there is nothing in it to know. */
        if (parameters != NULL && jitsudo_call(client, "Observe", parameters, NULL, 0, &reply, NULL) == JITSUDO_OK)
            json_object_put(reply);
        json_object_put(parameters);
        jitsudo_close(client);
    }
    errno = number;
}

static int observe_open(unsigned int version, sudo_conv_t converse, sudo_printf_t print, char *const settings[],
    char *const user_info[], int submit_optind, char *const submit_argv[], char *const submit_envp[],
    char *const plugin_options[], const char **errstr)
{
    (void)version, (void)converse, (void)print, (void)submit_envp, (void)plugin_options, (void)errstr;
    sudo.settings = settings;
    sudo.user_info = user_info;
    sudo.argv = submit_argv;
    sudo.first = submit_optind;
    return 1;
}

static int observe_accept(const char *plugin, unsigned int type, char *const info[], char *const argv[], char *const env[],
    const char **errstr)
{
    (void)errstr;
    /* After the policy's yes, an approval plugin's no may follow; and sudo -l and -v have no other yes. */
    if (type == SUDO_FRONT_END)
        tell("accepted", plugin, type, NULL, info, argv, env);
    return 1;
}

static int observe_reject(
    const char *plugin, unsigned int type, const char *message, char *const info[], const char **errstr)
{
    (void)errstr;
    tell("rejected", plugin, type, message, info, NULL, NULL);
    return 1;
}

static int observe_error(
    const char *plugin, unsigned int type, const char *message, char *const info[], const char **errstr)
{
    (void)errstr;
    tell("error", plugin, type, message, info, NULL, NULL);
    return 1;
}

static int observe_show_version(int verbose)
{
    (void)verbose;
    return 1;
}

extern struct audit_plugin jitsudo_observe;
__attribute__((visibility("default"))) struct audit_plugin jitsudo_observe = {
    .type = SUDO_AUDIT_PLUGIN,
    .version = SUDO_API_VERSION,
    .open = observe_open,
    .accept = observe_accept,
    .reject = observe_reject,
    .error = observe_error,
    .show_version = observe_show_version,
};
