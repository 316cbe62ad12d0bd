/*
 * Makes one call of the C library fail: to be preloaded.
 *   FAULT_CALL     the function: malloc calloc realloc strdup asprintf (and vasprintf) free socket connect lstat getsockopt
 *                  fcntl poll recv sendmsg read write clock_gettime seteuid
 *   FAULT_NTH      which of its calls fails, counted from 1
 *   FAULT_ERRNO    how; 0: it does one byte of what it was asked (recv, sendmsg, read, write)
 *   FAULT_ONWARDS  if set, each later call fails too
 *   FAULT_CALLERS  whose calls count: parts of file names, separated by colons; unset: everybody's
 *   FAULT_REPORT   this file is made when a call fails, and says where that was
 *   FAULT_LEAKS    this file is made at the end if the callers have not given back all memory, or not closed all sockets, and
 *                  says what and where from; for programs without threads
 *   FAULT_OWNERS   whose memory and sockets these are; unset: of those whose calls count
 *   FAULT_ROOTS    files whose variables may still point to memory at the end; unset: all of it is to be given back
 * Without FAULT_CALL nothing fails. Whatever does not fail goes to the kernel or to the C library's own allocator, without
 * dlsym, which allocates.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
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

static bool is_among(const char *parts, const char *file)
{
    while (*parts != '\0') {
        size_t length = strcspn(parts, ":");
        if (length > 0 && memmem(file, strlen(file), parts, length) != NULL)
            return true;
        parts += length + (parts[length] == ':');
    }
    return false;
}

static bool is_counted(const char *callers, void *caller)
{
    Dl_info found;
    if (callers == NULL)
        return true;
    return dladdr(caller, &found) != 0 && found.dli_fname != NULL && is_among(callers, found.dli_fname);
}

/* A line of the file that the variable names: what, and the place in the caller's file (for addr2line). */
static void report(const char *variable, const char *what, size_t number, const void *caller)
{
    const char *path = getenv(variable);
    char line[512];
    Dl_info found = {.dli_fname = NULL};
    if (path == NULL)
        return;
    dladdr(caller, &found);
    int length = snprintf(line, sizeof line, "%s %zu at %s+%#zx\n", what, number,
        found.dli_fname != NULL ? found.dli_fname : "?", (size_t)((const char *)caller - (const char *)found.dli_fbase));
    long made = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (made >= 0) {
        syscall(SYS_write, made, line, length > 0 && (size_t)length < sizeof line ? (size_t)length : 0);
        syscall(SYS_close, made);
    }
}

/* What the callers have, as one table of numbers: addresses, and descriptors with the highest bit set. */
#define PLACES ((size_t)1 << 16)
#define GONE UINTPTR_MAX
#define DESCRIPTOR(number) ((uintptr_t)1 << (8 * sizeof(uintptr_t) - 1) | (uintptr_t)(number))
#define IS_DESCRIPTOR(thing) ((thing) >> (8 * sizeof(uintptr_t) - 1) != 0)

static uintptr_t held[PLACES];
static void *holders[PLACES];
static bool is_pointed_to[PLACES];

static uintptr_t *place_of(uintptr_t thing, bool is_new)
{
    for (size_t i = 0, at = thing / 16 % PLACES; i < PLACES; i++, at = (at + 1) % PLACES)
        if (held[at] == thing || (is_new && (held[at] == 0 || held[at] == GONE)))
            return &held[at];
        else if (held[at] == 0)
            break;
    return NULL;
}

static bool is_owner(void *caller)
{
    const char *owners = getenv("FAULT_OWNERS");
    return getenv("FAULT_LEAKS") != NULL && is_counted(owners != NULL ? owners : getenv("FAULT_CALLERS"), caller);
}

static void take_on(uintptr_t thing, void *caller)
{
    if (busy || environ == NULL || thing == 0)
        return;
    busy = true;
    uintptr_t *place = is_owner(caller) ? place_of(thing, true) : NULL;
    if (place != NULL) {
        *place = thing;
        holders[place - held] = caller;
    }
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

/* What these bytes point to is still somebody's, and so is what that points to. */
static void follow(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size / sizeof(uintptr_t); i++) {
        uintptr_t word = ((const uintptr_t *)bytes)[i];
        uintptr_t *place = word == 0 || word == GONE || IS_DESCRIPTOR(word) ? NULL : place_of(word, false);
        if (place == NULL || is_pointed_to[place - held])
            continue;
        is_pointed_to[place - held] = true;
        follow((const void *)word, malloc_usable_size((void *)word));
    }
}

static int follow_variables(struct dl_phdr_info *file, size_t size, void *roots)
{
    static char program[4096];
    const char *name = file->dlpi_name;
    (void)size;
    if (name[0] == '\0' && readlink("/proc/self/exe", program, sizeof program - 1) > 0)
        name = program;
    for (size_t i = 0; is_among(roots, name) && i < file->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &file->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0)
            follow((const void *)(file->dlpi_addr + (part->p_vaddr + 7) / 8 * 8), part->p_memsz - 7);
    }
    return 0;
}

__attribute__((destructor)) static void look_for_leaks(void)
{
    if (getenv("FAULT_ROOTS") != NULL)
        dl_iterate_phdr(follow_variables, getenv("FAULT_ROOTS"));
    for (size_t i = 0; i < PLACES; i++) {
        if (held[i] == 0 || held[i] == GONE || is_pointed_to[i])
            continue;
        if (IS_DESCRIPTOR(held[i]))
            report("FAULT_LEAKS", "descriptor", held[i] & ~DESCRIPTOR(0), holders[i]);
        else
            report("FAULT_LEAKS", "bytes", malloc_usable_size((void *)held[i]), holders[i]);
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
        report("FAULT_REPORT", name, (size_t)number, caller);
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

/* Failing, it forgets about it: what a leak is. */
EXPORTED void free(void *memory)
{
    if (memory != NULL && fails("free", CALLER, NULL))
        return;
    give_back((uintptr_t)memory);
    __libc_free(memory);
}

EXPORTED char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    void *copy = fails("strdup", CALLER, NULL) ? NULL : taken(__libc_malloc(size), CALLER);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

static int print(void *caller, char **made, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *made = length < 0 || fails("asprintf", caller, NULL) ? NULL : taken(__libc_malloc((size_t)length + 1), caller);
    return *made == NULL ? -1 : vsnprintf(*made, (size_t)length + 1, format, arguments);
}

EXPORTED int vasprintf(char **made, const char *format, va_list arguments)
{
    return print(CALLER, made, format, arguments);
}

EXPORTED int asprintf(char **made, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = print(CALLER, made, format, arguments);
    va_end(arguments);
    return length;
}

/* What _FORTIFY_SOURCE makes of them. */
EXPORTED int __vasprintf_chk(char **made, int flag, const char *format, va_list arguments)
{
    (void)flag;
    return print(CALLER, made, format, arguments);
}

EXPORTED int __asprintf_chk(char **made, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int length = print(CALLER, made, format, arguments);
    va_end(arguments);
    return length;
}

EXPORTED int seteuid(uid_t user)
{
    return fails("seteuid", CALLER, NULL) ? -1 : (int)syscall(SYS_setresuid, -1, user, -1);
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
