/* pam_jitsudo.so: lets somebody in through su, sshd or another PAM service only by a live grant of jitsudo's.
 *
 * The daemon decides; this obeys. Anything but one exact "allow" is a failure, of the code that pam(3) has for it, never
 * PAM_IGNORE. Where the daemon cannot be asked, root outside a session is let in, and that is logged: nobody else.
 * Tested in tests/unit/test_pam_module.py and, with the real programs, in tests/e2e/test_pam.py; see pam_jitsudo(8). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <json-c/json.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <security/pam_modutil.h>

#include "arguments.h"
#include "jitsudo.h"

#define EXPORTED __attribute__((visibility("default")))
#define SESSION_DATA "pam_jitsudo_session"
#define CGROUP_FILE "/proc/self/cgroup"
#define FIRST_FREE 3 /* descriptors below are standard input, output and error, even if they are closed now */

enum outcome { REFUSED, UNANSWERED, ADMITTED }; /* zero is no */

/* One call of a PAM function. */
struct call {
    pam_handle_t *pamh;
    struct arguments arguments;
    const char *service;
    const char *user;
    const char *ruser;
    const char *rhost;
    const char *tty;
    bool may_speak;
    bool has_said_pending;
};

/* What is kept from open to close. For root outside a session, both are NULL. */
struct session {
    char *id;
    char *token;
};

/* --- What PAM has --- */

static bool read_item(struct call *call, int item, const char **value)
{
    const void *found = NULL;
    int status = pam_get_item(call->pamh, item, &found);
    *value = found;
    return status == PAM_SUCCESS;
}

/* False where the stack is set up wrongly or the application says too little: nobody comes in by that. */
static bool begin(struct call *call, pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    const char *offending;
    memset(call, 0, sizeof *call);
    call->pamh = pamh;
    if (!arguments_parse(argc, argv, &call->arguments, &offending)) {
        char shown[128];
        jitsudo_printable(offending, shown, sizeof shown);
        pam_syslog(pamh, LOG_ERR, "argument '%s' is not understood: nobody is let in (see pam_jitsudo(8))", shown);
        return false;
    }
    call->may_speak = !call->arguments.quiet && ((unsigned int)flags & PAM_SILENT) == 0;
    if (!read_item(call, PAM_SERVICE, &call->service) || !read_item(call, PAM_USER, &call->user) ||
        !read_item(call, PAM_RUSER, &call->ruser) || !read_item(call, PAM_RHOST, &call->rhost) ||
        !read_item(call, PAM_TTY, &call->tty))
        return false;
    if (call->service == NULL || call->service[0] == '\0' || call->user == NULL || call->user[0] == '\0') {
        pam_syslog(pamh, LOG_ERR, "the application does not say who wants in, or through what");
        return false;
    }
    return true;
}

/* Services that somebody who is logged in calls, to become somebody else; all others let somebody in. */
static bool is_called(const char *service)
{
    static const char *const called[] = {"su", "su-l", "sudo", "sudo-i", "doas", "runuser", "runuser-l"};
    for (size_t i = 0; i < sizeof called / sizeof *called; i++)
        if (strcmp(service, called[i]) == 0)
            return true;
    return false;
}

/* --- Root, when there is no daemon --- */

static bool names_root(struct call *call, const char *name)
{
    const struct passwd *entry = pam_modutil_getpwnam(call->pamh, name);
    return entry != NULL && entry->pw_uid == 0;
}

static bool is_root_outside(struct call *call)
{
    if (getuid() != 0 || !jitsudo_is_outside(CGROUP_FILE))
        return false;
    if (!is_called(call->service))
        return names_root(call, call->user);
    /* sudo and the like may have made themselves root altogether before they come here. */
    return call->ruser == NULL || names_root(call, call->ruser);
}

/* --- What the person is told --- */

/* The message, and each hint on a line of its own. */
static void say(struct call *call, const struct jitsudo_fault *fault)
{
    char hints[JITSUDO_SENTENCE], *rest = hints;
    if (!call->may_speak || fault->message[0] == '\0')
        return;
    pam_error(call->pamh, "jitsudo: %s", fault->message);
    memcpy(hints, fault->hint, sizeof hints);
    for (char *hint = strtok_r(hints, "\n", &rest); hint != NULL; hint = strtok_r(NULL, "\n", &rest))
        pam_error(call->pamh, "  %s", hint);
}

static void tell_pending(const char *awaited, void *context)
{
    struct call *call = context;
    if (call->may_speak && !call->has_said_pending)
        pam_info(call->pamh, "jitsudo: %s", awaited);
    call->has_said_pending = true;
}

/* --- Asking --- */

