/* What the daemon answered: anything but one exact, complete allow is a deny. */
#define _GNU_SOURCE
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

static void add_hints(struct refusal *why, struct json_object *hints)
{
    size_t count = json_object_is_type(hints, json_type_array) ? json_object_array_length(hints) : 0;
    for (size_t i = 0; i < count; i++) {
        struct json_object *hint = json_object_array_get_idx(hints, i);
        size_t used = strlen(why->hints);
        if (!json_object_is_type(hint, json_type_string) || sizeof why->hints - used < 2)
            continue;
        if (used > 0)
            why->hints[used++] = '\n';
        jitsudo_printable(json_object_get_string(hint), why->hints + used, sizeof why->hints - used);
    }
}

/* True only where the reply says "allow". */
bool allows(struct json_object *reply, struct refusal *why)
{
    static const char *const keys[] = {
        "verdict", "challenge", "session", "token", "command_info", "argv", "env", "code", "message", "hints", "text", NULL};
    const char *verdict = jitsudo_string(reply, "verdict");
    if (verdict == NULL)
        return not_understood(why, "no verdict");
    if (strcmp(verdict, "allow") == 0) {
        if (jitsudo_only(reply, keys) && jitsudo_is_null(reply, "challenge"))
            return true;
        return not_understood(why, "an allow with terms that this plugin does not know");
    }
    if (strcmp(verdict, "challenge") == 0)
        return refuse(why, NULL, "the daemon asks for more than it can be asked for here");
    if (strcmp(verdict, "deny") != 0)
        return refuse(why, NULL, "the daemon answered '%.100s', which this plugin cannot do", verdict);
    const char *message = jitsudo_string(reply, "message");
    struct json_object *hints = NULL;
    refuse(why, NULL, "%s", message != NULL && message[0] != '\0' ? message : "denied");
    json_object_object_get_ex(reply, "hints", &hints);
    add_hints(why, hints);
    return false;
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
        if (!is_id(one))
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
        if (value_of(info, needed[i]) == NULL)
            return false;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const char *value = value_of(info, ids[i]);
        if (value != NULL && !is_id(value))
            return false;
    }
    return value_of(info, "command")[0] == '/' && strcmp(value_of(info, "use_pty"), "true") == 0 &&
           are_ids(value_of(info, "runas_groups")) && has_only(value_of(info, "closefrom"), "0123456789") &&
           has_only(value_of(info, "umask"), "01234567");
}

void free_terms(struct terms *terms)
{
    free(terms->session);
    free(terms->token);
    jitsudo_free_vector(terms->info);
    jitsudo_free_vector(terms->argv);
    jitsudo_free_vector(terms->env);
    *terms = (struct terms){.session = NULL};
}

static bool read_session(struct json_object *reply, struct terms *terms, struct refusal *why)
{
    const char *session = jitsudo_string(reply, "session"), *token = jitsudo_string(reply, "token");
    if (jitsudo_is_null(reply, "session") && jitsudo_is_null(reply, "token")) {
        /* Only root, outside a session, runs without one. */
        if (getuid() != 0 || policy.session != NULL)
            return not_understood(why, "no session");
        return true;
    }
    if (session == NULL || token == NULL || session[0] == '\0' || token[0] == '\0')
        return not_understood(why, "session and token");
    if (policy.session != NULL && strcmp(policy.session, session) != 0)
        return not_understood(why, "another session");
    terms->session = strdup(session);
    terms->token = strdup(token);
    return (terms->session != NULL && terms->token != NULL) || no_memory(why);
}

bool read_vector(struct json_object *reply, const char *key, char ***vector, struct refusal *why)
{
    char what[64];
    enum jitsudo_status status = jitsudo_read_texts(reply, key, vector);
    if (status == JITSUDO_OK)
        return true;
    if (status == JITSUDO_NO_MEMORY)
        return no_memory(why);
    snprintf(what, sizeof what, "%s is not a list of texts", key);
    return not_understood(why, what);
}

bool read_terms(struct json_object *reply, struct terms *terms, struct refusal *why)
{
    if (!read_session(reply, terms, why) || !read_vector(reply, "command_info", &terms->info, why))
        return false;
    if (!are_pairs(terms->info))
        return not_understood(why, "command_info is malformed");
    if (!is_complete(terms->info))
        return not_understood(why, "command_info is incomplete");
    if (!read_vector(reply, "argv", &terms->argv, why) || !read_vector(reply, "env", &terms->env, why))
        return false;
    return are_pairs(terms->env) || not_understood(why, "env is malformed");
}
