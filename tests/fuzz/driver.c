/* driver: runs a fuzz target without a fuzzer, so that the default tests run it with any compiler:
 * every file of its corpus, then mutations of them from a fixed seed.
 *
 *   test_fuzz_TOPIC              the corpus and the mutations
 *   test_fuzz_TOPIC FILE...      these inputs, in this process (for a debugger)
 *
 * A child does the work, with the input of the moment in memory that it shares with its parent. So
 * whatever ends it (an oracle, a signal, a sanitizer, the watchdog), the input is still there: the
 * parent writes it to a file and prints the line that repeats it.
 *
 * FIRN_SEED and FIRN_LONG: see tests/README.md. Start reading at main.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <support/rng.h>

#include "fuzz.h"

#define INPUT_MAX        4096
#define FILES_MAX        1024
#define LONG_FACTOR      15
#define CPU_SECONDS      5   /* no input may take longer, however slow it is made to be */
#define WATCHDOG_SECONDS 120 /* and none may wait for ever */
#define MEMORY_MAX       ((rlim_t)2 << 30) /* of address space, most of it never touched */

typedef struct shared_input {
    size_t size;
    char origin[400]; /* where it comes from, for messages */
    uint8_t data[INPUT_MAX];
} shared_input;

typedef struct corpus {
    char *names[FILES_MAX];
    uint8_t *data[FILES_MAX];
    size_t sizes[FILES_MAX];
    size_t count;
} corpus;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

/* ---- Files ---- */

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die("cannot open %s", path);
    /* Exactly as large as the file, so that a sanitizer sees a byte too far. */
    long bytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *data = bytes >= 0 ? malloc((size_t)bytes + (bytes == 0)) : NULL;
    if (!data || fseek(file, 0, SEEK_SET) != 0 ||
        fread(data, 1, (size_t)bytes, file) != (size_t)bytes)
        die("cannot read %s", path);
    fclose(file);
    *size = (size_t)bytes;
    return data;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void corpus_load(corpus *c, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        die("there is no folder %s", folder);
    for (struct dirent *e; (e = readdir(dir)) != NULL && c->count < FILES_MAX;)
        if (e->d_name[0] != '.')
            c->names[c->count++] = strdup(e->d_name);
    closedir(dir);
    if (c->count == 0)
        die("%s is empty", folder);
    /* The order of a folder is not the same everywhere. */
    qsort(c->names, c->count, sizeof c->names[0], by_name);
    for (size_t i = 0; i < c->count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, c->names[i]);
        c->data[i] = read_whole(path, &c->sizes[i]);
    }
}

static void corpus_release(corpus *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->names[i]);
        free(c->data[i]);
    }
}

/* ---- Mutations ---- */

static void insert(shared_input *in, size_t at, const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX - in->size)
        size = INPUT_MAX - in->size;
    memmove(in->data + at + size, in->data + at, in->size - at);
    memmove(in->data + at, data, size);
    in->size += size;
}

static void mutate_once(shared_input *in, const corpus *c, rng *r)
{
    static const uint8_t edges[] = {0, 1, 7, 8, 15, 16, 0x7f, 0x80, 0xc8, 0xcb, 0xd5, 0xff};
    size_t at = in->size > 0 ? rng_below(r, in->size) : 0;
    size_t length = 1 + rng_below(r, rng_below(r, 4) ? 8 : 64);
    uint8_t some[64];
    size_t other = rng_below(r, c->count);
    switch (rng_below(r, 8)) {
    case 0:
        in->data[at] ^= (uint8_t)(1u << rng_below(r, 8));
        break;
    case 1:
        in->data[at] = (uint8_t)rng_next(r);
        break;
    case 2:
        in->data[at] = edges[rng_below(r, sizeof edges)];
        break;
    case 3: /* remove */
        if (length > in->size - at)
            length = in->size - at;
        memmove(in->data + at, in->data + at + length, in->size - at - length);
        in->size -= length;
        break;
    case 4:
        rng_fill(r, some, length);
        insert(in, at, some, length);
        break;
    case 5: /* repeat a piece elsewhere */
        if (length > in->size - at)
            length = in->size - at;
        memcpy(some, in->data + at, length);
        insert(in, in->size > 0 ? rng_below(r, in->size) : 0, some, length);
        break;
    case 6: /* a piece of another input */
        if (c->sizes[other] == 0)
            break;
        length = 1 + rng_below(r, c->sizes[other]);
        insert(in, at, c->data[other] + rng_below(r, c->sizes[other] - length + 1), length);
        break;
    default: /* a nearby number */
        in->data[at] = (uint8_t)(in->data[at] + rng_below(r, 9) - 4);
        break;
    }
}

