/*
 * libFuzzer: whatever the daemon answers, the front ends read one thing or refuse it.
 * The input is what comes from the socket, and goes all the way that an answer goes: frames, replies, values, sudo's terms.
 */
#define _GNU_SOURCE
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "internal.h"

static void claim(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_shown(const char *text)
{
    char again[JITSUDO_SENTENCE];
    claim(strlen(text) < JITSUDO_SENTENCE && jitsudo_is_utf8(text, strlen(text)), "what is shown is text");
    for (const char *at = text; *at != '\0'; at++)
        claim((unsigned char)*at >= 0x20 && *at != 0x7F, "what is shown steers nothing");
    jitsudo_printable(text, again, sizeof again);
    claim(strcmp(text, again) == 0, "what is shown is shown as it is");
}

static void on_pending(const char *awaited, void *context)
{
    (void)context;
    check_shown(awaited);
}

/* Written out, a value is read as the same. */
static void check_writer(struct json_object *value)
{
    size_t size = 0;
    enum jitsudo_status status = JITSUDO_OK;
    char *text = jitsudo_write(value, &size, &status);
    claim(text != NULL, "what was read can be written");
    struct json_object *again = jitsudo_parse(text, size, &status);
    claim(again != NULL && json_object_equal(value, again), "what was written is read as the same");
    json_object_put(again);
    free(text);
}

/* json-c takes a pair of escapes for a character whose lower 16 bits are a surrogate's, such as U+1DA00 (\ud836\ude00), for half
 * a pair, and reads U+FFFD. */
static bool is_misread(const char *bytes, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++)
        if (memcmp(bytes + i, "\\u", 2) == 0 && (bytes[i + 2] | 0x20) == 'd' && strchr("89abAB", bytes[i + 3]) != NULL &&
            strchr("37bfBF", bytes[i + 4]) != NULL && strchr("67", bytes[i + 5]) != NULL)
            return true;
    return false;
}

/* What this parser takes, somebody else's lenient one takes as the same. */
static void check_meaning(const char *bytes, size_t size, struct json_object *value)
{
    if (is_misread(bytes, size))
        return;
    struct json_tokener *lenient = json_tokener_new_ex(JITSUDO_MAX_DEPTH + 2);
    claim(lenient != NULL, "there is memory");
    json_tokener_set_flags(lenient, JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *other = json_tokener_parse_ex(lenient, bytes, (int)size);
    claim(other != NULL && json_object_equal(value, other), "json-c reads the same");
    json_object_put(other);
    json_tokener_free(lenient);
}

static void check_parser(const char *bytes, size_t size)
{
    enum jitsudo_status status = JITSUDO_OK;
    struct json_object *value = jitsudo_parse(bytes, size, &status);
    claim((value != NULL) == (status == JITSUDO_OK), "a value or a reason");
    if (value == NULL)
        return;
    check_writer(value);
    check_meaning(bytes, size, value);
    json_object_put(value);
}

static void check_vector(char *const *vector)
{
    claim(vector != NULL && vector[0] != NULL, "a list of texts has one");
}

static void check_fault(const struct jitsudo_fault *fault, enum jitsudo_status status)
{
    claim(fault->status == status && status != JITSUDO_OK, "the fault says why");
    check_shown(fault->code);
    check_shown(fault->message);
    char hints[JITSUDO_SENTENCE], *rest = NULL;
    memcpy(hints, fault->hint, sizeof hints);
    for (char *hint = strtok_r(hints, "\n", &rest); hint != NULL; hint = strtok_r(NULL, "\n", &rest))
        check_shown(hint);
}

static void check_challenge(struct json_object *reply)
{
    struct jitsudo_challenge challenge;
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    enum jitsudo_status status = jitsudo_read_challenge(reply, &challenge, &fault);
    if (status != JITSUDO_OK)
        check_fault(&fault, status);
    claim((challenge.message != NULL) == (status == JITSUDO_OK), "a challenge has words");
    if (challenge.message != NULL && (challenge.kind == JITSUDO_ACCOUNT || challenge.kind == JITSUDO_PASSWORD))
        claim(challenge.service != NULL && challenge.user != NULL, "PAM is told for whom it is asked, and by what stack");
    jitsudo_free_challenge(&challenge);
}

static void check_terms(struct json_object *reply)
{
    static const char *const keys[] = {
        "verdict", "challenge", "session", "token", "command_info", "argv", "env", "code", "message", "hints", "text", NULL};
    struct jitsudo_terms terms;
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    enum jitsudo_status status = jitsudo_judge(reply, keys, &fault);
    if (jitsudo_is(reply, "verdict", "challenge"))
        check_challenge(reply);
    if (status != JITSUDO_OK) {
        check_fault(&fault, status);
        return;
    }
    claim(jitsudo_is(reply, "verdict", "allow") && jitsudo_is_null(reply, "challenge"), "an allow is an allow");
    status = jitsudo_read_terms(reply, NULL, &terms, &fault);
    if (status == JITSUDO_OK) {
        check_vector(terms.info);
        check_vector(terms.argv);
        check_vector(terms.env);
        claim(jitsudo_value(terms.info, "command")[0] == '/', "an allow names a program");
        claim((terms.session == NULL) == (terms.token == NULL), "an allow has a session and its token, or neither");
    } else {
        check_fault(&fault, status);
        claim(terms.session == NULL && terms.info == NULL && terms.argv == NULL && terms.env == NULL, "half an allow is none");
    }
    jitsudo_free_terms(&terms);
}

/* A connection that brought these bytes and then ended. */
static bool fill(struct jitsudo *client, const uint8_t *data, size_t size)
{
    client->socket = -1;
    client->options.silence_ms = JITSUDO_SILENCE_MS;
    client->options.pending = on_pending;
    client->bytes = malloc(size + 1);
    if (client->bytes == NULL || jitsudo_wait_anew(client, true, NULL) != JITSUDO_OK)
        return false;
    memcpy(client->bytes, data, size);
    client->bytes[size] = '\0';
    client->held = size + 1;
    client->room = size + 1;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jitsudo client = {.socket = -1};
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    struct json_object *answer = NULL;
    check_parser((const char *)data, size);
    if (!fill(&client, data, size))
        return 0;
    enum jitsudo_status status = jitsudo_hear(&client, &answer, &fault);
    claim((answer != NULL) == (status == JITSUDO_OK), "an answer or a fault");
    if (answer != NULL)
        check_terms(answer);
    else
        check_fault(&fault, status);
    json_object_put(answer);
    free(client.bytes);
    return 0;
}
