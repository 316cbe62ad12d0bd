/* Vectors that end in NULL, as execve(2) and sudo_plugin(5) have them; and where this process stands. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define SESSIONS_SLICE "jitsudo.slice"
#define MAX_CGROUP_BYTES 16384
#define MAX_ID 0xFFFFFFFEULL /* 0xFFFFFFFF is "no change" to setresuid(2): CVE-2019-14287 */

size_t jitsudo_count(char *const *vector)
{
    size_t count = 0;
    while (vector != NULL && vector[count] != NULL)
        count++;
    return count;
}

void jitsudo_free_vector(char **vector)
{
    for (size_t i = 0; vector != NULL && vector[i] != NULL; i++)
        free(vector[i]);
    free(vector);
}

char **jitsudo_copy_vector(char *const *vector)
{
    size_t count = jitsudo_count(vector), size = (count + 1) * sizeof *vector;
    for (size_t i = 0; i < count; i++)
        size += strlen(vector[i]) + 1;
    char **copy = calloc(1, size);
    if (copy == NULL)
        return NULL;
    char *text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text;
        text = stpcpy(text, vector[i]) + 1;
    }
    return copy;
}

const char *jitsudo_value(char *const *vector, const char *name)
{
    size_t length = strlen(name);
    const char *found = NULL;
    for (; vector != NULL && *vector != NULL; vector++)
        if (strncmp(*vector, name, length) == 0 && (*vector)[length] == '=')
            found = *vector + length + 1;
    return found;
}

/* Where the item of that NAME= is; the vector's length where there is none. */
static size_t index_of(char *const *vector, const char *item)
{
    size_t length = strcspn(item, "=") + 1, i = 0;
    while (vector != NULL && vector[i] != NULL && strncmp(vector[i], item, length) != 0)
        i++;
    return i;
}

bool jitsudo_has_name(char *const *vector, const char *item)
{
    return vector != NULL && vector[index_of(vector, item)] != NULL;
}

/* Take `item` at that place, freeing what is there; at the end, the vector grows. */
static bool take(char ***vector, char *item, size_t at)
{
    if (*vector == NULL || (*vector)[at] == NULL) {
        char **grown = realloc(*vector, (at + 2) * sizeof *grown);
        if (grown == NULL) {
            free(item);
            return false;
        }
        grown[at + 1] = NULL;
        *vector = grown;
    } else {
        free((*vector)[at]);
    }
    (*vector)[at] = item;
    return true;
}

bool jitsudo_add(char ***vector, const char *format, ...)
{
    char *item = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&item, format, arguments);
    va_end(arguments);
    return length >= 0 && take(vector, item, jitsudo_count(*vector));
}

bool jitsudo_set(char ***vector, const char *format, ...)
{
    char *item = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&item, format, arguments);
    va_end(arguments);
    return length >= 0 && take(vector, item, index_of(*vector, item));
}

static int by_name(const void *one, const void *other)
{
    const char *first = *(const char *const *)one, *second = *(const char *const *)other;
    size_t size = strcspn(first, "="), other_size = strcspn(second, "=");
    int order = memcmp(first, second, size < other_size ? size : other_size);
    return order != 0 ? order : (size > other_size) - (size < other_size);
}

bool jitsudo_names_differ(char *const *vector)
{
    size_t count = jitsudo_count(vector);
    const char **sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = vector[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    bool differ = true;
    for (size_t i = 1; i < count; i++)
        differ = differ && by_name(&sorted[i - 1], &sorted[i]) != 0;
    free(sorted);
    return differ;
}

bool jitsudo_is_id(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 10 || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return false;
    return strtoull(text, NULL, 10) <= MAX_ID;
}

static ssize_t read_all(int descriptor, char *buffer, size_t room)
{
    size_t size = 0;
    while (size < room) {
        ssize_t got = read(descriptor, buffer + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            return (ssize_t)size;
        size += (size_t)got;
    }
    return -1; /* there may be more, and it may be what counts */
}

bool jitsudo_is_outside(const char *cgroups)
{
    char text[MAX_CGROUP_BYTES];
    int descriptor = open(cgroups, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return false;
    ssize_t size = read_all(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (size <= 0)
        return false;
    text[size] = '\0';
    char *rest = NULL;
    for (char *part = strtok_r(text, "/\n", &rest); part != NULL; part = strtok_r(NULL, "/\n", &rest))
        if (strcmp(part, SESSIONS_SLICE) == 0)
            return false;
    return true;
}
