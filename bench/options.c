/* options: the command line, the profiles, and options inside the list of workloads. */
#include "bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* The six figures that matter, in under three minutes. */
#define QUICK_WORKLOADS                                                                            \
    "fillrandom,settle,readrandom,seek10,readwhilewriting/records=2000,fillsync@4/recover"

#define FULL_WORKLOADS                                                                             \
    "fillseq,settle/"                                                                              \
    "fillrandom,settle,readrandom,readrandom@2,readmissing,readhot,readseq,readreverse,seek10,"    \
    "seek100,readwhilewriting,overwrite,settle,compact,readrandom,readrandom@2,readmissing,"       \
    "readseq,readreverse,seek10,seek100,reopen,deleterandom,settle/"                               \
    "fillrandom@2,settle/fillrandom@4,settle/fillbatch,settle/"                                    \
    "fillsync/fillsync@4/fillsync@16/"                                                             \
    "fillrandom,settle,ycsba@2,ycsbb@2,ycsbc@2,ycsbf@2,ycsbd@2,ycsbe@2/"                           \
    "fillseq,seekdeleted,scandeleted/queue/bulkload,settle/recover/"                               \
    "value=1024,fillrandom,settle,readrandom/value=4096,fillrandom,settle,readrandom/"             \
    "value=65536,fillrandom,settle,readrandom"

/* The words of a list of workloads; in three lines of the help. */
#define WRITES                                                                                     \
    "fillseq fillrandom fillbatch fillsync overwrite deleterandom bulkload settle compact"
#define READS                                                                                      \
    "readrandom readhot readmissing readseq readreverse seek10 seek100 seekdeleted scandeleted"
#define MIXES "readwhilewriting queue reopen recover ycsba ycsbb ycsbc ycsbd ycsbe ycsbf"

static const char help[] =
    "usage: firn-bench [options]\n"
    "  --profile NAME     what all other options refine, wherever it stands:\n"
    "                     quick: six figures in under three minutes, of 100,000 records (default)\n"
    "                     full: everything, of 2,000,000 records\n"
    "  --records N        records to fill                 --reads N     random reads\n"
    "  --value N          value bytes, 16 to 65536 (100)  --key N       key bytes, 16 to 511 (16)\n"
    "  --threads N        of each workload (1)            --rounds N    interleaved rounds (3)\n"
    "  --seconds S        end reads and mixes after S seconds, not by count\n"
    "  --durability C     D0, D1 or D2 (D1; fillsync is always D2)\n"
    "  --distribution D   of YCSB: uniform, zipfian or latest (zipfian)\n"
    "  --compressible P   percent of a value (50)         --compression yes|no  in the engines\n"
    "  --memtable MIB     (64)  --cache MIB (512)         --filter-bits N  a key (10)\n"
    "  --memory-limit MIB of a store's process and its page cache, by a control group (none)\n"
    "  --recover-mib N    of keys and values in the log that recover reads\n"
    "  --folder PATH      where stores are made (.)       --seed N      (1)\n"
    "  --engines LIST     of those that were built in (all)\n"
    "  --workloads LIST   in this order on one store; a / begins a new one. name@N runs on N\n"
    "                     threads; option=value sets an option for one store, where another "
    "value=\n"
    "                     or key= keeps the number of bytes, not of records\n"
    "  --details          latency, CPU, memory and amplification of every engine\n"
    "  --csv FILE         --json FILE                     --plot FOLDER (SVG charts)\n"
    "\n"
    "workloads: " WRITES "\n  " READS "\n  " MIXES "\n";

static void refuse(const char *name, const char *value, const char *allowed)
{
    fprintf(stderr, "bench: %s is %s, not \"%s\"\n", name, allowed, value);
    exit(2);
}

static uint64_t number(const char *name, const char *value, uint64_t least, uint64_t most)
{
    char *end, allowed[80];
    unsigned long long n = strtoull(value, &end, 10);
    if (end == value || *end || *value == '-' || n < least || n > most) {
        snprintf(allowed, sizeof allowed, "a number from %llu to %llu", (unsigned long long)least,
                 (unsigned long long)most);
        refuse(name, value, allowed);
    }
    return n;
}

