/* destroy: removing a store, and the proof that a folder holds one. */
#ifndef ENGINE_DESTROY_H
#define ENGINE_DESTROY_H

#include <base/fs.h>

/* Opens a folder that holds a store, perhaps a damaged one: at least one manifest, segment or table
 * in it, by its name, begins (a table: ends) with firn's magic. FIRN_NOT_FOUND otherwise. `lock`
 * NULL: takes no lock; else locks the folder as a writer does. `f` NULL: the real file system. */
int store_folder_open(fs *f, const char *path, fs_file **lock, fs_dir **out, firn_error *err);

#endif