/* ---- Running ---- */

static void limit_time(unsigned cpu_seconds, unsigned seconds)
{
    /* The process's own time: the machine may be busy with something else. */
    const struct itimerval limit = {.it_value.tv_sec = cpu_seconds};
    if (setitimer(ITIMER_PROF, &limit, NULL) != 0)
        die("cannot limit the time");
    alarm(seconds);
}

static void run(const shared_input *in)
{
    /* A copy of its own size, as in read_whole. */
    uint8_t *data = malloc(in->size + (in->size == 0));
    if (!data)
        die("no memory");
    memcpy(data, in->data, in->size);
    limit_time(CPU_SECONDS, WATCHDOG_SECONDS);
    LLVMFuzzerTestOneInput(data, in->size);
    free(data);
}

static void take(shared_input *in, const corpus *c, size_t i)
{
    in->size = c->sizes[i] < INPUT_MAX ? c->sizes[i] : INPUT_MAX;
    memcpy(in->data, c->data[i], in->size);
    snprintf(in->origin, sizeof in->origin, "%s", c->names[i]);
}

static void run_all(shared_input *in, const corpus *c, uint64_t seed, uint64_t mutations)
{
    for (size_t i = 0; i < c->count; i++) {
        take(in, c, i);
        run(in);
    }
    rng r = rng_init(seed);
    for (uint64_t i = 0; i < mutations; i++) {
        size_t from = rng_below(&r, c->count);
        take(in, c, from);
        for (uint64_t n = 1 + rng_below(&r, 6); n > 0; n--)
            mutate_once(in, c, &r);
        snprintf(in->origin, sizeof in->origin, "mutation %llu of seed %llu, from %s",
                 (unsigned long long)i, (unsigned long long)seed, c->names[from]);
        run(in);
    }
    limit_time(0, 0);
}

/* What an input can make the target allocate is bounded. A sanitizer's own memory is not. */
static void limit_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
    return;
#endif
#endif
    const struct rlimit limit = {MEMORY_MAX, MEMORY_MAX};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        die("cannot limit the memory");
}

/* Writes the input that failed where it can be found, and says how to run it again. */
static void report(const char *program, const shared_input *in, int status)
{
    const char *folder = getenv("TMPDIR");
    char path[1024], how[64];
    snprintf(path, sizeof path, "%s/firn-fuzz-" FUZZ_TOPIC "-XXXXXX",
             folder && folder[0] ? folder : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, in->data, in->size) != (ssize_t)in->size)
        die("cannot write the input that failed to %s", path);
    close(fd);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "%s", strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    printf("fuzz " FUZZ_TOPIC ": %s (%s); repeat with: %s %s\n", in->origin, how, program, path);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && text[0] ? strtoull(text, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            size_t size;
            uint8_t *data = read_whole(argv[i], &size);
            LLVMFuzzerTestOneInput(data, size);
            free(data);
        }
        return 0;
    }
    uint64_t seed = from_environment("FIRN_SEED", 1);
    uint64_t mutations = FUZZ_MUTATIONS * (from_environment("FIRN_LONG", 0) ? LONG_FACTOR : 1);
    static corpus c;
    corpus_load(&c, FUZZ_CORPUS);
    shared_input *in =
        mmap(NULL, sizeof *in, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (in == MAP_FAILED)
        die("no shared memory");
    pid_t child = fork();
    if (child < 0)
        die("cannot fork");
    if (child == 0) {
        limit_memory();
        run_all(in, &c, seed, mutations);
        corpus_release(&c);
        return 0;
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        die("the child went away");
    if (status == 0)
        printf("fuzz " FUZZ_TOPIC
               ": %zu files, %llu mutations of seed %llu\n[  PASSED  ] 1 test(s).\n",
               c.count, (unsigned long long)mutations, (unsigned long long)seed);
    else
        report(argv[0], in, status);
    corpus_release(&c);
    munmap(in, sizeof *in);
    return status == 0 ? 0 : 1;
}
