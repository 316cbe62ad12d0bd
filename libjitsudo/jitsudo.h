/*
 * libjitsudo: ask jitsudo's daemon, on behalf of a program that somebody else wrote (sudo, sshd, su, login).
 *
 * No threads, no global state, no signals sent, blocked or handled, nothing written to any descriptor but the socket, which
 * is never 0, 1 or 2. Whatever goes wrong is a status other than JITSUDO_OK, within the deadline: two seconds in which
 * the daemon says nothing.
 *
 * This is a static library for jitsudo's own front ends, and its interface is not stable. json-c holds the values; the
 * parser and the writer are here, because json-c's parser takes doubled keys and its writer goes on without memory.
 */
#ifndef JITSUDO_H
#define JITSUDO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct json_object;

#define JITSUDO_FOLDER "/run/jitsudo"
#define JITSUDO_SOCKET "decide"
#define JITSUDO_INTERFACE "io.jitsudo.Decide."
#define JITSUDO_SILENCE_MS 2000
#define JITSUDO_MAX_FRAME ((size_t)16 * 1024 * 1024)
#define JITSUDO_MAX_DEPTH 16
#define JITSUDO_MAX_VALUES ((size_t)1 << 18) /* in a frame; execve(2) takes fewer arguments and variables */
#define JITSUDO_MAX_DESCRIPTORS 16

#define JITSUDO_SENTENCE 4096 /* bytes, the terminating NUL included */

enum jitsudo_status {
    JITSUDO_OK = 0,
    /* Outages: the daemon cannot be asked, or did not answer with sense. */
    JITSUDO_ABSENT,         /* nobody listens */
    JITSUDO_NOT_ROOTS,      /* the folder, the socket or the listener is not the expected owner's alone */
    JITSUDO_SILENT,         /* the deadline passed */
    JITSUDO_DISCONNECTED,   /* the connection ended before the answer */
    JITSUDO_NOT_UNDERSTOOD, /* the answer is not what the protocol says */
    JITSUDO_DAEMON_FAILED,  /* the daemon answered that it failed */
    /* Everything else is a refusal, for root too. */
    JITSUDO_REFUSED,     /* the daemon refused the call */
    JITSUDO_TOO_LARGE,   /* the call does not fit into a frame */
    JITSUDO_INTERRUPTED, /* the program's tick said to give up */
    JITSUDO_NO_MEMORY,
    JITSUDO_MISUSED, /* a bug in the caller */
};

/* What to tell the person. Both texts always end in NUL, are valid UTF-8 and hold nothing that steers a terminal. */
struct jitsudo_fault {
    enum jitsudo_status status;
    char code[64]; /* the daemon's, of a refusal; else empty */
    bool is_sudos; /* sudo itself has these words, which programs know and wait for: say them in its name */
    char message[JITSUDO_SENTENCE]; /* empty where the daemon denies without a word */
    char hint[JITSUDO_SENTENCE]; /* empty: none. Each hint is a line of its own */
};

/* All zero is fit for production. */
struct jitsudo_options {
    const char *folder;       /* NULL: /run/jitsudo. Absolute */
    const char *socket;       /* NULL: decide. A name in the folder */
    uid_t owner;              /* of the folder, the socket and the listener: 0, except in tests */
    unsigned int silence_ms;  /* 0: 2000. Never more than 2000 */
    unsigned int patience_ms; /* 0: as long as the daemon says that it is at work. Limit of one whole call, or of connecting */
    /* Called about every 100 ms while waiting, and after each signal; true: give up. May be NULL. */
    bool (*tick)(void *context);
    /* Called once a call is sent, before its answer is awaited: for work to do meanwhile. May be NULL. */
    void (*sent)(const char *method, void *context);
    /* Called with what is awaited (fit for a terminal), each second that the daemon asks for patience. May be NULL. */
    void (*pending)(const char *awaited, void *context);
    void *context;
};

struct jitsudo; /* one connection */

/* Whether root, outside a session, may go on as if there were no daemon. Never true for JITSUDO_OK. */
bool jitsudo_is_outage(enum jitsudo_status status);

/* Connect, after looking at who owns the folder and the socket, and then at who listens. `options` (may be NULL) is copied.
 * On JITSUDO_OK, *client is to be closed with jitsudo_close; else it is NULL, and *fault says why. */
enum jitsudo_status jitsudo_connect(
    const struct jitsudo_options *options, struct jitsudo **client, struct jitsudo_fault *fault);

