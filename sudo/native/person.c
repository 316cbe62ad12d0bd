/* What is said to the person and asked on the terminal, and the signals by which they give up. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "native.h"

bool noted(struct jitsudo_fault *why, const char *outcome, const char *hint)
{
    snprintf(why->code, sizeof why->code, "%s", outcome);
    jitsudo_printable(hint, why->hint, sizeof why->hint);
    return false;
}

int say(const struct jitsudo_fault *why)
{
    const char *newline = why->hint[0] != '\0' ? "\n" : "";
    if (why->message[0] != '\0')
        told.print(
            SUDO_CONV_ERROR_MSG, "%s: %s%s%s\n", why->is_sudos ? "sudo" : "jitsudo", why->message, newline, why->hint);
    return 0;
}

bool is_set(const char *setting)
{
    const char *value = jitsudo_value(told.settings, setting);
    return value != NULL && strcmp(value, "true") == 0;
}

/* --- The word yes --- */

static bool await_yes(int terminal, const char *message, struct jitsudo_fault *why)
{
    char typed[64] = "", word[8], more[2];
    long long deadline = jitsudo_now() + ANSWER_MS;
    struct pollfd polled = {.fd = terminal, .events = POLLIN};
    if (tcgetpgrp(terminal) != getpgrp())
        return not_met(why, "unavailable", NULL, "%s This has to be confirmed in the foreground", message);
    /* What was typed before the question is no answer to it. */
    bool is_asked = tcflush(terminal, TCIFLUSH) == 0 && dprintf(terminal, "%s\nType yes to go on: ", message) >= 0;
    while (is_asked && poll(&polled, 1, TICK_MS) <= 0) {
        if (!is_given_up(NULL) && jitsudo_now() < deadline)
            continue;
        dprintf(terminal, "\n");
        return not_met(why, "declined", NULL, "not confirmed");
    }
    if (!is_asked || read(terminal, typed, sizeof typed - 1) < 0)
        return not_met(why, "unavailable", NULL, "%s The terminal is gone (%s)", message, strerror(errno));
    return (sscanf(typed, "%7s %1s", word, more) == 1 && strcmp(word, "yes") == 0) ||
           not_met(why, "declined", NULL, "not confirmed");
}

bool confirm(const char *message, struct jitsudo_fault *why)
{
    sigset_t before;
    char *shown = jitsudo_printable_lines(message);
    int terminal = is_set("noninteractive") ? -1 : open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    bool confirmed = false;
    mask(SIG_BLOCK, &before);
    if (shown == NULL)
        jitsudo_out_of_memory(why);
    else if (terminal < 0)
        not_met(why, "unavailable", NULL, "%s This has to be confirmed on a terminal, and there is none", message);
    else
        confirmed = await_yes(terminal, shown, why);
    restore(&before);
    if (terminal >= 0)
        close(terminal);
    free(shown);
    return confirmed;
}

/* --- Signals: sudo's own handlers swallow these until the command runs, but somebody who waits must be able to give up --- */

static const int numbers[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

void mask(int how, sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < NUMBERS; i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(how, &set, before);
}

bool is_given_up(void *unused)
{
    (void)unused;
    sigset_t waiting;
    struct sigaction action;
    bool is_waiting = false;
    for (size_t i = 0; i < NUMBERS && sigpending(&waiting) == 0; i++)
        /* What the caller ignores is kept pending too while it is blocked. */
        is_waiting = is_waiting || (sigismember(&waiting, numbers[i]) == 1 && sigaction(numbers[i], NULL, &action) == 0 &&
                                       action.sa_handler != SIG_IGN);
    return is_waiting;
}
