/* buckets: the calls that make, find, list and drop buckets. What they are: tree.h. */
#include <base/error.h>
#include <base/sized.h>
#include <base/slice.h>
#include <string.h>

#include <store/store.h>

static const sized_kind bucket_options_kind = {"the bucket's options",
                                               "fill them in with firn_bucket_options_init first",
                                               sizeof(firn_bucket_options)};

void firn_bucket_options_init_sized(firn_bucket_options *options, size_t size)
{
    const firn_bucket_options defaults = {.compression = FIRN_AS_STORE,
                                          .filter_bits = FIRN_AS_STORE};
    sized_init(&bucket_options_kind, options, size, &defaults);
}

void(firn_bucket_options_init)(firn_bucket_options *options)
{
    firn_bucket_options_init_sized(options, SIZED_FIRST(firn_bucket_options, filter_bits));
}

static int take_options(const firn_bucket_options *given, firn_bucket_options *o, firn_error *err)
{
    firn_bucket_options_init(o);
    int rc = given ? sized_take(&bucket_options_kind, given, o, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if (o->compression != FIRN_AS_STORE && o->compression > FIRN_COMPRESSION_ZLIB)
        return error_set(err, FIRN_INVALID, "compression %u does not exist", o->compression);
    if (o->filter_bits != FIRN_AS_STORE && o->filter_bits > FILTER_BITS_MOST)
        return error_set(err, FIRN_INVALID, "filter_bits is %u; allowed: 0 to %u", o->filter_bits,
                         FILTER_BITS_MOST);
    return FIRN_OK;
}

static bucket_form form_of(const firn_bucket_options *o)
{
    return (bucket_form){o->compression, o->filter_bits};
}

static int check_name(const char *name, firn_error *err)
{
    if (!name)
        return error_set(err, FIRN_INVALID, "the name of the bucket is NULL");
    if (!bucket_name_fits(slice_of_str(name)))
        return error_set(err, FIRN_INVALID, "the name of a bucket has 1 to %d bytes",
                         TREE_NAME_MAX);
    return FIRN_OK;
}

int firn_bucket_open(tree *t, const char *name, const firn_bucket_options *options, firn **out,
                     firn_error *error)
{
    store *db;
    firn_bucket_options o;
    if (out)
        *out = NULL;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK)
        rc = take_options(options, &o, error);
    if (rc == FIRN_OK)
        rc = check_name(name, error);
    if (rc == FIRN_OK && !out)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the handle");
    if (rc != FIRN_OK)
        return rc;
    tree_wish wish = !o.create ? TREE_THERE : o.error_if_exists ? TREE_NEW : TREE_EITHER;
    bucket_form form = form_of(&o);
    return tree_open(db, slice_of_str(name), wish, &form, out, error);
}

int firn_bucket_get(tree *t, firn_bucket_options *options, firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !options)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the options");
    if (rc == FIRN_OK)
        rc = sized_check(&bucket_options_kind, options, error);
    if (rc == FIRN_OK && tree_is_dropped(t))
        rc = tree_dropped(t, error);
    if (rc != FIRN_OK)
        return rc;
    bucket_form form = tree_form(t);
    firn_bucket_options o = {.compression = form.compression, .filter_bits = form.filter_bits};
    sized_init(&bucket_options_kind, options, options->size, &o);
    return FIRN_OK;
}

int firn_bucket_set(tree *t, const firn_bucket_options *options, firn_error *error)
{
    store *db;
    firn_error why;
    firn_bucket_options o;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !options)
        rc = error_set(error, FIRN_INVALID, "the options are NULL");
    if (rc == FIRN_OK)
        rc = take_options(options, &o, error);
    if (rc != FIRN_OK)
        return rc;
    if (t == &db->main) {
        error_set(error, FIRN_INVALID, "the store's own bucket has the options of the store");
        error_hint(error, "open the store with other firn_options");
        return FIRN_INVALID;
    }
    if (db->options.read_only)
        return store_read_only(error);
    error_clear(&why);
    bucket_form form = form_of(&o);
    rc = tree_reform(t, &form, &why);
    return error_give(error, rc, &why);
}

int firn_bucket_drop(tree *t, firn_error *error)
{
    store *db;
    firn_error why;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (t == &db->main)
        return error_set(error, FIRN_INVALID, "the store's own bucket stays");
    if (db->options.read_only)
        return store_read_only(error);
    error_clear(&why);
    rc = tree_drop(t, &why);
    return error_give(error, rc, &why);
}

int firn_bucket_next(tree *t, const char *after, char *name, size_t capacity, firn_error *error)
{
    store *db;
    char next[TREE_NAME_MAX + 1];
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!name)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the name");
    if (!tree_next_name(db, slice_of_str(after ? after : ""), next))
        return FIRN_END;
    size_t size = strlen(next) + 1;
    if (size > capacity)
        return error_set(error, FIRN_TOO_LARGE,
                         "the name has %zu bytes with its NUL, there is "
                         "room for %zu",
                         size, capacity);
    memcpy(name, next, size);
    return FIRN_OK;
}
