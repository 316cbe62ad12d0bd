/* How people prove who they are without PAM: the SSH agent (draft-ietf-sshm-ssh-agent; SSHSIG: OpenSSH, PROTOCOL.sshsig), and
 * a word typed on the terminal itself, where neither `sudo -S` nor an askpass program can say it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "internal.h"
#include "native.h"

#define NAMESPACE "jitsudo-challenge@1"
#define AGENT_MS 5000
#define TOUCH_MS 60000 /* for a person to find the security key, or to answer the agent's own question */
#define CONFIRM_MS 280000
#define MAX_AGENT_BYTES ((size_t)256 * 1024) /* what OpenSSH's own agent sends at most */
#define AGENT_IDENTITIES 11
#define AGENT_IDENTITIES_ANSWER 12
#define AGENT_SIGN 13
#define AGENT_SIGN_RESPONSE 14
#define RSA_SHA2_512 4 /* as a flag of AGENT_SIGN */
#define COLUMNS 70

/* --- Bytes: an agent is the caller's own program, so nothing of it is believed --- */

struct bytes {
    unsigned char *data;
    size_t size;
    bool is_lost; /* no memory */
};

static void append(struct bytes *to, const void *data, size_t size)
{
    unsigned char *grown = to->is_lost ? NULL : realloc(to->data, to->size + size + 1);
    if (grown == NULL) {
        to->is_lost = true;
        return;
    }
    memcpy(grown + to->size, data, size);
    to->data = grown;
    to->size += size;
}

static void append_number(struct bytes *to, uint32_t number)
{
    const unsigned char big[4] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16), (unsigned char)(number >> 8),
        (unsigned char)number};
    append(to, big, sizeof big);
}

static void append_string(struct bytes *to, const void *data, size_t size)
{
    append_number(to, (uint32_t)size);
    append(to, data, size);
}

struct field {
    const unsigned char *at;
    size_t size;
};

static bool take_number(struct field *rest, uint32_t *number)
{
    if (rest->size < 4)
        return false;
    *number = (uint32_t)rest->at[0] << 24 | (uint32_t)rest->at[1] << 16 | (uint32_t)rest->at[2] << 8 | rest->at[3];
    rest->at += 4;
    rest->size -= 4;
    return true;
}

static bool take_string(struct field *rest, struct field *taken)
{
    uint32_t size = 0;
    if (!take_number(rest, &size) || rest->size < size)
        return false;
    *taken = (struct field){rest->at, size};
    rest->at += size;
    rest->size -= size;
    return true;
}

static bool is_kind(struct field key, const char *kind, bool is_prefix)
{
    struct field name;
    size_t length = strlen(kind);
    return take_string(&key, &name) && (is_prefix ? name.size >= length : name.size == length) &&
           memcmp(name.at, kind, length) == 0;
}

/* --- The agent --- */

static bool strange(struct refusal *why)
{
    return not_proven(why, "unavailable", NULL, "the SSH agent's answer was not understood");
}

/* Wait until the agent takes or gives something. */
static bool await(int agent, short what, long long deadline, struct refusal *why)
{
    struct pollfd polled = {.fd = agent, .events = what};
    while (poll(&polled, 1, TICK_MS) <= 0) {
        if (is_given_up(GIVE_UP))
            return not_proven(why, "declined", NULL, "interrupted");
        if (now_ms() >= deadline)
            return not_proven(why, "unavailable", NULL, "your SSH agent did not answer in time");
    }
    return true;
}

