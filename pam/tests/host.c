/* A program that uses PAM, for tests: it calls the functions that it is told to, and prints what each returned.
 *   host CONFDIR SERVICE USER|- RUSER|- answer|fail|absent REAL_UID FUNCTION...
 * What the conversation is told is printed as "said TEXT". */
#define _GNU_SOURCE
#include <grp.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails;

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    (void)data;
    if (fails)
        return PAM_CONV_ERR;
    *responses = calloc((size_t)count, sizeof **responses);
    if (*responses == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++)
        printf("said %s\n", messages[i]->msg);
    return PAM_SUCCESS;
}

static const char *or_null(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : text;
}

static int call(pam_handle_t *handle, const char *function)
{
    static const struct {
        const char *name;
        int (*function)(pam_handle_t *, int);
        int flags;
    } known[] = {
        {"account", pam_acct_mgmt, 0},
        {"silent", pam_acct_mgmt, (int)PAM_SILENT},
        {"authenticate", pam_authenticate, 0},
        {"open", pam_open_session, 0},
        {"close", pam_close_session, 0},
        {"change", pam_chauthtok, 0},
        {"establish", pam_setcred, PAM_ESTABLISH_CRED},
        {"delete", pam_setcred, PAM_DELETE_CRED},
        {"refresh", pam_setcred, PAM_REFRESH_CRED},
        {"neither", pam_setcred, PAM_ESTABLISH_CRED | PAM_DELETE_CRED},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, function) == 0)
            return known[i].function(handle, known[i].flags);
    abort();
}

int main(int argc, char **argv)
{
    pam_handle_t *handle = NULL;
    if (argc < 8)
        return 2;
    struct pam_conv conversation = {strcmp(argv[5], "absent") == 0 ? NULL : converse, NULL};
    fails = strcmp(argv[5], "fail") == 0;
    uid_t real = (uid_t)strtoul(argv[6], NULL, 10);
    if (pam_start_confdir(argv[2], or_null(argv[3]), &conversation, argv[1], &handle) != PAM_SUCCESS)
        return 3;
    if (pam_set_item(handle, PAM_RUSER, or_null(argv[4])) != PAM_SUCCESS || setresuid(real, 0, 0) != 0)
        return 4;
    int status = PAM_SUCCESS;
    for (int i = 7; i < argc; i++) {
        status = call(handle, argv[i]);
        printf("%s %d\n", argv[i], status);
        fflush(stdout);
    }
    return pam_end(handle, status) == PAM_SUCCESS ? 0 : 5;
}
