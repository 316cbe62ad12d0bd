/*
 * To be preloaded where sshd runs under valgrind: what confines the process that talks to strangers would confine valgrind's
 * own system calls, and its writing of a log.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int prctl(int option, ...)
{
    unsigned long value[4];
    va_list arguments;
    va_start(arguments, option);
    for (int i = 0; i < 4; i++)
        value[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    return option == PR_SET_SECCOMP ? 0 : (int)syscall(SYS_prctl, option, value[0], value[1], value[2], value[3]);
}

EXPORTED int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    if (resource == RLIMIT_FSIZE || resource == RLIMIT_NOFILE)
        return 0;
    return (int)syscall(SYS_setrlimit, resource, limit);
}
