/* A connection to what is certainly the daemon, on a descriptor that is nobody's standard input or output. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel.h"
#include "fault.h"

static enum jitsudo_status absent(const char *path, int number, struct jitsudo_fault *fault)
{
    return jitsudo_fail(fault, JITSUDO_ABSENT, "the daemon is not running (%s: %s)", path, strerrordesc_np(number));
}

/* Whoever can write to the folder could have put another socket there. */
static enum jitsudo_status check_folder(const char *path, uid_t owner, struct jitsudo_fault *fault)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return absent(path, errno, fault);
    if (!S_ISDIR(status.st_mode) || status.st_uid != owner || (status.st_mode & 022) != 0)
        return jitsudo_fail(fault, JITSUDO_NOT_ROOTS, "%s is not a folder of root's alone", path);
    return JITSUDO_OK;
}

static enum jitsudo_status check_socket(const char *path, uid_t owner, struct jitsudo_fault *fault)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return absent(path, errno, fault);
    if (!S_ISSOCK(status.st_mode) || status.st_uid != owner)
        return jitsudo_fail(fault, JITSUDO_NOT_ROOTS, "%s is not a socket of root's", path);
    return JITSUDO_OK;
}

static enum jitsudo_status check_listener(const struct jitsudo *client, const char *path, struct jitsudo_fault *fault)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(client->socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer ||
        peer.uid != client->options.owner)
        return jitsudo_fail(fault, JITSUDO_NOT_ROOTS, "what listens on %s is not root's", path);
    return JITSUDO_OK;
}

/* A program that was started without standard input would else write its errors to the daemon. */
static enum jitsudo_status open_socket(struct jitsudo *client, struct jitsudo_fault *fault)
{
    int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int kept = first;
    if (first >= 0 && first <= STDERR_FILENO) {
        kept = fcntl(first, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        int number = errno;
        close(first);
        errno = number;
    }
    if (kept < 0)
        return jitsudo_fail(fault, JITSUDO_NO_MEMORY, "there is no socket to be had (%s)", strerrordesc_np(errno));
    client->socket = kept;
    return JITSUDO_OK;
}

static enum jitsudo_status connect_socket(struct jitsudo *client, const struct sockaddr_un *address, struct jitsudo_fault *fault)
{
    while (connect(client->socket, (const struct sockaddr *)address, sizeof *address) != 0) {
        /* A full backlog is EAGAIN at once (unix(7)). */
        if (errno != EAGAIN && errno != EINTR)
            return absent(address->sun_path, errno, fault);
        enum jitsudo_status status = jitsudo_wait(client, 0, fault);
        if (status != JITSUDO_OK)
            return status;
    }
    return JITSUDO_OK;
}

static enum jitsudo_status reach(struct jitsudo *client, struct jitsudo_fault *fault)
{
    const struct jitsudo_options *options = &client->options;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", options->folder, options->socket);
    if (options->folder[0] != '/' || length < 0 || (size_t)length >= sizeof address.sun_path)
        return jitsudo_fail(fault, JITSUDO_MISUSED, "%s/%s cannot be the daemon's socket", options->folder, options->socket);
    enum jitsudo_status status = jitsudo_wait_anew(client, true, fault);
    if (status == JITSUDO_OK)
        status = check_folder(options->folder, options->owner, fault);
    if (status == JITSUDO_OK)
        status = check_socket(address.sun_path, options->owner, fault);
    if (status == JITSUDO_OK)
        status = open_socket(client, fault);
    if (status == JITSUDO_OK)
        status = connect_socket(client, &address, fault);
    if (status == JITSUDO_OK)
        status = check_listener(client, address.sun_path, fault);
    return status;
}

static void settle(struct jitsudo_options *options)
{
    if (options->folder == NULL)
        options->folder = JITSUDO_FOLDER;
    if (options->socket == NULL)
        options->socket = JITSUDO_SOCKET;
    if (options->silence_ms == 0 || options->silence_ms > JITSUDO_SILENCE_MS)
        options->silence_ms = JITSUDO_SILENCE_MS;
}

enum jitsudo_status jitsudo_connect(
    const struct jitsudo_options *options, struct jitsudo **client, struct jitsudo_fault *fault)
{
    jitsudo_clear(fault);
    *client = NULL;
    struct jitsudo *made = calloc(1, sizeof *made);
    if (made == NULL)
        return jitsudo_out_of_memory(fault);
    made->socket = -1;
    made->process = getpid();
    if (options != NULL)
        made->options = *options;
    settle(&made->options);
    enum jitsudo_status status = reach(made, fault);
    /* The caller's own, and not needed any more. */
    made->options.folder = made->options.socket = NULL;
    if (status == JITSUDO_OK)
        *client = made;
    else
        jitsudo_close(made);
    return status;
}

void jitsudo_close(struct jitsudo *client)
{
    int number = errno;
    if (client == NULL)
        return;
    if (client->socket >= 0)
        close(client->socket);
    free(client->bytes);
    free(client);
    errno = number;
}
