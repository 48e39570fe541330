/* settings: see settings.h. */
#include "settings.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <store/store.h>

static const char help[] =
    "firn-simulate: what firn's tree does in a day of writing, without a disk.\n"
    "\n"
    "What is written\n"
    "  --records N          keys that there are (10M)\n"
    "  --key-bytes N        of each key (16)\n"
    "  --value-bytes N      of each value (100)\n"
    "  --compressible N     percent of a value that compression takes away (50)\n"
    "  --pattern WORD       random: any key, each as often as any other (the default)\n"
    "                       ascending: new keys, each behind the last\n"
    "                       zipf: few keys often, many seldom\n"
    "                       delete: as random, and every other write deletes\n"
    "  --tree-bytes BYTES   begins with a full tree of so many bytes of keys and values; without "
    "it,\n"
    "                       the tree begins empty and the records are loaded first, in random "
    "order\n"
    "  --writes N           so many writes are measured (as many as records)\n"
    "  --hours N            or so many hours of them\n"
    "  --rate BYTES         of keys and values a second (0: as fast as it goes)\n"
    "  --writers N          threads that write (1)\n"
    "\n"
    "The store\n"
    "  --memory BYTES  --table-bytes BYTES  --segment-bytes BYTES  --compression WORD\n"
    "                       as in firn_options\n"
    "  --workers N          jobs at a time beside a flush (2)\n"
    "  --ratio N  --first-level-bytes BYTES  --level0-at N  --level0-most N\n"
    "  --job-bytes BYTES\n"
    "                       other numbers for the schedule than the engine's\n"
    "\n"
    "The machine\n"
    "  --cores N            processors (2)\n"
    "  --disk BYTES         a second, read and written (1GiB)\n"
    "  --put-ns N           of a processor for a write (900)\n"
    "  --entry-ns N         for an entry that a flush or a merge reads (150)\n"
    "\n"
    "The answer\n"
    "  --json               as JSON\n"
    "  --compare            carries the same writes out on a real store in a temporary folder, "
    "too,\n"
    "                       prints both, and ends with 1 where they differ by more than 15 %\n"
    "  --threads            with --compare: the real store works in threads of its own, and the "
    "figures\n"
    "                       depend on the machine; without it, each write does what it makes due\n"
    "  --folder PATH        with --compare: where that folder is made ($TMPDIR, or /tmp)\n"
    "  --seed N             of the real run's keys (1)\n"
    "\n"
    "Counts take K, M, G and T for thousands and more; bytes take KiB, MiB, GiB and TiB, or KB to "
    "TB.\n";

