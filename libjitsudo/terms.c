/* What the daemon answered: anything but one exact, complete allow is a deny. */
#define _POSIX_C_SOURCE 200809L /* strdup */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "internal.h"

/* Each hint on a line of its own, as far as there is room. */
static void add_hints(struct jitsudo_fault *fault, struct json_object *reply)
{
    struct json_object *hints = NULL;
    json_object_object_get_ex(reply, "hints", &hints);
    size_t count = json_object_is_type(hints, json_type_array) ? json_object_array_length(hints) : 0, used = 0;
    for (size_t i = 0; i < count && sizeof fault->hint - used > 1; i++) {
        struct json_object *hint = json_object_array_get_idx(hints, i);
        if (!json_object_is_type(hint, json_type_string))
            continue;
        if (used > 0)
            fault->hint[used++] = '\n';
        jitsudo_printable(json_object_get_string(hint), fault->hint + used, sizeof fault->hint - used);
        used += strlen(fault->hint + used);
    }
}

/* A deny without a message says nothing: the exit status is the answer. */
static enum jitsudo_status denied(struct json_object *reply, struct jitsudo_fault *fault)
{
    const char *message = jitsudo_is_null(reply, "message") ? "" : jitsudo_string(reply, "message");
    bool is_said = message != NULL && (message[0] != '\0' || jitsudo_is_null(reply, "message"));
    jitsudo_fail(fault, JITSUDO_REFUSED, "%s", is_said ? message : "denied");
    if (fault != NULL) {
        fault->is_sudos = jitsudo_is(reply, "speaker", "sudo");
        add_hints(fault, reply);
    }
    return JITSUDO_REFUSED;
}

enum jitsudo_status jitsudo_judge(struct json_object *reply, const char *const *keys, struct jitsudo_fault *fault)
{
    char shown[128];
    const char *verdict = jitsudo_string(reply, "verdict");
    if (verdict == NULL)
        return jitsudo_puzzled(fault, "no verdict");
    if (strcmp(verdict, "deny") == 0)
        return denied(reply, fault);
    if (strcmp(verdict, "challenge") == 0)
        return jitsudo_fail(fault, JITSUDO_REFUSED, "the daemon asks for more than it can be asked for here");
    jitsudo_printable(verdict, shown, sizeof shown);
    if (strcmp(verdict, "allow") != 0)
        return jitsudo_fail(fault, JITSUDO_REFUSED, "the daemon answered '%.100s', which is not known here", shown);
    if (!jitsudo_only(reply, keys) || !jitsudo_is_null(reply, "challenge"))
        return jitsudo_puzzled(fault, "an allow with terms that are not known here");
    jitsudo_clear(fault);
    return JITSUDO_OK;
}

enum jitsudo_status jitsudo_read_session(
    struct json_object *reply, const char *current, char **session, char **token, struct jitsudo_fault *fault)
{
    const char *id = jitsudo_string(reply, "session"), *secret = jitsudo_string(reply, "token");
    *session = *token = NULL;
    if (jitsudo_is_null(reply, "session") && jitsudo_is_null(reply, "token"))
        return current == NULL ? JITSUDO_OK : jitsudo_puzzled(fault, "no session");
    if (id == NULL || secret == NULL || id[0] == '\0' || secret[0] == '\0')
        return jitsudo_puzzled(fault, "session and token");
    if (current != NULL && strcmp(current, id) != 0)
        return jitsudo_puzzled(fault, "another session");
    if ((*session = strdup(id)) != NULL && (*token = strdup(secret)) != NULL)
        return JITSUDO_OK;
    free(*session);
    *session = NULL;
    return jitsudo_out_of_memory(fault);
}

/* What came of reading that key, which is to be `kind`. */
static enum jitsudo_status read_as(enum jitsudo_status status, const char *key, const char *kind, struct jitsudo_fault *fault)
{
    char what[64];
    snprintf(what, sizeof what, "%s is not %s", key, kind);
    if (status == JITSUDO_NO_MEMORY)
        return jitsudo_out_of_memory(fault);
    return status == JITSUDO_OK ? status : jitsudo_puzzled(fault, what);
}

