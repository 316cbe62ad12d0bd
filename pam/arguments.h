/* The arguments of pam_jitsudo.so in a PAM stack: read strictly, since one that is not understood may be one that matters. */
#ifndef PAM_JITSUDO_ARGUMENTS_H
#define PAM_JITSUDO_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#define ARGUMENTS_MAX_FOLDER 96 /* bytes; with the socket's name it has to fit into sun_path (unix(7)) */
#define ARGUMENTS_MAX_NAME 11   /* bytes, NUL included, of the socket in it: PATH is at most 107 */
#define ARGUMENTS_MAX_SECONDS 60
#define ARGUMENTS_DEFAULT_SECONDS 20

struct arguments {
    char folder[ARGUMENTS_MAX_FOLDER]; /* absolute; "" where no socket= was given */
    char socket[ARGUMENTS_MAX_NAME];   /* its name in that folder; "" as well then */
    unsigned int seconds;              /* timeout=: the limit of one whole call */
    bool quiet;
    bool debug;
};

/* True where each argument was understood. Else *offending (never NULL then) is the first that was not, and `parsed` holds
 * nothing to act upon. Touches nothing but what it is given; argv may be NULL where argc is 0 or less. */
bool arguments_parse(int argc, const char *const *argv, struct arguments *parsed, const char **offending);

#endif
