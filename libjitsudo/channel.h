/* Frames over one connection, within the deadline; for the library alone. */
#ifndef JITSUDO_CHANNEL_H
#define JITSUDO_CHANNEL_H

#include "jitsudo.h"

struct jitsudo {
    int socket;    /* at least 3 */
    pid_t process; /* which connected it */
    bool broken; /* an answer may still come that belongs to another call */
    struct jitsudo_options options;
    char *bytes; /* received and not yet handed out */
    size_t held, room;
    long long deadline; /* ms: then the silence was too long */
    long long limit;    /* ms: then the whole took too long */
};

/* Until when the daemon may be silent from now on; `whole` starts a call or a connection. */
enum jitsudo_status jitsudo_wait_anew(struct jitsudo *client, bool whole, struct jitsudo_fault *fault);
/* Wait for the socket at most one tick, or without `events` for half of one. */
enum jitsudo_status jitsudo_wait(struct jitsudo *client, short events, struct jitsudo_fault *fault);
/* Nothing came unasked, and the connection is still there. */
enum jitsudo_status jitsudo_expect_nothing(struct jitsudo *client, struct jitsudo_fault *fault);
enum jitsudo_status jitsudo_send(struct jitsudo *client, const char *frame, size_t size, const int *descriptors, size_t count,
    struct jitsudo_fault *fault);
/* The next frame, without its NUL: `*size` bytes at client->bytes, to be dropped with jitsudo_drop. */
enum jitsudo_status jitsudo_receive(struct jitsudo *client, size_t *size, struct jitsudo_fault *fault);
void jitsudo_drop(struct jitsudo *client, size_t size);
/* call.c: the answer to the call that was sent, after any number of replies that ask for patience. */
enum jitsudo_status jitsudo_hear(struct jitsudo *client, struct json_object **answer, struct jitsudo_fault *fault);

#endif
