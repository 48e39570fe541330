/* buckets: makes a store with two buckets beside the default one, which has tables of each and a batch over all of them in the log.
 *
 *   buckets DB
 *
 * Ends with 0, or tells what failed and ends with 1. */
#include <stdio.h>
#include <string.h>

#include <base/entry.h>
#include <base/slice.h>
#include <engine/engine.h>
#include <store/store.h>

static int write_to_all(firn *db, const tree *const trees[3], const char *value, firn_error *err)
{
    static const char *const keys[] = {"plain", "user", "job"};
    firn_batch *batch = NULL;
    int rc = firn_batch_new(&batch);
    for (unsigned i = 0; rc == FIRN_OK && i < 3; i++)
        rc = batch_add(batch, trees[i]->bucket, FIRN_PUT, slice_of_str(keys[i]),
                       slice_of_str(value));
    if (rc == FIRN_OK)
        rc = firn_write(db, batch, NULL, NULL, err);
    firn_batch_free(batch);
    return rc;
}

static int fill(firn *db, firn_error *err)
{
    firn *users = NULL, *jobs = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    int rc = firn_bucket_open(db, "users", &o, &users, err);
    if (rc == FIRN_OK)
        rc = firn_bucket_open(db, "jobs\x1b", &o, &jobs, err);
    const tree *const trees[3] = {db, users, jobs};
    if (rc == FIRN_OK)
        rc = write_to_all(db, trees, "stored", err);
    if (rc == FIRN_OK)
        rc = firn_flush(db, err);
    if (rc == FIRN_OK)
        rc = write_to_all(db, trees, "logged", err);
    firn_close(users, NULL);
    firn_close(jobs, NULL);
    return rc;
}

int main(int argc, char **argv)
{
    firn *db = NULL;
    firn_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "buckets: takes the path of a new store\n");
        return 1;
    }
    int rc = engine_open(argv[1], NULL, NULL, &db, &err);
    if (rc == FIRN_OK)
        rc = fill(db, &err);
    if (rc != FIRN_OK)
        fprintf(stderr, "buckets: %s\n", err.message);
    if (db && firn_close(db, rc == FIRN_OK ? &err : NULL) != FIRN_OK)
        rc = FIRN_IO;
    return rc != FIRN_OK;
}
