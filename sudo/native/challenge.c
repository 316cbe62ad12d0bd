/* Who it is: what the daemon wants to have established before there can be an allow, and the state of the account. */
#define _GNU_SOURCE
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

#define MAX_ROUNDS 16 /* of challenges before one answer */

static bool begin_pam(const char *user, struct refusal *why)
{
    if (pam_user() != NULL && strcmp(pam_user(), user) != 0)
        pam_finish();
    return pam_user() != NULL || pam_begin(user, why);
}

/* For the user whose account it already is, else the caller. */
bool begin_pam_for_caller(struct refusal *why)
{
    const char *user = pam_user() != NULL ? pam_user() : value_of(told.user_info, "user");
    return begin_pam(user != NULL ? user : "", why);
}

/* sudo ends itself in the middle of the conversation where there is no such program. */
static bool has_askpass(void)
{
    const char *named = value_of(told.user_env, "SUDO_ASKPASS");
    char line[4096], path[2];
    bool found = named != NULL && named[0] != '\0';
    FILE *file = found ? NULL : fopen(JITSUDO_SUDO_CONF, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, " Path askpass %1s", path) == 1;
    if (file != NULL)
        fclose(file);
    return found;
}

/* The text of that key, to be freed; NULL with *why. */
static char *text_of(struct json_object *object, const char *key, struct refusal *why)
{
    struct json_object *value = NULL;
    char *text = NULL;
    json_object_object_get_ex(object, key, &value);
    enum jitsudo_status status = jitsudo_read_text(value, &text);
    char what[64];
    snprintf(what, sizeof what, "%s is not text", key);
    if (status == JITSUDO_NO_MEMORY)
        no_memory(why);
    else if (status != JITSUDO_OK)
        not_understood(why, what);
    return text;
}

static bool authenticate(struct json_object *challenge, struct refusal *why)
{
    struct json_object *tries = NULL;
    if (!jitsudo_is(challenge, "service", SERVICE))
        return not_understood(why, "another PAM service");
    if (!json_object_object_get_ex(challenge, "tries", &tries) || !json_object_is_type(tries, json_type_int) ||
        json_object_get_int64(tries) < 1)
        return not_understood(why, "tries");
    bool has_prompt = !jitsudo_is_null(challenge, "prompt");
    char *user = text_of(challenge, "user", why), *prompt = has_prompt ? text_of(challenge, "prompt", why) : NULL;
    bool good = user != NULL && (prompt != NULL || !has_prompt);
    if (good && is_set("askpass") && !has_askpass())
        good = not_proven(why, "unavailable", NULL, "no askpass program specified, try setting SUDO_ASKPASS");
    good = good && begin_pam(user, why) &&
           pam_prove(prompt, value_of(told.settings, "prompt") != NULL, json_object_get_int64(tries), why);
    free(user);
    free(prompt);
    return good;
}

/* The account's PAM handle, as it is where nobody was asked for a password. */
static bool begin_account(struct json_object *challenge, struct refusal *why)
{
    if (!jitsudo_is(challenge, "service", SERVICE))
        return not_understood(why, "another PAM service");
    char *user = text_of(challenge, "user", why);
    bool good = user != NULL && begin_pam(user, why);
    free(user);
    return good;
}

static bool sign(struct json_object *challenge, char **signature, struct refusal *why)
{
    char **keys = NULL, *nonce = text_of(challenge, "nonce", why);
    bool good = nonce != NULL && read_vector(challenge, "keys", &keys, why) && prove_by_agent(keys, nonce, signature, why);
    free(nonce);
    jitsudo_free_vector(keys);
    return good;
}

static bool confirm_shown(const char *message, struct refusal *why)
{
    char *shown = printable_lines(message);
    bool good = shown != NULL ? confirm(shown, why) : no_memory(why);
    free(shown);
    return good;
}

/* Meet the challenge; *outcome is what to answer where it was met. */
static bool meet_kind(struct json_object *challenge, const char *message, const char **outcome, char **signature,
    struct refusal *why)
{
    bool is_quiet = is_set("noninteractive");
    if (jitsudo_is(challenge, "kind", "authenticate")) {
        *outcome = "proven";
        return is_quiet ? not_proven(why, "unavailable", NULL, "a password is required") : authenticate(challenge, why);
    }
    if (jitsudo_is(challenge, "kind", "agent")) {
        *outcome = "signed";
        return sign(challenge, signature, why);
    }
    if (jitsudo_is(challenge, "kind", "confirm")) {
        *outcome = "confirmed";
        if (is_quiet)
            return not_proven(why, "unavailable", NULL, "%s This has to be confirmed on a terminal, without -n", message);
        return confirm_shown(message, why);
    }
    if (jitsudo_is(challenge, "kind", "account")) {
        *outcome = "proven";
        return begin_account(challenge, why);
    }
    const char *kind = jitsudo_string(challenge, "kind");
    char what[128];
    snprintf(what, sizeof what, "challenge %.100s", kind != NULL ? kind : "None");
    return not_understood(why, what);
}

