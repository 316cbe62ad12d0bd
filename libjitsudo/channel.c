/* Frames over one connection, within the deadline. */
#define _GNU_SOURCE /* strerrordesc_np: strerror has a buffer that threads share */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "channel.h"
#include "fault.h"
#include "internal.h"

#define TICK_MS 100
#define CHUNK ((size_t)64 * 1024)

long long jitsudo_now(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return -1;
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum jitsudo_status silent(struct jitsudo *client, struct jitsudo_fault *fault)
{
    unsigned int silence = client->options.silence_ms;
    if (silence % 1000 != 0)
        return jitsudo_fail(fault, JITSUDO_SILENT, "the daemon did not answer for %u ms", silence);
    return jitsudo_fail(fault, JITSUDO_SILENT, "the daemon did not answer for %u seconds", silence / 1000);
}

static enum jitsudo_status no_clock(struct jitsudo_fault *fault)
{
    return jitsudo_fail(fault, JITSUDO_SILENT, "there is no clock to wait by");
}

enum jitsudo_status jitsudo_wait_anew(struct jitsudo *client, bool whole, struct jitsudo_fault *fault)
{
    long long now = jitsudo_now();
    if (now < 0)
        return no_clock(fault);
    client->deadline = now + client->options.silence_ms;
    if (whole)
        client->limit = now + client->options.patience_ms;
    return JITSUDO_OK;
}

/* Not told to give up, and what time it is. */
static enum jitsudo_status may_go_on(struct jitsudo *client, long long *now, struct jitsudo_fault *fault)
{
    if (client->options.tick != NULL && client->options.tick(client->options.context))
        return jitsudo_fail(fault, JITSUDO_INTERRUPTED, "interrupted");
    *now = jitsudo_now();
    return *now < 0 ? no_clock(fault) : JITSUDO_OK;
}

static enum jitsudo_status in_time(struct jitsudo *client, long long now, struct jitsudo_fault *fault)
{
    if (now >= client->deadline)
        return silent(client, fault);
    if (client->options.patience_ms != 0 && now >= client->limit)
        return jitsudo_fail(fault, JITSUDO_SILENT, "the daemon's answer took too long");
    return JITSUDO_OK;
}

/* For at most a tick, or half of one where nothing is waited for. */
static enum jitsudo_status wait_a_tick(const struct jitsudo *client, short events, struct jitsudo_fault *fault)
{
    struct pollfd wanted = {.fd = client->socket, .events = events};
    int found = poll(&wanted, events != 0, events != 0 ? TICK_MS : TICK_MS / 2);
    if (found < 0 && errno != EINTR && errno != EAGAIN)
        return jitsudo_fail(fault, JITSUDO_NO_MEMORY, "cannot wait for the daemon (%s)", strerrordesc_np(errno));
    /* Somebody closed it under us: to go on waiting would be of no use. */
    if (found > 0 && (wanted.revents & POLLNVAL) != 0)
        return jitsudo_fail(fault, JITSUDO_MISUSED, "the connection to the daemon was closed by the program");
    return JITSUDO_OK;
}

enum jitsudo_status jitsudo_wait(struct jitsudo *client, short events, struct jitsudo_fault *fault)
{
    long long now = 0;
    enum jitsudo_status status = wait_a_tick(client, events, fault);
    if (status == JITSUDO_OK)
        status = may_go_on(client, &now, fault);
    return status == JITSUDO_OK ? in_time(client, now, fault) : status;
}

static enum jitsudo_status gone(struct jitsudo_fault *fault)
{
    return jitsudo_fail(fault, JITSUDO_DISCONNECTED, "the daemon closed the connection");
}

static bool would_wait(int number)
{
    return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

enum jitsudo_status jitsudo_expect_nothing(struct jitsudo *client, struct jitsudo_fault *fault)
{
    char byte;
    ssize_t got = recv(client->socket, &byte, 1, MSG_DONTWAIT);
    if (got > 0 || client->held > 0)
        return jitsudo_puzzled(fault, "more than one reply");
    if (got < 0 && would_wait(errno))
        return JITSUDO_OK;
    return gone(fault);
}

union rights {
    char bytes[CMSG_SPACE(JITSUDO_MAX_DESCRIPTORS * sizeof(int))];
    struct cmsghdr aligned;
};

static void attach(struct msghdr *message, union rights *rights, const int *descriptors, size_t count)
{
    memset(rights, 0, sizeof *rights);
    message->msg_control = rights->bytes;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = &rights->aligned;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
}

static enum jitsudo_status not_sent(int number, struct jitsudo_fault *fault)
{
    switch (number) {
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
        return jitsudo_fail(fault, JITSUDO_MISUSED, "the call cannot be sent (%s)", strerrordesc_np(number));
    case ENOMEM:
    case ENOBUFS:
    case ETOOMANYREFS:
        return jitsudo_fail(fault, JITSUDO_NO_MEMORY, "the call cannot be sent (%s)", strerrordesc_np(number));
    default:
        return gone(fault);
    }
}

enum jitsudo_status jitsudo_send(struct jitsudo *client, const char *frame, size_t size, const int *descriptors, size_t count,
    struct jitsudo_fault *fault)
{
    union rights rights;
    size_t sent = 0;
    while (sent < size) {
        /* sendmsg does not write through it. */
        struct iovec rest = {.iov_base = (void *)(uintptr_t)(frame + sent), .iov_len = size - sent};
        struct msghdr message = {.msg_iov = &rest, .msg_iovlen = 1};
        if (sent == 0 && count > 0)
            attach(&message, &rights, descriptors, count);
        ssize_t done = sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && !would_wait(errno))
            return not_sent(errno, fault);
        sent += done > 0 ? (size_t)done : 0;
        if (done > 0)
            continue;
        enum jitsudo_status status = jitsudo_wait(client, POLLOUT, fault);
        if (status != JITSUDO_OK)
            return status;
    }
    return JITSUDO_OK;
}

static enum jitsudo_status make_room(struct jitsudo *client, struct jitsudo_fault *fault)
{
    if (client->held > JITSUDO_MAX_FRAME)
        return jitsudo_puzzled(fault, "too long");
    if (client->room - client->held >= CHUNK)
        return JITSUDO_OK;
    size_t room = client->room == 0 ? 2 * CHUNK : 2 * client->room;
    char *bytes = realloc(client->bytes, room);
    if (bytes == NULL)
        return jitsudo_out_of_memory(fault);
    client->bytes = bytes;
    client->room = room;
    return JITSUDO_OK;
}

/* Take what has come, or wait for it at most a tick. */
static enum jitsudo_status read_more(struct jitsudo *client, struct jitsudo_fault *fault)
{
    enum jitsudo_status status = make_room(client, fault);
    if (status != JITSUDO_OK)
        return status;
    /* Without a buffer for descriptors, the kernel drops any that come. */
    ssize_t got = recv(client->socket, client->bytes + client->held, CHUNK, MSG_DONTWAIT);
    if (got > 0) {
        client->held += (size_t)got;
        return JITSUDO_OK;
    }
    if (got == 0 || !would_wait(errno))
        return gone(fault);
    return wait_a_tick(client, POLLIN, fault);
}

enum jitsudo_status jitsudo_receive(struct jitsudo *client, size_t *size, struct jitsudo_fault *fault)
{
    size_t searched = 0;
    enum jitsudo_status late = JITSUDO_OK;
    for (;;) {
        const char *end = client->held > searched ? memchr(client->bytes + searched, '\0', client->held - searched) : NULL;
        if (end != NULL) {
            *size = (size_t)(end - client->bytes);
            jitsudo_clear(fault);
            return JITSUDO_OK;
        }
        if (late != JITSUDO_OK)
            return late;
        searched = client->held;
        /* Before it looks: what has come by then is in time, however long this process itself was kept from looking. */
        long long now = 0;
        enum jitsudo_status status = may_go_on(client, &now, fault);
        if (status != JITSUDO_OK)
            return status;
        late = in_time(client, now, fault);
        status = read_more(client, fault);
        if (status != JITSUDO_OK)
            return status;
    }
}

void jitsudo_drop(struct jitsudo *client, size_t size)
{
    client->held -= size + 1;
    memmove(client->bytes, client->bytes + size + 1, client->held);
}
