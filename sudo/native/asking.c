/* The daemon is asked, and asks: what it wants to have established before there can be an allow, and the state of the account. */
#define _GNU_SOURCE
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "native.h"

#define MAX_ROUNDS 16 /* of challenges before one answer */

static void show_pending(const char *awaited, void *context)
{
    static char *shown;
    (void)context;
    if (awaited[0] == '\0' || is_set("noninteractive") || (shown != NULL && strcmp(shown, awaited) == 0))
        return;
    free(shown);
    shown = strdup(awaited);
    told.print(SUDO_CONV_ERROR_MSG, "jitsudo: %s\n", awaited);
}

/* While the daemon is at work: what PAM loads first takes as long. Nothing is decided by it, and nobody asked. */
static void begin_early(const char *method, void *context)
{
    struct jitsudo_fault unsaid;
    (void)context;
    if (strcmp(method, "Check") == 0 && getuid() != 0 && policy.accepted == 0)
        pam_begin(NULL, &unsaid);
}

const struct jitsudo_options options = {
    .folder = JITSUDO_RUN, .owner = JITSUDO_OWNER, .tick = is_given_up, .pending = show_pending, .sent = begin_early};

struct json_object *question(void)
{
    struct json_object *told_us = jitsudo_object(), *made = jitsudo_object();
    bool is_built = jitsudo_put_text(told_us, "front_end", "sudo-native") &&
                    jitsudo_put(told_us, "user_info", jitsudo_texts(told.user_info)) &&
                    jitsudo_put(told_us, "settings", jitsudo_texts(told.settings)) &&
                    jitsudo_put(told_us, "user_env", jitsudo_texts(told.user_env));
    return jitsudo_built(made, jitsudo_put(made, "invocation", jitsudo_built(told_us, is_built)));
}

struct json_object *ask(const char *method, struct json_object *parameters, const struct jitsudo_file *files, size_t count,
    struct jitsudo_fault *why)
{
    struct json_object *reply = NULL;
    sigset_t before;
    mask(SIG_BLOCK, &before);
    jitsudo_ask(&policy.client, &options, method, parameters, files, count, &reply, why);
    restore(&before);
    return reply;
}

bool is_allowed(struct json_object *reply, struct jitsudo_fault *why)
{
    static const char *const keys[] = {"verdict", "challenge", "session", "token", "command_info", "argv", "env", "code",
        "message", "hints", "speaker", "text", NULL};
    return reply != NULL && jitsudo_judge(reply, keys, why) == JITSUDO_OK;
}

/* --- Challenges --- */

/* By the PAM stack: a password, unless it is about the state of the account alone. */
static bool prove(const struct jitsudo_challenge *challenge, struct jitsudo_fault *why)
{
    if (strcmp(challenge->service, SERVICE) != 0)
        return no(jitsudo_puzzled(why, "another PAM service"));
    return pam_begin(challenge->user, why) && (challenge->kind == JITSUDO_ACCOUNT ||
            pam_prove(challenge->prompt, challenge->overrides, challenge->tries, why));
}

/* A connection to the caller's agent, with which the daemon speaks. */
static bool reach_agent(struct jitsudo_file *agent, struct jitsudo_fault *why)
{
    const char *path = jitsudo_value(told.user_env, "SSH_AUTH_SOCK");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int number = EINVAL;
    if (path == NULL || path[0] == '\0')
        return not_met(why, "unavailable", "ssh -A, or ssh-add on this host", "no SSH agent: SSH_AUTH_SOCK is not set");
    *agent = (struct jitsudo_file){"agent", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (strlen(path) < sizeof address.sun_path) {
        memcpy(address.sun_path, path, strlen(path));
        /* As the caller: the path is theirs to choose, and must not lead to a socket that only root may open. */
        if (seteuid(getuid()) == 0)
            number = connect(agent->descriptor, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
        if (seteuid(0) != 0 && geteuid() != JITSUDO_OWNER)
            abort();
    }
    return number == 0 ||
           not_met(why, "unavailable", "ssh-add -l", "your SSH agent cannot be reached (%s)", strerror(number));
}

/* Meet one challenge, or tell the daemon why not; the reply to that in place of *reply. False with *why where it ends here. */
static bool meet(const struct jitsudo_challenge *challenge, struct json_object **reply, bool *is_checked, struct jitsudo_fault *why)
{
    struct jitsudo_file agent = {.descriptor = -1};
    struct jitsudo_fault unheard = {.status = JITSUDO_OK};
    const char *outcome = "proven", *account = NULL;
    bool is_met = false;
    if (challenge->kind == JITSUDO_AGENT) {
        outcome = "connected";
        is_met = reach_agent(&agent, why);
    } else if (challenge->kind == JITSUDO_CONFIRM) {
        outcome = "confirmed";
        is_met = confirm(challenge->message, why);
    } else if (prove(challenge, why)) {
        *is_checked = is_met = pam_account(challenge->kind == JITSUDO_PASSWORD, why);
        account = is_met ? NULL : why->message;
    }
    if (!is_met && account == NULL) {
        if (why->code[0] == '\0')
            return false;
        outcome = why->code;
        why->is_sudos = challenge->kind == JITSUDO_PASSWORD;
    }
    struct json_object *answer = jitsudo_object();
    bool is_built = jitsudo_put_text(answer, "outcome", outcome) && jitsudo_put_text(answer, "account", account);
    json_object_put(*reply);
    *reply = ask("Answer", jitsudo_built(answer, is_built), is_met && agent.descriptor >= 0 ? &agent : NULL, 1,
        is_met ? why : &unheard);
    if (agent.descriptor >= 0)
        close(agent.descriptor);
    /* The daemon that went away meanwhile is what there is to say. */
    if (*reply == NULL && !is_met)
        *why = unheard;
    return is_met && *reply != NULL;
}

/* The account is checked as sudo does, after the proof: a stack may count a check of the account as a success, and one before
 * the proof would forget the wrong passwords of others (pam_faillock(8)). And before the daemon allows anything, so that no
 * allow is on record for an account that is locked. */
struct json_object *established(const char *method, struct json_object *parameters, const struct jitsudo_file *files,
    size_t count, struct jitsudo_fault *why)
{
    /* Within a session, sudo asks for what the command executes. Root outside one is nobody's to lock out. */
    bool is_checked = policy.accepted > 0 || getuid() == 0;
    struct json_object *reply = ask(method, parameters, files, count, why);
    bool is_good = reply != NULL, is_asked = false;
    for (unsigned int i = 0; is_good && i < MAX_ROUNDS && jitsudo_is(reply, "verdict", "challenge"); i++) {
        struct jitsudo_challenge challenge;
        is_asked = true;
        is_good = jitsudo_read_challenge(reply, &challenge, why) == JITSUDO_OK && meet(&challenge, &reply, &is_checked, why);
        jitsudo_free_challenge(&challenge);
    }
    is_good = is_good && is_allowed(reply, why);
    if (is_good && !is_checked) {
        /* A daemon that does not ask has allowed too early; the command of a locked account does not run all the same. */
        is_asked = true;
        is_good = pam_begin(NULL, why) && pam_account(false, why);
    }
    if (is_good)
        return reply;
    /* Who asks has not failed: root does not go on past a question. */
    if (is_asked)
        why->status = JITSUDO_REFUSED;
    json_object_put(reply);
    return NULL;
}