/* The text of that key; NULL, which is no fault, where it is missing or null. */
static enum jitsudo_status read_text(struct json_object *object, const char *key, char **text, struct jitsudo_fault *fault)
{
    struct json_object *value = NULL;
    *text = NULL;
    if (jitsudo_is_null(object, key))
        return JITSUDO_OK;
    json_object_object_get_ex(object, key, &value);
    return read_as(jitsudo_read_text(value, text), key, "text", fault);
}

/* What that kind of challenge needs to be met. */
static enum jitsudo_status check_kind(struct json_object *object, struct jitsudo_challenge *challenge, struct jitsudo_fault *fault)
{
    static const char *const kinds[] = {
        [JITSUDO_ACCOUNT] = "account", [JITSUDO_PASSWORD] = "authenticate", [JITSUDO_AGENT] = "agent", [JITSUDO_CONFIRM] = "confirm"};
    const char *kind = jitsudo_string(object, "kind");
    struct json_object *overrides = NULL;
    char what[128];
    json_object_object_get_ex(object, "overrides", &overrides);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && kind != NULL; i++) {
        if (strcmp(kind, kinds[i]) != 0)
            continue;
        challenge->kind = (enum jitsudo_kind)i;
        bool is_pams = challenge->kind == JITSUDO_ACCOUNT || challenge->kind == JITSUDO_PASSWORD;
        if (challenge->message == NULL)
            return jitsudo_puzzled(fault, "message is not text");
        if (is_pams && challenge->service == NULL)
            return jitsudo_puzzled(fault, "another PAM service");
        if (challenge->kind == JITSUDO_PASSWORD && challenge->tries < 1)
            return jitsudo_puzzled(fault, "tries");
        if (challenge->kind == JITSUDO_PASSWORD && !json_object_is_type(overrides, json_type_boolean))
            return jitsudo_puzzled(fault, "overrides");
        return is_pams && challenge->user == NULL ? jitsudo_puzzled(fault, "user is not text") : JITSUDO_OK;
    }
    snprintf(what, sizeof what, "challenge %.100s", kind != NULL ? kind : "None");
    return jitsudo_puzzled(fault, what);
}

/* Whether the reply is a challenge and nothing else. */
static bool is_alone(struct json_object *reply, struct json_object **challenge)
{
    json_object_object_get_ex(reply, "challenge", challenge);
    bool is_alone = json_object_is_type(*challenge, json_type_object);
    json_object_object_foreach(reply, key, value)
    {
        if (value != NULL && strcmp(key, "verdict") != 0 && strcmp(key, "challenge") != 0)
            is_alone = false;
    }
    return is_alone;
}

enum jitsudo_status jitsudo_read_challenge(
    struct json_object *reply, struct jitsudo_challenge *challenge, struct jitsudo_fault *fault)
{
    struct json_object *object = NULL, *tries = NULL, *overrides = NULL;
    *challenge = (struct jitsudo_challenge){.message = NULL};
    if (!is_alone(reply, &object))
        return jitsudo_fail(fault, JITSUDO_REFUSED, "the daemon asks for something that was not understood");
    json_object_object_get_ex(object, "tries", &tries);
    json_object_object_get_ex(object, "overrides", &overrides);
    challenge->tries = json_object_is_type(tries, json_type_int) ? json_object_get_int64(tries) : 0;
    challenge->overrides = json_object_get_boolean(overrides);
    enum jitsudo_status status = read_text(object, "message", &challenge->message, fault);
    if (status == JITSUDO_OK)
        status = read_text(object, "service", &challenge->service, fault);
    if (status == JITSUDO_OK)
        status = read_text(object, "user", &challenge->user, fault);
    if (status == JITSUDO_OK)
        status = read_text(object, "prompt", &challenge->prompt, fault);
    if (status == JITSUDO_OK)
        status = check_kind(object, challenge, fault);
    if (status != JITSUDO_OK)
        jitsudo_free_challenge(challenge);
    return status;
}

