/* Bytes as text: UTF-8, base64, and what may be shown to a person. */
#define _DEFAULT_SOURCE /* strsep */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool is_tail(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The least code point that a sequence of that length may stand for: a shorter one has another form already. */
static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};

static size_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    if (first >= 0xF0 && first <= 0xF4)
        return 4;
    return 0;
}

size_t jitsudo_utf8(const unsigned char *bytes, size_t size, uint32_t *point)
{
    size_t length = size > 0 ? length_of(bytes[0]) : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t value = length == 1 ? bytes[0] : bytes[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if (!is_tail(bytes[i]))
            return 0;
        value = value << 6 | (bytes[i] & 0x3FU);
    }
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return length;
}

bool jitsudo_is_utf8(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint32_t point = 0;
    while (size > 0) {
        size_t length = jitsudo_utf8(at, size, &point);
        if (length == 0)
            return false;
        at += length;
        size -= length;
    }
    return true;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *jitsudo_base64(const void *bytes, size_t size)
{
    if (size > JITSUDO_MAX_FRAME)
        return NULL;
    const unsigned char *in = bytes;
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    char *out = text;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)in[i] << 16;
        three |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        three |= left > 2 ? in[i + 2] : 0;
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    *out = '\0';
    return text;
}

static int digit_of(char character)
{
    const char *found = character == '\0' ? NULL : strchr(digits, character);
    return found == NULL ? -1 : (int)(found - digits);
}

/* One group of four; `bytes` of its three are meant, the others must be padding. */
static bool group_of(const char *text, size_t bytes, char *output)
{
    uint32_t three = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i <= bytes ? digit_of(text[i]) : (text[i] == '=' ? 0 : -1);
        if (digit < 0)
            return false;
        three = three << 6 | (uint32_t)digit;
    }
    if ((three & ((1U << (8 * (3 - bytes))) - 1)) != 0)
        return false;
    for (size_t i = 0; i < bytes; i++)
        output[i] = (char)(unsigned char)(three >> (16 - 8 * i) & 0xFF);
    return true;
}

bool jitsudo_unbase64(const char *text, size_t size, char *output, size_t *written)
{
    if (size % 4 != 0)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < size; i += 4) {
        size_t bytes = 3;
        if (i + 4 == size && text[i + 3] == '=')
            bytes = text[i + 2] == '=' ? 1 : 2;
        if (!group_of(text + i, bytes, output + count))
            return false;
        count += bytes;
    }
    *written = count;
    return true;
}

/* In order. What Python's str.isprintable refuses of assigned characters: controls, formats, private use, every space but U+0020. */
static const struct {
    uint32_t first, last;
} unprintable[] = {
    {0x00, 0x1F}, {0x7F, 0xA0}, {0xAD, 0xAD}, {0x600, 0x605}, {0x61C, 0x61C}, {0x6DD, 0x6DD}, {0x70F, 0x70F},
    {0x890, 0x891}, {0x8E2, 0x8E2}, {0x1680, 0x1680}, {0x180E, 0x180E}, {0x2000, 0x200F}, {0x2028, 0x202F},
    {0x205F, 0x206F}, {0x3000, 0x3000}, {0xE000, 0xF8FF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF},
    {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
    {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
};

static bool is_printable(uint32_t point)
{
    if (point < 0x7F)
        return point >= 0x20;
    for (size_t i = 0; i < sizeof unprintable / sizeof unprintable[0] && point >= unprintable[i].first; i++)
        if (point <= unprintable[i].last)
            return false;
    return true;
}

static size_t written_out(uint32_t point, char *output, size_t room)
{
    unsigned int value = point;
    int length;
    if (point == '\n' || point == '\r' || point == '\t')
        length = snprintf(output, room, "\\%c", point == '\n' ? 'n' : point == '\r' ? 'r' : 't');
    else if (point < 0x100)
        length = snprintf(output, room, "\\x%02x", value);
    else if (point < 0x10000)
        length = snprintf(output, room, "\\u%04x", value);
    else
        length = snprintf(output, room, "\\U%08x", value);
    return length < 0 ? 0 : (size_t)length;
}

void jitsudo_printable(const char *text, char *output, size_t size)
{
    const unsigned char *at = (const unsigned char *)(text == NULL ? "" : text);
    size_t left = strlen((const char *)at);
    size_t used = 0;
    if (size == 0)
        return;
    while (left > 0) {
        char escape[16];
        uint32_t point = 0;
        size_t length = jitsudo_utf8(at, left, &point);
        const void *piece = at;
        size_t piece_size = length;
        if (length == 0 || !is_printable(point)) {
            piece_size = written_out(length == 0 ? at[0] : point, escape, sizeof escape);
            piece = escape;
            length = length == 0 ? 1 : length;
        }
        if (used + piece_size >= size)
            break;
        memcpy(output + used, piece, piece_size);
        used += piece_size;
        at += length;
        left -= length;
    }
    output[used] = '\0';
}

char *jitsudo_printable_lines(const char *text)
{
    size_t room = strlen(text) * 10 + 1, used = 0; /* the longest form of one character, \U0010ffff */
    char *shown = malloc(room), *line = strdup(text), *rest = line, *next;
    if (shown == NULL || line == NULL) {
        free(shown);
        free(line);
        return NULL;
    }
    shown[0] = '\0';
    while ((next = strsep(&rest, "\n")) != NULL) {
        if (next != line)
            shown[used++] = '\n';
        jitsudo_printable(next, shown + used, room - used);
        used += strlen(shown + used);
    }
    free(line);
    return shown;
}
