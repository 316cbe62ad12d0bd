/*
 * Makes one call of the C library fail: to be preloaded.
 *   FAULT_CALL     the function: malloc calloc realloc strdup socket connect lstat getsockopt fcntl poll recv sendmsg read
 *                  write clock_gettime
 *   FAULT_NTH      which of its calls fails, counted from 1
 *   FAULT_ERRNO    how; 0: it does one byte of what it was asked (recv, sendmsg, read, write)
 *   FAULT_ONWARDS  if set, each later call fails too
 *   FAULT_CALLERS  whose calls count: parts of file names, separated by colons; unset: everybody's
 *   FAULT_REPORT   this file is made when a call fails
 *   FAULT_LEAKS    this file is made at the end if the callers have not given back all memory, or not closed all sockets;
 *                  for programs without threads
 * Without FAULT_CALL nothing fails. Whatever does not fail goes to the kernel or to the C library's own allocator, without
 * dlsym, which allocates.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default"), noinline))
#define CALLER __builtin_return_address(0)

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *memory);

static long calls;
static __thread bool busy; /* dladdr and getenv must not be failed, nor counted */

static bool is_counted(const char *callers, void *caller)
{
    Dl_info found;
    if (callers == NULL)
        return true;
    if (dladdr(caller, &found) == 0 || found.dli_fname == NULL)
        return false;
    while (*callers != '\0') {
        size_t length = strcspn(callers, ":");
        if (length > 0 && memmem(found.dli_fname, strlen(found.dli_fname), callers, length) != NULL)
            return true;
        callers += length + (callers[length] == ':');
    }
    return false;
}

static void report(const char *variable)
{
    const char *path = getenv(variable);
    long made = path == NULL ? -1 : syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (made >= 0)
        syscall(SYS_close, made);
}

/* What the callers have, as one table of numbers: addresses, and descriptors with the highest bit set. */
#define PLACES ((size_t)1 << 16)
#define GONE UINTPTR_MAX
#define DESCRIPTOR(number) ((uintptr_t)1 << (8 * sizeof(uintptr_t) - 1) | (uintptr_t)(number))

static uintptr_t held[PLACES];

static uintptr_t *place_of(uintptr_t thing, bool is_new)
{
    for (size_t i = 0, at = thing / 16 % PLACES; i < PLACES; i++, at = (at + 1) % PLACES)
        if (held[at] == thing || (is_new && (held[at] == 0 || held[at] == GONE)))
            return &held[at];
        else if (held[at] == 0)
            break;
    return NULL;
}

static void take_on(uintptr_t thing, void *caller)
{
    if (busy || environ == NULL || thing == 0)
        return;
    busy = true;
    uintptr_t *place = getenv("FAULT_LEAKS") != NULL && is_counted(getenv("FAULT_CALLERS"), caller) ? place_of(thing, true) : NULL;
    if (place != NULL)
        *place = thing;
    busy = false;
}

static void give_back(uintptr_t thing)
{
    uintptr_t *place = thing == 0 ? NULL : place_of(thing, false);
    if (place != NULL)
        *place = GONE;
}

static void *taken(void *memory, void *caller)
{
    take_on((uintptr_t)memory, caller);
    return memory;
}

__attribute__((destructor)) static void look_for_leaks(void)
{
    for (size_t i = 0; i < PLACES; i++)
        if (held[i] != 0 && held[i] != GONE) {
            report("FAULT_LEAKS");
            return;
        }
}

static bool is_due(const char *name, void *caller, int *number)
{
    const char *wanted = getenv("FAULT_CALL"), *nth = getenv("FAULT_NTH"), *how = getenv("FAULT_ERRNO");
    if (wanted == NULL || nth == NULL || how == NULL || strcmp(wanted, name) != 0)
        return false;
    if (!is_counted(getenv("FAULT_CALLERS"), caller))
        return false;
    long count = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST), due = atol(nth);
    *number = atoi(how);
    return count == due || (count > due && getenv("FAULT_ONWARDS") != NULL);
}

/* Whether this call fails; then errno says how. `shorter` (may be NULL) is set where it is to do less instead. */
static bool fails(const char *name, void *caller, bool *shorter)
{
    int number = 0, before = errno;
    if (busy || environ == NULL)
        return false;
    busy = true;
    bool due = is_due(name, caller, &number);
    if (due)
        report("FAULT_REPORT");
    busy = false;
    errno = due && number != 0 ? number : before;
    if (due && number == 0 && shorter != NULL)
        *shorter = true;
    return due && number != 0;
}

EXPORTED void *malloc(size_t size)
{
    return fails("malloc", CALLER, NULL) ? NULL : taken(__libc_malloc(size), CALLER);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return fails("calloc", CALLER, NULL) ? NULL : taken(__libc_calloc(count, size), CALLER);
}

