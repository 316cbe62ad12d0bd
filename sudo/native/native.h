/* What the parts of sudo's native policy plugin share. One sudo, one policy: the plugin's state is the process's. */
#ifndef JITSUDO_NATIVE_H
#define JITSUDO_NATIVE_H

#include <signal.h>
#include <sudo_plugin.h>

#include "jitsudo.h"

#define VERSION "0.1.0"
#define SECURE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SERVICE "jitsudo-sudo" /* the PAM stack */
#define ANSWER_MS 280000       /* for a person to answer: less than the daemon waits */
#define TICK_MS 100
#define KEPT 8 /* of the allows for what a command executes: sudo may still point into the latest */

/* Where tests build the plugin anew to have them elsewhere: nothing that a caller controls may. */
#ifndef JITSUDO_RUN
#define JITSUDO_RUN JITSUDO_FOLDER
#define JITSUDO_OWNER 0
#define JITSUDO_CGROUP "/proc/self/cgroup"
#define JITSUDO_LOG "/dev/log"
#define JITSUDO_PAM_STACK "/etc/pam.d/" SERVICE
#define JITSUDO_PAM_STACK_OF_VENDOR "/usr/lib/pam.d/" SERVICE
#endif

extern struct told {
    sudo_conv_t converse;
    sudo_printf_t print;
    char **settings, **user_info, **user_env;
} told;

extern struct policy {
    struct jitsudo *client;
    char *session, *token;
    unsigned long accepted;
    int executable; /* an O_PATH descriptor of the program that the daemon was shown, else -1 */
    struct jitsudo_terms kept[KEPT];
    char **environment; /* the command's, to which sudo itself has no pointer any more when it ends */
} policy;

/* person.c: what is said and asked on the terminal, and signals. What fails says why in *why, and returns false. */

#define no(status) ((status) == JITSUDO_OK) /* of a status that says why not */
#define refuse(why, ...) no(jitsudo_fail(why, JITSUDO_REFUSED, __VA_ARGS__))
/* For a challenge: `outcome` is the daemon's word for it, and becomes the fault's code. */
#define not_met(why, outcome, hint, ...) (jitsudo_fail(why, JITSUDO_REFUSED, __VA_ARGS__), noted(why, outcome, hint))
bool noted(struct jitsudo_fault *why, const char *outcome, const char *hint);
/* Shows it to the person, and returns 0, which is sudo's no. */
int say(const struct jitsudo_fault *why);
/* A line on the terminal if there is one, on standard error otherwise: never in somebody's pipe. */
#define tell(line) told.print(SUDO_CONV_ERROR_MSG | SUDO_CONV_PREFER_TTY, "%s\n", line)
bool is_set(const char *setting);
/* The word yes, typed on the terminal itself, where neither `sudo -S` nor an askpass program can say it. */
bool confirm(const char *message, struct jitsudo_fault *why);

/* The signals by which people give up, blocked so that they are seen, or let through. */
void mask(int how, sigset_t *before);
#define restore(before) sigprocmask(SIG_SETMASK, before, NULL)
/* Whether one of them, not ignored by the caller (nohup), is pending. */
bool is_given_up(void *unused);

/* asking.c: the daemon is asked, and asks. Parameters are built in steps, released by whoever takes them, NULL without memory. */

extern const struct jitsudo_options options;
struct json_object *question(void);
/* The parameters of the reply, to be released; NULL where there is none. */
struct json_object *ask(const char *method, struct json_object *parameters, const struct jitsudo_file *files, size_t count,
    struct jitsudo_fault *why);
bool is_allowed(struct json_object *reply, struct jitsudo_fault *why);
/* An allow, once what the daemon wants to have established is. */
struct json_object *established(const char *method, struct json_object *parameters, const struct jitsudo_file *files,
    size_t count, struct jitsudo_fault *why);

/* pam.c: one handle, from the first proof to the end of the session. */

/* A handle for `user`; NULL is whose account it already is, else the caller. */
bool pam_begin(const char *user, struct jitsudo_fault *why);
bool pam_prove(const char *prompt, bool overrides, long long tries, struct jitsudo_fault *why);
/* Whether the account may be used; else *why is what sudo says of it. */
bool pam_account(bool may_change, struct jitsudo_fault *why);
bool pam_open(const char *target, bool is_silent, struct jitsudo_fault *why);
bool pam_add_environment(char ***env, struct jitsudo_fault *why);
void pam_finish(void);

/* alone.c: root's own command while the daemon cannot be asked. */

bool is_root_outside(void);
bool root_alone(char *const *argv, char *const *env_add, const char *path, struct jitsudo_terms *terms, struct jitsudo_fault *why);

#endif
