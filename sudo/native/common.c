/* What is said to people, what sudo told, and signals. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "native.h"

bool refuse(struct refusal *why, const char *hint, const char *format, ...)
{
    char message[sizeof why->message];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0)
        message[0] = '\0';
    va_end(arguments);
    why->speaker = "jitsudo";
    why->is_outage = false;
    why->outcome = NULL;
    jitsudo_printable(message, why->message, sizeof why->message);
    jitsudo_printable(hint, why->hints, sizeof why->hints);
    return false;
}

bool not_understood(struct refusal *why, const char *what)
{
    refuse(why, LOOK, "the daemon's answer was not understood (%s)", what);
    why->is_outage = true;
    return false;
}

bool no_memory(struct refusal *why)
{
    return refuse(why, LOOK, "internal error in sudo's plugin (out of memory)");
}

bool not_proven(struct refusal *why, const char *outcome, const char *hint, const char *format, ...)
{
    char message[sizeof why->message];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0)
        message[0] = '\0';
    va_end(arguments);
    refuse(why, hint, "%s", message);
    why->outcome = outcome;
    return false;
}

void say(const struct refusal *why)
{
    const char *newline = why->hints[0] != '\0' ? "\n" : "";
    told.print(SUDO_CONV_ERROR_MSG, "%s: %s%s%s\n", why->speaker, why->message, newline, why->hints);
}

void tell(const char *line)
{
    char *text = NULL;
    if (asprintf(&text, "%s\n", line) < 0)
        return;
    const struct sudo_conv_message message = {.msg_type = SUDO_CONV_ERROR_MSG | SUDO_CONV_PREFER_TTY, .msg = text};
    struct sudo_conv_reply reply = {.reply = NULL};
    told.converse(1, &message, &reply, NULL);
    free(reply.reply);
    free(text);
}

char *printable_lines(const char *text)
{
    size_t room = strlen(text) * 10 + 1; /* the longest form of one character, \U0010ffff */
    char *shown = malloc(room), *line = strdup(text), *rest = line, *next;
    if (shown == NULL || line == NULL) {
        free(shown);
        free(line);
        return NULL;
    }
    shown[0] = '\0';
    for (size_t used = 0; (next = strsep(&rest, "\n")) != NULL; used = strlen(shown)) {
        if (next != line)
            shown[used++] = '\n';
        jitsudo_printable(next, shown + used, room - used);
    }
    free(line);
    return shown;
}

const char *value_of(char *const *vector, const char *key)
{
    size_t length = strlen(key);
    const char *found = NULL;
    for (; vector != NULL && *vector != NULL; vector++)
        if (strncmp(*vector, key, length) == 0 && (*vector)[length] == '=')
            found = *vector + length + 1;
    return found;
}

bool is_set(const char *setting)
{
    const char *value = value_of(told.settings, setting);
    return value != NULL && strcmp(value, "true") == 0;
}

/* Plain digits and nothing else, no more than there are ids: CVE-2019-14287. */
bool is_id(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 10 || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return false;
    return strtoull(text, NULL, 10) <= MAX_ID;
}

size_t count_of(char *const *vector)
{
    size_t count = 0;
    while (vector != NULL && vector[count] != NULL)
        count++;
    return count;
}

/* sudo's own handlers swallow these until the command runs: somebody who waits must be able to give up. */
static const int numbers[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM};

static size_t how_many(enum signals which)
{
    return which == KEYS ? 2 : 4;
}

void block(enum signals which, sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < how_many(which); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, before);
}

void unblock_keys(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < how_many(KEYS); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_UNBLOCK, &set, before);
}

void restore(const sigset_t *before)
{
    sigprocmask(SIG_SETMASK, before, NULL);
}

bool is_given_up(enum signals which)
{
    sigset_t waiting;
    struct sigaction action;
    if (sigpending(&waiting) != 0)
        return false;
    for (size_t i = 0; i < how_many(which); i++)
        /* What the caller ignores is kept pending too while it is blocked. */
        if (sigismember(&waiting, numbers[i]) == 1 && sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            return true;
    return false;
}

long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}
