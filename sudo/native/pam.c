/* PAM inside sudo's own process: one handle, from the first proof to the end of the session. */
#define _GNU_SOURCE
#include <errno.h>
#include <libintl.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

#define EXPIRED "Account expired or PAM config lacks an \"account\" section for sudo, contact your system administrator"

static struct {
    pam_handle_t *handle;
    char *user;
    const char *prompt; /* in place of the stack's question for a password, and with `overrides` of each of its questions */
    bool overrides, is_broken_off, has_session, has_credentials;
    long long deadline;
    int code;
} pam;

/* --- The conversation; pam_conv(3) says who frees what --- */

/* Whether it is the stack's plain question for a password, in the caller's language; sudo's own rule. */
static bool is_password_prompt(const char *text)
{
    static const char *const plain[] = {"Password:", "Password: "};
    const char *caller = jitsudo_value(told.user_info, "user");
    size_t length = caller != NULL ? strlen(caller) : 0;
    for (size_t i = 0; i < 2; i++)
        if (strcmp(text, plain[i]) == 0 || strcmp(text, dgettext("Linux-PAM", plain[i])) == 0)
            return true;
    const char *rest = length > 0 && strncmp(text, caller, length) == 0 ? text + length : text;
    return strcmp(rest, "'s Password:") == 0 || strcmp(rest, "'s Password: ") == 0;
}

/* sudo's question, which people can break off, and stop: sudo sends itself SIGTSTP then, and its own handler swallows that. */
static bool converse(const struct sudo_conv_message *message, struct sudo_conv_reply *reply)
{
    struct sigaction stop = {.sa_handler = SIG_DFL, .sa_flags = SA_RESTART}, stopped;
    sigset_t before;
    bool is_set_up = sigaction(SIGTSTP, &stop, &stopped) == 0;
    mask(SIG_UNBLOCK, &before);
    bool good = told.converse(1, message, reply, NULL) == 0 && reply->reply != NULL;
    restore(&before);
    if (is_set_up)
        sigaction(SIGTSTP, &stopped, NULL);
    return good;
}

