/* command: the table of verbs, finding one, and help. A new verb is a line in `verbs`. */
#include "command.h"

#include <base/slice.h>
#include <firn/firn.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "escape.h"
#include "output.h"

static int run_help(const verb *v, int argc, char **argv);
static int run_version(const verb *v, int argc, char **argv);

static const verb verb_version = {
    .name = "version",
    .usage = "",
    .summary = "print the version",
    .help = "Prints the version of the command and of the library in it.\n",
    .run = run_version,
};

static const verb verb_help = {
    .name = "help",
    .usage = "[VERB]",
    .summary = "explain a verb",
    .help = "Without VERB, lists the verbs. `firn VERB --help` prints the same text.\n"
            "\n"
            "examples:\n"
            "  firn help load\n",
    .run = run_help,
};

static const verb *const verbs[] = {
    &verb_load,    &verb_get,  &verb_put,     &verb_del,     &verb_scan,   &verb_count, &verb_dump,
    &verb_buckets, &verb_stat, &verb_wal,     &verb_check,   &verb_repair, &verb_lost,  &verb_flush,
    &verb_compact, &verb_drop, &verb_destroy, &verb_version, &verb_help,
};
#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

static const verb *find(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

/* ---- The nearest verb ---- */

#define WORD_MAX 16 /* longer words are near to no verb */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must be added, removed, replaced or swapped with their neighbour to make b of a.
 */
static size_t edits(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(replaced, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

const char *command_nearest(const char *word)
{
    /* What people know from other tools, too far off in letters. */
    static const char *const others[][2] = {
        {"set", "put"},       {"insert", "put"},  {"delete", "del"},   {"rm", "del"},
        {"remove", "del"},    {"import", "load"}, {"export", "dump"},  {"list", "scan"},
        {"ls", "scan"},       {"range", "scan"},  {"verify", "check"}, {"fsck", "check"},
        {"info", "stat"},     {"log", "wal"},     {"sync", "flush"},   {"vacuum", "compact"},
        {"merge", "compact"},
    };
    const char *best = NULL;
    size_t best_edits = 3; /* three wrong letters are another word */
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(word, others[i][0]) == 0)
            return others[i][1];
    for (size_t i = 0; i < VERB_COUNT; i++) {
        size_t n = edits(word, verbs[i]->name);
        if (n < best_edits && n < strlen(verbs[i]->name)) {
            best = verbs[i]->name;
            best_edits = n;
        }
    }
    return best;
}

/* ---- Help ---- */

static void print_verb_help(const verb *v)
{
    printf("usage: firn %s%s%s\n\n%s: %s\n\n%s", v->name, v->usage[0] ? " " : "", v->usage, v->name,
           v->summary, v->help);
}

static void print_overview(FILE *to)
{
    fprintf(to, "usage: firn VERB DB [argument...]\n\n"
                "firn keeps keys and values in order, in a folder DB.\n\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        fprintf(to, "  %-8s %-44s %s\n", verbs[i]->name, verbs[i]->usage, verbs[i]->summary);
    fprintf(to, "\n"
                "Keys and values are text with the escapes \\t \\n \\r \\\\ and \\xHH.\n"
                "exit codes: 0 done, 1 not found, 2 usage, 3 input or output, 4 damage, 5 locked,\n"
                "6 in doubt (check, repair).\n"
                "`firn help VERB` explains a verb and gives examples.\n");
}

/* Help and version go through stdio; a full disk shows when it is flushed. */
static int flush_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_DONE;
    return errno == EPIPE ? EXIT_DONE : fail_system("cannot write", "standard output", errno);
}

static int no_such_verb(const char *word)
{
    const char *near = command_nearest(word);
    if (near)
        return fail_text(EXIT_USAGE, NULL, "there is no verb \"%s\"; did you mean \"%s\"?", word,
                         near);
    return fail_text(EXIT_USAGE, "`firn help` lists the verbs", "there is no verb \"%s\"", word);
}

static int run_help(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{0}};
    int c = args_next(v, argc, argv, "", longs);
    if (c != -1)
        return args_stop(c);
    if (!args_count(v, argc, 0, 1))
        return EXIT_USAGE;
    if (optind == argc) {
        print_overview(stdout);
        return flush_stdout();
    }
    const verb *asked = find(argv[optind]);
    if (!asked)
        return no_such_verb(argv[optind]);
    print_verb_help(asked);
    return flush_stdout();
}

static int run_version(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{0}};
    int c = args_next(v, argc, argv, "", longs);
    if (c != -1)
        return args_stop(c);
    if (!args_count(v, argc, 0, 0))
        return EXIT_USAGE;
    printf("firn %s\n", firn_version());
    return flush_stdout();
}

int command_run(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    const verb *v = find(word);
    if (!v)
        return no_such_verb(word);
    return v->run(v, argc - 1, argv + 1);
}

/* ---- Arguments ---- */

#define LONGS_MAX 24

int args_next(const verb *v, int argc, char **argv, const char *shorts, const struct option *longs)
{
    struct option all[LONGS_MAX] = {{"help", no_argument, NULL, 'h'}};
    char letters[64];
    size_t n = 1;
    for (; longs[n - 1].name && n + 1 < LONGS_MAX; n++)
        all[n] = longs[n - 1];
    /* The leading colon lets a missing argument be told from an unknown option. */
    snprintf(letters, sizeof letters, ":h%s", shorts);
    opterr = 0;
    const char *word = optind > 0 && optind < argc ? argv[optind] : "";
    int c = getopt_long(argc, argv, letters, all, NULL);
    if (c == 'h') {
        print_verb_help(v);
        return flush_stdout() == EXIT_DONE ? ARG_HELP : ARG_WRONG;
    }
    if (c != '?' && c != ':')
        return c;
    /* getopt has moved past the option, except inside of a group of letters. */
    if (optind > 0 && optind <= argc && argv[optind - 1][0] == '-')
        word = argv[optind - 1];
    if (c == ':')
        fail_usage(v, "the option %s needs a value", word);
    else
        fail_usage(
            v,
            "%s is no option of `firn %s`, or is given wrongly (what begins with - and is not "
            "an option goes behind --)",
            word, v->name);
    return ARG_WRONG;
}

int args_stop(int c)
{
    return c == ARG_HELP ? EXIT_DONE : EXIT_USAGE;
}

bool args_count(const verb *v, int argc, int min, int max)
{
    int n = argc - optind;
    if (n >= min && n <= max)
        return true;
    fail_usage(v, "`firn %s` got %s arguments", v->name, n < min ? "too few" : "too many");
    return false;
}

bool args_number(const verb *v, const char *option, const char *text, uint64_t min, uint64_t max,
                 uint64_t *out)
{
    uint64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            n = UINT64_MAX;
        if (n == UINT64_MAX)
            break;
    }
    if (p == text || *p != '\0' || n < min || n > max) {
        fail_usage(v, "%s takes a number from %llu to %llu, not \"%s\"", option,
                   (unsigned long long)min, (unsigned long long)max, text);
        return false;
    }
    *out = n;
    return true;
}

int args_decode(const verb *v, const char *what, const char *text, buf *out)
{
    size_t bad;
    buf_clear(out);
    int rc = escape_decode(slice_of_str(text), out, &bad);
    if (rc == FIRN_OK)
        return EXIT_DONE;
    if (rc != FIRN_INVALID)
        return fail_text(EXIT_IO, NULL, "out of memory");
    return fail_usage(v, "the %s has no escape at \"%s\": write \\t \\n \\r \\\\ or \\xHH", what,
                      text + bad);
}