/* One call and its final answer. `parameters` stays the caller's. `descriptors` go along, and stay open here.
 * On JITSUDO_OK, *reply is the object "parameters", to be released with json_object_put; else it is NULL.
 * After anything but JITSUDO_OK, JITSUDO_REFUSED and JITSUDO_DAEMON_FAILED the connection is of no further use. */
enum jitsudo_status jitsudo_call(struct jitsudo *client, const char *method, struct json_object *parameters,
    const int *descriptors, size_t count, struct json_object **reply, struct jitsudo_fault *fault);

/* The last call on a connection, whose answer nobody awaits: JITSUDO_OK, and the daemon will read it. */
enum jitsudo_status jitsudo_mention(
    struct jitsudo *client, const char *method, struct json_object *parameters, struct jitsudo_fault *fault);

/* NULL is permitted. errno stays what it was. */
void jitsudo_close(struct jitsudo *client);

/* A descriptor that goes along with a question, and what the protocol calls it. */
struct jitsudo_file {
    const char *name;
    int descriptor;
};

/* jitsudo_call on *client, a connection that is made where it is NULL or another process's, and NULL again where it is of no
 * further use. `parameters` is released; NULL is no memory. `files`, which stay open here, are named in the parameters where
 * `files` is not NULL. */
enum jitsudo_status jitsudo_ask(struct jitsudo **client, const struct jitsudo_options *options, const char *method,
    struct json_object *parameters, const struct jitsudo_file *files, size_t count, struct json_object **reply,
    struct jitsudo_fault *fault);

/* The last question on *client, after which it is NULL: its answer is awaited only where there is no connection already. */
enum jitsudo_status jitsudo_tell(struct jitsudo **client, const struct jitsudo_options *options, const char *method,
    struct json_object *parameters, struct jitsudo_fault *fault);

/* Close *client, which is NULL then. */
void jitsudo_hang_up(struct jitsudo **client);

/* --- Building calls. A failed allocation anywhere makes the outermost result false or NULL: NULL never turns into null. --- */

struct json_object *jitsudo_object(void);
struct json_object *jitsudo_array(void);
/* A string, or {"base64": ...} where the bytes are not UTF-8. */
struct json_object *jitsudo_text(const char *bytes);
struct json_object *jitsudo_text_of(const void *bytes, size_t size);
/* A list of texts, from a vector that ends in NULL; a NULL vector is an empty list. */
struct json_object *jitsudo_texts(char *const *vector);
struct json_object *jitsudo_boolean(bool value);
struct json_object *jitsudo_number(long long value);
/* Take `value`, which is released if it cannot be added. False where object, array or value is NULL, or without memory. */
bool jitsudo_put(struct json_object *object, const char *key, struct json_object *value);
bool jitsudo_put_null(struct json_object *object, const char *key);
/* A text, or null where it is NULL. */
bool jitsudo_put_text(struct json_object *object, const char *key, const char *text);
bool jitsudo_push(struct json_object *array, struct json_object *value);
/* What was made, if all went well; else it is released, and the result is NULL. */
struct json_object *jitsudo_built(struct json_object *made, bool is_good);

/* --- Reading answers. json-c would turn any value into a string, and a missing one into NULL. --- */

/* The string of that key, without NUL, owned by `object`; NULL where it is missing, null or anything else. */
const char *jitsudo_string(struct json_object *object, const char *key);
/* Whether the key's value is exactly this string. */
bool jitsudo_is(struct json_object *object, const char *key, const char *expected);
/* Whether the key is missing or null. */
bool jitsudo_is_null(struct json_object *object, const char *key);
/* Whether `object` is an object, and each of its keys is in `keys` (which ends in NULL). */
bool jitsudo_only(struct json_object *object, const char *const *keys);
/* The text of a wire text, to be released with free: a string or {"base64": ...}, without NUL.
 * JITSUDO_OK, JITSUDO_NOT_UNDERSTOOD or JITSUDO_NO_MEMORY (and *text is NULL). */
enum jitsudo_status jitsudo_read_text(struct json_object *value, char **text);
/* The list of wire texts of that key, as a vector that ends in NULL; never an empty one. Release with jitsudo_free_vector. */
enum jitsudo_status jitsudo_read_texts(struct json_object *object, const char *key, char ***vector);

/* JITSUDO_OK where the verdict is "allow", and it has none but these keys (which end in NULL) and no challenge. Else why not:
 * JITSUDO_REFUSED with the daemon's message and hints where it denies, or asks for what cannot be done here. */
