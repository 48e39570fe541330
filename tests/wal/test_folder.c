/* A log's folder with things in it that are no segments of one name: what is moved, what goes on, and what stays unchanged. */
#include "bed.h"

#include <base/checksum.h>
#include <fcntl.h>
#include <support/tempdir.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *segment_path(uint64_t no, char out[64])
{
    char name[WAL_NAME_BYTES];
    wal_name_format(no, name);
    snprintf(out, 64, BED_PATH "/%s", name);
    return out;
}

static uint32_t sum_of(simfs *sim, const char *path)
{
    size_t size = 0;
    const uint8_t *bytes = simfs_peek(sim, path, &size);
    return crc32_update((uint32_t)size, bytes, size);
}

static void link_to(bed *b, const char *name, const char *to)
{
    fs_dir *dir = NULL;
    OK(fs_dir_open(simfs_fs(b->sim), BED_PATH, &dir, err));
    OK(fs_link(dir, name, dir, to, err));
    fs_dir_close(dir);
}

static int count_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return 0;
}

static uint64_t entries(bed *b)
{
    uint64_t count = 0;
    OK(firn_wal_replay(b->log, 0, count_entry, &count, NULL, err));
    return count;
}

static void SalvageMovesWhatIsNoFileToLost(void **state)
{
    (void)state;
    bed b = bed_new();
    firn_error refused = {0};
    bed_put(&b, 1);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 2);
    bed_close(&b);
    simfs_write_file(b.sim, BED_PATH "/000000000777.wal/inside", "x", 1);
    simfs_write_file(b.sim, BED_PATH "/000000000778.wal.new/inside", "x", 1);
    assert_int_equal(wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, NULL, &b.log, &refused),
                     FIRN_DAMAGED);
    assert_non_null(strstr(refused.file, "000000000777.wal"));
    assert_non_null(strstr(refused.hint, "salvage"));
    assert_true(simfs_exists(b.sim, BED_PATH "/000000000777.wal/inside"));
    b.config.options.recovery = FIRN_RECOVERY_SALVAGE;
    bed_open(&b);
    assert_int_equal(entries(&b), 2);
    assert_false(simfs_exists(b.sim, BED_PATH "/000000000777.wal/inside"));
    assert_false(simfs_exists(b.sim, BED_PATH "/000000000778.wal.new/inside"));
    assert_true(simfs_exists(b.sim, BED_PATH "/lost/000000000777.wal-1/inside") ||
                simfs_exists(b.sim, BED_PATH "/lost/000000000777.wal-2/inside"));
    b.config.options.recovery = FIRN_RECOVERY_STRICT;
    bed_reopen(&b);
    assert_int_equal(entries(&b), 2);
    bed_release(&b);
}

static void AReserveThatIsNoneKeepsNoWriterOut(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        bed b = bed_new();
        bed_put(&b, 1);
        bed_close(&b);
        simfs_remove(b.sim, BED_PATH "/RESERVE");
        if (how == 0) {
            simfs_write_file(b.sim, BED_PATH "/RESERVE/inside", "x", 1);
        } else {
            simfs_write_file(b.sim, BED_PATH "/outside", "kept", 4);
            link_to(&b, "outside", "RESERVE");
        }
        bed_open(&b);
        bed_put(&b, 2);
        OK(firn_wal_rotate(b.log, err));
        bed_put(&b, 3);
        bed_reopen(&b);
        assert_int_equal(entries(&b), 3);
        size_t size = 0;
        if (how == 1)
            (void)simfs_peek(b.sim, BED_PATH "/outside", &size);
        assert_int_equal(size, how == 1 ? 4 : 0);
        bed_release(&b);
    }
}

