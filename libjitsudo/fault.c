/* What to tell the person when there is no answer. */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"

#define LOOK "see `systemctl status jitsudod`; root is not affected"

bool jitsudo_is_outage(enum jitsudo_status status)
{
    switch (status) {
    case JITSUDO_ABSENT:
    case JITSUDO_NOT_ROOTS:
    case JITSUDO_SILENT:
    case JITSUDO_DISCONNECTED:
    case JITSUDO_NOT_UNDERSTOOD:
    case JITSUDO_DAEMON_FAILED:
        return true;
    case JITSUDO_OK:
    case JITSUDO_REFUSED:
    case JITSUDO_TOO_LARGE:
    case JITSUDO_INTERRUPTED:
    case JITSUDO_NO_MEMORY:
    case JITSUDO_MISUSED:
        return false;
    }
    return false;
}

static const char *usual_hint(enum jitsudo_status status)
{
    switch (status) {
    case JITSUDO_ABSENT:
    case JITSUDO_SILENT:
    case JITSUDO_DISCONNECTED:
    case JITSUDO_NOT_UNDERSTOOD:
        return LOOK;
    case JITSUDO_NOT_ROOTS:
        return "have root look at who made it";
    case JITSUDO_TOO_LARGE:
        return "run it with a smaller environment";
    case JITSUDO_OK:
    case JITSUDO_DAEMON_FAILED:
    case JITSUDO_REFUSED:
    case JITSUDO_INTERRUPTED:
    case JITSUDO_NO_MEMORY:
    case JITSUDO_MISUSED:
        return "";
    }
    return "";
}

void jitsudo_clear(struct jitsudo_fault *fault)
{
    if (fault != NULL)
        *fault = (struct jitsudo_fault){.status = JITSUDO_OK};
}

enum jitsudo_status jitsudo_fail(struct jitsudo_fault *fault, enum jitsudo_status status, const char *format, ...)
{
    char message[JITSUDO_SENTENCE];
    va_list arguments;
    if (fault == NULL)
        return status;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0)
        message[0] = '\0';
    va_end(arguments);
    jitsudo_clear(fault);
    fault->status = status;
    jitsudo_printable(message, fault->message, sizeof fault->message);
    jitsudo_printable(usual_hint(status), fault->hint, sizeof fault->hint);
    return status;
}

enum jitsudo_status jitsudo_puzzled(struct jitsudo_fault *fault, const char *why)
{
    return jitsudo_fail(fault, JITSUDO_NOT_UNDERSTOOD, "the daemon's answer was not understood (%s)", why);
}

enum jitsudo_status jitsudo_out_of_memory(struct jitsudo_fault *fault)
{
    return jitsudo_fail(fault, JITSUDO_NO_MEMORY, "out of memory");
}

/* The daemon's own words for why it did not carry out a call. */
static enum jitsudo_status told(struct json_object *terms, const char *message, struct jitsudo_fault *fault)
{
    const char *code = jitsudo_string(terms, "code");
    /* A daemon that failed has not refused: root may go on as if it were away. */
    enum jitsudo_status status = code != NULL && strcmp(code, "internal") == 0 ? JITSUDO_DAEMON_FAILED : JITSUDO_REFUSED;
    if (fault == NULL)
        return status;
    jitsudo_clear(fault);
    fault->status = status;
    jitsudo_printable(code, fault->code, sizeof fault->code);
    jitsudo_printable(message, fault->message, sizeof fault->message);
    jitsudo_printable(jitsudo_string(terms, "hint"), fault->hint, sizeof fault->hint);
    return status;
}

enum jitsudo_status jitsudo_refused(struct json_object *reply, struct jitsudo_fault *fault)
{
    struct json_object *terms = NULL;
    json_object_object_get_ex(reply, "parameters", &terms);
    const char *message = jitsudo_string(terms, "message");
    if (!jitsudo_is(reply, "error", JITSUDO_INTERFACE "Refused") || message == NULL)
        return jitsudo_puzzled(fault, "an error that the protocol does not have");
    return told(terms, message, fault);
}
