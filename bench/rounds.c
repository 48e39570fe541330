/* rounds: the parent's part: which store is filled by whom in which order.
 *
 * The list of workloads is cut at "/" into stores. Each store of each engine is a child process of
 * its own, so that memory, threads and page tables of one do not weigh on another, and is removed
 * afterwards. Engines take turns at each store: a machine that drifts drifts under all of them.
 *
 * An interrupt or a failure ends the run, not what it has measured so far. */
#include "limit.h"
#include "results.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
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

/* ---- what it tells meanwhile ---- */

#define QUIET_MS 15000 /* without a row for so long, it says that it is still there */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

typedef struct progress {
    uint64_t begun_ns;
    unsigned round, rounds, store, stores;
} progress;

/* On a terminal one line that changes; elsewhere a line for each step, so that a file or a pipe shows where it stands. */
static void tell(const progress *p, const char *engine, const char *what)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    unsigned seconds = (unsigned)((now_ns() - p->begun_ns) / 1000000000);
    fprintf(stderr, "%s[%u:%02u] round %u of %u, store %u of %u: %s: %.70s%s",
            terminal ? "\r\033[K" : "", seconds / 60, seconds % 60, p->round, p->rounds, p->store,
            p->stores, engine, what, terminal ? "" : "\n");
}

static void tell_no_more(void)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

/* ---- one store ---- */

static void child(const settings *s, size_t engine, const char *path, int to)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    FILE *out = fdopen(to, "w");
    if (!out)
        bench_fail("bench", "pipe", strerror(errno));
    if (s->limit_bytes > 0)
        limit_enter(s->limit_bytes);
    run_engine(s, bench_engines[engine], path, out);
    fclose(out);
    exit(0);
}

/* The next row that the child sends; false: there are no more, or the run was interrupted. */
static bool read_row(int from, bench_row *row, const progress *p, const char *engine)
{
    size_t have = 0;
    char text[80];
    while (have < sizeof *row && !interrupted) {
        struct pollfd fd = {.fd = from, .events = POLLIN};
        int ready = poll(&fd, 1, QUIET_MS);
        if (ready == 0) {
            snprintf(text, sizeof text, "still at work%s%.40s", row->name[0] ? " behind " : "",
                     row->name);
            tell(p, engine, text);
        }
        ssize_t n = ready > 0 ? read(from, (char *)row + have, sizeof *row - have) : -1;
        if (n == 0 || (n < 0 && ready > 0 && errno != EINTR))
            return false;
        have += n > 0 ? (size_t)n : 0;
    }
    return have == sizeof *row;
}

static void take_rows(int from, size_t engine, const progress *p)
{
    char text[96], number[32];
    const char *name = bench_engines[engine]->name;
    bench_row *row = bench_alloc(sizeof *row);
    while (read_row(from, row, p, name)) {
        results_add(engine, row);
        if (row->ops > 1)
            snprintf(text, sizeof text, "%s: %s a second", row->name,
                     human(row_rate(row), number, sizeof number));
        else
            snprintf(text, sizeof text, "%s: %.3g s", row->name, row->seconds);
        tell(p, name, text);
    }
    free(row);
}

static bool run_store(const settings *s, size_t engine, const progress *p)
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
    take_rows(ends[0], engine, p);
    close(ends[0]);
    if (interrupted)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (s->limit_bytes > 0)
        limit_remove(pid);
    remove_stores(path);
    if (status == 0 || interrupted)
        return status == 0;
    tell_no_more();
    fprintf(stderr, "bench: %s: %s: the process that ran it failed; what it said stands above\n",
            name, s->workloads);
    return false;
}

/* ---- all of them ---- */

static bool run_engines(const settings *s, const char *names, progress *p)
{
    for (size_t i = 0; i < bench_engine_count; i++) {
        const bench_engine *e = bench_engines[i];
        if (!bench_chosen(s->engines, e->name) || (e->only_syncs && !s->only_syncs))
            continue;
        if (e->classes & s->config.durability) {
            tell(p, e->name, names);
            if (!run_store(s, i, p))
                return false;
        } else if (p->round == 1) {
            tell_no_more();
            printf("%s is left out of %s: it does not offer %s\n", e->name, names,
                   class_name(s->config.durability));
        }
    }
    return true;
}

static bool run_stores(const settings *all, progress *p)
{
    char list[4096], names[1024];
    bool went_well = true;
    p->store = 0;
    snprintf(list, sizeof list, "%s", all->workloads);
    for (char *save = NULL, *text = strtok_r(list, "/", &save); text && went_well;
         text = strtok_r(NULL, "/", &save)) {
        settings s = *all;
        s.store = ++p->store;
        read_store(&s, text, names, sizeof names);
        went_well = run_engines(&s, names, p);
    }
    return went_well;
}

/* Reads every store's part of the list once before anything is measured: what is wrong in it ends the program here. */
static unsigned count_stores(const settings *all)
{
    char list[4096], names[1024];
    unsigned count = 0;
    if (strlen(all->workloads) >= sizeof list)
        bench_fail("bench", "workloads", "the list is too long");
    snprintf(list, sizeof list, "%s", all->workloads);
    for (char *save = NULL, *text = strtok_r(list, "/", &save); text;
         text = strtok_r(NULL, "/", &save), count++) {
        settings s = *all;
        read_store(&s, text, names, sizeof names);
    }
    return count;
}

outcome rounds_run(const settings *s, unsigned *rounds)
{
    struct sigaction act = {.sa_handler = on_signal}; /* calls that wait are interrupted */
    progress p = {.begun_ns = now_ns(), .rounds = s->rounds, .stores = count_stores(s)};
    bool went_well = true;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    for (*rounds = 0; *rounds < s->rounds && went_well; *rounds += went_well) {
        p.round = *rounds + 1;
        went_well = run_stores(s, &p);
    }
    tell_no_more();
    return went_well ? COMPLETE : interrupted ? INTERRUPTED : FAILED;
}
