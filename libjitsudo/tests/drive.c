/*
 * libjitsudo by hand, for tests: makes calls, and reports what came of each, a JSON object a line.
 *   drive [option=value]... METHOD=PARAMETERS...
 * Options: folder, socket, owner, silence and patience (milliseconds), report (a file, else standard output), give-up (after
 * that many ticks), wait (milliseconds before each call but the first), pad (bytes that each call is to have more), close (a
 * digit a descriptor, closed at once), send (descriptors that go along, a digit each).
 *   drive parse        reads standard input and writes what it holds.
 * The status is 0 where every call got an answer whose lists are lists of texts, else the status of libjitsudo plus 10.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jitsudo.h"

struct drive {
    struct jitsudo_options options;
    const char *report;
    long give_up, ticks, pending, wait;
    size_t pad;
    int descriptors[JITSUDO_MAX_DESCRIPTORS];
    size_t count;
    char line[65536];
};

static bool tick(void *context)
{
    struct drive *drive = context;
    return drive->give_up > 0 && ++drive->ticks >= drive->give_up;
}

static void pending(const char *awaited, void *context)
{
    struct drive *drive = context;
    drive->pending += awaited[0] != '\0';
}

static int status_of(enum jitsudo_status status)
{
    return status == JITSUDO_OK ? 0 : 10 + (int)status;
}

/* Reports do without json-c, whose writer is not to be trusted when memory fails. */
static void report(struct drive *drive, const char *text, size_t size)
{
    int out = STDOUT_FILENO;
    if (drive->report != NULL)
        out = open(drive->report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    while (size > 0) {
        ssize_t written = write(out, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            _exit(98);
        text += written;
        size -= (size_t)written;
    }
    if (drive->report != NULL)
        close(out);
}

static void report_fault(struct drive *drive, const struct jitsudo_fault *fault)
{
    int length = snprintf(drive->line, sizeof drive->line, "%d|%d|%s|%s|%s\n", fault->status, jitsudo_is_outage(fault->status),
        fault->code, fault->message, fault->hint);
    report(drive, drive->line, (size_t)length);
}

/* Every list of the answer, read as a front end would. */
static enum jitsudo_status read_lists(struct json_object *reply)
{
    struct json_object_iterator at = json_object_iter_begin(reply), end = json_object_iter_end(reply);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        char **vector = NULL;
        if (!json_object_is_type(json_object_iter_peek_value(&at), json_type_array))
            continue;
        enum jitsudo_status status = jitsudo_read_texts(reply, json_object_iter_peek_name(&at), &vector);
        jitsudo_free_vector(vector);
        if (status != JITSUDO_OK)
            return status;
    }
    return JITSUDO_OK;
}

static enum jitsudo_status report_reply(struct drive *drive, struct json_object *reply)
{
    size_t size = 0;
    enum jitsudo_status status = read_lists(reply);
    if (status != JITSUDO_OK)
        return status;
    char *text = jitsudo_write(reply, &size, &status);
    if (text == NULL)
        return status;
    text[size] = '\n';
    report(drive, text, size + 1);
    free(text);
    return JITSUDO_OK;
}

static bool add_padding(const struct drive *drive, struct json_object *object)
{
    char *padding = drive->pad == 0 ? NULL : malloc(drive->pad);
    if (padding == NULL)
        return drive->pad == 0;
    memset(padding, 'x', drive->pad);
    bool done = jitsudo_put(object, "pad", jitsudo_text_of(padding, drive->pad));
    free(padding);
    return done;
}

static enum jitsudo_status call(struct drive *drive, struct jitsudo *client, const char *method, const char *parameters,
    struct jitsudo_fault *fault)
{
    enum jitsudo_status status = JITSUDO_MISUSED;
    struct json_object *reply = NULL;
    *fault = (struct jitsudo_fault){.status = JITSUDO_OK};
    struct json_object *object = jitsudo_parse(parameters, strlen(parameters), &status);
    if (object == NULL) {
        fault->status = status;
        return status;
    }
    if (!add_padding(drive, object)) {
        json_object_put(object);
        fault->status = JITSUDO_NO_MEMORY;
        return fault->status;
    }
    status = jitsudo_call(client, method, object, drive->descriptors, drive->count, &reply, fault);
    json_object_put(object);
    if (status == JITSUDO_OK)
        fault->status = status = report_reply(drive, reply);
    json_object_put(reply);
    return status;
}

static void take_digits(const char *digits, int *into, size_t *count)
{
    for (; *digits != '\0' && *count < JITSUDO_MAX_DESCRIPTORS; digits++)
        into[(*count)++] = *digits - '0';
}

static bool take_option(struct drive *drive, const char *name, size_t length, const char *value)
{
    int closed[JITSUDO_MAX_DESCRIPTORS];
    size_t count = 0;
#define IS(option) (length == sizeof option - 1 && memcmp(name, option, length) == 0)
    if (IS("folder"))
        drive->options.folder = value;
    else if (IS("socket"))
        drive->options.socket = value;
    else if (IS("owner"))
        drive->options.owner = (uid_t)atol(value);
    else if (IS("silence"))
        drive->options.silence_ms = (unsigned int)atoi(value);
    else if (IS("patience"))
        drive->options.patience_ms = (unsigned int)atoi(value);
    else if (IS("report"))
        drive->report = value;
    else if (IS("give-up"))
        drive->give_up = atol(value);
    else if (IS("wait"))
        drive->wait = atol(value);
    else if (IS("pad"))
        drive->pad = (size_t)atol(value);
    else if (IS("send"))
        take_digits(value, drive->descriptors, &drive->count);
    else if (IS("close")) {
        take_digits(value, closed, &count);
        while (count > 0)
            close(closed[--count]);
    } else
        return false;
#undef IS
    return true;
}

static int parse_input(struct drive *drive)
{
    static char input[1 << 20];
    size_t size = fread(input, 1, sizeof input, stdin);
    enum jitsudo_status status = JITSUDO_MISUSED;
    struct json_object *value = jitsudo_parse(input, size, &status);
    char *text = value == NULL ? NULL : jitsudo_write(value, &size, &status);
    json_object_put(value);
    if (text != NULL)
        report(drive, text, size);
    free(text);
    return status_of(status);
}

int main(int argc, char **argv)
{
    static struct drive drive;
    struct jitsudo_fault fault;
    struct jitsudo *client = NULL;
    int next = 1, made = 0;
    if (argc == 2 && strcmp(argv[1], "parse") == 0)
        return parse_input(&drive);
    drive.options = (struct jitsudo_options){.tick = tick, .pending = pending, .context = &drive};
    for (; next < argc; next++) {
        const char *equals = strchr(argv[next], '=');
        if (equals == NULL || !take_option(&drive, argv[next], (size_t)(equals - argv[next]), equals + 1))
            break;
    }
    enum jitsudo_status status = jitsudo_connect(&drive.options, &client, &fault);
    if (status != JITSUDO_OK)
        report_fault(&drive, &fault);
    int worst = status_of(status);
    for (; status == JITSUDO_OK && next < argc; next++) {
        char *equals = strchr(argv[next], '=');
        if (equals == NULL)
            return 97;
        *equals = '\0';
        if (drive.wait > 0 && made++)
            poll(NULL, 0, (int)drive.wait);
        enum jitsudo_status outcome = call(&drive, client, argv[next], equals + 1, &fault);
        if (outcome != JITSUDO_OK)
            report_fault(&drive, &fault);
        worst = outcome == JITSUDO_OK ? worst : status_of(outcome);
    }
    jitsudo_close(client);
    return worst;
}
