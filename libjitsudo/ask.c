/* One question on a connection that is kept from one to the next, with the descriptors that go along. */
#include <json-c/json.h>
#include <stddef.h>
#include <unistd.h>

#include "channel.h"
#include "fault.h"

static bool name_files(struct json_object *parameters, const struct jitsudo_file *files, size_t count)
{
    struct json_object *names = jitsudo_array();
    bool good = names != NULL;
    for (size_t i = 0; i < count; i++)
        good = good && jitsudo_push(names, jitsudo_text(files[i].name));
    if (good)
        return jitsudo_put(parameters, "descriptors", names);
    json_object_put(names);
    return false;
}

static enum jitsudo_status on_line(struct jitsudo **client, const struct jitsudo_options *options, struct jitsudo_fault *fault)
{
    /* What goes on in a child (`sudo -b`): the kernel would take it for its parent on the old connection. */
    if (*client != NULL && (*client)->process != getpid())
        jitsudo_hang_up(client);
    return *client != NULL ? JITSUDO_OK : jitsudo_connect(options, client, fault);
}

enum jitsudo_status jitsudo_ask(struct jitsudo **client, const struct jitsudo_options *options, const char *method,
    struct json_object *parameters, const struct jitsudo_file *files, size_t count, struct json_object **reply,
    struct jitsudo_fault *fault)
{
    int descriptors[JITSUDO_MAX_DESCRIPTORS];
    enum jitsudo_status status = JITSUDO_OK;
    *reply = NULL;
    jitsudo_clear(fault);
    count = files != NULL ? count : 0;
    for (size_t i = 0; i < count && i < JITSUDO_MAX_DESCRIPTORS; i++)
        descriptors[i] = files[i].descriptor;
    if (parameters == NULL || (files != NULL && !name_files(parameters, files, count)))
        status = jitsudo_out_of_memory(fault);
    if (status == JITSUDO_OK)
        status = on_line(client, options, fault);
    if (status == JITSUDO_OK)
        status = jitsudo_call(*client, method, parameters, descriptors, count, reply, fault);
    json_object_put(parameters);
    if (*client != NULL && (*client)->broken)
        jitsudo_hang_up(client);
    return status;
}

enum jitsudo_status jitsudo_tell(struct jitsudo **client, const struct jitsudo_options *options, const char *method,
    struct json_object *parameters, struct jitsudo_fault *fault)
{
    struct json_object *reply = NULL;
    enum jitsudo_status status = JITSUDO_DISCONNECTED;
    /* On the connection that there was from the start nobody needs to be told that it was heard. */
    if (*client != NULL && (*client)->process == getpid() && parameters != NULL)
        status = jitsudo_mention(*client, method, parameters, fault);
    jitsudo_hang_up(client);
    if (status == JITSUDO_OK) {
        json_object_put(parameters);
        return status;
    }
    status = jitsudo_ask(client, options, method, parameters, NULL, 0, &reply, fault);
    json_object_put(reply);
    jitsudo_hang_up(client);
    return status;
}

void jitsudo_hang_up(struct jitsudo **client)
{
    jitsudo_close(*client);
    *client = NULL;
}
