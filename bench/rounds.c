/* rounds: the parent's part: which store is filled by whom in which order.
 *
 * The list of workloads is cut at "/" into stores. Each store of each engine is a child process of
 * its own, so that memory, threads and page tables of one do not weigh on another, and is removed
 * afterwards. Engines take turns at each store: a machine that drifts drifts under all of them. */
#include "limit.h"
#include "results.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool bench_chosen(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && (at[length] == 0 || at[length] == ','))
            return true;
    return false;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s, (void)type, (void)at;
    return remove(path);
}

static void remove_stores(const char *path)
{
    char beside[600];
    snprintf(beside, sizeof beside, "%s.recover", path);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    nftw(beside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Fills in the settings of one store from its text, "value=1024,fillrandom,readrandom", and leaves
 * the names of the workloads in `names`. */
static void read_store(settings *s, const char *text, char *names, size_t size)
{
    char list[1024];
    bool syncs = false, writes = false, others = false;
    size_t at = 0;
    snprintf(list, sizeof list, "%s", text);
    names[0] = 0;
    for (char *save = NULL, *word = strtok_r(list, ", ", &save); word;
         word = strtok_r(NULL, ", ", &save)) {
        char *value = strchr(word, '=');
        if (value) {
            size_t before = s->data.key_bytes + s->data.value_bytes;
            *value = 0;
            if (!options_set(s, word, value + 1))
                bench_fail("bench", word, "there is no such option");
            size_t now = s->data.key_bytes + s->data.value_bytes;
            s->records = (s->records * before + now - 1) / now; /* the same bytes */
            s->reads = (s->reads * before + now - 1) / now;
            continue;
        }
        at += (size_t)snprintf(names + at, at < size ? size - at : 0, "%s%s", at ? "," : "", word);
        char *threads = strchr(word, '@');
        if (threads)
            *threads = 0;
        if (strcmp(word, "fillsync") == 0)
            syncs = true;
        else
            others = true;
        writes |= strcmp(word, "fillsync") != 0 && workload_writes(word);
    }
    if (at >= size)
        bench_fail("bench", "workloads", "the list is too long");
    if (syncs && writes && s->config.durability != BENCH_D2)
        bench_fail("bench", "workloads",
                   "fillsync is D2 and its neighbours are not: put a / between them, so that each "
                   "has a store, or say --durability D2");
    if (syncs)
        s->config.durability = BENCH_D2;
    s->only_syncs = syncs && !others;
    s->config.data_bytes =
        (s->records + s->reads) * (s->data.key_bytes + s->data.value_bytes) + s->recover_bytes;
    s->config.limited = s->limit_bytes > 0;
    s->config.records = s->records;
    s->config.key_bytes = s->data.key_bytes;
    s->config.value_bytes = s->data.value_bytes;
    s->workloads = names;
}

static void child(const settings *s, size_t engine, const char *path, int to)
{
    FILE *out = fdopen(to, "w");
    if (!out)
        bench_fail("bench", "pipe", strerror(errno));
    if (s->limit_bytes > 0)
        limit_enter(s->limit_bytes);
    run_engine(s, bench_engines[engine], path, out);
    fclose(out);
    exit(0);
}

static void run_store(const settings *s, size_t engine)
{
    char path[512];
    int ends[2], status = 0;
    const char *name = bench_engines[engine]->name;
    snprintf(path, sizeof path, "%s/firn-bench-%ld-%s", s->folder, (long)getpid(), name);
    remove_stores(path);
    if (pipe(ends) != 0)
        bench_fail("bench", "pipe", strerror(errno));
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("bench", "fork", strerror(errno));
    if (pid == 0) {
        close(ends[0]);
        child(s, engine, path, ends[1]);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    bench_row *row = bench_alloc(sizeof *row);
    while (in && fread(row, sizeof *row, 1, in) == 1)
        results_add(engine, row);
    free(row);
    if (in)
        fclose(in);
    waitpid(pid, &status, 0);
    if (s->limit_bytes > 0)
        limit_remove(pid);
    remove_stores(path);
    if (status != 0)
        bench_fail(name, s->workloads, "the process that ran it failed; what it said stands above");
}

static void run_stores(const settings *all, unsigned round)
{
    char list[4096], names[1024];
    unsigned store = 0;
    snprintf(list, sizeof list, "%s", all->workloads);
    for (char *save = NULL, *text = strtok_r(list, "/", &save); text;
         text = strtok_r(NULL, "/", &save)) {
        settings s = *all;
        s.store = ++store;
        read_store(&s, text, names, sizeof names);
        for (size_t i = 0; i < bench_engine_count; i++) {
            const bench_engine *e = bench_engines[i];
            if (!bench_chosen(s.engines, e->name) || (e->only_syncs && !s.only_syncs))
                continue;
            if (e->classes & s.config.durability) {
                if (isatty(STDERR_FILENO))
                    fprintf(stderr, "\r\033[Kround %u of %u: %s: %.60s", round + 1, s.rounds,
                            e->name, names);
                run_store(&s, i);
            } else if (round == 0) {
                printf("%s is left out of %s: it does not offer %s\n", e->name, names,
                       class_name(s.config.durability));
            }
        }
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

void rounds_run(const settings *s)
{
    for (unsigned round = 0; round < s->rounds; round++)
        run_stores(s, round);
}
