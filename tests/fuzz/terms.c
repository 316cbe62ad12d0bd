/*
 * libFuzzer: whatever texts an answer of the daemon's consists of, what sudo is told to run are those very texts, complete and
 * without doubles, or nothing; and what people are shown steers no terminal.
 * The input is not JSON, which reply.c is for, but lines. The first byte of a line says what of the answer it is.
 */
#define _GNU_SOURCE
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* What a line is: the key, and whether the line is one of a list. In capitals: of the challenge. */
static const struct {
    char mark;
    bool is_of_list;
    const char *key;
} marks[] = {
    {'v', false, "verdict"}, {'s', false, "session"}, {'t', false, "token"}, {'c', true, "command_info"}, {'a', true, "argv"},
    {'e', true, "env"}, {'m', false, "message"}, {'h', true, "hints"}, {'p', false, "speaker"}, {'x', false, "text"},
    {'K', false, "kind"}, {'M', false, "message"}, {'S', false, "service"}, {'U', false, "user"}, {'P', false, "prompt"},
};

static void claim(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *found = NULL;
    json_object_object_get_ex(object, key, &found);
    return found;
}

static void add(struct json_object *object, const char *key, bool is_of_list, const char *bytes, size_t size)
{
    struct json_object *item = jitsudo_text_of(bytes, size), *list = member(object, key);
    claim(item != NULL, "there is memory");
    if (!is_of_list) {
        json_object_object_add(object, key, item);
        return;
    }
    if (list == NULL) {
        list = json_object_new_array();
        json_object_object_add(object, key, list);
    }
    json_object_array_add(list, item);
}

/* A line: N and a number are tries, O is overrides, 0 and the mark of a text has it be null. */
static void add_line(struct json_object *reply, struct json_object *challenge, const char *line, size_t size)
{
    bool is_null = line[0] == '0' && size > 1;
    char mark = line[is_null ? 1 : 0];
    if (mark == 'N' || mark == 'O') {
        json_object_object_add(challenge, mark == 'N' ? "tries" : "overrides",
            mark == 'N' ? json_object_new_int64(size > 1 ? line[1] - '0' : 0) : json_object_new_boolean(size > 1));
        return;
    }
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (marks[i].mark != mark)
            continue;
        struct json_object *object = mark >= 'A' && mark <= 'Z' ? challenge : reply;
        if (is_null)
            json_object_object_add(object, marks[i].key, NULL);
        else
            add(object, marks[i].key, marks[i].is_of_list, line + 1, size - 1);
    }
}

