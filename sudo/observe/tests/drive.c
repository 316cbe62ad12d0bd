/*
 * Call the audit plugin as sudo does, and say in JSON what came of it.
 *   drive PLUGIN accept|policy-accept|reject|error|version [MESSAGE] -- ARGV...
 * ARGV is what sudo was called with, "sudo" included; what comes after its first word is the command. The environment is what
 * sudo would run it with. Each result, how long it took in ms, what became of errno and of descriptors is printed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sudo_plugin.h>

static int refuse_conversation(int count, const struct sudo_conv_message messages[], struct sudo_conv_reply replies[],
    struct sudo_conv_callback *callback)
{
    (void)count, (void)messages, (void)replies, (void)callback;
    fputs("the plugin talked\n", stderr);
    abort();
}

static int refuse_print(int type, const char *format, ...)
{
    (void)type, (void)format;
    fputs("the plugin printed\n", stderr);
    abort();
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return -1;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* Without the time for which this process could have run, and others did (proc(5), schedstat). */
static long long now_ms(void)
{
    struct timespec now;
    long long ran = 0, kept_waiting = 0;
    FILE *statistics = fopen("/proc/self/schedstat", "re");
    if (statistics != NULL) {
        if (fscanf(statistics, "%lld %lld", &ran, &kept_waiting) != 2)
            kept_waiting = 0;
        fclose(statistics);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + (now.tv_nsec - kept_waiting) / 1000000;
}

static int call(const struct audit_plugin *plugin, const char *what, const char *message, char **argv)
{
    static char info_command[] = "command=/usr/bin/id", info_user[] = "runas_user=root";
    char *const info[] = {info_command, info_user, NULL};
    const char *errstr = NULL;
    if (strcmp(what, "accept") == 0)
        return plugin->accept("sudo", SUDO_FRONT_END, info, argv + 1, environ, &errstr);
    if (strcmp(what, "policy-accept") == 0)
        return plugin->accept("sudoers_policy", SUDO_POLICY_PLUGIN, info, argv + 1, environ, &errstr);
    if (strcmp(what, "reject") == 0)
        return plugin->reject("sudoers_policy", SUDO_POLICY_PLUGIN, message, info, &errstr);
    if (strcmp(what, "error") == 0)
        return plugin->error("sudoers_policy", SUDO_POLICY_PLUGIN, message, NULL, &errstr);
    return plugin->show_version(1);
}

int main(int argc, char **argv)
{
    int end = 3;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    if (end + 1 >= argc) {
        fputs("usage: drive PLUGIN WHAT [MESSAGE] -- ARGV...\n", stderr);
        return 2;
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const struct audit_plugin *plugin = library != NULL ? dlsym(library, "jitsudo_observe") : NULL;
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    char pid[32], uid[32], user[] = "user=tester", progname[] = "progname=sudo";
    snprintf(pid, sizeof pid, "pid=%d", (int)getpid());
    snprintf(uid, sizeof uid, "uid=%u", (unsigned int)getuid());
    char *const user_info[] = {user, pid, uid, NULL}, *const settings[] = {progname, NULL};
    int before = open_descriptors();
    const char *errstr = NULL;
    int opened = plugin->open(SUDO_API_VERSION, refuse_conversation, refuse_print, settings, user_info, 1, argv + end + 1,
        environ, NULL, &errstr);
    long long start = now_ms();
    errno = ENOTTY;
    int first = call(plugin, argv[2], end > 3 ? argv[3] : NULL, argv + end + 1);
    int number = errno;
    int second = call(plugin, argv[2], end > 3 ? argv[3] : NULL, argv + end + 1);
    long long took = now_ms() - start;
    printf("{\"open\": %d, \"first\": %d, \"second\": %d, \"ms\": %lld, \"errno_kept\": %s, \"leaked\": %d, \"close\": %s, "
           "\"errstr\": %s}\n",
        opened, first, second, took, number == ENOTTY ? "true" : "false", open_descriptors() - before,
        plugin->close != NULL ? "true" : "false", errstr != NULL ? "true" : "false");
    return 0;
}
