/* Values as JSON: json-c's own writer goes on without memory, and would send something shorter than what was meant. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct writer {
    char *bytes;
    size_t used, room;
    enum jitsudo_status status;
};

static bool write_value(struct writer *writer, struct json_object *value, unsigned int depth);

static bool fails(struct writer *writer, enum jitsudo_status status)
{
    writer->status = status;
    return false;
}

static bool grow(struct writer *writer, size_t more)
{
    size_t room = writer->room == 0 ? 4096 : writer->room;
    while (room - writer->used < more)
        room *= 2;
    if (room == writer->room)
        return true;
    char *bytes = realloc(writer->bytes, room);
    if (bytes == NULL)
        return fails(writer, JITSUDO_NO_MEMORY);
    writer->bytes = bytes;
    writer->room = room;
    return true;
}

static bool append(struct writer *writer, const void *bytes, size_t size)
{
    /* Strictly less: the NUL that ends the frame counts. */
    if (size >= JITSUDO_MAX_FRAME - writer->used)
        return fails(writer, JITSUDO_TOO_LARGE);
    if (!grow(writer, size))
        return false;
    memcpy(writer->bytes + writer->used, bytes, size);
    writer->used += size;
    return true;
}

static bool write_word(struct writer *writer, const char *word)
{
    return append(writer, word, strlen(word));
}

static bool write_escaped(struct writer *writer, unsigned char byte)
{
    char escape[8];
    if (byte == '"' || byte == '\\')
        snprintf(escape, sizeof escape, "\\%c", byte);
    else
        snprintf(escape, sizeof escape, "\\u%04x", byte);
    return write_word(writer, escape);
}

static bool write_string(struct writer *writer, const char *text, size_t size)
{
    size_t plain = 0;
    if (!jitsudo_is_utf8(text, size))
        return fails(writer, JITSUDO_MISUSED);
    if (!write_word(writer, "\""))
        return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7F)
            continue;
        if (!append(writer, text + plain, i - plain) || !write_escaped(writer, byte))
            return false;
        plain = i + 1;
    }
    return append(writer, text + plain, size - plain) && write_word(writer, "\"");
}

static bool write_number(struct writer *writer, struct json_object *value)
{
    char number[32];
    long long integer = json_object_get_int64(value);
    if (integer > JITSUDO_MAX_INTEGER || integer < -JITSUDO_MAX_INTEGER)
        return fails(writer, JITSUDO_MISUSED);
    snprintf(number, sizeof number, "%lld", integer);
    return write_word(writer, number);
}

static bool write_object(struct writer *writer, struct json_object *object, unsigned int depth)
{
    struct json_object_iterator at = json_object_iter_begin(object), end = json_object_iter_end(object);
    if (!write_word(writer, "{"))
        return false;
    for (bool first = true; !json_object_iter_equal(&at, &end); json_object_iter_next(&at), first = false) {
        const char *key = json_object_iter_peek_name(&at);
        if ((!first && !write_word(writer, ",")) || !write_string(writer, key, strlen(key)) || !write_word(writer, ":") ||
            !write_value(writer, json_object_iter_peek_value(&at), depth))
            return false;
    }
    return write_word(writer, "}");
}

static bool write_array(struct writer *writer, struct json_object *array, unsigned int depth)
{
    size_t length = json_object_array_length(array);
    if (!write_word(writer, "["))
        return false;
    for (size_t i = 0; i < length; i++)
        if ((i > 0 && !write_word(writer, ",")) || !write_value(writer, json_object_array_get_idx(array, i), depth))
            return false;
    return write_word(writer, "]");
}

static bool write_value(struct writer *writer, struct json_object *value, unsigned int depth)
{
    if (depth > JITSUDO_MAX_DEPTH)
        return fails(writer, JITSUDO_MISUSED);
    switch (json_object_get_type(value)) {
    case json_type_null:
        return write_word(writer, "null");
    case json_type_boolean:
        return write_word(writer, json_object_get_boolean(value) ? "true" : "false");
    case json_type_int:
        return write_number(writer, value);
    case json_type_string:
        return write_string(writer, json_object_get_string(value), (size_t)json_object_get_string_len(value));
    case json_type_object:
        return write_object(writer, value, depth + 1);
    case json_type_array:
        return write_array(writer, value, depth + 1);
    case json_type_double:
    default:
        return fails(writer, JITSUDO_MISUSED);
    }
}

char *jitsudo_write(struct json_object *value, size_t *size, enum jitsudo_status *status)
{
    struct writer writer = {.status = JITSUDO_OK};
    /* The NUL is room that `append` always leaves, and that only the last byte may use. */
    if (!write_value(&writer, value, 0) || !grow(&writer, 1)) {
        *status = writer.status;
        free(writer.bytes);
        return NULL;
    }
    writer.bytes[writer.used] = '\0';
    *size = writer.used;
    *status = JITSUDO_OK;
    return writer.bytes;
}
