/* fuzz_folder_bytes: the folder of a small store, as it was at several ages, and what an input does to
 * it from outside. Start with fuzz_folder_change. */
#ifndef FUZZ_FUZZ_FOLDER_BYTES_H
#define FUZZ_FUZZ_FOLDER_BYTES_H

#include <firn/firn.h>
#include <support/simfs.h>

#include "fuzz.h"

#define FUZZ_FOLDER   "store"
#define FUZZ_STORES   3
#define FUZZ_AGES     5
#define FUZZ_OPERATES 6 /* operations of an input that run the store; each takes a while */

typedef struct fuzz_folder {
    simfs *sim;
    unsigned store, age;
    unsigned operated;
    uint64_t unpacked_max; /* the largest block of a table can really unpack to so much */
} fuzz_folder;

/* Options under which little data makes many files. */
void fuzz_folder_options(firn_options *o);
/* The store of this kind at this age, without a process that has it open. */
void fuzz_folder_init(fuzz_folder *f, unsigned which, unsigned age);
/* Does what the input says; fuzz_folder_bytes.c lists the letters. */
void fuzz_folder_change(fuzz_folder *f, fuzz_input *in);
void fuzz_folder_release(fuzz_folder *f);

/* ---- fuzz_folder_make.c: the stores as firn makes them ---- */

typedef struct fuzz_file {
    char *path;
    uint8_t *data;
    size_t size;
} fuzz_file;

typedef struct fuzz_image {
    fuzz_file *files;
    size_t count;
} fuzz_image;

/* Made once, the same every time. */
const fuzz_image *fuzz_folder_image(unsigned store, unsigned age);
/* Opens the store, does some of everything with it, and closes it; what fails is none of its business. */
void fuzz_folder_operate(simfs *sim, fuzz_input *in);

#endif
