/* by_name: buckets in the order of their names, for the open store and for the reader of its
 * manifest. What is listed lies in something larger, and is not owned. Not thread-safe. */
#ifndef ENGINE_BY_NAME_H
#define ENGINE_BY_NAME_H

#include <firn/types.h>

#define TREE_NAME_MAX FIRN_MAX_BUCKET_NAME

typedef struct bucket_name {
    uint8_t size;
    char bytes[TREE_NAME_MAX + 1]; /* and zeros */
} bucket_name;

/* May a bucket be called so? 1 to 63 bytes, any but NUL. */
bool bucket_name_fits(firn_slice name);
void bucket_name_set(bucket_name *n, firn_slice name); /* which fits */

typedef struct by_name {
    bucket_name **at;
    size_t count, capacity;
} by_name;

/* Where the first name that is not in front of this one stands, or would. */
size_t by_name_from(const by_name *l, firn_slice name);
bucket_name *by_name_find(const by_name *l, firn_slice name); /* NULL: it is not listed */
int by_name_add(by_name *l, bucket_name *n);                  /* which is not. FIRN_NO_MEMORY */
void by_name_remove(by_name *l, const bucket_name *n);        /* one that is not listed: nothing */
void by_name_release(by_name *l);

#endif
