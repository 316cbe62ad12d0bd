/* Shows how the C library's getopt_long reads a command line: one query a line on stdin, one answer a line on stdout.
 *
 * A query is words with one space between them:
 *   permute | posix      whether options end at the first operand
 *   sC=KN                the short option C is option number N; K: n no value, r a required one, o an optional one
 *   lNAME=KN             the same of a long option
 *   aHEX                 one argument, in hexadecimal
 * An answer is `error`, or the options and operands in order: oN (without a value), oN=HEX, pHEX, and nothing else.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 8192, MAX_LINE = 1 << 22 };

static _Noreturn void fail(const char *why)
{
    fprintf(stderr, "getopt_probe: %s\n", why);
    exit(2);
}

static int kind_of(char letter)
{
    switch (letter) {
    case 'n': return no_argument;
    case 'r': return required_argument;
    case 'o': return optional_argument;
    default: fail("a kind is n, r or o");
    }
}

static int digit(char letter)
{
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    fail("not hexadecimal");
}

/* Decodes in place. */
static char *decoded(char *hex)
{
    size_t length = strlen(hex);
    if (length % 2) fail("half a byte");
    for (size_t at = 0; at < length / 2; at++)
        hex[at] = (char)(digit(hex[2 * at]) << 4 | digit(hex[2 * at + 1]));
    hex[length / 2] = '\0';
    return hex;
}

static void print_hex(const char *text)
{
    for (; *text; text++) printf("%02x", (unsigned char)*text);
}

struct query {
    char shorts[1024];        /* for getopt_long */
    int number_of_short[256]; /* which option a letter is */
    struct option longs[512];
    int number_of_long[512];
    char *argv[MAX_WORDS + 1];
    int argc;
};

static void read_short(struct query *q, const char *word)
{
    int kind;
    size_t used = strlen(q->shorts);
    if (strlen(word) < 5 || word[2] != '=') fail("a short option is sC=KN");
    if (used + 4 > sizeof q->shorts) fail("too many short options");
    kind = kind_of(word[3]);
    q->number_of_short[(unsigned char)word[1]] = atoi(word + 4);
    q->shorts[used] = word[1];
    strcpy(q->shorts + used + 1, kind == no_argument ? "" : kind == required_argument ? ":" : "::");
}

static int read_long(struct query *q, int count, char *word)
{
    char *equals = strrchr(word, '=');
    if (!equals || strlen(equals) < 3) fail("a long option is lNAME=KN");
    if (count == 511) fail("too many long options");
    *equals = '\0';
    q->longs[count] = (struct option){word + 1, kind_of(equals[1]), NULL, 256 + count};
    q->number_of_long[count] = atoi(equals + 2);
    return count + 1;
}

static void read_query(struct query *q, char *line)
{
    int longs = 0;
    char *word = strtok(line, " ");
    memset(q, 0, sizeof *q);
    if (!word) fail("an empty query");
    strcpy(q->shorts, strcmp(word, "posix") == 0 ? "+:" : ":");
    q->argv[q->argc++] = "program";
    while ((word = strtok(NULL, " "))) {
        switch (word[0]) {
        case 's': read_short(q, word); break;
        case 'l': longs = read_long(q, longs, word); break;
        case 'a':
            if (q->argc == MAX_WORDS) fail("too many arguments");
            q->argv[q->argc++] = decoded(word + 1);
            break;
        default: fail("a word begins with s, l or a");
        }
    }
}

/* Options first, since the answer to a line with an error is `error` alone. */
static void answer(struct query *q)
{
    static int numbers[MAX_LINE];
    static char *values[MAX_LINE];
    int found = 0, option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(q->argc, q->argv, q->shorts, q->longs, NULL)) != -1) {
        int known = option != '?' && option != ':';
        if (!known || found == MAX_LINE) {
            puts("error");
            return;
        }
        numbers[found] = option >= 256 ? q->number_of_long[option - 256] : q->number_of_short[option];
        values[found++] = optarg;
    }
    for (int at = 0; at < found; at++) {
        printf("%so%d", at ? " " : "", numbers[at]);
        if (values[at]) {
            putchar('=');
            print_hex(values[at]);
        }
    }
    for (int at = optind; at < q->argc; at++) {
        printf("%sp", at > optind || found ? " " : "");
        print_hex(q->argv[at]);
    }
    putchar('\n');
}

int main(void)
{
    static struct query q;
    char *line = malloc(MAX_LINE);
    if (!line) fail("no memory");
    while (fgets(line, MAX_LINE, stdin)) {
        size_t length = strlen(line);
        if (!length || line[length - 1] != '\n') fail("a line is too long");
        line[length - 1] = '\0';
        read_query(&q, line);
        answer(&q);
        fflush(stdout);
    }
    return 0;
}
