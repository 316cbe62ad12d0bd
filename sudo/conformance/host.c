/*
 * As much of sudo as a policy plugin sees: loads the native plugin, makes the calls that a transcript names, and tells what came
 * back. A transcript's "sudo" and "steps" come in on standard input, results go out on standard output, both as JSON.
 * getuid and PAM are this program's own, which the plugin's symbols find first.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <json-c/json.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sudo_plugin.h>

#include "jitsudo.h"

#define MAX_KEPT 1024
#define MAX_DESCRIPTORS 1024
#define ARRIVAL_MS 30000

static uid_t caller;
/* What belongs to this program, until its end: what the leak sanitizer finds is the plugin's. */
static void *kept[MAX_KEPT];
static size_t kept_count;
static struct json_object *typed, *said;
static size_t typed_count;

__attribute__((visibility("default"))) uid_t getuid(void)
{
    return caller;
}

static void die(const char *why)
{
    fprintf(stderr, "host: %s\n", why);
    exit(2);
}

static void *keep(void *block)
{
    if (kept_count == MAX_KEPT)
        die("too many steps");
    kept[kept_count++] = block;
    return block;
}

static struct json_object *field(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

static char **vector(struct json_object *list)
{
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    char **made = keep(calloc(count + 1, sizeof *made));
    for (size_t i = 0; made != NULL && i < count; i++)
        if (jitsudo_read_text(json_object_array_get_idx(list, i), &made[i]) != JITSUDO_OK)
            die("a transcript holds something that is not text");
    return made;
}

static void record(const char *how, const char *text)
{
    struct json_object *entry = jitsudo_array();
    jitsudo_push(entry, jitsudo_text(how));
    jitsudo_push(entry, jitsudo_text(text));
    jitsudo_push(said, entry);
}

static int print(int kind, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        die("no memory");
    record(kind == SUDO_CONV_INFO_MSG ? "info" : (kind & SUDO_CONV_PREFER_TTY) != 0 ? "told" : "error", text);
    free(text);
    return length;
}

static int converse(int count, const struct sudo_conv_message *messages, struct sudo_conv_reply *replies,
    struct sudo_conv_callback *callback)
{
    (void)callback;
    if (count != 1)
        die("one message at a time");
    record((messages[0].msg_type & 0xFF) == SUDO_CONV_PROMPT_ECHO_ON ? "asked aloud" : "asked", messages[0].msg);
    if (typed == NULL || typed_count >= json_object_array_length(typed))
        return -1;
    struct json_object *answer = json_object_array_get_idx(typed, typed_count++);
    return answer != NULL && jitsudo_read_text(answer, &replies[0].reply) == JITSUDO_OK ? 0 : -1;
}

static void check(struct policy_plugin *plugin, struct json_object *step, struct json_object *result)
{
    char **argv = vector(field(step, "argv")), **info = NULL, **run = NULL, **env = NULL;
    int argc = 0;
    const char *error = NULL;
    while (argv[argc] != NULL)
        argc++;
    int code = plugin->check_policy(argc, argv, vector(field(step, "env_add")), &info, &run, &env, &error);
    jitsudo_put(result, "returns", jitsudo_number(code));
    if (code == 1) {
        jitsudo_put(result, "command_info", jitsudo_texts(info));
        jitsudo_put(result, "argv", jitsudo_texts(run));
        jitsudo_put(result, "env", jitsudo_texts(env));
    }
}

static void start(struct policy_plugin *plugin, struct json_object *step, struct json_object *result)
{
    const char *user = jitsudo_string(step, "user"), *error = NULL;
    char **env = vector(field(step, "env"));
    int code = plugin->init_session(user != NULL ? getpwnam(user) : NULL, &env, &error);
    keep(env); /* as sudo does */
    jitsudo_put(result, "returns", jitsudo_number(code));
    if (code == 1)
        jitsudo_put(result, "env", jitsudo_texts(env));
}

static void list(struct policy_plugin *plugin, struct json_object *step, struct json_object *result)
{
    char **argv = vector(field(step, "argv"));
    int argc = 0;
    const char *error = NULL;
    while (argv[argc] != NULL)
        argc++;
    int code = plugin->list(argc, argv, json_object_get_boolean(field(step, "verbose")), jitsudo_string(step, "user"), &error);
    jitsudo_put(result, "returns", jitsudo_number(code));
}

/* Until the daemon's connection has something to read, its end included. */
static void await_arrival(void)
{
    for (int descriptor = 3; descriptor < MAX_DESCRIPTORS; descriptor++) {
        struct sockaddr_un peer = {0};
        socklen_t size = sizeof peer - 1;
        if (getpeername(descriptor, (struct sockaddr *)&peer, &size) == 0 && strstr(peer.sun_path, "/decide") != NULL) {
            struct pollfd one = {.fd = descriptor, .events = POLLIN};
            if (poll(&one, 1, ARRIVAL_MS) != 1)
                die("nothing has come from the daemon");
            return;
        }
    }
    die("there is no connection to the daemon");
}

static struct json_object *walk(struct policy_plugin *plugin, struct json_object *step)
{
    struct json_object *result = jitsudo_object();
    const char *call = jitsudo_string(step, "call"), *error = NULL;
    if (strcmp(call, "check_policy") == 0)
        check(plugin, step, result);
    else if (strcmp(call, "init_session") == 0)
        start(plugin, step, result);
    else if (strcmp(call, "list") == 0)
        list(plugin, step, result);
    else if (strcmp(call, "validate") == 0)
        jitsudo_put(result, "returns", jitsudo_number(plugin->validate(&error)));
    else if (strcmp(call, "show_version") == 0)
        jitsudo_put(result, "returns", jitsudo_number(plugin->show_version(0)));
    else if (strcmp(call, "invalidate") == 0)
        plugin->invalidate(json_object_get_boolean(field(step, "remove")));
    else if (strcmp(call, "close") == 0)
        plugin->close((int)json_object_get_int64(field(step, "wait_status")), (int)json_object_get_int64(field(step, "errno")));
    else if (strcmp(call, "arrival") == 0)
        await_arrival();
    else
        die("a step that sudo does not have");
    return result;
}

int main(int argc, char **argv)
{
    struct json_object *transcript = keep(json_object_from_fd(STDIN_FILENO)), *sudo = field(transcript, "sudo");
    struct json_object *steps = field(transcript, "steps"), *results = keep(jitsudo_array());
    void *file = argc == 2 ? dlopen(argv[1], RTLD_LAZY | RTLD_GLOBAL) : NULL;
    struct policy_plugin *plugin = file != NULL ? dlsym(file, "jitsudo_native") : NULL;
    const char *error = NULL;
    if (plugin == NULL || transcript == NULL)
        die(file == NULL ? dlerror() : "usage: host PLUGIN <TRANSCRIPT");
    said = jitsudo_array();
    typed = field(sudo, "typed");
    caller = (uid_t)json_object_get_int64(field(sudo, "uid"));
    if (plugin->open(SUDO_API_VERSION, converse, print, vector(field(sudo, "settings")), vector(field(sudo, "user_info")),
            vector(field(sudo, "user_env")), NULL, &error) != 1)
        die("the plugin does not open");
    for (size_t i = 0; i < json_object_array_length(steps); i++)
        jitsudo_push(results, walk(plugin, json_object_array_get_idx(steps, i)));
    struct json_object *output = keep(jitsudo_object());
    jitsudo_put(output, "results", results);
    jitsudo_put(output, "said", said);
    puts(json_object_to_json_string_ext(output, JSON_C_TO_STRING_PLAIN));
    return 0;
}