void stop(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputs("firn-simulate: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(1);
}

static void refuse(const char *name, const char *value, const char *allowed)
    __attribute__((noreturn));
static void refuse(const char *name, const char *value, const char *allowed)
{
    fprintf(stderr, "firn-simulate: --%s cannot be \"%s\": give %s\n", name, value, allowed);
    exit(2);
}

const char *pattern_name(pattern p)
{
    static const char *const names[] = {"random", "ascending", "zipf", "delete"};
    return names[p];
}

typedef enum unit { PLAIN, COUNT, BYTES } unit;

typedef struct option_kind {
    const char *name;
    unit unit;
    double least, most;
    const char *allowed;
} option_kind;

enum { TREE_MOST = 64 }; /* TiB */

static const option_kind kinds[] = {
    {"records", COUNT, 1, 1e12, "a number of keys from 1 to 1T"},
    {"key-bytes", PLAIN, 8, 1024, "a number from 8 to 1024"},
    {"value-bytes", PLAIN, 0, 1 << 20, "a number from 0 to 1048576"},
    {"compressible", PLAIN, 0, 100, "a number from 0 to 100"},
    {"tree-bytes", BYTES, 1 << 20, TREE_MOST * 1099511627776.0, "a size from 1MiB to 64TiB"},
    {"writes", COUNT, 1, 1e13, "a number from 1 to 10T"},
    {"hours", PLAIN, 0.0001, 8760, "a number of hours, at most 8760"},
    {"rate", BYTES, 0, 1e12, "a size: bytes a second; 0: as fast as it goes"},
    {"writers", PLAIN, 1, 1024, "a number from 1 to 1024"},
    {"workers", PLAIN, 1, SIMULATED_WORKERS_MAX, "a number from 1 to 16"},
    {"cores", PLAIN, 1, 1024, "a number from 1 to 1024"},
    {"disk", BYTES, 1 << 20, 1e12, "a size: bytes a second, at least 1MiB"},
    {"put-ns", PLAIN, 1, 1e9, "a number of nanoseconds"},
    {"entry-ns", PLAIN, 1, 1e9, "a number of nanoseconds"},
    {"ratio", PLAIN, 2, 100, "a number from 2 to 100"},
    {"first-level-bytes", BYTES, 1 << 16, 1e15, "a size, at least 64KiB"},
    {"level0-at", PLAIN, 1, 23, "a number from 1 to 23"},
    {"level0-most", PLAIN, 1, 23, "a number from 1 to 23"},
    {"job-bytes", BYTES, 1 << 16, 1e15, "a size, at least 64KiB"},
    {"seed", PLAIN, 0, 9e15, "a number"},
};

/* 0: no unit of this kind. */
static double unit_factor(unit u, const char *end)
{
    static const char letters[] = "KMGT";
    double factor = 1;
    if (*end == 0)
        return 1;
    const char *at = u == PLAIN ? NULL : strchr(letters, end[0] & ~32);
    if (!at)
        return 0;
    bool binary = u == BYTES && (end[1] == 0 || strcasecmp(end + 1, "iB") == 0);
    bool decimal = u == BYTES ? strcasecmp(end + 1, "B") == 0 : end[1] == 0;
    if (!binary && !decimal)
        return 0;
    for (const char *l = letters; l <= at; l++)
        factor *= binary ? 1024 : 1000;
    return factor;
}

static double number(const char *name, const char *value)
{
    const option_kind *k = kinds;
    while (strcmp(k->name, name) != 0)
        k++;
    char *end = NULL;
    double n = value[0] >= '0' && value[0] <= '9' ? strtod(value, &end) : -1;
    double factor = end ? unit_factor(k->unit, end) : 0;
    n *= factor;
    if (factor == 0 || !(n >= k->least) || n > k->most)
        refuse(name, value, k->allowed);
    return n;
}

static bool set_writes(settings *s, const char *name, const char *value)
{
    if (strcmp(name, "records") == 0)
        s->records = (uint64_t)number(name, value);
    else if (strcmp(name, "key-bytes") == 0)
        s->key_bytes = (unsigned)number(name, value);
    else if (strcmp(name, "value-bytes") == 0)
        s->value_bytes = (unsigned)number(name, value);
    else if (strcmp(name, "compressible") == 0)
        s->compressible = (unsigned)number(name, value);
    else if (strcmp(name, "tree-bytes") == 0)
        s->tree_bytes = (uint64_t)number(name, value);
    else if (strcmp(name, "writes") == 0)
        s->writes = (uint64_t)number(name, value);
    else if (strcmp(name, "hours") == 0)
        s->hours = number(name, value);
    else if (strcmp(name, "rate") == 0)
        s->rate = number(name, value);
    else if (strcmp(name, "writers") == 0)
        s->writers = (unsigned)number(name, value);
    else
        return false;
    return true;
}

static bool set_policy(settings *s, const char *name, const char *value)
{
    if (strcmp(name, "workers") == 0)
        s->workers = (unsigned)number(name, value);
    else if (strcmp(name, "ratio") == 0)
        s->ratio = number(name, value);
    else if (strcmp(name, "first-level-bytes") == 0)
        s->base_bytes = number(name, value);
    else if (strcmp(name, "level0-at") == 0)
        s->level0_at = number(name, value);
    else if (strcmp(name, "level0-most") == 0)
        s->level0_most = number(name, value);
    else if (strcmp(name, "job-bytes") == 0)
        s->job_bytes = number(name, value);
    else if (strcmp(name, "cores") == 0)
        s->machine.cores = number(name, value);
    else if (strcmp(name, "disk") == 0)
        s->machine.disk_ns = 1e9 / number(name, value);
    else if (strcmp(name, "put-ns") == 0)
        s->machine.put_ns = number(name, value);
    else if (strcmp(name, "entry-ns") == 0)
        s->machine.entry_ns = number(name, value);
    else if (strcmp(name, "seed") == 0)
        s->seed = (uint64_t)number(name, value);
    else
        return false;
    return true;
}

static void set_store(settings *s, const char *name, const char *value)
{
    char engine_name[32];
    firn_error err = {0};
    snprintf(engine_name, sizeof engine_name, "%s", name);
    for (char *at = engine_name; *at; at++)
        *at = *at == '-' ? '_' : *at;
    if (firn_options_set(&s->options, engine_name, value, &err) != FIRN_OK) {
        fprintf(stderr, "firn-simulate: --%s: %s; %s\n", name, err.message, err.hint);
        exit(2);
    }
}

static void set(settings *s, const char *name, const char *value)
{
    if (set_writes(s, name, value) || set_policy(s, name, value))
        return;
    if (strcmp(name, "folder") == 0) {
        s->folder = value;
    } else if (strcmp(name, "pattern") == 0) {
        for (pattern p = PATTERN_RANDOM; p <= PATTERN_DELETE; p++)
            if (strcmp(value, pattern_name(p)) == 0) {
                s->pattern = p;
                return;
            }
        refuse(name, value, "random, ascending, zipf or delete");
    } else {
        set_store(s, name, value);
    }
}

void settings_init(settings *s)
{
    *s = (settings){.records = 10000000,
                    .key_bytes = 16,
                    .value_bytes = 100,
                    .compressible = 50,
                    .writers = 1,
                    .workers = 2,
                    .seed = 1,
                    .machine = {.cores = 2,
                                .disk_ns = 1e9 / (1 << 30),
                                .put_ns = 900,
                                .entry_ns = 150,
                                .plain_ns = 0.5,
                                .packed_ns = 2}};
    firn_options_init(&s->options);
}

/* What only shows when all options are known. */
static void complete(settings *s, bool records_given)
{
    firn_error err = {0};
    firn_options resolved;
    if (s->tree_bytes && records_given) {
        fprintf(stderr,
                "firn-simulate: --records and --tree-bytes say the same: give one of them\n");
        exit(2);
    }
    if (s->writes && s->hours > 0) {
        fprintf(stderr, "firn-simulate: --writes and --hours both say when to end: give one\n");
        exit(2);
    }
    if (s->compare && (s->tree_bytes || s->hours > 0)) {
        fprintf(stderr, "firn-simulate: --compare goes with --records and --writes, not with "
                        "--tree-bytes or --hours: a real store begins empty\n");
        exit(2);
    }
    if (s->compare && s->key_bytes < 16) {
        fprintf(stderr, "firn-simulate: --compare needs --key-bytes of at least 16\n");
        exit(2);
    }
    if (options_resolve(&s->options, &resolved, &err) != FIRN_OK) {
        fprintf(stderr, "firn-simulate: %s; %s\n", err.message, err.hint);
        exit(2);
    }
    s->options = resolved;
    if (s->tree_bytes)
        s->records = s->tree_bytes / (s->key_bytes + s->value_bytes) + 1;
    if (s->writes == 0 && s->hours <= 0)
        s->writes = s->records;
}

enum { NAMES = 27 };
static const char *const names[NAMES] = {
    "records",       "key-bytes",   "value-bytes", "compressible",      "pattern",   "tree-bytes",
    "writes",        "hours",       "rate",        "writers",           "memory",    "table-bytes",
    "compression",   "workers",     "ratio",       "first-level-bytes", "level0-at", "job-bytes",
    "cores",         "disk",        "put-ns",      "entry-ns",          "folder",    "seed",
    "segment-bytes", "filter-bits", "level0-most"};

void settings_parse(int argc, char **argv, settings *s)
{
    struct option options[NAMES + 5] = {{0}};
    int c, index = 0;
    bool records_given = false;
    for (int i = 0; i < NAMES; i++)
        options[i] = (struct option){names[i], required_argument, NULL, 'o'};
    options[NAMES] = (struct option){"json", no_argument, NULL, 'j'};
    options[NAMES + 1] = (struct option){"compare", no_argument, NULL, 'c'};
    options[NAMES + 2] = (struct option){"threads", no_argument, NULL, 't'};
    options[NAMES + 3] = (struct option){"help", no_argument, NULL, 'h'};
    settings_init(s);
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        s->json = s->json || c == 'j';
        s->compare = s->compare || c == 'c';
        s->threads = s->threads || c == 't';
        records_given = records_given || (c == 'o' && index == 0);
        if (c == 'o')
            set(s, names[index], optarg);
        if (c == '?') {
            fputs("firn-simulate: see --help\n", stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "firn-simulate: what is \"%s\"? See --help\n", argv[optind]);
        exit(2);
    }
    complete(s, records_given);
}
