/* What the parts of sudo's native policy plugin share. One sudo, one policy: the plugin's state is the process's. */
#ifndef JITSUDO_NATIVE_H
#define JITSUDO_NATIVE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <sudo_plugin.h>

#include "jitsudo.h"

#define VERSION "0.1.0"
#define LOOK "see `systemctl status jitsudod`; root is not affected"
#define SECURE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MAX_ID 0xFFFFFFFEU /* 0xFFFFFFFF is "no change" to setresuid(2): CVE-2019-14287 */
#define TICK_MS 100
#define SERVICE "jitsudo-sudo" /* the PAM stack */
#define MAX_SHOWN 32
#define KEPT 8 /* of the allows for what a command executes: sudo may still point into the latest */

/* Where tests build the plugin anew to have them elsewhere: nothing that a caller controls may. */
#ifndef JITSUDO_RUN
#define JITSUDO_RUN JITSUDO_FOLDER
#define JITSUDO_OWNER 0
#define JITSUDO_CGROUP "/proc/self/cgroup"
#define JITSUDO_LOG "/dev/log"
#define JITSUDO_SUDO_CONF "/etc/sudo.conf"
#define JITSUDO_PAM_FOLDERS "/etc/pam.d", "/usr/lib/pam.d"
#endif

/* Why the command does not run, fit to be shown. `is_outage`: the daemon cannot be asked, or did not answer with sense. */
struct refusal {
    bool is_outage;
    const char *speaker; /* "sudo" where sudo itself has words for it, which programs know and wait for */
    const char *outcome; /* the daemon's word for a proof that was not given */
    char message[4096];
    char hints[4096]; /* each on a line of its own */
};

extern struct told {
    sudo_conv_t converse;
    sudo_printf_t print;
    char **settings, **user_info, **user_env;
} told;

/* What sudo gets to run a command. */
struct terms {
    char *session, *token;
    char **info, **argv, **env;
};

extern struct policy {
    struct json_object *invocation;
    struct jitsudo *client;
    pid_t process; /* which opened the connection */
    char *session, *token;
    unsigned long accepted;
    int executable; /* an O_PATH descriptor of the program that the daemon was shown, else -1 */
    char *shown[MAX_SHOWN];
    struct terms kept[KEPT];
} policy;

/* These return false, so that whoever refuses returns it. NULL is no hint. */
bool refuse(struct refusal *why, const char *hint, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool not_understood(struct refusal *why, const char *what);
bool no_memory(struct refusal *why);
bool not_proven(struct refusal *why, const char *outcome, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void say(const struct refusal *why);
/* A line on the terminal if there is one, on standard error otherwise: never in somebody's pipe. */
void tell(const char *line);
/* As jitsudo_printable, but lines stay lines. NULL without memory. */
char *printable_lines(const char *text);

/* The value of the last "key=value" of that key, NULL where there is none. */
const char *value_of(char *const *vector, const char *key);
bool is_set(const char *setting);
bool is_id(const char *text);
size_t count_of(char *const *vector);

enum signals { KEYS, GIVE_UP };
/* Block those signals, and whether one of them, not ignored by the caller (nohup), is pending. */
void block(enum signals which, sigset_t *before);
void unblock_keys(sigset_t *before);
void restore(const sigset_t *before);
bool is_given_up(enum signals which);
long long now_ms(void);

/* ask.c. A call's parameters are built in steps, and no step goes on after one that failed. */
struct files {
    size_t count;
    int descriptors[4];
    const char *names[4];
    const char *command; /* its path, NULL where there is none */
};
/* The parameters of the daemon's reply, to be released; NULL with *why where there is none. Keeps `parameters`, in which NULL
 * is no memory. `files`, opened here, may be NULL. */
struct json_object *ask(const char *method, struct json_object *parameters, struct files *files, struct refusal *why);
/* Say it on the connection that there is, without awaiting the answer. False where it was not heard, or there is none. */
bool mention(const char *method, struct json_object *parameters);
void hang_up(void);
void keep_executable(int descriptor);
struct json_object *built(struct json_object *object, bool is_good);
struct json_object *question(void);
bool put_text(struct json_object *object, const char *key, const char *text);

/* answer.c */
bool allows(struct json_object *reply, struct refusal *why);
bool read_vector(struct json_object *reply, const char *key, char ***vector, struct refusal *why);
bool read_terms(struct json_object *reply, struct terms *terms, struct refusal *why);
void free_terms(struct terms *terms);

/* challenge.c */
struct json_object *established(const char *method, struct json_object *asked, struct files *files, struct refusal *why);
bool begin_pam_for_caller(struct refusal *why);

/* pam.c: one handle, from the first proof to the end of the session. */
bool pam_begin(const char *user, struct refusal *why);
const char *pam_user(void); /* NULL without a handle */
bool pam_prove(const char *prompt, bool overrides, long long tries, struct refusal *why);
/* *sentence is NULL where the account may be used, else why not. */
void pam_account(bool may_change, char *sentence, size_t size);
bool pam_open(const char *target, bool is_silent, struct refusal *why);
/* What the stack put into its environment; the caller frees items and vector. */
char **pam_environment(void);
void pam_finish(void);

/* proof.c */
bool prove_by_agent(char *const *keys, const char *nonce, char **signature, struct refusal *why);
bool confirm(const char *message, struct refusal *why);
void sha512(const void *data, size_t size, unsigned char digest[64]);

/* alone.c: root's own command while the daemon cannot be asked. */
bool is_root_outside(const char *session);
bool root_alone(char *const *argv, char *const *env_add, const char *path, const struct refusal *outage, struct terms *terms,
    struct refusal *why);

#endif