/* The position of `value` among the words, separated by blanks, of `allowed`. */
static unsigned word(const char *name, const char *value, const char *allowed)
{
    size_t length = strlen(value);
    unsigned index = 0;
    for (const char *at = allowed; *at; index++) {
        size_t size = strcspn(at, " ");
        if (size == length && strncmp(at, value, size) == 0)
            return index;
        at += size + (at[size] == ' ');
    }
    refuse(name, value, allowed);
    return 0;
}

const char *class_name(bench_class c)
{
    return c == BENCH_D0   ? "D0 (lost when the process dies)"
           : c == BENCH_D1 ? "D1 (survives the process)"
                           : "D2 (each commit survives power loss)";
}

static void set_profile(settings *s, const char *value)
{
    bool quick = word("profile", value, "quick full") == 0;
    s->workloads = quick ? QUICK_WORKLOADS : FULL_WORKLOADS;
    s->records = quick ? 100000 : 2000000;
    s->reads = quick ? 100000 : 1000000;
    s->recover_bytes = (quick ? UINT64_C(32) : UINT64_C(256)) << 20;
    s->rounds = 3;
}

static bool set_number(settings *s, const char *name, const char *v)
{
    const uint64_t most = UINT64_C(1) << 40;
    if (strcmp(name, "records") == 0)
        s->records = number(name, v, 1, most);
    else if (strcmp(name, "reads") == 0)
        s->reads = number(name, v, 1, most);
    else if (strcmp(name, "value") == 0)
        s->data.value_bytes = (size_t)number(name, v, VALUE_MIN, VALUE_MAX);
    else if (strcmp(name, "key") == 0)
        s->data.key_bytes = (size_t)number(name, v, KEY_MIN, KEY_MAX);
    else if (strcmp(name, "rounds") == 0)
        s->rounds = (unsigned)number(name, v, 1, ROUNDS_MAX);
    else if (strcmp(name, "threads") == 0)
        s->threads = (unsigned)number(name, v, 1, THREADS_MAX);
    else if (strcmp(name, "seed") == 0)
        s->data.seed = number(name, v, 0, UINT64_MAX >> 1);
    else if (strcmp(name, "compressible") == 0)
        s->data.compressible = (unsigned)number(name, v, 0, 100);
    else if (strcmp(name, "memtable") == 0)
        s->config.memtable_bytes = number(name, v, 1, 1 << 20) << 20;
    else if (strcmp(name, "cache") == 0)
        s->config.cache_bytes = number(name, v, 1, 1 << 20) << 20;
    else if (strcmp(name, "memory-limit") == 0)
        s->limit_bytes = number(name, v, 16, 1 << 20) << 20;
    else if (strcmp(name, "filter-bits") == 0)
        s->config.filter_bits = (unsigned)number(name, v, 0, 30);
    else if (strcmp(name, "recover-mib") == 0)
        s->recover_bytes = number(name, v, 1, 1 << 20) << 20;
    else if (strcmp(name, "seconds") == 0)
        s->seconds = (double)number(name, v, 1, 1000000);
    else
        return false;
    return true;
}

bool options_set(settings *s, const char *name, const char *v)
{
    if (strcmp(name, "durability") == 0)
        s->config.durability = (bench_class)(1U << word(name, v, "D0 D1 D2"));
    else if (strcmp(name, "distribution") == 0)
        s->distribution = (distribution)word(name, v, "uniform zipfian latest");
    else if (strcmp(name, "compression") == 0)
        s->config.compress = word(name, v, "no yes") == 1;
    else if (strcmp(name, "folder") == 0)
        s->folder = v;
    else if (strcmp(name, "engines") == 0)
        s->engines = v;
    else if (strcmp(name, "workloads") == 0)
        s->workloads = v;
    else if (strcmp(name, "csv") == 0)
        s->csv = v;
    else if (strcmp(name, "json") == 0)
        s->json = v;
    else if (strcmp(name, "plot") == 0)
        s->plot = v;
    else
        return set_number(s, name, v);
    return true;
}

static void print_help(void)
{
    printf("%sengines:", help);
    for (size_t i = 0; i < bench_engine_count; i++)
        printf(" %s", bench_engines[i]->name);
    printf("%s\n", bench_left_out);
}