static struct jitsudo_options options_of(struct call *call)
{
    struct jitsudo_options options = {0};
    if (call->arguments.folder[0] != '\0') {
        options.folder = call->arguments.folder;
        options.socket = call->arguments.socket;
    }
    options.patience_ms = call->arguments.seconds * 1000;
    options.silence_ms = options.patience_ms < JITSUDO_SILENCE_MS ? options.patience_ms : JITSUDO_SILENCE_MS;
    options.pending = tell_pending;
    options.context = call;
    return options;
}

/* One method on a connection of its own: what stays open would be in the way of programs that close all that they do not
 * know, and in the hands of what they start. `parameters` is released. */
static enum jitsudo_status ask(struct call *call, const char *method, struct json_object *parameters,
    const struct jitsudo_file *files, size_t count, struct json_object **reply, struct jitsudo_fault *fault)
{
    struct jitsudo_options options = options_of(call);
    struct jitsudo *client = NULL;
    enum jitsudo_status status = jitsudo_ask(&client, &options, method, parameters, files, count, reply, fault);
    jitsudo_hang_up(&client);
    return status;
}

static struct json_object *question(struct call *call, const char *phase)
{
    struct json_object *parameters = jitsudo_object();
    return jitsudo_built(parameters,
        jitsudo_put_text(parameters, "phase", phase) && jitsudo_put_text(parameters, "service", call->service) &&
            jitsudo_put_text(parameters, "user", call->user) && jitsudo_put_text(parameters, "ruser", call->ruser) &&
            jitsudo_put_text(parameters, "rhost", call->rhost) && jitsudo_put_text(parameters, "tty", call->tty));
}

/* The terminal that is to be put in order when the session is ended; -1: there is none. */
static int open_terminal(void)
{
    int descriptor = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || descriptor >= FIRST_FREE)
        return descriptor;
    int higher = fcntl(descriptor, F_DUPFD_CLOEXEC, FIRST_FREE);
    close(descriptor);
    return higher;
}

/* JITSUDO_OK where the reply is one exact allow of what was asked for. */
static enum jitsudo_status judge(
    struct call *call, struct json_object *reply, struct session *session, struct jitsudo_fault *fault)
{
    static const char *const keys[] = {"verdict", "session", "token", NULL};
    struct session given = {NULL, NULL};
    enum jitsudo_status status = jitsudo_judge(reply, keys, fault);
    if (status == JITSUDO_OK)
        status = jitsudo_read_session(reply, NULL, &given.id, &given.token, fault);
    if (status != JITSUDO_OK)
        return status;
    if (session == NULL && given.id == NULL)
        return JITSUDO_OK;
    if (session == NULL || (given.id == NULL && !is_root_outside(call))) {
        /* Nobody else goes without a session; and nobody has one who did not ask. */
        free(given.id);
        free(given.token);
        return jitsudo_puzzled(fault, session == NULL ? "a session" : "no session");
    }
    *session = given;
    return JITSUDO_OK;
}

/* Nobody comes in, except root where the daemon cannot be asked. */
static enum outcome refuse(
    struct call *call, enum jitsudo_status status, const struct jitsudo_fault *fault, bool is_telling)
{
    if (jitsudo_is_outage(status) && is_telling && is_root_outside(call)) {
        pam_syslog(call->pamh, LOG_WARNING, "root comes in through %s without a decision: %s", call->service, fault->message);
        return ADMITTED;
    }
    if (is_telling || call->arguments.debug)
        pam_syslog(call->pamh, status == JITSUDO_REFUSED ? LOG_NOTICE : LOG_ERR, "%s: %s",
            status == JITSUDO_REFUSED ? "refused" : "no decision", fault->message);
    if (is_telling)
        say(call, fault);
    return jitsudo_is_outage(status) ? UNANSWERED : REFUSED;
}

/* May they, by what the daemon says? A session is asked for where `session` is not NULL. Only what is asked for with words
 * (`is_telling`) is answered for root without a daemon. */
static enum outcome admit(struct call *call, const char *phase, struct session *session, bool is_telling)
{
    struct jitsudo_fault fault = {0};
    struct json_object *reply = NULL;
    struct jitsudo_file terminal = {"terminal", session != NULL ? open_terminal() : -1};
    enum jitsudo_status status =
        ask(call, "Admit", question(call, phase), &terminal, terminal.descriptor >= 0 ? 1 : 0, &reply, &fault);
    /* What was answered is no outage, not even for root. */
    if (status == JITSUDO_OK && judge(call, reply, session, &fault) != JITSUDO_OK)
        status = JITSUDO_REFUSED;
    json_object_put(reply);
    if (terminal.descriptor >= 0)
        close(terminal.descriptor);
    enum outcome outcome = status == JITSUDO_OK ? ADMITTED : refuse(call, status, &fault, is_telling);
    if (call->arguments.debug)
        pam_syslog(call->pamh, LOG_DEBUG, "%s: %s", phase, outcome == ADMITTED ? "admitted" : "refused");
    return outcome;
}

