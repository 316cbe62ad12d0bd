/* Strict JSON: one reading for one sequence of bytes, or none. What lenient parsers differ about is refused. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct parser {
    const unsigned char *at, *end;
    enum jitsudo_status status; /* why a value could not be had */
    size_t values;
};

/* JSON null is NULL to json-c, so what was read is told apart from what came out. */
static bool read_value(struct parser *parser, unsigned int depth, struct json_object **value);

static bool wrong(struct parser *parser)
{
    parser->status = JITSUDO_NOT_UNDERSTOOD;
    return false;
}

static bool no_memory(struct parser *parser)
{
    parser->status = JITSUDO_NO_MEMORY;
    return false;
}

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\t' || *parser->at == '\n' || *parser->at == '\r'))
        parser->at++;
}

static bool next_is(struct parser *parser, char expected)
{
    skip_space(parser);
    if (parser->at == parser->end || *parser->at != (unsigned char)expected)
        return false;
    parser->at++;
    return true;
}

static bool word_is(struct parser *parser, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0)
        return false;
    parser->at += length;
    return true;
}

static int hexadecimal(unsigned char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The four digits after \u. */
static bool read_unit(struct parser *parser, uint32_t *unit)
{
    if (parser->end - parser->at < 4)
        return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hexadecimal(*parser->at++);
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

static bool read_point(struct parser *parser, uint32_t *point)
{
    uint32_t low = 0;
    if (!read_unit(parser, point))
        return false;
    if (*point < 0xD800 || *point > 0xDFFF)
        return true;
    if (*point > 0xDBFF || !word_is(parser, "\\u") || !read_unit(parser, &low) || low < 0xDC00 || low > 0xDFFF)
        return false;
    *point = 0x10000 + ((*point - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static char *put_point(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    unsigned int shift = point < 0x800 ? 6 : (point < 0x10000 ? 12 : 18);
    unsigned int lead = point < 0x800 ? 0xC0 : (point < 0x10000 ? 0xE0 : 0xF0);
    *out++ = (char)(unsigned char)(lead | point >> shift);
    while (shift > 0) {
        shift -= 6;
        *out++ = (char)(unsigned char)(0x80 | (point >> shift & 0x3F));
    }
    return out;
}

/* What stands for itself after a backslash, and what it means. */
static bool read_escape(struct parser *parser, char **out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    uint32_t point = 0;
    if (parser->at == parser->end)
        return false;
    unsigned char letter = *parser->at++;
    if (letter == 'u') {
        if (!read_point(parser, &point))
            return false;
        *out = put_point(*out, point);
        return true;
    }
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    if (found == NULL)
        return false;
    *(*out)++ = meanings[found - letters];
    return true;
}

/* How long the string is that begins here, escapes included: never shorter than what it means. */
static bool find_quote(const struct parser *parser, size_t *size)
{
    const unsigned char *at = parser->at;
    while (at < parser->end && *at != '"')
        at += *at == '\\' && parser->end - at > 1 ? 2 : 1;
    *size = (size_t)(at - parser->at);
    return at < parser->end;
}

static bool decode_string(struct parser *parser, const unsigned char *end, char *out, char *start, size_t *length)
{
    while (parser->at < end) {
        uint32_t point = 0;
        if (*parser->at == '\\') {
            parser->at++;
            if (!read_escape(parser, &out))
                return false;
            continue;
        }
        size_t bytes = jitsudo_utf8(parser->at, (size_t)(end - parser->at), &point);
        if (bytes == 0 || point < 0x20)
            return false;
        memcpy(out, parser->at, bytes);
        out += bytes;
        parser->at += bytes;
    }
    *out = '\0';
    *length = (size_t)(out - start);
    return true;
}

/* The string after its opening quote, to be released with free; NUL may be in it. */
static char *read_string(struct parser *parser, size_t *length)
{
    size_t size = 0;
    if (!find_quote(parser, &size)) {
        wrong(parser);
        return NULL;
    }
    const unsigned char *end = parser->at + size;
    char *text = malloc(size + 1);
    if (text == NULL) {
        no_memory(parser);
        return NULL;
    }
    if (!decode_string(parser, end, text, text, length)) {
        wrong(parser);
        free(text);
        return NULL;
    }
    parser->at = end + 1;
    return text;
}

static bool read_text(struct parser *parser, struct json_object **value)
{
    size_t length = 0;
    char *text = read_string(parser, &length);
    if (text == NULL)
        return false;
    *value = json_object_new_string_len(text, (int)length);
    free(text);
    return *value != NULL || no_memory(parser);
}

/* An integer that every reader can hold: no fraction, no exponent, no leading zero, no minus zero. */
static bool read_number(struct parser *parser, struct json_object **value)
{
    const unsigned char *start = parser->at;
    bool negative = *parser->at == '-';
    long long number = 0;
    parser->at += negative;
    const unsigned char *first = parser->at;
    while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9') {
        number = number * 10 + (*parser->at++ - '0');
        if (number > JITSUDO_MAX_INTEGER)
            return wrong(parser);
    }
    if (parser->at == first || (*first == '0' && (parser->at - start) > 1))
        return wrong(parser);
    if (parser->at < parser->end && strchr(".eE", *parser->at) != NULL)
        return wrong(parser);
    *value = json_object_new_int64(negative ? -number : number);
    return *value != NULL || no_memory(parser);
}

static bool read_member(struct parser *parser, unsigned int depth, struct json_object *object)
{
    struct json_object *value = NULL;
    size_t length = 0;
    if (!next_is(parser, '"'))
        return wrong(parser);
    char *key = read_string(parser, &length);
    if (key == NULL)
        return false;
    /* json-c ends a key at its first NUL, and keeps the last of two values. */
    bool done = strlen(key) == length && !json_object_object_get_ex(object, key, NULL) && next_is(parser, ':');
    if (!done)
        wrong(parser);
    else if ((done = read_value(parser, depth, &value)) && json_object_object_add(object, key, value) != 0) {
        json_object_put(value);
        done = no_memory(parser);
    }
    free(key);
    return done;
}

static bool read_item(struct parser *parser, unsigned int depth, struct json_object *array)
{
    struct json_object *value = NULL;
    if (!read_value(parser, depth, &value))
        return false;
    if (json_object_array_add(array, value) == 0)
        return true;
    json_object_put(value);
    return no_memory(parser);
}

/* What is between the brackets of an object or array. */
static bool read_members(struct parser *parser, unsigned int depth, struct json_object *into, char close)
{
    if (next_is(parser, close))
        return true;
    do {
        if (!(close == '}' ? read_member(parser, depth, into) : read_item(parser, depth, into)))
            return false;
    } while (next_is(parser, ','));
    return next_is(parser, close) || wrong(parser);
}

static bool read_container(struct parser *parser, unsigned int depth, char close, struct json_object **value)
{
    if (depth >= JITSUDO_MAX_DEPTH)
        return wrong(parser);
    struct json_object *into = close == '}' ? json_object_new_object() : json_object_new_array();
    if (into == NULL)
        return no_memory(parser);
    if (!read_members(parser, depth + 1, into, close)) {
        json_object_put(into);
        return false;
    }
    *value = into;
    return true;
}

static bool read_word(struct parser *parser, struct json_object **value)
{
    if (word_is(parser, "null"))
        return true;
    bool is_true = word_is(parser, "true");
    if (!is_true && !word_is(parser, "false"))
        return wrong(parser);
    *value = json_object_new_boolean(is_true);
    return *value != NULL || no_memory(parser);
}

static bool read_value(struct parser *parser, unsigned int depth, struct json_object **value)
{
    *value = NULL;
    /* json-c takes some hundred bytes for `[]`: a short frame could fill the memory of a setuid program. */
    if (++parser->values > JITSUDO_MAX_VALUES)
        return wrong(parser);
    if (next_is(parser, '{'))
        return read_container(parser, depth, '}', value);
    if (next_is(parser, '['))
        return read_container(parser, depth, ']', value);
    if (next_is(parser, '"'))
        return read_text(parser, value);
    if (parser->at == parser->end)
        return wrong(parser);
    if (*parser->at == '-' || (*parser->at >= '0' && *parser->at <= '9'))
        return read_number(parser, value);
    return read_word(parser, value);
}

struct json_object *jitsudo_parse(const char *bytes, size_t size, enum jitsudo_status *status)
{
    struct parser parser = {
        .at = (const unsigned char *)bytes, .end = (const unsigned char *)bytes + size, .status = JITSUDO_NOT_UNDERSTOOD};
    struct json_object *value = NULL;
    *status = JITSUDO_NOT_UNDERSTOOD;
    if (size > JITSUDO_MAX_FRAME)
        return NULL;
    if (!read_value(&parser, 0, &value)) {
        *status = parser.status;
        return NULL;
    }
    skip_space(&parser);
    if (parser.at != parser.end || !json_object_is_type(value, json_type_object)) {
        json_object_put(value);
        return NULL;
    }
    *status = JITSUDO_OK;
    return value;
}
