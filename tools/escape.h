/* escape: bytes as text and back (README.md, "Escapes").
 *
 *   \t \n \r \\   tab, line feed, carriage return, backslash
 *   \xHH          any byte, two hexadecimal digits
 *
 * Written escaped: the four above, other bytes below 0x20, 0x7f, every byte that is not part of
 * well-formed UTF-8, and the control characters U+0080 to U+009F (a terminal may obey them). All
 * other text stays as it is. What is written this way (ESCAPE_DATA) is *normalised*:
 * decode(encode(b)) == b for all bytes, and encode(decode(t)) == t for normalised text. The reader
 * takes more: upper-case digits, bytes that needed no escape, and unescaped bytes of any value.
 * Pure: no state.
 *
 * On a terminal, characters that turn the direction of text or are not seen at all are escaped too,
 * byte by byte (ESCAPE_TERMINAL), so that what is read is what is there. It decodes to the same
 * bytes.
 */
#ifndef TOOLS_ESCAPE_H
#define TOOLS_ESCAPE_H

#include <base/buf.h>

/* What is escaped besides control characters and what is not well-formed. */
enum {
    ESCAPE_BACKSLASH = 1,
    ESCAPE_LINES = 2,     /* tab and line feed */
    ESCAPE_INVISIBLE = 4, /* U+200E, U+202E and their like */
    ESCAPE_DATA = ESCAPE_BACKSLASH | ESCAPE_LINES,
    ESCAPE_TERMINAL = ESCAPE_DATA | ESCAPE_INVISIBLE,
    ESCAPE_MESSAGE =
        ESCAPE_LINES | ESCAPE_INVISIBLE, /* one line for people, which nothing decodes */
    ESCAPE_SHOWN = ESCAPE_INVISIBLE,     /* raw bytes, made harmless */
};

/* Appends the text of `bytes` to `out`. FIRN_NO_MEMORY leaves a part. */
int escape_encode(firn_slice bytes, unsigned what, buf *out);

/* Where to cut bytes.data so that encoding the pieces gives what encoding the whole does: at most
 * `size`, at least size - 3. size <= bytes.size. */
size_t escape_cut(firn_slice bytes, size_t size);

typedef enum escape_verdict {
    ESCAPE_OK,
    ESCAPE_MORE, /* the text ends inside of the escape */
    ESCAPE_BAD,  /* no such escape */
} escape_verdict;

/* Reads the one escape at text.data[0], which is a backslash. */
escape_verdict escape_read(firn_slice text, uint8_t *byte, size_t *used);

/* Appends the bytes of `text`. FIRN_INVALID with *bad, the offset of a wrong or unfinished escape;
 * FIRN_NO_MEMORY. */
int escape_decode(firn_slice text, buf *out, size_t *bad);

#endif