/* A backup of hard links, for one. */
static void ASegmentOfTwoNamesTakesNoMoreFrames(void **state)
{
    (void)state;
    bed b = bed_new();
    char path[64];
    bed_put(&b, 1);
    bed_close(&b);
    link_to(&b, strrchr(segment_path(1, path), '/') + 1, "kept");
    uint32_t before = sum_of(b.sim, BED_PATH "/kept");
    bed_open(&b);
    bed_put(&b, 2);
    bed_reopen(&b);
    assert_int_equal(entries(&b), 2);
    bed_close(&b);
    assert_int_equal(sum_of(b.sim, BED_PATH "/kept"), before);
    bed_release(&b);
}

static void ASpareOfTwoNamesGetsNoSecondLife(void **state)
{
    (void)state;
    bed b = bed_new();
    char temporary[64] = "";
    for (uint64_t i = 0; bed_segment_files(&b) < 4; i++)
        bed_put_sized(&b, i, 500);
    OK(firn_wal_truncate(b.log, firn_wal_last_seq(b.log), NULL, err));
    unsigned spares = 0;
    for (uint64_t no = 1; no < 6; no++) {
        char path[64], name[WAL_NAME_BYTES + 8], kept[20];
        wal_name_format(no, name);
        strcat(name, ".new");
        snprintf(path, sizeof path, BED_PATH "/%s", name);
        if (!simfs_exists(b.sim, path))
            continue;
        snprintf(kept, sizeof kept, "kept%u", spares++);
        link_to(&b, name, kept);
        snprintf(temporary, sizeof temporary, "%s", path);
    }
    assert_true(spares > 0 && spares < 6);
    uint32_t before[6];
    for (unsigned i = 0; i < spares; i++) {
        snprintf(temporary, sizeof temporary, BED_PATH "/kept%u", i);
        before[i] = sum_of(b.sim, temporary);
    }
    for (unsigned i = 0; i < 4; i++) {
        OK(firn_wal_rotate(b.log, err));
        bed_put(&b, i);
    }
    for (unsigned i = 0; i < spares; i++) {
        snprintf(temporary, sizeof temporary, BED_PATH "/kept%u", i);
        assert_int_equal(sum_of(b.sim, temporary), before[i]);
    }
    bed_reopen(&b);
    bed_release(&b);
}

static long peak_kib(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

/* A header may say any size, and the file be a hole: the log must not hold it in memory. */
static void AHoleInASegmentTakesNoMemory(void **state)
{
    (void)state;
    enum { SIZE = 1 << 30, MAX_KIB = 128 << 10 };
    for (int backing = 0; backing < 3; backing++) {
        char *folder = tempdir_new(), path[4200];
        firn_wal *w = NULL;
        uint64_t count = 0;
        wal_config config = bed_config();
        config.options.backing = backing == 1 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
        OK(wal_open_path(fs_posix(), folder, &config, NULL, &w, err));
        OK(firn_wal_append(w, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, err));
        OK(firn_wal_close(w, err));
        snprintf(path, sizeof path, "%s/000000000001.wal", folder);
        uint8_t bytes[WAL_HEADER_BYTES];
        wal_header header;
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
        assert_int_equal(wal_header_decode(bytes, &header), FIRN_OK);
        header.segment_bytes = SIZE;
        wal_header_encode(&header, bytes);
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, WAL_HEADER_COPY_OFFSET), sizeof bytes);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        close(fd);
        long before = peak_kib();
        config.options.read_only = backing == 2;
        OK(wal_open_path(fs_posix(), folder, &config, NULL, &w, err));
        OK(firn_wal_replay(w, 0, count_entry, &count, NULL, err));
        assert_int_equal(count, 1);
        OK(firn_wal_close(w, err));
        assert_true(peak_kib() - before < MAX_KIB);
        tempdir_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(SalvageMovesWhatIsNoFileToLost),
        cmocka_unit_test(AReserveThatIsNoneKeepsNoWriterOut),
        cmocka_unit_test(ASegmentOfTwoNamesTakesNoMoreFrames),
        cmocka_unit_test(ASpareOfTwoNamesGetsNoSecondLife),
        cmocka_unit_test(AHoleInASegmentTakesNoMemory),
    };
    /* Holes cost nothing where memory is a file system. */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK | X_OK) == 0)
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
