/* One call to the daemon and its answer: the connection, the descriptors that go along, and who may break it off. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

void hang_up(void)
{
    jitsudo_close(policy.client);
    policy.client = NULL;
}

void keep_executable(int descriptor)
{
    if (policy.executable >= 0)
        close(policy.executable);
    policy.executable = descriptor;
}

static bool tick(void *context)
{
    (void)context;
    return is_given_up(GIVE_UP);
}

static void show_pending(const char *awaited, void *context)
{
    (void)context;
    if (awaited[0] == '\0' || is_set("noninteractive"))
        return;
    for (size_t i = 0; i < MAX_SHOWN; i++) {
        if (policy.shown[i] == NULL) {
            if ((policy.shown[i] = strdup(awaited)) != NULL)
                told.print(SUDO_CONV_ERROR_MSG, "jitsudo: %s\n", awaited);
            return;
        }
        if (strcmp(policy.shown[i], awaited) == 0)
            return;
    }
}

static bool failed(const struct jitsudo_fault *fault, struct refusal *why)
{
    refuse(why, fault->hint[0] != '\0' ? fault->hint : NULL, "%s", fault->message);
    why->is_outage = jitsudo_is_outage(fault->status);
    return false;
}

static void open_file(struct files *files, const char *name, const char *path, int flags)
{
    int descriptor = open(path, flags | O_CLOEXEC);
    if (descriptor < 0)
        return;
    files->names[files->count] = name;
    files->descriptors[files->count++] = descriptor;
}

static void open_files(struct files *files)
{
    open_file(files, "root", "/", O_PATH);
    open_file(files, "cwd", ".", O_PATH);
    if (files->command != NULL)
        open_file(files, "command", files->command, O_PATH);
    open_file(files, "terminal", "/dev/tty", O_RDWR | O_NOCTTY);
}

static void close_files(struct files *files, bool is_answered)
{
    int kept = -1;
    for (size_t i = 0; i < files->count; i++) {
        if (is_answered && strcmp(files->names[i], "command") == 0)
            kept = files->descriptors[i];
        else
            close(files->descriptors[i]);
    }
    if (is_answered)
        keep_executable(kept);
    files->count = 0;
}

static bool name_files(struct json_object *parameters, const struct files *files)
{
    struct json_object *names = jitsudo_array();
    bool good = true;
    for (size_t i = 0; i < files->count; i++)
        good = good && jitsudo_push(names, jitsudo_text(files->names[i]));
    if (!good) {
        json_object_put(names);
        return false;
    }
    return jitsudo_put(parameters, "descriptors", names);
}

static enum jitsudo_status call(const char *method, struct json_object *parameters, const struct files *files,
    struct json_object **reply, struct jitsudo_fault *fault)
{
    const struct jitsudo_options options = {
        .folder = JITSUDO_RUN, .owner = JITSUDO_OWNER, .tick = tick, .pending = show_pending};
    enum jitsudo_status status = JITSUDO_OK;
    /* `sudo -b` goes on in a child: the kernel would take it for its parent on the old connection. */
    if (policy.client != NULL && policy.process != getpid())
        hang_up();
    if (policy.client == NULL) {
        policy.process = getpid();
        status = jitsudo_connect(&options, &policy.client, fault);
    }
    if (status == JITSUDO_OK)
        status = jitsudo_call(policy.client, method, parameters, files != NULL ? files->descriptors : NULL,
            files != NULL ? files->count : 0, reply, fault);
    /* A connection on which an answer may still come is out of step. */
    if (status != JITSUDO_OK && status != JITSUDO_REFUSED && status != JITSUDO_DAEMON_FAILED)
        hang_up();
    return status;
}

/* The parameters of the daemon's reply, to be released; NULL with *why where there is none. Keeps `parameters`. */
struct json_object *ask(const char *method, struct json_object *parameters, struct files *files, struct refusal *why)
{
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    struct json_object *reply = NULL;
    sigset_t before;
    if (parameters == NULL) {
        no_memory(why);
        return NULL;
    }
    block(GIVE_UP, &before);
    if (files != NULL)
        open_files(files);
    bool good = files == NULL || name_files(parameters, files);
    enum jitsudo_status status = good ? call(method, parameters, files, &reply, &fault) : JITSUDO_NO_MEMORY;
    if (files != NULL)
        close_files(files, status == JITSUDO_OK || status == JITSUDO_REFUSED || status == JITSUDO_DAEMON_FAILED);
    restore(&before);
    if (!good)
        no_memory(why);
    else if (status != JITSUDO_OK)
        failed(&fault, why);
    return reply;
}

bool mention(const char *method, struct json_object *parameters)
{
    struct jitsudo_fault fault;
    if (policy.client != NULL && policy.process == getpid() &&
        jitsudo_mention(policy.client, method, parameters, &fault) == JITSUDO_OK)
        return true;
    hang_up();
    return false;
}

struct json_object *built(struct json_object *object, bool is_good)
{
    if (is_good)
        return object;
    json_object_put(object);
    return NULL;
}

struct json_object *question(void)
{
    struct json_object *made = jitsudo_object();
    return built(made, jitsudo_put(made, "invocation", json_object_get(policy.invocation)));
}

bool put_text(struct json_object *object, const char *key, const char *text)
{
    return text != NULL ? jitsudo_put(object, key, jitsudo_text(text)) : jitsudo_put_null(object, key);
}
