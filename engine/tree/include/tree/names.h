/* names: the strict grammar of file names in a store's folder. Files name each other by number,
 * never by path.
 *
 *   000000000007.tbl        a table          000000000007.wal      a segment of the log (wal/)
 *   000000000003.manifest   a manifest       LOCK                  the lock
 *   lost/                   what recovery set aside
 *   RESERVE                 room for opening on a full disk (wal/)
 *   ....new                 a file in the making; removed on open
 */
#ifndef ENGINE_NAMES_H
#define ENGINE_NAMES_H

#include <base/fs.h>
#include <firn/types.h>
#include <wal/wal.h>

/* The greatest number of a table or manifest that a store has. A file of a greater one is not
 * ours. */
#define FILE_NO_MAX UINT64_C(1000000000000000000)
/* From here on no more numbers are given out: what is being made may still need some, and must be
 * readable afterwards. */
#define FILE_NO_LAST (FILE_NO_MAX - (UINT64_C(1) << 20))
/* So many numbers may have been given out since a manifest last told the next one. A file of a
 * greater number is not the store's, although it has such a name. */
#define FILE_NO_SLACK (UINT64_C(1) << 32)

#define NAME_BYTES   40
#define NAME_LOCK    FS_LOCK_NAME
#define NAME_LOST    "lost"
#define NAME_RESERVE WAL_RESERVE_NAME /* wal/ makes it */

typedef enum name_kind {
    NAME_FOREIGN = 0, /* not ours: never touched */
    NAME_TABLE,
    NAME_MANIFEST,
    NAME_TEMPORARY, /* a table or manifest in the making */
    NAME_LOG,       /* belongs to wal/ */
    NAME_OTHER,     /* LOCK, lost */
} name_kind;

void name_table(uint64_t no, char out[NAME_BYTES]);
void name_manifest(uint64_t no, bool temporary, char out[NAME_BYTES]);
/* *no is set for tables and manifests. */
name_kind name_parse(const char *name, uint64_t *no);

#endif
