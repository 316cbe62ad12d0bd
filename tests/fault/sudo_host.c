/*
 * sudo as far as a policy plugin sees it, for tests: sudo_host PLUGIN SYMBOL COMMAND...
 * Opens the plugin, asks it about the command, and writes what came back: "check CODE", then command_info, argv and
 * environment, a line each, where the code is 1. Exits with 0 only then. What the plugin says goes to standard output.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sudo_plugin.h>

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
    (void)replies;
    (void)callback;
    for (int i = 0; i < count; i++)
        printf("%s", messages[i].msg);
    return -1;
}

static void show(const char *what, char *const *vector)
{
    for (; vector != NULL && *vector != NULL; vector++)
        printf("%s %s\n", what, *vector);
}

int main(int argc, char **argv)
{
    char *settings[] = {(char[]){"progname=sudo"}, (char[]){"plugin_dir=/usr/libexec/sudo/"}, NULL};
    char *user_info[] = {(char[]){"user=alice"}, (char[]){"uid=1000"}, (char[]){"gid=1000"}, (char[]){"pid=1"}, NULL};
    char *user_env[] = {(char[]){"TERM=xterm"}, (char[]){"ODD=\xff"}, NULL};
    char *nothing[] = {NULL};
    char **info = NULL, **arguments = NULL, **environment = NULL;
    const char *words = NULL;
    void *plugin = argc < 4 ? NULL : dlopen(argv[1], RTLD_NOW);
    struct policy_plugin *policy = plugin == NULL ? NULL : dlsym(plugin, argv[2]);
    if (policy == NULL) {
        fprintf(stderr, "%s\n", argc < 4 ? "usage" : dlerror());
        return 97;
    }
    int opened = policy->open(SUDO_API_VERSION, converse, print, settings, user_info, user_env, NULL, &words);
    int code = -3;
    if (opened == 1)
        code = policy->check_policy(argc - 3, argv + 3, nothing, &info, &arguments, &environment, &words);
    printf("open %d\ncheck %d\n", opened, code);
    if (code == 1) {
        show("info", info);
        show("argv", arguments);
        show("env", environment);
    }
    if (opened == 1)
        policy->close(0, 0);
    return code == 1 ? 0 : 1;
}