static void forget(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static char *asked(int style, const char *text)
{
    long long seconds = (pam.deadline - jitsudo_now()) / 1000;
    struct sudo_conv_reply reply = {.reply = NULL};
    if ((style != PAM_PROMPT_ECHO_OFF && style != PAM_PROMPT_ECHO_ON) || pam.is_broken_off || is_set("noninteractive") ||
        seconds <= 0)
        return NULL;
    const struct sudo_conv_message message = {
        .msg_type = style == PAM_PROMPT_ECHO_OFF ? SUDO_CONV_PROMPT_ECHO_OFF : SUDO_CONV_PROMPT_ECHO_ON,
        .timeout = (int)seconds,
        .msg = pam.prompt != NULL && (pam.overrides || is_password_prompt(text)) ? pam.prompt : text,
    };
    if (converse(&message, &reply) && strlen(reply.reply) < PAM_MAX_RESP_SIZE)
        return reply.reply;
    forget(reply.reply);
    return NULL;
}

static int answer(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    (void)data;
    struct pam_response *made = count > 0 && count <= PAM_MAX_NUM_MSG ? calloc((size_t)count, sizeof *made) : NULL;
    if (made == NULL)
        return PAM_CONV_ERR;
    for (int i = 0; i < count; i++) {
        const char *text = messages[i]->msg != NULL ? messages[i]->msg : "";
        if (messages[i]->msg_style == PAM_ERROR_MSG || messages[i]->msg_style == PAM_TEXT_INFO) {
            tell(text);
        } else if ((made[i].resp = asked(messages[i]->msg_style, text)) == NULL) {
            pam.is_broken_off = true;
            while (i-- > 0)
                forget(made[i].resp);
            free(made);
            return PAM_CONV_ERR;
        }
    }
    *responses = made;
    return PAM_SUCCESS;
}

/* --- The handle --- */

bool pam_begin(const char *user, struct jitsudo_fault *why)
{
    static const struct pam_conv conversation = {.conv = answer};
    const char *caller = jitsudo_value(told.user_info, "user"), *terminal = jitsudo_value(told.user_info, "tty");
    if (pam.handle != NULL && (user == NULL || strcmp(pam.user, user) == 0))
        return true;
    pam_finish();
    /* Without our own stack libpam takes the one for "other", which may be anything. */
    if (access(JITSUDO_PAM_STACK, F_OK) != 0 && access(JITSUDO_PAM_STACK_OF_VENDOR, F_OK) != 0)
        return not_met(why, "unavailable", "reinstall jitsudo", "there is no /etc/pam.d/" SERVICE);
    user = user != NULL ? user : caller;
    if ((pam.user = strdup(user != NULL ? user : "")) == NULL)
        return no(jitsudo_out_of_memory(why));
    int code = pam_start(SERVICE, pam.user, &conversation, &pam.handle);
    /* Modules take it for granted that there is a terminal. */
    if (code == PAM_SUCCESS &&
        (code = pam_set_item(pam.handle, PAM_RUSER, caller != NULL ? caller : "")) == PAM_SUCCESS &&
        (code = pam_set_item(pam.handle, PAM_TTY, terminal != NULL ? terminal : "")) == PAM_SUCCESS)
        return true;
    pam_finish();
    return not_met(why, "unavailable", "journalctl -t sudo", "unable to initialize PAM (code %d)", code);
}

static const char *explain(int code)
{
    const char *words = code == PAM_SYSTEM_ERR ? strerror(EIO) : pam_strerror(pam.handle, code);
    return words != NULL ? words : "PAM error";
}

/* Signals are blocked while PAM works, since they might interrupt a module half-way, and let through at a prompt. */
static int run(int (*step)(pam_handle_t *, int), int flags)
{
    sigset_t before;
    mask(SIG_BLOCK, &before);
    pam.code = step(pam.handle, flags);
    restore(&before);
    return pam.code;
}

static bool ask_until_right(long long tries, struct jitsudo_fault *why)
{
    long long wrong = 0;
    for (; wrong < tries && !is_given_up(NULL); wrong++) {
        if (wrong > 0)
            tell("Sorry, try again.");
        /* An account without a password proves nothing. */
        int code = run(pam_authenticate, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
        if (pam.is_broken_off)
            break;
        if (code == PAM_SUCCESS)
            return true;
        if (code != PAM_AUTH_ERR && code != PAM_AUTHINFO_UNAVAIL && code != PAM_MAXTRIES && code != PAM_PERM_DENIED)
            return not_met(why, "failed", NULL, "PAM authentication error: %s", explain(code));
    }
    if (wrong == 0)
        return not_met(why, "declined", NULL, "a password is required");
    return not_met(why, "failed", NULL, "%lld incorrect password attempt%s", wrong, wrong > 1 ? "s" : "");
}

bool pam_prove(const char *prompt, bool overrides, long long tries, struct jitsudo_fault *why)
{
    sigset_t before;
    pam.prompt = prompt;
    pam.overrides = overrides;
    pam.is_broken_off = false;
    pam.deadline = jitsudo_now() + ANSWER_MS;
    /* From one try to the next, too: an interrupt while PAM delays its answer is not lost. */
    mask(SIG_BLOCK, &before);
    bool proven = ask_until_right(tries, why);
    restore(&before);
    pam.prompt = NULL;
    return proven;
}

/* `may_change`: an expired password can be changed, and has to be; otherwise nobody was asked for one, and its age does not
 * matter. */
static bool check_account(bool may_change, struct jitsudo_fault *why)
{
    int code = run(pam_acct_mgmt, PAM_SILENT);
    if (code == PAM_NEW_AUTHTOK_REQD && may_change) {
        tell("sudo: Account or password is expired, reset your password and try again");
        pam.is_broken_off = false;
        code = run(pam_chauthtok, PAM_CHANGE_EXPIRED_AUTHTOK);
        return code == PAM_SUCCESS || refuse(why, "unable to change expired password: %s", explain(code));
    }
    if (code == PAM_SUCCESS || ((code == PAM_NEW_AUTHTOK_REQD || code == PAM_AUTHTOK_EXPIRED) && !may_change)) {
        pam.code = PAM_SUCCESS;
        return true;
    }
    const char *words = code == PAM_AUTH_ERR         ? "account validation failure, is your account locked?"
                        : code == PAM_AUTHTOK_EXPIRED ? "Password expired, contact your system administrator"
                        : code == PAM_ACCT_EXPIRED    ? EXPIRED
                                                      : NULL;
    return words != NULL ? refuse(why, "%s", words) : refuse(why, "PAM account management error: %s", explain(code));
}

bool pam_account(bool may_change, struct jitsudo_fault *why)
{
    bool is_good = check_account(may_change, why);
    why->is_sudos = !is_good;
    return is_good;
}

/* Credentials and session for `target`. Not every stack has credentials to give. */
bool pam_open(const char *target, bool is_silent, struct jitsudo_fault *why)
{
    int code = pam_set_item(pam.handle, PAM_USER, target);
    if (code == PAM_SUCCESS) {
        pam.has_credentials = run(pam_setcred, PAM_REINITIALIZE_CRED) == PAM_SUCCESS;
        code = run(pam_open_session, is_silent ? PAM_SILENT : 0);
        pam.has_session = code == PAM_SUCCESS;
    }
    if (code != PAM_SUCCESS && code != PAM_SESSION_ERR) {
        why->is_sudos = !refuse(why, "pam_open_session: %s", explain(code));
        return false;
    }
    pam.code = PAM_SUCCESS;
    return true;
}

/* The command's environment with what the PAM session adds; the daemon's own terms stay as they are. sudo keeps the vector.
 * POSIXLY_CORRECT: the grammar of every command line assumes that it is not set, so no PAM stack may bring it back. */
bool pam_add_environment(char ***env, struct jitsudo_fault *why)
{
    char **added = pam_getenvlist(pam.handle);
    size_t count = jitsudo_count(*env);
    char **joined = calloc(count + jitsudo_count(added) + 1, sizeof *joined);
    if (added == NULL || joined == NULL) {
        jitsudo_free_vector(added);
        free(joined);
        return no(jitsudo_out_of_memory(why));
    }
    memcpy(joined, *env, count * sizeof *joined);
    for (char **item = added; *item != NULL; item++) {
        if (jitsudo_has_name(*env, *item) || strncmp(*item, "POSIXLY_CORRECT=", 16) == 0)
            free(*item);
        else
            joined[count++] = *item;
    }
    free(added);
    policy.environment = *env = joined;
    return true;
}

void pam_finish(void)
{
    if (pam.handle != NULL) {
        int code = pam.code;
        if (pam.has_session)
            code = run(pam_close_session, PAM_SILENT);
        if (pam.has_credentials)
            code = run(pam_setcred, PAM_DELETE_CRED | PAM_SILENT);
        pam_end(pam.handle, code | PAM_DATA_SILENT);
    }
    free(pam.user);
    memset(&pam, 0, sizeof pam);
}