static void give_up(const char *what, const char *value)
{
    fprintf(stderr, "bench: %s \"%s\"; see --help\n", what, value);
    exit(2);
}

static void check_engines(const settings *s)
{
    char list[512];
    unsigned chosen = 0;
    if (strlen(s->engines) >= sizeof list)
        give_up("this list of engines is too long:", s->engines);
    snprintf(list, sizeof list, "%s", s->engines);
    for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
         name = strtok_r(NULL, ",", &save), chosen++) {
        bool known = false;
        for (size_t i = 0; i < bench_engine_count; i++)
            known |= strcmp(bench_engines[i]->name, name) == 0;
        if (!known) {
            fprintf(stderr, "bench: there is no engine \"%s\" in this program%s\n", name,
                    bench_left_out);
            exit(2);
        }
    }
    if (chosen == 0)
        give_up("no engine is named in", s->engines);
}

/* Those that make sense for one store of several. */
static const char *const store_options[] = {
    "records",     "reads",       "value",        "key",          "threads",      "seconds",
    "durability",  "memtable",    "cache",        "distribution", "compressible", "compression",
    "filter-bits", "recover-mib", "memory-limit", "seed"};

static void check_store_option(settings *scratch, char *text)
{
    char *value = strchr(text, '=');
    *value++ = 0;
    for (size_t i = 0; i < sizeof store_options / sizeof *store_options; i++)
        if (strcmp(store_options[i], text) == 0) {
            options_set(scratch, text, value);
            return;
        }
    give_up("a list of workloads cannot set the option", text);
}

/* Before anything is measured: a slip at the end of a list would cost the whole run. */
static void check_workloads(const settings *s)
{
    settings scratch = *s;
    size_t length, count = 0;
    for (const char *at = s->workloads; *at; at += length + (at[length] != 0)) {
        char name[64];
        length = strcspn(at, ",/");
        if (length >= sizeof name)
            give_up("there is no workload", at);
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        char *text = name + strspn(name, " ");
        if (*text == 0)
            continue;
        if (strchr(text, '=')) {
            check_store_option(&scratch, text);
            continue;
        }
        char *threads = strchr(text, '@');
        if (threads) {
            *threads++ = 0;
            (void)number("the threads of a workload", threads, 1, THREADS_MAX);
        }
        (void)word("a workload", text, WRITES " " READS " " MIXES);
        count++;
    }
    if (count == 0)
        give_up("no workload is named in", s->workloads);
}

enum { NAMES = 24 };
static const char *const names[NAMES] = {
    "profile",      "records",     "reads",       "value",        "key",         "threads",
    "rounds",       "seconds",     "durability",  "memtable",     "cache",       "distribution",
    "compressible", "compression", "filter-bits", "memory-limit", "recover-mib", "folder",
    "seed",         "engines",     "workloads",   "csv",          "json",        "plot"};

/* The profile is only where the other options start from, wherever it stands: it is read in a pass of its own. */
static void read_options(int argc, char **argv, settings *s, bool profile)
{
    struct option options[NAMES + 3] = {{0}};
    int c, index = 0;
    for (int i = 0; i < NAMES; i++)
        options[i] = (struct option){names[i], required_argument, NULL, 'o'};
    options[NAMES] = (struct option){"details", no_argument, NULL, 'd'};
    options[NAMES + 1] = (struct option){"help", no_argument, NULL, 'h'};
    optind = 0; /* getopt begins anew */
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (c == 'o' && profile == (index == 0)) {
            if (profile)
                set_profile(s, optarg);
            else
                options_set(s, names[index], optarg);
        } else if (c == 'd') {
            s->details = true;
        } else if (c == 'h') {
            print_help();
            exit(0);
        } else if (c != 'o') {
            fprintf(stderr, "bench: see --help\n");
            exit(2);
        }
    }
    if (optind < argc)
        give_up("what is", argv[optind]);
}

void options_parse(int argc, char **argv, settings *s)
{
    set_profile(s, "quick");
    read_options(argc, argv, s, true);
    read_options(argc, argv, s, false);
    check_engines(s);
    check_workloads(s);
}
