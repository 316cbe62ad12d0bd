/* One call and its answer (https://varlink.org, "Protocol"): a frame goes out, replies come in, the last one counts. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "fault.h"
#include "internal.h"

static struct json_object *message_of(const char *method, struct json_object *parameters)
{
    char name[128];
    int length = snprintf(name, sizeof name, JITSUDO_INTERFACE "%s", method);
    if (length < 0 || (size_t)length >= sizeof name)
        return NULL;
    struct json_object *message = jitsudo_object();
    if (jitsudo_put(message, "method", jitsudo_text(name)) &&
        jitsudo_put(message, "parameters", json_object_get(parameters)) && jitsudo_put(message, "more", jitsudo_boolean(true)))
        return message;
    json_object_put(message);
    return NULL;
}

static enum jitsudo_status not_written(enum jitsudo_status status, struct jitsudo_fault *fault)
{
    if (status == JITSUDO_TOO_LARGE)
        return jitsudo_fail(fault, status, "arguments and environment are too large");
    if (status == JITSUDO_NO_MEMORY)
        return jitsudo_out_of_memory(fault);
    return jitsudo_fail(fault, JITSUDO_MISUSED, "the call holds something that cannot be sent");
}

static enum jitsudo_status ask(struct jitsudo *client, const char *method, struct json_object *parameters,
    const int *descriptors, size_t count, struct jitsudo_fault *fault)
{
    struct json_object *message = message_of(method, parameters);
    enum jitsudo_status status = JITSUDO_NO_MEMORY;
    size_t size = 0;
    if (message == NULL)
        return jitsudo_out_of_memory(fault);
    char *frame = jitsudo_write(message, &size, &status);
    json_object_put(message);
    if (frame == NULL)
        return not_written(status, fault);
    status = jitsudo_expect_nothing(client, fault);
    if (status == JITSUDO_OK)
        status = jitsudo_wait_anew(client, true, fault);
    if (status == JITSUDO_OK)
        status = jitsudo_send(client, frame, size + 1, descriptors, count, fault);
    free(frame);
    return status;
}

/* The next reply, whole. */
static enum jitsudo_status next_reply(struct jitsudo *client, struct json_object **reply, struct jitsudo_fault *fault)
{
    size_t size = 0;
    enum jitsudo_status status = jitsudo_receive(client, &size, fault);
    if (status != JITSUDO_OK)
        return status;
    *reply = jitsudo_parse(client->bytes, size, &status);
    jitsudo_drop(client, size);
    if (status == JITSUDO_NO_MEMORY)
        return jitsudo_out_of_memory(fault);
    if (*reply == NULL)
        return jitsudo_puzzled(fault, "not JSON");
    return JITSUDO_OK;
}

static struct json_object *parameters_of(struct json_object *reply)
{
    static const char *const keys[] = {"parameters", "continues", "error", NULL};
    struct json_object *parameters = NULL;
    if (!jitsudo_only(reply, keys) || !json_object_object_get_ex(reply, "parameters", &parameters) ||
        !json_object_is_type(parameters, json_type_object))
        return NULL;
    return parameters;
}

/* A reply that says that the daemon is at work: one string, and nothing that a final reply has. */
static const char *awaited(struct json_object *reply, struct json_object *parameters)
{
    if (json_object_object_get_ex(reply, "error", NULL) || json_object_object_length(parameters) != 1)
        return NULL;
    return jitsudo_string(parameters, "pending");
}

static void show(const struct jitsudo *client, const char *text)
{
    char shown[JITSUDO_SENTENCE];
    if (client->options.pending == NULL)
        return;
    jitsudo_printable(text, shown, sizeof shown);
    client->options.pending(shown, client->options.context);
}

/* Whether the reply is the last one; then *answer is its object. */
static enum jitsudo_status judge(struct jitsudo *client, struct json_object *reply, bool *final, struct json_object **answer,
    struct jitsudo_fault *fault)
{
    struct json_object *parameters = parameters_of(reply), *continues = NULL;
    if (parameters == NULL)
        return jitsudo_puzzled(fault, "not a reply");
    bool has = json_object_object_get_ex(reply, "continues", &continues);
    if (has && !json_object_is_type(continues, json_type_boolean))
        return jitsudo_puzzled(fault, "not a reply");
    if (has && json_object_get_boolean(continues)) {
        const char *text = awaited(reply, parameters);
        if (text == NULL)
            return jitsudo_puzzled(fault, "not a reply");
        show(client, text);
        return jitsudo_wait_anew(client, false, fault);
    }
    *final = true;
    if (client->held > 0)
        return jitsudo_puzzled(fault, "more than one reply");
    if (json_object_object_get_ex(reply, "error", NULL))
        return jitsudo_refused(reply, fault);
    *answer = json_object_get(parameters);
    return JITSUDO_OK;
}

enum jitsudo_status jitsudo_hear(struct jitsudo *client, struct json_object **answer, struct jitsudo_fault *fault)
{
    bool final = false;
    while (!final) {
        struct json_object *reply = NULL;
        enum jitsudo_status status = next_reply(client, &reply, fault);
        if (status == JITSUDO_OK)
            status = judge(client, reply, &final, answer, fault);
        json_object_put(reply);
        if (status != JITSUDO_OK)
            return status;
    }
    return JITSUDO_OK;
}

/* Send the call. Until its answer was heard, another one cannot be told from it. */
static enum jitsudo_status begin(struct jitsudo *client, const char *method, struct json_object *parameters,
    const int *descriptors, size_t count, struct jitsudo_fault *fault)
{
    jitsudo_clear(fault);
    if (client == NULL || method == NULL || count > JITSUDO_MAX_DESCRIPTORS || (count > 0 && descriptors == NULL) ||
        !json_object_is_type(parameters, json_type_object))
        return jitsudo_fail(fault, JITSUDO_MISUSED, "the call cannot be made");
    if (client->broken)
        return jitsudo_fail(fault, JITSUDO_DISCONNECTED, "the connection to the daemon is out of step");
    client->broken = true;
    return ask(client, method, parameters, descriptors, count, fault);
}

enum jitsudo_status jitsudo_call(struct jitsudo *client, const char *method, struct json_object *parameters,
    const int *descriptors, size_t count, struct json_object **reply, struct jitsudo_fault *fault)
{
    *reply = NULL;
    enum jitsudo_status status = begin(client, method, parameters, descriptors, count, fault);
    if (status != JITSUDO_OK)
        return status;
    if (client->options.sent != NULL) {
        client->options.sent(method, client->options.context);
        status = jitsudo_wait_anew(client, false, fault);
    }
    if (status == JITSUDO_OK)
        status = jitsudo_hear(client, reply, fault);
    client->broken = status != JITSUDO_OK && status != JITSUDO_REFUSED && status != JITSUDO_DAEMON_FAILED;
    return status;
}

enum jitsudo_status jitsudo_mention(
    struct jitsudo *client, const char *method, struct json_object *parameters, struct jitsudo_fault *fault)
{
    return begin(client, method, parameters, NULL, 0, fault);
}