EXPORTED void *realloc(void *old, size_t size)
{
    void *made = fails("realloc", CALLER, NULL) ? NULL : __libc_realloc(old, size);
    if (made == NULL)
        return NULL;
    give_back((uintptr_t)old);
    return taken(made, CALLER);
}

EXPORTED void free(void *memory)
{
    give_back((uintptr_t)memory);
    __libc_free(memory);
}

EXPORTED char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    void *copy = fails("strdup", CALLER, NULL) ? NULL : taken(__libc_malloc(size), CALLER);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

EXPORTED int socket(int family, int type, int protocol)
{
    int made = fails("socket", CALLER, NULL) ? -1 : (int)syscall(SYS_socket, family, type, protocol);
    if (made >= 0)
        take_on(DESCRIPTOR(made), CALLER);
    return made;
}

EXPORTED int close(int descriptor)
{
    give_back(DESCRIPTOR(descriptor));
    return (int)syscall(SYS_close, descriptor);
}

EXPORTED int connect(int descriptor, const struct sockaddr *address, socklen_t size)
{
    return fails("connect", CALLER, NULL) ? -1 : (int)syscall(SYS_connect, descriptor, address, size);
}

EXPORTED int lstat(const char *path, struct stat *status)
{
    return fails("lstat", CALLER, NULL) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

EXPORTED int getsockopt(int descriptor, int level, int option, void *value, socklen_t *size)
{
    return fails("getsockopt", CALLER, NULL) ? -1 : (int)syscall(SYS_getsockopt, descriptor, level, option, value, size);
}

EXPORTED int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int result = fails("fcntl", CALLER, NULL) ? -1 : (int)syscall(SYS_fcntl, descriptor, command, argument);
    if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))
        take_on(DESCRIPTOR(result), CALLER);
    return result;
}

static int wait_for(struct pollfd *wanted, nfds_t count, int milliseconds)
{
    struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    return (int)syscall(SYS_ppoll, wanted, count, milliseconds < 0 ? NULL : &limit, NULL, 0);
}

EXPORTED int poll(struct pollfd *wanted, nfds_t count, int milliseconds)
{
    return fails("poll", CALLER, NULL) ? -1 : wait_for(wanted, count, milliseconds);
}

/* What _FORTIFY_SOURCE makes of poll, recv and read. */
EXPORTED int __poll_chk(struct pollfd *wanted, nfds_t count, int milliseconds, size_t room)
{
    if (room / sizeof *wanted < count)
        abort();
    return fails("poll", CALLER, NULL) ? -1 : wait_for(wanted, count, milliseconds);
}

static ssize_t receive(void *caller, int descriptor, void *bytes, size_t size, int flags)
{
    bool shorter = false;
    if (fails("recv", caller, &shorter))
        return -1;
    return syscall(SYS_recvfrom, descriptor, bytes, shorter && size > 0 ? 1 : size, flags, NULL, NULL);
}

EXPORTED ssize_t recv(int descriptor, void *bytes, size_t size, int flags)
{
    return receive(CALLER, descriptor, bytes, size, flags);
}

EXPORTED ssize_t __recv_chk(int descriptor, void *bytes, size_t size, size_t room, int flags)
{
    if (room < size)
        abort();
    return receive(CALLER, descriptor, bytes, size, flags);
}

EXPORTED ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    struct iovec one;
    struct msghdr little = *message;
    bool shorter = false;
    if (fails("sendmsg", CALLER, &shorter))
        return -1;
    if (shorter && message->msg_iovlen > 0) {
        one = (struct iovec){.iov_base = message->msg_iov[0].iov_base, .iov_len = 1};
        little.msg_iov = &one;
        little.msg_iovlen = 1;
    }
    return syscall(SYS_sendmsg, descriptor, &little, flags);
}

static ssize_t take(void *caller, int descriptor, void *bytes, size_t size)
{
    bool shorter = false;
    return fails("read", caller, &shorter) ? -1 : syscall(SYS_read, descriptor, bytes, shorter && size > 0 ? 1 : size);
}

EXPORTED ssize_t read(int descriptor, void *bytes, size_t size)
{
    return take(CALLER, descriptor, bytes, size);
}

EXPORTED ssize_t __read_chk(int descriptor, void *bytes, size_t size, size_t room)
{
    if (room < size)
        abort();
    return take(CALLER, descriptor, bytes, size);
}

EXPORTED ssize_t write(int descriptor, const void *bytes, size_t size)
{
    bool shorter = false;
    return fails("write", CALLER, &shorter) ? -1 : syscall(SYS_write, descriptor, bytes, shorter && size > 0 ? 1 : size);
}

EXPORTED int clock_gettime(clockid_t clock, struct timespec *now)
{
    return fails("clock_gettime", CALLER, NULL) ? -1 : (int)syscall(SYS_clock_gettime, clock, now);
}