void jitsudo_free_challenge(struct jitsudo_challenge *challenge)
{
    free(challenge->message);
    free(challenge->service);
    free(challenge->user);
    free(challenge->prompt);
    *challenge = (struct jitsudo_challenge){.message = NULL};
}

/* Whether each item is NAME=value, and no name comes twice. */
static bool are_pairs(char *const *vector)
{
    for (size_t i = 0; vector[i] != NULL; i++) {
        const char *equals = strchr(vector[i], '=');
        if (equals == NULL || equals == vector[i])
            return false;
    }
    return jitsudo_names_differ(vector);
}

static bool are_ids(const char *list)
{
    char one[16];
    for (;;) {
        size_t length = strcspn(list, ",");
        if (length >= sizeof one)
            return false;
        memcpy(one, list, length);
        one[length] = '\0';
        if (!jitsudo_is_id(one))
            return false;
        if (list[length] == '\0')
            return true;
        list += length + 1;
    }
}

static bool has_only(const char *text, const char *characters)
{
    return text[0] != '\0' && text[strspn(text, characters)] == '\0';
}

/* Without runas_uid sudo runs as uid 0, without umask with the caller's: an allow that lacks one is not an allow. */
static bool is_complete(char *const *info)
{
    static const char *const needed[] = {"command", "umask", "closefrom", "use_pty", "runas_uid", "runas_gid", "runas_groups"};
    static const char *const ids[] = {"runas_uid", "runas_euid", "runas_gid", "runas_egid"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (jitsudo_value(info, needed[i]) == NULL)
            return false;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const char *value = jitsudo_value(info, ids[i]);
        if (value != NULL && !jitsudo_is_id(value))
            return false;
    }
    return jitsudo_value(info, "command")[0] == '/' && strcmp(jitsudo_value(info, "use_pty"), "true") == 0 &&
           are_ids(jitsudo_value(info, "runas_groups")) && has_only(jitsudo_value(info, "closefrom"), "0123456789") &&
           has_only(jitsudo_value(info, "umask"), "01234567");
}

static enum jitsudo_status read_vector(
    struct json_object *reply, const char *key, char ***vector, struct jitsudo_fault *fault)
{
    return read_as(jitsudo_read_texts(reply, key, vector), key, "a list of texts", fault);
}

static enum jitsudo_status read_info(struct json_object *reply, char ***info, struct jitsudo_fault *fault)
{
    enum jitsudo_status status = read_vector(reply, "command_info", info, fault);
    if (status == JITSUDO_OK && !are_pairs(*info))
        return jitsudo_puzzled(fault, "command_info is malformed");
    if (status == JITSUDO_OK && !is_complete(*info))
        return jitsudo_puzzled(fault, "command_info is incomplete");
    return status;
}

enum jitsudo_status jitsudo_read_terms(
    struct json_object *reply, const char *current, struct jitsudo_terms *terms, struct jitsudo_fault *fault)
{
    *terms = (struct jitsudo_terms){.session = NULL};
    enum jitsudo_status status = jitsudo_read_session(reply, current, &terms->session, &terms->token, fault);
    if (status == JITSUDO_OK)
        status = read_info(reply, &terms->info, fault);
    if (status == JITSUDO_OK)
        status = read_vector(reply, "argv", &terms->argv, fault);
    if (status == JITSUDO_OK)
        status = read_vector(reply, "env", &terms->env, fault);
    if (status == JITSUDO_OK && !are_pairs(terms->env))
        status = jitsudo_puzzled(fault, "env is malformed");
    if (status != JITSUDO_OK)
        jitsudo_free_terms(terms);
    return status;
}

void jitsudo_free_terms(struct jitsudo_terms *terms)
{
    free(terms->session);
    free(terms->token);
    jitsudo_free_vector(terms->info);
    jitsudo_free_vector(terms->argv);
    jitsudo_free_vector(terms->env);
    *terms = (struct jitsudo_terms){.session = NULL};
}
