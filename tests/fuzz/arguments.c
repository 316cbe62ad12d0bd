/* libFuzzer: whatever stands in a PAM stack, the module understands all of it or nothing. The input is the arguments, each
 * ended by a newline. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"

#define MOST 16

static void claim(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static int split(char *text, const char **argv)
{
    int argc = 0;
    for (char *next = text; next != NULL && argc < MOST;) {
        argv[argc++] = next;
        next = strchr(next, '\n');
        if (next != NULL)
            *next++ = '\0';
    }
    return argc;
}

static void check_understood(const struct arguments *parsed)
{
    size_t folder = strlen(parsed->folder), name = strlen(parsed->socket);
    claim(parsed->seconds >= 1 && parsed->seconds <= ARGUMENTS_MAX_SECONDS, "there is a limit");
    claim((folder == 0) == (name == 0), "a socket has a folder and a name, or neither");
    claim(folder < sizeof parsed->folder && name < sizeof parsed->socket, "they end");
    claim(folder == 0 || parsed->folder[0] == '/', "the folder is absolute");
    claim(strchr(parsed->socket, '/') == NULL && strstr(parsed->folder, "/.") == NULL, "the path is plain");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *argv[MOST + 1] = {NULL}, *offending = NULL;
    struct arguments parsed;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    int argc = split(text, argv);
    if (arguments_parse(argc, argv, &parsed, &offending))
        check_understood(&parsed);
    else
        claim(offending != NULL && parsed.folder[0] == '\0' && parsed.seconds == 0, "what is not understood is dropped");
    free(text);
    return 0;
}
