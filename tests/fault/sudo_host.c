/*
 * sudo as far as a policy plugin sees it, for tests: sudo_host PLUGIN SYMBOL UID COMMAND...
 * Opens the plugin, asks it on behalf of UID about the command, begins the session and closes it. Writes "check CODE", after an
 * allow "init CODE" and, if both are 1, what would run: command_info, argv and environment, a line each. Exits with 0 only then.
 * In place of a command, -l (list), -v (validate) and -k (invalidate) are what they are to sudo. SSH_AUTH_SOCK is passed on.
 * What the plugin says goes to standard output; each question is answered. PAM follows a script: see fake_pam.c.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sudo_plugin.h>

#define WORDS 4 /* before the command's own */

static uid_t caller;

__attribute__((visibility("default"))) uid_t getuid(void)
{
    return caller;
}

static int print(int kind, const char *format, ...)
{
    va_list arguments;
    (void)kind;
    va_start(arguments, format);
    int length = vprintf(format, arguments);
    va_end(arguments);
    return length;
}

static int converse(int count, const struct sudo_conv_message messages[], struct sudo_conv_reply replies[],
    struct sudo_conv_callback *callback)
{
    (void)callback;
    for (int i = 0; i < count; i++) {
        int kind = messages[i].msg_type & 0xff;
        if (kind == SUDO_CONV_PROMPT_ECHO_OFF || kind == SUDO_CONV_PROMPT_ECHO_ON)
            replies[i].reply = strdup("secret");
        else
            printf("%s", messages[i].msg);
    }
    return 0;
}

static void show(const char *what, char *const *vector)
{
    for (; vector != NULL && *vector != NULL; vector++)
        printf("%s %s\n", what, *vector);
}

/* As sudo does: without a close. */
static int ask(struct policy_plugin *policy, char option)
{
    char *command[] = {(char[]){"id"}, NULL};
    const char *words = NULL;
    int code = 1;
    if (option == 'l')
        code = policy->list(1, command, 1, NULL, &words);
    else if (option == 'v')
        code = policy->validate(&words);
    else
        policy->invalidate(0);
    printf("-%c %d\n", option, code);
    return code;
}

static int run(struct policy_plugin *policy, int argc, char **argv)
{
    static char *nothing[] = {NULL}, **info, **arguments, **environment; /* kept to the end, as sudo does */
    const char *words = NULL;
    int code = policy->check_policy(argc, argv, nothing, &info, &arguments, &environment, &words);
    printf("check %d\n", code);
    if (code == 1) {
        code = policy->init_session(getpwuid(0), &environment, &words);
        printf("init %d\n", code);
    }
    if (code != 1)
        return code; /* sudo calls no close then */
    show("info", info);
    show("argv", arguments);
    show("env", environment);
    policy->close(0, 0);
    printf("closed\n");
    return code;
}

int main(int argc, char **argv)
{
    static char agent[256];
    char *settings[] = {(char[]){"progname=sudo"}, (char[]){"plugin_dir=/usr/libexec/sudo/"}, NULL};
    char *user_info[] = {(char[]){"user=alice"}, (char[]){"uid=1000"}, (char[]){"gid=1000"}, (char[]){"pid=1"}, NULL};
    char *user_env[] = {(char[]){"TERM=xterm"}, (char[]){"ODD=\xff"}, getenv("SSH_AUTH_SOCK") != NULL ? agent : NULL, NULL};
    const char *words = NULL;
    void *plugin = argc <= WORDS ? NULL : dlopen(argv[1], RTLD_NOW);
    struct policy_plugin *policy = plugin == NULL ? NULL : dlsym(plugin, argv[2]);
    if (policy == NULL) {
        fprintf(stderr, "%s\n", argc <= WORDS ? "usage" : dlerror());
        return 97;
    }
    caller = (uid_t)strtoul(argv[3], NULL, 10);
    snprintf(agent, sizeof agent, "SSH_AUTH_SOCK=%s", getenv("SSH_AUTH_SOCK") != NULL ? getenv("SSH_AUTH_SOCK") : "");
    int opened = policy->open(SUDO_API_VERSION, converse, print, settings, user_info, user_env, NULL, &words);
    printf("open %d\n", opened);
    if (opened != 1)
        return 1;
    return (argv[WORDS][0] == '-' ? ask(policy, argv[WORDS][1]) : run(policy, argc - WORDS, argv + WORDS)) == 1 ? 0 : 1;
}
