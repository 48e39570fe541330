/* reading: what the calls that read share. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include <store/tree.h>

/* Is it of this store? NULL, the newest, is. FIRN_INVALID. */
int check_snapshot(const store *db, const firn_snapshot *snapshot, firn_error *err);

#endif