static struct json_object *answer_of(const char *outcome, const char *signature, const char *account)
{
    struct json_object *made = jitsudo_object();
    return built(made, put_text(made, "outcome", outcome) && put_text(made, "signature", signature) &&
                           put_text(made, "account", account));
}

/* Whether the account may be used; else *why is what sudo says of it. */
static bool is_good_account(bool may_change, struct refusal *why)
{
    char sentence[1024];
    pam_account(may_change, sentence, sizeof sentence);
    if (sentence[0] == '\0')
        return true;
    refuse(why, NULL, "%s", sentence);
    why->speaker = "sudo";
    return false;
}

/* The answer to a challenge, to be released; *is_met says whether it is one that can lead to an allow, else *why is the refusal
 * that this comes to in the end. NULL where there is nothing to answer. */
static struct json_object *meet(struct json_object *challenge, bool *is_met, struct refusal *why)
{
    const char *outcome = NULL;
    char *signature = NULL, *message = text_of(challenge, "message", why);
    *is_met = message != NULL && meet_kind(challenge, message, &outcome, &signature, why);
    free(message);
    struct json_object *answer = NULL;
    if (*is_met && strcmp(outcome, "proven") == 0 && !is_good_account(jitsudo_is(challenge, "kind", "authenticate"), why)) {
        *is_met = false;
        answer = answer_of(outcome, NULL, why->message);
    } else if (*is_met) {
        answer = answer_of(outcome, signature, NULL);
        if (answer == NULL)
            no_memory(why);
    } else if (why->outcome != NULL) {
        why->speaker = jitsudo_is(challenge, "kind", "authenticate") ? "sudo" : "jitsudo";
        answer = answer_of(why->outcome, NULL, NULL);
    }
    /* Who asks has not failed: root does not go on past a question. */
    why->is_outage = false;
    free(signature);
    return answer;
}

/* A daemon that does not ask has allowed too early; the command of a locked account does not run all the same. */
static bool check_account(struct refusal *why)
{
    bool good = begin_pam_for_caller(why) && is_good_account(false, why);
    why->is_outage = false;
    return good;
}

/* Whether the reply is a challenge and nothing else; false with *why->message set where it is not understood. */
static bool challenge_of(struct json_object *reply, struct json_object **challenge, struct refusal *why)
{
    *challenge = NULL;
    if (!jitsudo_is(reply, "verdict", "challenge"))
        return true;
    json_object_object_get_ex(reply, "challenge", challenge);
    bool is_alone = json_object_is_type(*challenge, json_type_object);
    json_object_object_foreach(reply, key, value)
    {
        if (value != NULL && strcmp(key, "verdict") != 0 && strcmp(key, "challenge") != 0)
            is_alone = false;
    }
    return is_alone || refuse(why, NULL, "the daemon asks for something that was not understood");
}

/* One challenge, met or not, and the reply to what came of it in place of *reply. */
static bool answer_challenge(struct json_object *challenge, struct json_object **reply, bool *is_checked, struct refusal *why)
{
    bool is_met = false;
    struct json_object *answer = meet(challenge, &is_met, why);
    if (answer == NULL)
        return false;
    *is_checked = *is_checked || (is_met && jitsudo_is(answer, "outcome", "proven"));
    struct refusal unheard = {.speaker = NULL};
    json_object_put(*reply);
    *reply = ask("Answer", answer, NULL, is_met ? why : &unheard);
    json_object_put(answer);
    /* The daemon that went away meanwhile is what there is to say; root does not go on past a question. */
    if (*reply == NULL && !is_met)
        *why = unheard;
    return is_met && *reply != NULL;
}

/* An allow, once what the daemon wants to have established is; to be released. NULL with *why.
 *
 * The account is checked as sudo does, after the proof: a stack may count a check of the account as a success, and one before
 * the proof would forget the wrong passwords of others (pam_faillock(8)). And before the daemon allows anything, so that no
 * allow is on record for an account that is locked. */
struct json_object *established(const char *method, struct json_object *asked, struct files *files, struct refusal *why)
{
    /* Within a session, sudo asks for what the command executes. Root outside one is nobody's to lock out. */
    bool is_checked = policy.accepted > 0 || getuid() == 0;
    if (asked == NULL || !jitsudo_put_null(asked, "account")) {
        no_memory(why);
        return NULL;
    }
    struct json_object *reply = ask(method, asked, files, why);
    bool good = reply != NULL;
    for (unsigned int i = 0; good && i < MAX_ROUNDS; i++) {
        struct json_object *challenge = NULL;
        good = challenge_of(reply, &challenge, why);
        if (!good || challenge == NULL)
            break;
        good = answer_challenge(challenge, &reply, &is_checked, why);
    }
    good = good && allows(reply, why) && (is_checked || check_account(why));
    if (good)
        return reply;
    json_object_put(reply);
    return NULL;
}
