/* Building calls and reading answers, so that neither a failed allocation nor a wrong type can pass for a value. */
#define _POSIX_C_SOURCE 200809L /* strdup */
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct json_object *jitsudo_object(void)
{
    return json_object_new_object();
}

struct json_object *jitsudo_array(void)
{
    return json_object_new_array();
}

struct json_object *jitsudo_boolean(bool value)
{
    return json_object_new_boolean(value);
}

struct json_object *jitsudo_number(long long value)
{
    return json_object_new_int64(value);
}

static struct json_object *encoded(const void *bytes, size_t size)
{
    char *text = jitsudo_base64(bytes, size);
    if (text == NULL)
        return NULL;
    struct json_object *object = json_object_new_object();
    bool done = jitsudo_put(object, "base64", json_object_new_string(text));
    free(text);
    if (done)
        return object;
    json_object_put(object);
    return NULL;
}

struct json_object *jitsudo_text_of(const void *bytes, size_t size)
{
    if (bytes == NULL || size > JITSUDO_MAX_FRAME)
        return NULL;
    if (!jitsudo_is_utf8(bytes, size))
        return encoded(bytes, size);
    return json_object_new_string_len(bytes, (int)size);
}

struct json_object *jitsudo_text(const char *bytes)
{
    return bytes == NULL ? NULL : jitsudo_text_of(bytes, strlen(bytes));
}

struct json_object *jitsudo_texts(char *const *vector)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; array != NULL && vector != NULL && vector[i] != NULL; i++) {
        if (!jitsudo_push(array, jitsudo_text(vector[i]))) {
            json_object_put(array);
            return NULL;
        }
    }
    return array;
}

bool jitsudo_put(struct json_object *object, const char *key, struct json_object *value)
{
    if (value != NULL && json_object_is_type(object, json_type_object) && json_object_object_add(object, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

bool jitsudo_put_null(struct json_object *object, const char *key)
{
    return json_object_is_type(object, json_type_object) && json_object_object_add(object, key, NULL) == 0;
}

bool jitsudo_put_text(struct json_object *object, const char *key, const char *text)
{
    return text == NULL ? jitsudo_put_null(object, key) : jitsudo_put(object, key, jitsudo_text(text));
}

struct json_object *jitsudo_built(struct json_object *made, bool is_good)
{
    if (is_good)
        return made;
    json_object_put(made);
    return NULL;
}

bool jitsudo_push(struct json_object *array, struct json_object *value)
{
    if (value != NULL && json_object_is_type(array, json_type_array) && json_object_array_add(array, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

/* The value of that key; NULL where `object` is no object, or the key is missing or null. */
static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, key, &value))
        return NULL;
    return value;
}

static const char *string_of(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_string))
        return NULL;
    const char *text = json_object_get_string(value);
    if (text == NULL || strlen(text) != (size_t)json_object_get_string_len(value))
        return NULL;
    return text;
}

const char *jitsudo_string(struct json_object *object, const char *key)
{
    return string_of(member(object, key));
}

bool jitsudo_is(struct json_object *object, const char *key, const char *expected)
{
    const char *text = jitsudo_string(object, key);
    return text != NULL && strcmp(text, expected) == 0;
}

bool jitsudo_is_null(struct json_object *object, const char *key)
{
    return member(object, key) == NULL;
}

static bool is_among(const char *key, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

bool jitsudo_only(struct json_object *object, const char *const *keys)
{
    if (!json_object_is_type(object, json_type_object))
        return false;
    struct json_object_iterator at = json_object_iter_begin(object), end = json_object_iter_end(object);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
        if (!is_among(json_object_iter_peek_name(&at), keys))
            return false;
    return true;
}

static enum jitsudo_status decoded(struct json_object *value, char **text)
{
    const char *encoded = jitsudo_string(value, "base64");
    if (encoded == NULL || json_object_object_length(value) != 1)
        return JITSUDO_NOT_UNDERSTOOD;
    size_t size = strlen(encoded), length = 0;
    char *bytes = malloc(size / 4 * 3 + 1);
    if (bytes == NULL)
        return JITSUDO_NO_MEMORY;
    if (!jitsudo_unbase64(encoded, size, bytes, &length) || memchr(bytes, '\0', length) != NULL) {
        free(bytes);
        return JITSUDO_NOT_UNDERSTOOD;
    }
    bytes[length] = '\0';
    *text = bytes;
    return JITSUDO_OK;
}

enum jitsudo_status jitsudo_read_text(struct json_object *value, char **text)
{
    *text = NULL;
    if (json_object_is_type(value, json_type_object))
        return decoded(value, text);
    const char *plain = string_of(value);
    if (plain == NULL)
        return JITSUDO_NOT_UNDERSTOOD;
    *text = strdup(plain);
    return *text == NULL ? JITSUDO_NO_MEMORY : JITSUDO_OK;
}

enum jitsudo_status jitsudo_read_texts(struct json_object *object, const char *key, char ***vector)
{
    struct json_object *array = member(object, key);
    *vector = NULL;
    size_t length = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
    if (length == 0)
        return JITSUDO_NOT_UNDERSTOOD;
    char **found = calloc(length + 1, sizeof *found);
    if (found == NULL)
        return JITSUDO_NO_MEMORY;
    for (size_t i = 0; i < length; i++) {
        enum jitsudo_status status = jitsudo_read_text(json_object_array_get_idx(array, i), &found[i]);
        if (status != JITSUDO_OK) {
            jitsudo_free_vector(found);
            return status;
        }
    }
    *vector = found;
    return JITSUDO_OK;
}