/* Send (`what` POLLOUT) or receive all of it. */
static bool move(int agent, short what, unsigned char *data, size_t size, long long deadline, struct refusal *why)
{
    while (size > 0) {
        if (!await(agent, what, deadline, why))
            return false;
        ssize_t moved = what == POLLOUT ? send(agent, data, size, MSG_NOSIGNAL) : recv(agent, data, size, 0);
        if (moved < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (moved <= 0)
            return not_proven(why, "unavailable", NULL, "your SSH agent closed the connection");
        data += moved;
        size -= (size_t)moved;
    }
    return true;
}

/* One request, and the agent's answer, to be freed. */
static bool call_agent(int agent, const struct bytes *request, int patience_ms, struct bytes *reply, struct refusal *why)
{
    struct bytes frame = {.data = NULL};
    unsigned char prefix[4];
    long long deadline = now_ms() + patience_ms;
    append_string(&frame, request->data, request->size);
    bool sent = request->is_lost || frame.is_lost ? no_memory(why)
                                                  : move(agent, POLLOUT, frame.data, frame.size, deadline, why);
    free(frame.data);
    if (!sent || !move(agent, POLLIN, prefix, sizeof prefix, deadline, why))
        return false;
    struct field rest = {prefix, sizeof prefix};
    uint32_t size = 0;
    if (!take_number(&rest, &size) || size == 0 || size > MAX_AGENT_BYTES)
        return strange(why);
    reply->size = size;
    reply->data = malloc(size);
    return reply->data != NULL ? move(agent, POLLIN, reply->data, size, deadline, why) : no_memory(why);
}

static bool reach_agent(int agent, const char *path, struct refusal *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int number = EINVAL;
    if (strlen(path) < sizeof address.sun_path) {
        memcpy(address.sun_path, path, strlen(path));
        /* As the caller: the path is theirs to choose, and must not lead to a socket that only root may open. */
        if (seteuid(getuid()) == 0)
            number = connect(agent, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
        if (seteuid(0) != 0 && geteuid() != JITSUDO_OWNER)
            abort();
    }
    if (number == 0)
        return true;
    return not_proven(why, "unavailable", "ssh-add -l", "your SSH agent cannot be reached (%s)", strerror(number));
}

/* The signature's blob in *blob; false with an empty message where the agent, or the person whom it asked, refuses. */
static bool sign_with(int agent, struct field key, const struct bytes *data, struct bytes *blob, struct refusal *why)
{
    struct bytes request = {.data = NULL}, reply = {.data = NULL};
    const unsigned char kind = AGENT_SIGN;
    append(&request, &kind, 1);
    append_string(&request, key.at, key.size);
    append_string(&request, data->data, data->size);
    append_number(&request, is_kind(key, "ssh-rsa", false) ? RSA_SHA2_512 : 0);
    why->message[0] = '\0';
    bool good = call_agent(agent, &request, TOUCH_MS, &reply, why);
    if (good && reply.data[0] == AGENT_SIGN_RESPONSE) {
        struct field rest = {reply.data + 1, reply.size - 1}, made;
        good = take_string(&rest, &made) || strange(why);
        if (good)
            append(blob, made.at, made.size);
    } else {
        good = false;
    }
    free(request.data);
    free(reply.data);
    return good;
}

static char *armoured(struct field key, const struct bytes *made)
{
    struct bytes blob = {.data = NULL}, text = {.data = NULL};
    append(&blob, "SSHSIG", 6);
    append_number(&blob, 1);
    append_string(&blob, key.at, key.size);
    append_string(&blob, NAMESPACE, strlen(NAMESPACE));
    append_string(&blob, "", 0);
    append_string(&blob, "sha512", 6);
    append_string(&blob, made->data, made->size);
    char *base64 = blob.is_lost || made->is_lost ? NULL : jitsudo_base64(blob.data, blob.size);
    free(blob.data);
    if (base64 == NULL)
        return NULL;
    append(&text, "-----BEGIN SSH SIGNATURE-----\n", 30);
    for (size_t at = 0, size = strlen(base64); at < size; at += COLUMNS) {
        append(&text, base64 + at, size - at < COLUMNS ? size - at : COLUMNS);
        append(&text, "\n", 1);
    }
    append(&text, "-----END SSH SIGNATURE-----\n", 29);
    free(base64);
    if (text.is_lost) {
        free(text.data);
        return NULL;
    }
    return (char *)text.data;
}

/* Whether an authorized_keys line is about that key. */
static bool is_of(const char *line, struct field key)
{
    const char *start = line + strspn(line, " \t");
    start += strcspn(start, " \t");
    start += strspn(start, " \t");
    size_t size = strcspn(start, " \t\n"), written = 0;
    char *blob = malloc(size + 1);
    bool same = blob != NULL && jitsudo_unbase64(start, size, blob, &written) && written == key.size && written > 0 &&
                memcmp(blob, key.at, written) == 0;
    free(blob);
    return same;
}

static bool is_wanted(char *const *keys, struct field key)
{
    for (; *keys != NULL; keys++)
        if (is_of(*keys, key))
            return true;
    return false;
}

/* Try each key that the agent holds and that is wanted. */
static bool sign_with_any(int agent, struct field identities, char *const *keys, const struct bytes *data, char **signature,
    struct refusal *why)
{
    uint32_t count = 0;
    struct field key, comment;
    bool has_tried = false;
    if (!take_number(&identities, &count))
        return strange(why);
    for (; count > 0; count--) {
        struct bytes made = {.data = NULL};
        if (!take_string(&identities, &key) || !take_string(&identities, &comment))
            return strange(why);
        bool is_touched = is_kind(key, "sk-", true);
        if (!is_wanted(keys, key) || (is_touched && is_set("noninteractive")))
            continue;
        has_tried = true;
        if (is_touched)
            tell("jitsudo: confirm on your security key");
        bool is_signed = sign_with(agent, key, data, &made, why);
        *signature = is_signed ? armoured(key, &made) : NULL;
        free(made.data);
        if (is_signed)
            return *signature != NULL || no_memory(why);
        if (why->message[0] != '\0')
            return false;
    }
    if (has_tried)
        return not_proven(why, "failed", NULL, "your SSH agent refused to sign");
    return not_proven(why, "unavailable", "ssh-add -l", "your SSH agent holds none of the keys that are enrolled for you");
}

static bool sign_by(int agent, char *const *keys, const struct bytes *data, char **signature, struct refusal *why)
{
    static unsigned char kind = AGENT_IDENTITIES;
    const struct bytes request = {.data = &kind, .size = 1};
    struct bytes reply = {.data = NULL};
    static const unsigned char none[4] = {0};
    bool good = call_agent(agent, &request, AGENT_MS, &reply, why);
    if (good) {
        struct field held = {none, sizeof none};
        if (reply.data[0] == AGENT_IDENTITIES_ANSWER)
            held = (struct field){reply.data + 1, reply.size - 1};
        good = sign_with_any(agent, held, keys, data, signature, why);
    }
    free(reply.data);
    return good;
}

bool prove_by_agent(char *const *keys, const char *nonce, char **signature, struct refusal *why)
{
    const char *path = value_of(told.user_env, "SSH_AUTH_SOCK");
    struct bytes data = {.data = NULL};
    unsigned char digest[64];
    sigset_t before;
    if (path == NULL || path[0] == '\0')
        return not_proven(
            why, "unavailable", "ssh -A, or ssh-add on this host", "no SSH agent: SSH_AUTH_SOCK is not set");
    sha512(nonce, strlen(nonce), digest);
    append(&data, "SSHSIG", 6);
    append_string(&data, NAMESPACE, strlen(NAMESPACE));
    append_string(&data, "", 0);
    append_string(&data, "sha512", 6);
    append_string(&data, digest, sizeof digest);
    block(GIVE_UP, &before);
    /* An agent that does not accept must not keep sudo waiting, either. */
    int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = agent >= 0 && !data.is_lost ? reach_agent(agent, path, why) : no_memory(why);
    good = good && sign_by(agent, keys, &data, signature, why);
    if (agent >= 0)
        close(agent);
    restore(&before);
    free(data.data);
    return good;
}

/* --- The word yes --- */

static bool gone(const char *message, struct refusal *why)
{
    return not_proven(why, "unavailable", NULL, "%s The terminal is gone (%s)", message, strerror(errno));
}

static bool await_yes(int terminal, const char *message, struct refusal *why)
{
    char typed[64];
    long long deadline = now_ms() + CONFIRM_MS;
    struct pollfd polled = {.fd = terminal, .events = POLLIN};
    if (tcgetpgrp(terminal) != getpgrp())
        return not_proven(why, "unavailable", NULL, "%s This has to be confirmed in the foreground", message);
    /* What was typed before the question is no answer to it. */
    if (tcflush(terminal, TCIFLUSH) != 0 || dprintf(terminal, "%s\nType yes to go on: ", message) < 0)
        return gone(message, why);
    while (poll(&polled, 1, TICK_MS) <= 0) {
        if (!is_given_up(GIVE_UP) && now_ms() < deadline)
            continue;
        dprintf(terminal, "\n");
        return not_proven(why, "declined", NULL, "not confirmed");
    }
    ssize_t got = read(terminal, typed, sizeof typed - 1);
    if (got < 0)
        return gone(message, why);
    typed[got] = '\0';
    const char *word = strtok(typed, " \t\r\n");
    if (word == NULL || strcmp(word, "yes") != 0 || strtok(NULL, " \t\r\n") != NULL)
        return not_proven(why, "declined", NULL, "not confirmed");
    return true;
}

bool confirm(const char *message, struct refusal *why)
{
    sigset_t before;
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return not_proven(
            why, "unavailable", NULL, "%s This has to be confirmed on a terminal, and there is none", message);
    block(GIVE_UP, &before);
    bool confirmed = await_yes(terminal, message, why);
    restore(&before);
    close(terminal);
    return confirmed;
}
