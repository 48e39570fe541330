/* make: writes one golden store, and the text that says what it holds.
 *
 *     golden_make RECIPE STORE TEXT REMARK
 *
 * It is built with the tests and run by hand, when a format changes: see README.md. It uses
 * <firn/firn.h> alone, so that it can be compiled against earlier versions of firn, too.
 *
 * A recipe is a list of lives. Each is a process of its own, which closes the store or kills
 * itself. The text comes from a model that goes through the same steps without a store. Of the
 * store's files, those that hold nothing are removed: LOCK, RESERVE, and spare segments of the
 * log. */
#include <dirent.h>
#include <firn/firn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How much of buckets the version has that this is compiled against: 0: nothing; 1: handles;
 * 2: batches over several; 3: tables of a form of their own. */
#ifndef GOLDEN_BUCKETS
#ifdef FIRN_AS_STORE
#define GOLDEN_BUCKETS 3
#else
#define GOLDEN_BUCKETS 0
#endif
#endif

#ifndef GOLDEN_RANGES /* 0: that version deletes no ranges */
#define GOLDEN_RANGES 1
#endif

/* ---- The model ---- */

typedef struct element {
    unsigned bucket;
    size_t key_size, repeats; /* the value is `piece`, so many times */
    bool there;
    char key[256], piece[64];
} element;

enum { ELEMENTS_MOST = 2000, BUCKETS_MOST = 8 };

typedef struct maker {
    const char *path, *compression;
    firn *db; /* NULL: the model alone */
    firn *handles[BUCKETS_MOST];
    const char *names[BUCKETS_MOST]; /* NULL: there is no such bucket, or it was dropped */
    size_t count;
    element elements[ELEMENTS_MOST];
} maker;