/* --- Sessions --- */

static void free_session(struct session *session)
{
    if (session == NULL)
        return;
    free(session->id);
    free(session->token);
    free(session);
}

/* Nothing is said to the daemon here: at the end of a process it sees for itself, and this may be only a copy of it. */
static void forget_session(pam_handle_t *pamh, void *data, int status)
{
    (void)pamh;
    (void)status;
    free_session(data);
}

static const struct session *kept_session(pam_handle_t *pamh)
{
    const void *data = NULL;
    return pam_get_data(pamh, SESSION_DATA, &data) == PAM_SUCCESS ? data : NULL;
}

static int close_in_daemon(struct call *call, const struct session *session)
{
    struct jitsudo_fault fault = {0};
    struct json_object *reply = NULL, *parameters = jitsudo_object();
    bool is_built = jitsudo_put_text(parameters, "session", session->id) && jitsudo_put_text(parameters, "token", session->token) &&
                    jitsudo_put(parameters, "wait_status", jitsudo_number(0)) && jitsudo_put(parameters, "errno", jitsudo_number(0));
    enum jitsudo_status status = ask(call, "Close", jitsudo_built(parameters, is_built), NULL, 0, &reply, &fault);
    json_object_put(reply);
    if (status == JITSUDO_OK)
        return PAM_SUCCESS;
    pam_syslog(call->pamh, LOG_WARNING, "session %s was not closed: %s", session->id, fault.message);
    return PAM_SESSION_ERR;
}

/* --- What PAM calls --- */

EXPORTED int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call;
    if (!begin(&call, pamh, flags, argc, argv))
        return PAM_PERM_DENIED;
    return admit(&call, "account", NULL, true) == ADMITTED ? PAM_SUCCESS : PAM_PERM_DENIED;
}

EXPORTED int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call;
    if (!begin(&call, pamh, flags, argc, argv))
        return PAM_AUTH_ERR;
    /* Whatever the daemon would say: what was proven in one place lets nobody in from another. */
    if (!is_called(call.service))
        return PAM_AUTH_ERR;
    /* In silence: what follows in the stack asks for a password, and the account phase says what is missing. */
    switch (admit(&call, "authenticate", NULL, false)) {
    case ADMITTED:
        return PAM_SUCCESS;
    case UNANSWERED:
        return PAM_AUTHINFO_UNAVAIL;
    case REFUSED:
    default:
        return PAM_AUTH_ERR;
    }
}

/* There are no credentials of ours: nothing is granted by this, whatever came before. */
EXPORTED int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct arguments arguments;
    const char *offending;
    (void)pamh;
    if (!arguments_parse(argc, argv, &arguments, &offending))
        return PAM_CRED_ERR;
    switch ((unsigned int)flags & ~PAM_SILENT) {
    case 0: /* Linux-PAM takes this for PAM_ESTABLISH_CRED, as some programs do */
    case PAM_ESTABLISH_CRED:
    case PAM_DELETE_CRED:
    case PAM_REINITIALIZE_CRED:
    case PAM_REFRESH_CRED:
        return PAM_SUCCESS;
    default:
        return PAM_CRED_ERR;
    }
}

EXPORTED int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call;
    if (!begin(&call, pamh, flags, argc, argv) || kept_session(pamh) != NULL)
        return PAM_SESSION_ERR;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL || admit(&call, "session", session, true) != ADMITTED ||
        pam_set_data(pamh, SESSION_DATA, session, forget_session) != PAM_SUCCESS) {
        free_session(session);
        return PAM_SESSION_ERR;
    }
    return PAM_SUCCESS;
}

EXPORTED int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call;
    const struct session *session = kept_session(pamh);
    if (!begin(&call, pamh, flags, argc, argv) || session == NULL)
        return PAM_SESSION_ERR;
    int status = session->id == NULL ? PAM_SUCCESS : close_in_daemon(&call, session);
    /* Gone, whatever came of it: the daemon ends sessions by itself. */
    if (pam_set_data(pamh, SESSION_DATA, NULL, NULL) != PAM_SUCCESS)
        return PAM_SESSION_ERR;
    return status;
}

/* There is no password of ours to change. */
EXPORTED int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)flags;
    (void)argc;
    (void)argv;
    pam_syslog(pamh, LOG_ERR, "pam_jitsudo.so does not belong into a stack that changes passwords");
    return PAM_AUTHTOK_ERR;
}
