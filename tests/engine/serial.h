/* serial: could the transactions that were committed have run one after the other?
 *
 * Each is told with what it has read and written, as versions: every write of a key has a number of
 * its own, and 0 is what was there at first. The order of a key's versions is that of the numbers
 * that the commits have returned. Then one transaction comes before another if that has read or
 * overwritten what it wrote, or has overwritten what it read (Adya's graph of dependencies); and
 * there is an order of all of them if nothing comes before itself.
 */
#ifndef TESTS_ENGINE_SERIAL_H
#define TESTS_ENGINE_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct serial_version {
    uint32_t key;
    uint64_t version;
} serial_version;

enum { SERIAL_READS = 32, SERIAL_WRITES = 4 };

typedef struct serial_txn {
    uint64_t seq; /* that the commit has returned. Of one that writes nothing, it says nothing */
    size_t read_count, write_count;
    serial_version reads[SERIAL_READS], writes[SERIAL_WRITES];
} serial_txn;

/* False: `why` (`size` bytes) says what is wrong, and which transactions come before themselves. */
bool serial_check(const serial_txn *txns, size_t count, char *why, size_t size);

#endif
