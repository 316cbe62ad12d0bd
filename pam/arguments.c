#include "arguments.h"

#include <string.h>

/* The value of `name=value`; NULL for any other argument. */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

static bool copy(char *to, size_t room, const char *from, size_t length)
{
    if (length == 0 || length >= room)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

/* An absolute path without anything that makes a folder look like another one. */
static bool is_plain_path(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f)
            return false;
        if (*at == '/' && (at[1] == '/' || at[1] == '\0' || at[1] == '.'))
            return false;
    }
    return true;
}

static bool read_socket(const char *path, struct arguments *parsed)
{
    if (!is_plain_path(path))
        return false;
    const char *name = strrchr(path, '/') + 1;
    size_t folder = (size_t)(name - path) - 1;
    return copy(parsed->folder, sizeof parsed->folder, path, folder) &&
           copy(parsed->socket, sizeof parsed->socket, name, strlen(name));
}

static bool read_seconds(const char *text, unsigned int *seconds)
{
    unsigned int number = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i == 2 || text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (unsigned int)(text[i] - '0');
    }
    *seconds = number;
    return text[0] != '0' && number > 0 && number <= ARGUMENTS_MAX_SECONDS;
}

static bool read_one(const char *argument, struct arguments *parsed)
{
    const char *value;
    if (strcmp(argument, "quiet") == 0)
        return parsed->quiet = true;
    if (strcmp(argument, "debug") == 0)
        return parsed->debug = true;
    /* Twice the same is a mistake of somebody's: which of the two was meant? */
    if ((value = value_of(argument, "socket")) != NULL)
        return parsed->folder[0] == '\0' && read_socket(value, parsed);
    if ((value = value_of(argument, "timeout")) != NULL)
        return parsed->seconds == 0 && read_seconds(value, &parsed->seconds);
    return false;
}

bool arguments_parse(int argc, const char *const *argv, struct arguments *parsed, const char **offending)
{
    memset(parsed, 0, sizeof *parsed);
    *offending = "";
    for (int i = 0; i < argc; i++) {
        if (argv == NULL || argv[i] == NULL)
            return false;
        if (!read_one(argv[i], parsed)) {
            *offending = argv[i];
            memset(parsed, 0, sizeof *parsed);
            return false;
        }
    }
    if (parsed->seconds == 0)
        parsed->seconds = ARGUMENTS_DEFAULT_SECONDS;
    return true;
}