enum jitsudo_status jitsudo_judge(struct json_object *reply, const char *const *keys, struct jitsudo_fault *fault);
/* An allow's session and its token, to be released with free; both NULL for root outside a session. `current` is the session
 * that it has to be, NULL where there is none yet. */
enum jitsudo_status jitsudo_read_session(
    struct json_object *reply, const char *current, char **session, char **token, struct jitsudo_fault *fault);

/* What the daemon wants to have established before there can be an allow. Texts are NULL where the kind has no use for them. */
enum jitsudo_kind { JITSUDO_ACCOUNT, JITSUDO_PASSWORD, JITSUDO_AGENT, JITSUDO_CONFIRM };
struct jitsudo_challenge {
    enum jitsudo_kind kind;
    char *message;
    char *service, *user; /* for PAM */
    char *prompt;         /* instead of the stack's question for a password (NULL: as it is); `overrides`: of each question */
    bool overrides;
    long long tries;
};
/* The challenge of a reply whose verdict that is. Release with jitsudo_free_challenge; empty after anything but JITSUDO_OK. */
enum jitsudo_status jitsudo_read_challenge(
    struct json_object *reply, struct jitsudo_challenge *challenge, struct jitsudo_fault *fault);
void jitsudo_free_challenge(struct jitsudo_challenge *challenge);

/* What sudo gets to run a command; all as sudo_plugin(5) has it, and complete. */
struct jitsudo_terms {
    char *session, *token;
    char **info, **argv, **env;
};
/* Release with jitsudo_free_terms; all NULL after anything but JITSUDO_OK. */
enum jitsudo_status jitsudo_read_terms(
    struct json_object *reply, const char *current, struct jitsudo_terms *terms, struct jitsudo_fault *fault);
void jitsudo_free_terms(struct jitsudo_terms *terms);

/* --- Vectors that end in NULL; where it says so, of NAME=value. A NULL vector is an empty one. --- */

void jitsudo_free_vector(char **vector);
size_t jitsudo_count(char *const *vector);
/* In one piece, to be released with free; NULL without memory. */
char **jitsudo_copy_vector(char *const *vector);
/* The value of the last item of that name, NULL where there is none. */
const char *jitsudo_value(char *const *vector, const char *name);
/* Append an item; or have NAME=value in place of the first of that name. False without memory, and *vector is as it was. */
bool jitsudo_add(char ***vector, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool jitsudo_set(char ***vector, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether there is one of the same name as this item's. */
bool jitsudo_has_name(char *const *vector, const char *item);
/* Whether no two items of NAME=value have the same name; in n log n, since an environment may have a hundred thousand.
 * False without memory, too. */
bool jitsudo_names_differ(char *const *vector);
/* Plain digits and nothing else, no more than there are user and group ids. */
bool jitsudo_is_id(const char *text);

/* --- Where this process is --- */

/* Whether it is known to run under nobody's grant, by its cgroups (/proc/self/cgroup; cgroups(7)). */
bool jitsudo_is_outside(const char *cgroups);
/* Milliseconds of a clock that nobody can set; negative where there is none. */
long long jitsudo_now(void);

/* --- For people --- */

/* Copy `text` into `output`, cut at a character's end, with whatever could steer a terminal or a log written out as \x1b
 * (CVE-2023-28486), bytes that are not UTF-8 included; NULL counts as empty. */
void jitsudo_printable(const char *text, char *output, size_t size);
/* The same of each line, whole; to be released with free. NULL without memory. */
char *jitsudo_printable_lines(const char *text);

/* Say why in *fault, which may be NULL, with the hint that goes with the status. They return the status, so that a function can
 * end with them. */
enum jitsudo_status jitsudo_fail(struct jitsudo_fault *fault, enum jitsudo_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum jitsudo_status jitsudo_puzzled(struct jitsudo_fault *fault, const char *why);
enum jitsudo_status jitsudo_out_of_memory(struct jitsudo_fault *fault);

/* --- The parser alone, for tests and fuzzing --- */

/* One JSON object, strictly: no doubled keys, no floats, no integers past 2^53, no lone surrogates, nothing after it, at most
 * JITSUDO_MAX_DEPTH levels and JITSUDO_MAX_VALUES values. NULL is what it is not, and *status says which. */
struct json_object *jitsudo_parse(const char *bytes, size_t size, enum jitsudo_status *status);
/* The frame of a value without its NUL, to be released with free; NULL without memory or for what is not of the protocol. */
char *jitsudo_write(struct json_object *value, size_t *size, enum jitsudo_status *status);

#endif