static void must(int rc, const firn_error *err, const char *what)
{
    char text[600] = "";
    if (rc == FIRN_OK)
        return;
    firn_error_format(err, text, sizeof text);
    fprintf(stderr, "golden_make: %s: %s\n", what, text);
    exit(1);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        firn_error error_ = {0};                                                                   \
        firn_error *error = &error_;                                                               \
        int status_ = (call);                                                                      \
        must(status_, error, #call);                                                               \
    } while (0)

static int by_key(const void *a, const void *b)
{
    const element *x = a, *y = b;
    size_t common = x->key_size < y->key_size ? x->key_size : y->key_size;
    int order = memcmp(x->key, y->key, common);
    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return order ? order : (x->key_size > y->key_size) - (x->key_size < y->key_size);
}

static void model_set(maker *m, unsigned bucket, const char *key, size_t key_size,
                      const char *piece, size_t repeats, bool there)
{
    element e = {.bucket = bucket, .key_size = key_size, .repeats = repeats, .there = there};
    if (key_size > sizeof e.key || strlen(piece) >= sizeof e.piece) {
        fprintf(stderr, "golden_make: too long\n");
        exit(1);
    }
    memcpy(e.key, key, key_size);
    memcpy(e.piece, piece, strlen(piece));
    size_t at = 0;
    while (at < m->count && by_key(&m->elements[at], &e) != 0)
        at++;
    if (at == ELEMENTS_MOST) {
        fprintf(stderr, "golden_make: too many keys\n");
        exit(1);
    }
    m->elements[at] = e;
    m->count += at == m->count;
}

/* ---- Steps, of the model and, in a life, of the store ---- */

static firn *handle_of(maker *m, unsigned bucket)
{
    return bucket ? m->handles[bucket] : m->db;
}

static void put_bytes(maker *m, unsigned bucket, const char *key, size_t key_size,
                      const char *piece, size_t repeats)
{
    size_t size = strlen(piece);
    model_set(m, bucket, key, key_size, piece, repeats, true);
    if (!m->db)
        return;
    char *value = malloc(size * repeats + 1);
    for (size_t i = 0; value && i < repeats; i++)
        memcpy(value + i * size, piece, size);
    MUST(firn_put(handle_of(m, bucket), key, key_size, value, size * repeats, NULL, error));
    free(value);
}

static void put(maker *m, unsigned bucket, const char *key, const char *value)
{
    put_bytes(m, bucket, key, strlen(key), value, 1);
}

static void delete_bytes(maker *m, unsigned bucket, const char *key, size_t key_size)
{
    model_set(m, bucket, key, key_size, "", 0, false);
    if (m->db)
        MUST(firn_delete(handle_of(m, bucket), key, key_size, NULL, error));
}

/* The keys PREFIX000, PREFIX003, ... with every third of them, and values that name `round`. */
static void put_some(maker *m, unsigned bucket, const char *prefix, unsigned count, unsigned step,
                     unsigned round)
{
    for (unsigned i = 0; i < count; i += step) {
        char key[32], value[64];
        snprintf(key, sizeof key, "%s%03u", prefix, i);
        snprintf(value, sizeof value, "round-%u/%08x", round, (i + 1) * 2654435761u * (round + 1));
        put(m, bucket, key, value);
    }
}

static void delete_some(maker *m, unsigned bucket, const char *prefix, unsigned count,
                        unsigned step)
{
    for (unsigned i = 0; i < count; i += step) {
        char key[32];
        snprintf(key, sizeof key, "%s%03u", prefix, i);
        delete_bytes(m, bucket, key, strlen(key));
    }
}

#if GOLDEN_RANGES > 0
/* The keys from PREFIX and `first` up to `end`, which stays. */
static void delete_range(maker *m, const char *prefix, unsigned first, unsigned end)
{
    char from[32], to[32];
    snprintf(from, sizeof from, "%s%03u", prefix, first);
    snprintf(to, sizeof to, "%s%03u", prefix, end);
    for (size_t i = 0; i < m->count; i++) {
        element *e = &m->elements[i];
        bool in = e->bucket == 0 && e->key_size == strlen(from) &&
                  memcmp(e->key, from, e->key_size) >= 0 && memcmp(e->key, to, e->key_size) < 0;
        e->there = e->there && !in;
    }
    firn_slice a = {(const uint8_t *)from, strlen(from)}, b = {(const uint8_t *)to, strlen(to)};
    const firn_range range = {.first = &a, .end = &b};
    if (m->db)
        MUST(firn_delete_range(m->db, &range, NULL, error));
}
#endif

/* Puts a, b and c, and deletes `gone`, as one. */
static void batch(maker *m, const char *gone)
{
    static const char *const keys[] = {"batch-a", "batch-b", "batch-c"};
    for (unsigned i = 0; i < 3; i++)
        model_set(m, 0, keys[i], strlen(keys[i]), "one of three", 1, true);
    model_set(m, 0, gone, strlen(gone), "", 0, false);
    if (!m->db)
        return;
    firn_batch *b = NULL;
    firn_error none = {0};
    must(firn_batch_new(&b), &none, "firn_batch_new");
    for (unsigned i = 0; i < 3; i++)
        must(firn_batch_put(b, keys[i], strlen(keys[i]), "one of three", 12), &none, "a put");
    must(firn_batch_delete(b, gone, strlen(gone)), &none, "a delete");
    MUST(firn_write(m->db, b, NULL, NULL, error));
    firn_batch_free(b);
}

static void flush(maker *m)
{
    if (m->db)
        MUST(firn_flush(m->db, error));
}

static void compact(maker *m, unsigned bucket)
{
    if (m->db)
        MUST(firn_compact(handle_of(m, bucket), NULL, 0, NULL, 0, error));
}

static firn_snapshot *snapshot(maker *m)
{
    firn_snapshot *s = NULL;
    if (m->db)
        MUST(firn_snapshot_new(m->db, &s, error));
    return s;
}

#if GOLDEN_BUCKETS > 0
static void open_bucket(maker *m, unsigned bucket, const char *name, bool own_form)
{
    m->names[bucket] = name;
    if (!m->db)
        return;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
#if GOLDEN_BUCKETS > 2
    o.compression = own_form ? FIRN_COMPRESSION_ZLIB : FIRN_AS_STORE;
    o.filter_bits = own_form ? 4 : FIRN_AS_STORE;
#else
    (void)own_form;
#endif
    MUST(firn_bucket_open(m->db, name, &o, &m->handles[bucket], error));
}

static void close_bucket(maker *m, unsigned bucket)
{
    if (m->handles[bucket])
        MUST(firn_close(m->handles[bucket], error));
    m->handles[bucket] = NULL;
}

static void drop_bucket(maker *m, unsigned bucket)
{
    size_t kept = 0;
    if (m->db)
        MUST(firn_bucket_drop(m->handles[bucket], error));
    close_bucket(m, bucket);
    m->names[bucket] = NULL;
    for (size_t i = 0; i < m->count; i++)
        if (m->elements[i].bucket != bucket)
            m->elements[kept++] = m->elements[i];
    m->count = kept;
}

/* Makes and drops so many buckets: their numbers are not given out again. */
static void use_numbers(maker *m, unsigned count)
{
    for (unsigned i = 0; m->db && i < count; i++) {
        open_bucket(m, BUCKETS_MOST - 1, "for its number", false);
        drop_bucket(m, BUCKETS_MOST - 1);
    }
}

/* One batch over three buckets. */
static void batch_over_buckets(maker *m)
{
#if GOLDEN_BUCKETS > 1
    for (unsigned i = 0; i < 3; i++)
        model_set(m, i, "over-buckets", 12, "in three", 1, true);
    if (!m->db)
        return;
    firn_batch *b = NULL;
    firn_error none = {0};
    firn_op ops[3];
    memset(ops, 0, sizeof ops);
    for (unsigned i = 0; i < 3; i++) {
        ops[i].size = sizeof ops[i];
        ops[i].kind = FIRN_PUT;
        ops[i].bucket = i ? m->handles[i] : NULL;
        ops[i].key = (firn_slice){(const uint8_t *)"over-buckets", 12};
        ops[i].value = (firn_slice){(const uint8_t *)"in three", 8};
    }
    must(firn_batch_new(&b), &none, "firn_batch_new");
    MUST(firn_batch_add(b, ops, 3, error));
    MUST(firn_write(m->db, b, NULL, NULL, error));
    firn_batch_free(b);
#else
    (void)m;
#endif
}
#endif

/* ---- Lives ---- */

/* Keys and values of all sorts. */
static void put_odd_ones(maker *m)
{
    char longest[200];
    memset(longest, 'L', sizeof longest);
    put_bytes(m, 0, "", 0, "the empty key", 1);
    put_bytes(m, 0, "k000\0", 5, "a NUL behind a key", 1);
    put_bytes(m, 0, "\xff\xfe\0\x01", 4, "bytes that are no text", 1);
    put_bytes(m, 0, longest, sizeof longest, "a long key", 1);
    put_bytes(m, 0, "empty", 5, "", 0);
}

/* Tables in a deep level, with versions that a snapshot keeps, others above them, and a log. */
static void first_life(maker *m)
{
    put_some(m, 0, "k", 160, 1, 0);
    put_odd_ones(m);
    put_bytes(m, 0, "five-thousand", 13, "0123456789", 500); /* a segment of its own */
    put_bytes(m, 0, "seventy-thousand", 16, "large", 14000); /* a block of its own, packed */
    flush(m);
    compact(m, 0);
    firn_snapshot *s = snapshot(m);
    put_some(m, 0, "k", 160, 7, 1);
    delete_some(m, 0, "k", 160, 11);
    compact(m, 0);
    put_some(m, 0, "m", 40, 3, 2);
    delete_some(m, 0, "k", 80, 13);
    flush(m);
    put_some(m, 0, "k", 160, 17, 3);
    delete_some(m, 0, "m", 40, 9);
    flush(m);
    batch(m, "k001");
    put_some(m, 0, "n", 20, 2, 4);
    delete_some(m, 0, "k", 30, 4);
    put_odd_ones(m);
    firn_snapshot_free(s);
}

/* What a store that was opened again takes. */
static void later_life(maker *m)
{
    put_some(m, 0, "p", 20, 2, 5);
    delete_some(m, 0, "n", 20, 6);
    delete_bytes(m, 0, "empty", 5);
    put_bytes(m, 0, "", 0, "the empty key again", 1);
}

/* More ranges of snapshots than a table lists: neighbours are made one. Killed, since a close would
 * not go by with snapshots out. */
static void life_with_many_snapshots(maker *m)
{
    put_some(m, 0, "k", 10, 1, 0);
    for (unsigned i = 0; i < 90; i++) {
        put_some(m, 0, i % 3 ? "k" : "m", 1, 1, i);
        (void)snapshot(m); /* goes with the process */
    }
    flush(m);
    compact(m, 0);
    delete_some(m, 0, "k", 3, 2);
}

#if GOLDEN_BUCKETS > 0
static void life_with_buckets(maker *m)
{
    put_some(m, 0, "k", 40, 1, 0);
    open_bucket(m, 1, "Alps", false);
    open_bucket(m, 2, "Urals \xe2\x98\x83", true);
    open_bucket(m, 3, "dropped later", false);
    open_bucket(m, 4, "empty", false);
    put_some(m, 1, "k", 60, 1, 1);
    put_some(m, 2, "k", 60, 1, 2);
    put_some(m, 3, "k", 10, 1, 3);
    put_bytes(m, 2, "seventy-thousand", 16, "large", 14000);
    flush(m);
    compact(m, 1);
    delete_some(m, 1, "k", 60, 5);
    delete_some(m, 0, "k", 40, 7);
    flush(m);
    put_some(m, 1, "k", 60, 6, 4);
    put_some(m, 2, "m", 10, 1, 5);
    put_some(m, 3, "k", 10, 2, 6); /* stays in the log behind the drop */
    batch_over_buckets(m);
    drop_bucket(m, 3);
    put_some(m, 0, "z", 4, 1, 7);
    close_bucket(m, 1);
    close_bucket(m, 2);
    close_bucket(m, 4);
}

/* Numbers of buckets that need all bits. */
static void life_with_large_numbers(maker *m)
{
    use_numbers(m, 4500); /* 4501: 0x1195 */
    open_bucket(m, 1, "beyond 4095", false);
    put_some(m, 1, "k", 20, 1, 0);
    flush(m);
    close_bucket(m, 1);
}

static void later_life_with_large_numbers(maker *m)
{
    open_bucket(m, 1, "beyond 4095", false);
    put_some(m, 1, "m", 10, 1, 1);
    delete_some(m, 1, "k", 20, 3);
    put_some(m, 0, "k", 5, 1, 2);
    close_bucket(m, 1);
}
#endif

#if GOLDEN_RANGES > 0
/* Ranges that stay for a snapshot, cut where tables are, and some that only the log has. */
static void life_with_ranges(maker *m)
{
    put_some(m, 0, "range-", 400, 1, 0);
    compact(m, 0);
    (void)snapshot(m); /* held when it dies */
    delete_range(m, "range-", 20, 380);
    put_some(m, 0, "range-", 400, 10, 1);
    compact(m, 0);
    delete_range(m, "range-", 60, 70);
    delete_range(m, "range-", 65, 95);
    put(m, 0, "range-066", "behind both");
    flush(m);
    delete_range(m, "range-", 100, 111);
    put(m, 0, "range-105", "in the log");
}
#endif

typedef struct recipe {
    const char *name, *compression;
    void (*lives[3])(maker *m);
    bool clean; /* the last life ends with a close; all others are killed */
} recipe;

static const recipe recipes[] = {
    {"closed", "lz4", {first_life}, true},
    {"killed", "zlib", {first_life, later_life}, false},
    {"snapshots", "auto", {life_with_many_snapshots}, false},
#if GOLDEN_RANGES > 0
    {"ranges", "none", {life_with_ranges}, false},
#endif
#if GOLDEN_BUCKETS > 0
    {"buckets", "lz4", {life_with_buckets}, true},
    {"buckets-killed", "lz4", {life_with_buckets}, false},
    {"numbers", "auto", {life_with_large_numbers, later_life_with_large_numbers}, false},
#endif
};

static void live(maker *m, void (*life)(maker *m), bool clean)
{
    firn_options o;
    firn_options_init(&o);
    o.memory = 1 << 20;
    o.segment_bytes = 8 << 10;
    o.table_bytes = 4 << 10;
    o.durability = FIRN_DURABILITY_NONE;
    MUST(firn_options_set(&o, "compression", m->compression, error));
    MUST(firn_open(m->path, &o, &m->db, error));
    life(m);
    MUST(firn_sync(m->db, error));
    if (clean)
        MUST(firn_close(m->db, error));
    else
        kill(getpid(), SIGKILL);
    exit(0);
}

/* ---- The text ---- */

static void print_field(FILE *out, const char *bytes, size_t size, size_t repeats)
{
    if (size == 0 || repeats == 0)
        fputc('-', out);
    for (size_t i = 0; i < size && repeats; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c <= ' ' || c >= 0x7f || strchr("\\*#", c) || (c == '-' && size == 1))
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    if (repeats > 1)
        fprintf(out, "*%zu", repeats);
}

static void print_text(maker *m, const char *path, const char *remark)
{
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        exit(1);
    }
    fprintf(out, "# %s\n", remark);
    m->names[0] = "";
    qsort(m->elements, m->count, sizeof *m->elements, by_key);
    for (unsigned bucket = 0; bucket < BUCKETS_MOST; bucket++) {
        const char *name = m->names[bucket];
        if (!name)
            continue;
        print_field(out, name, strlen(name), 1);
        fputc('\n', out);
        for (size_t i = 0; i < m->count; i++) {
            const element *e = &m->elements[i];
            if (e->bucket != bucket)
                continue;
            print_field(out, name, strlen(name), 1);
            fputc(' ', out);
            print_field(out, e->key, e->key_size, 1);
            if (e->there) {
                fputc(' ', out);
                print_field(out, e->piece, strlen(e->piece), e->repeats);
            }
            fputc('\n', out);
        }
    }
    if (fclose(out) != 0) {
        perror(path);
        exit(1);
    }
}

