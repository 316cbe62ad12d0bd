/*
 * A PAM that follows a script, for both front ends: part of the native one's host program, a library for the Python one.
 *
 * FAKE_PAM names the script, FAKE_PAM_LOG what was called. A line of the script is "STEP CODE [STYLE TEXT]": the next call of that
 * step asks or says TEXT first, and returns CODE; a step without a line succeeds. "env NAME=value" is what the stack sets.
 */
#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES 64
#define EXPORTED __attribute__((visibility("default")))

struct pam_handle {
    struct pam_conv conversation;
    char *lines[MAX_LINES];
    size_t count;
};

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    FILE *log = fopen(getenv("FAKE_PAM_LOG"), "ae");
    va_list arguments;
    if (log == NULL)
        abort();
    va_start(arguments, format);
    vfprintf(log, format, arguments);
    va_end(arguments);
    fclose(log);
}

/* What follows the word on its next line, and the line is used up; NULL where there is none. Good until the next call. */
static const char *next(pam_handle_t *pam, const char *word)
{
    static char rest[1024];
    size_t length = strlen(word);
    for (size_t i = 0; i < pam->count; i++) {
        char *line = pam->lines[i];
        if (line[0] == '\0' || strncmp(line, word, length) != 0 || line[length] != ' ')
            continue;
        snprintf(rest, sizeof rest, "%s", line + length + 1);
        line[0] = '\0';
        return rest;
    }
    return NULL;
}

static int say(pam_handle_t *pam, int style, const char *text)
{
    const struct pam_message message = {.msg_style = style, .msg = text}, *messages = &message;
    struct pam_response *response = NULL;
    if (pam->conversation.conv(1, &messages, &response, pam->conversation.appdata_ptr) != PAM_SUCCESS || response == NULL)
        return PAM_CONV_ERR;
    if (response->resp != NULL)
        note("answer %s\n", response->resp);
    free(response->resp);
    free(response);
    return PAM_SUCCESS;
}

static int step(pam_handle_t *pam, const char *name, int flags)
{
    const char *line = next(pam, name);
    int code = PAM_SUCCESS, style = 0, at = 0;
    note("%s %#x\n", name, (unsigned int)flags);
    if (line == NULL)
        return PAM_SUCCESS;
    int found = sscanf(line, "%d %d %n", &code, &style, &at);
    if (found == 2 && say(pam, style, line + at) != PAM_SUCCESS)
        return PAM_CONV_ERR;
    return code;
}

EXPORTED int pam_start(const char *service, const char *user, const struct pam_conv *conversation, pam_handle_t **made)
{
    pam_handle_t *pam = calloc(1, sizeof *pam);
    FILE *script = fopen(getenv("FAKE_PAM"), "re");
    char line[1024];
    if (pam == NULL || script == NULL)
        abort();
    note("start %s %s\n", service, user);
    pam->conversation = *conversation;
    while (pam->count < MAX_LINES && fgets(line, sizeof line, script) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        pam->lines[pam->count++] = strdup(line);
    }
    fclose(script);
    *made = pam;
    return step(pam, "started", 0);
}

EXPORTED int pam_end(pam_handle_t *pam, int status)
{
    note("end %#x\n", (unsigned int)status);
    for (size_t i = 0; i < pam->count; i++)
        free(pam->lines[i]);
    free(pam);
    return PAM_SUCCESS;
}

EXPORTED int pam_set_item(pam_handle_t *pam, int kind, const void *value)
{
    (void)pam;
    note("set %d %s\n", kind, (const char *)value);
    return PAM_SUCCESS;
}

EXPORTED const char *pam_strerror(pam_handle_t *pam, int code)
{
    static char text[32];
    (void)pam;
    snprintf(text, sizeof text, "fake error %d", code);
    return text;
}

EXPORTED char **pam_getenvlist(pam_handle_t *pam)
{
    char **list = calloc(MAX_LINES + 1, sizeof *list);
    const char *item;
    for (size_t i = 0; list != NULL && i < MAX_LINES && (item = next(pam, "env")) != NULL; i++)
        list[i] = strdup(item);
    return list;
}

#define STEP(name)                                   \
    EXPORTED int pam_##name(pam_handle_t *pam, int flags) \
    {                                                \
        return step(pam, #name, flags);              \
    }

STEP(authenticate)
STEP(acct_mgmt)
STEP(chauthtok)
STEP(setcred)
STEP(open_session)
STEP(close_session)
