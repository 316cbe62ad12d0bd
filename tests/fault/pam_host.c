/*
 * A program that uses PAM, for tests: pam_host CONFDIR SERVICE USER CONVERSATION PHASE...
 * CONVERSATION: works, fails (PAM_CONV_ERR), absent (no function at all). PHASE: auth, account, open, close, setcred,
 * chauthtok. Writes "PHASE CODE" for each, and exits with 0 if all were PAM_SUCCESS.
 */
#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *fails)
{
    (void)messages;
    if (*(int *)fails)
        return PAM_CONV_ERR;
    *responses = calloc((size_t)count, sizeof **responses);
    return *responses == NULL ? PAM_BUF_ERR : PAM_SUCCESS;
}

static int phase(pam_handle_t *pamh, const char *name)
{
    if (strcmp(name, "auth") == 0)
        return pam_authenticate(pamh, 0);
    if (strcmp(name, "account") == 0)
        return pam_acct_mgmt(pamh, 0);
    if (strcmp(name, "open") == 0)
        return pam_open_session(pamh, 0);
    if (strcmp(name, "close") == 0)
        return pam_close_session(pamh, 0);
    if (strcmp(name, "setcred") == 0)
        return pam_setcred(pamh, PAM_ESTABLISH_CRED);
    return pam_chauthtok(pamh, 0);
}

int main(int argc, char **argv)
{
    pam_handle_t *pamh = NULL;
    int worst = PAM_SUCCESS;
    if (argc < 6)
        return 97;
    int fails = strcmp(argv[4], "fails") == 0;
    struct pam_conv conversation = {.conv = strcmp(argv[4], "absent") == 0 ? NULL : converse, .appdata_ptr = &fails};
    if (pam_start_confdir(argv[2], argv[3], &conversation, argv[1], &pamh) != PAM_SUCCESS)
        return 96;
    for (int i = 5; i < argc; i++) {
        int status = phase(pamh, argv[i]);
        printf("%s %d\n", argv[i], status);
        worst = status == PAM_SUCCESS ? worst : status;
    }
    pam_end(pamh, worst);
    return worst == PAM_SUCCESS ? 0 : 1;
}
