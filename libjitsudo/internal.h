/* What the parts of libjitsudo share, and front ends do not see. */
#ifndef JITSUDO_INTERNAL_H
#define JITSUDO_INTERNAL_H

#include <stdint.h>

#include "jitsudo.h"

#define JITSUDO_MAX_INTEGER (1LL << 53) /* what every JSON reader can hold (RFC 7493) */

/* Length of the UTF-8 character at `bytes` (1 to 4) and its code point; 0 where there is none (RFC 3629, table 3-7 of Unicode:
 * no overlong forms, no surrogates, nothing past U+10FFFF). */
size_t jitsudo_utf8(const unsigned char *bytes, size_t size, uint32_t *point);
bool jitsudo_is_utf8(const void *bytes, size_t size);

/* To be released with free; NULL without memory. */
char *jitsudo_base64(const void *bytes, size_t size);
/* Strict: padded, nothing between, no bits left over. `output` has room for size / 4 * 3 bytes. */
bool jitsudo_unbase64(const char *text, size_t size, char *output, size_t *written);

#endif