static bool lives_as_it_should(maker *m, void (*life)(maker *m), bool clean)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        live(m, life, clean);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    return clean ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static bool ends_in(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

static void remove_what_holds_nothing(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        bool holds_nothing = strcmp(e->d_name, "LOCK") == 0 || strcmp(e->d_name, "RESERVE") == 0 ||
                             ends_in(e->d_name, ".wal.new");
        if (holds_nothing && unlinkat(dirfd(d), e->d_name, 0) != 0)
            perror(e->d_name);
    }
    if (d)
        closedir(d);
}

int main(int count, char **args)
{
    static maker m;
    const recipe *r = NULL;
    for (size_t i = 0; count == 5 && i < sizeof recipes / sizeof *recipes; i++)
        if (strcmp(args[1], recipes[i].name) == 0)
            r = &recipes[i];
    if (!r) {
        fprintf(stderr, "golden_make RECIPE STORE TEXT REMARK; the recipes are in make.c\n");
        return 2;
    }
    m.path = args[2];
    m.compression = r->compression;
    for (unsigned i = 0; i < 3 && r->lives[i]; i++) {
        bool last = i == 2 || !r->lives[i + 1];
        if (!lives_as_it_should(&m, r->lives[i], last && r->clean)) {
            fprintf(stderr, "golden_make: life %u did not end as it should\n", i + 1);
            return 1;
        }
        r->lives[i](&m);
    }
    remove_what_holds_nothing(m.path);
    print_text(&m, args[3], args[4]);
    return 0;
}
