/* options: the command line, the profiles, and options inside the list of workloads. */
#include "bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WORKLOADS "fillrandom,settle,readrandom,readmissing,readseq,readreverse,seek10"

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
    "fillseq,seekdeleted,scandeleted/bulkload,settle/recover/"                                     \
    "value=1024,fillrandom,settle,readrandom/value=4096,fillrandom,settle,readrandom/"             \
    "value=65536,fillrandom,settle,readrandom"

/* The words of a list of workloads; in three lines of the help. */
#define WRITES                                                                                     \
    "fillseq fillrandom fillbatch fillsync overwrite deleterandom bulkload settle compact"
#define READS                                                                                      \
    "readrandom readhot readmissing readseq readreverse seek10 seek100 seekdeleted scandeleted"
#define MIXES "readwhilewriting reopen recover ycsba ycsbb ycsbc ycsbd ycsbe ycsbf"

static const char help[] =
    "usage: firn-bench [options]\n"
    "  --profile NAME     quick: six figures in under three minutes; full: everything\n"
    "  --records N        records to fill (2000000)       --reads N     random reads (1000000)\n"
    "  --value N          value bytes, 16 to 65536 (100)  --key N       key bytes, 16 to 511 (16)\n"
    "  --threads N        of each workload (1)            --rounds N    interleaved rounds (3)\n"
    "  --seconds S        end reads and mixes after S seconds, not by count\n"
    "  --durability C     D0, D1 or D2 (D1; fillsync is always D2)\n"
    "  --distribution D   of YCSB: uniform, zipfian or latest (zipfian)\n"
    "  --compressible P   percent of a value (50)         --compression yes|no  in the engines\n"
    "  --memtable MIB     (64)  --cache MIB (512)         --filter-bits N  a key (10)\n"
    "  --memory-limit MIB of a store's process and its page cache, by a control group (none)\n"
    "  --recover-mib N    of keys and values in the log that recover reads (256)\n"
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
    if (word("profile", value, "quick full") == 0) {
        s->workloads = QUICK_WORKLOADS;
        s->records = 100000;
        s->reads = 100000;
        s->recover_bytes = UINT64_C(32) << 20;
        s->rounds = 3;
    } else {
        s->workloads = FULL_WORKLOADS;
    }
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
    if (strcmp(name, "profile") == 0)
        set_profile(s, v);
    else if (strcmp(name, "durability") == 0)
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

static void check_engines(const settings *s)
{
    char list[512];
    snprintf(list, sizeof list, "%s", s->engines);
    for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
         name = strtok_r(NULL, ",", &save)) {
        bool known = false;
        for (size_t i = 0; i < bench_engine_count; i++)
            known |= strcmp(bench_engines[i]->name, name) == 0;
        if (!known) {
            fprintf(stderr, "bench: there is no engine \"%s\" in this program%s\n", name,
                    bench_left_out);
            exit(2);
        }
    }
}

/* Before anything is measured: a slip at the end of a list would cost the whole run. */
static void check_workloads(const char *list)
{
    size_t length;
    for (const char *at = list; *at; at += length + (at[length] != 0)) {
        char name[40];
        length = strcspn(at, ",/");
        snprintf(name, sizeof name, "%.*s", (int)(length < 39 ? length : 39), at);
        if (strchr(name, '=') || length == 0)
            continue;
        name[strcspn(name, "@")] = 0;
        (void)word("a workload", name, WRITES " " READS " " MIXES);
    }
}

void options_parse(int argc, char **argv, settings *s)
{
    static const char *const names[] = {
        "profile",      "records",     "reads",       "value",        "key",         "threads",
        "rounds",       "seconds",     "durability",  "memtable",     "cache",       "distribution",
        "compressible", "compression", "filter-bits", "memory-limit", "recover-mib", "folder",
        "seed",         "engines",     "workloads",   "csv",          "json",        "plot"};
    enum { NAMES = sizeof names / sizeof *names };
    struct option options[NAMES + 3] = {{0}};
    int c, index = 0;
    for (int i = 0; i < NAMES; i++)
        options[i] = (struct option){names[i], required_argument, NULL, 'o'};
    options[NAMES] = (struct option){"details", no_argument, NULL, 'd'};
    options[NAMES + 1] = (struct option){"help", no_argument, NULL, 'h'};
    s->workloads = DEFAULT_WORKLOADS;
    /* A profile is only where the other options start from, wherever it stands. */
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--profile=", 10) == 0)
            set_profile(s, argv[i] + 10);
        else if (strcmp(argv[i], "--profile") == 0 && i + 1 < argc)
            set_profile(s, argv[i + 1]);
    }
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (c == 'o' && index > 0) {
            options_set(s, names[index], optarg);
        } else if (c == 'd') {
            s->details = true;
        } else if (c != 'o') {
            print_help();
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "bench: what is \"%s\"? see --help\n", argv[optind]);
        exit(2);
    }
    check_engines(s);
    check_workloads(s->workloads);
}