static struct json_object *build(const char *data, size_t size)
{
    struct json_object *reply = json_object_new_object(), *challenge = json_object_new_object();
    while (size > 0) {
        const char *end = memchr(data, '\n', size);
        size_t length = end != NULL ? (size_t)(end - data) : size;
        if (length > 0)
            add_line(reply, challenge, data, length);
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    json_object_object_add(reply, "challenge", json_object_object_length(challenge) > 0 ? challenge : NULL);
    if (json_object_object_length(challenge) == 0)
        json_object_put(challenge);
    return reply;
}

static void check_shown(const char *text, bool has_lines)
{
    claim(jitsudo_is_utf8(text, strlen(text)), "what is shown is text");
    for (const char *at = text; *at != '\0'; at++)
        claim(((unsigned char)*at >= 0x20 && *at != 0x7F) || (has_lines && *at == '\n'), "what is shown steers nothing");
}

/* The texts of the answer, each as it is and none left out. */
static void check_same(struct json_object *list, char *const *vector)
{
    claim(json_object_is_type(list, json_type_array), "what is run was in the answer");
    size_t count = json_object_array_length(list);
    claim(jitsudo_count(vector) == count && count > 0, "nothing is added or left out");
    for (size_t i = 0; i < count; i++) {
        struct json_object *again = jitsudo_text(vector[i]);
        claim(json_object_equal(again, json_object_array_get_idx(list, i)), "each text is what it was");
        json_object_put(again);
    }
}

/* The plain way, where the library is quick: each with each. */
static void check_names(char *const *vector)
{
    for (size_t i = 0; vector[i] != NULL; i++) {
        size_t length = strcspn(vector[i], "=");
        claim(length > 0 && vector[i][length] == '=', "each is NAME=value");
        for (size_t j = 0; j < i; j++)
            claim(strncmp(vector[i], vector[j], length + 1) != 0, "no name comes twice");
    }
}

static void check_number(const char *text, const char *what)
{
    char again[16], *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    snprintf(again, sizeof again, "%llu", number);
    claim(*end == '\0' && strcmp(again, text) == 0 && number < UINT32_MAX, what);
}

static void check_info(char *const *info)
{
    static const char *const ids[] = {"runas_uid", "runas_gid", "runas_euid", "runas_egid"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const char *value = jitsudo_value(info, ids[i]);
        claim(i >= 2 || value != NULL, "an allow says as whom");
        if (value != NULL)
            check_number(value, "an id is one, and not the one that means no change");
    }
    char groups[2048], *rest = NULL;
    snprintf(groups, sizeof groups, "%s", jitsudo_value(info, "runas_groups"));
    claim(strtok_r(groups, ",", &rest) != NULL, "an allow says in which groups");
    check_number(groups, "a group is an id");
    claim(jitsudo_value(info, "command")[0] == '/', "an allow names a program");
    claim(strcmp(jitsudo_value(info, "use_pty"), "true") == 0, "the command has a terminal of its own");
    claim(jitsudo_value(info, "umask")[0] != '\0' && jitsudo_value(info, "closefrom")[0] != '\0', "nothing is sudo's to choose");
}

static void check_fault(const struct jitsudo_fault *fault)
{
    claim(fault->status == JITSUDO_REFUSED || fault->status == JITSUDO_NOT_UNDERSTOOD, "a fault is the answer's");
    check_shown(fault->message, false);
    check_shown(fault->hint, true);
}

static void check_terms(struct json_object *reply, const char *current)
{
    static const char *const keys[] = {"verdict", "challenge", "session", "token", "command_info", "argv", "env", "message",
        "hints", "speaker", "text", NULL};
    struct jitsudo_terms terms;
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    if (jitsudo_judge(reply, keys, &fault) != JITSUDO_OK) {
        check_fault(&fault);
        if (jitsudo_is(reply, "verdict", "deny") || jitsudo_is(reply, "verdict", "challenge"))
            claim(!jitsudo_is_outage(fault.status), "root, too, is told no");
        return;
    }
    claim(strcmp(json_object_get_string(member(reply, "verdict")), "allow") == 0, "an allow is an allow");
    if (jitsudo_read_terms(reply, current, &terms, &fault) == JITSUDO_OK) {
        check_same(member(reply, "command_info"), terms.info);
        check_same(member(reply, "argv"), terms.argv);
        check_same(member(reply, "env"), terms.env);
        check_names(terms.info);
        check_names(terms.env);
        check_info(terms.info);
        claim((terms.session == NULL) == (terms.token == NULL), "an allow has a session and its token, or neither");
        claim(current == NULL || terms.session == NULL || strcmp(terms.session, current) == 0, "it is the session that there is");
    } else {
        check_fault(&fault);
        claim(terms.session == NULL && terms.info == NULL && terms.argv == NULL && terms.env == NULL, "half an allow is none");
    }
    jitsudo_free_terms(&terms);
}

static void check_challenge(struct json_object *reply)
{
    struct jitsudo_challenge challenge;
    struct jitsudo_fault fault = {.status = JITSUDO_OK};
    if (jitsudo_read_challenge(reply, &challenge, &fault) == JITSUDO_OK) {
        bool is_pams = challenge.kind == JITSUDO_ACCOUNT || challenge.kind == JITSUDO_PASSWORD;
        claim(challenge.message != NULL, "a challenge has words");
        claim(!is_pams || (challenge.service != NULL && challenge.user != NULL), "PAM is told for whom, and by what stack");
        claim(challenge.kind != JITSUDO_PASSWORD || challenge.tries >= 1, "somebody who is asked may answer");
    } else {
        check_fault(&fault);
        claim(challenge.message == NULL && challenge.user == NULL && challenge.prompt == NULL, "half a challenge is none");
    }
    jitsudo_free_challenge(&challenge);
}

static void check_lines(struct json_object *reply)
{
    const char *text = jitsudo_string(reply, "text");
    char *shown = text != NULL ? jitsudo_printable_lines(text) : NULL;
    if (shown == NULL)
        return;
    check_shown(shown, true);
    claim(strlen(shown) >= strlen(text), "nothing is cut off");
    free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_object *reply = build((const char *)data, size);
    /* Whether there is a session already: by the length, so that each input is tried both ways soon. */
    check_terms(reply, size % 2 == 0 ? NULL : "S-ABCDEFGH");
    if (member(reply, "challenge") != NULL)
        check_challenge(reply);
    check_lines(reply);
    json_object_put(reply);
    return 0;
}
