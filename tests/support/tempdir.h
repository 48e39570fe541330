/* tempdir: a fresh, empty folder for one test, under $TMPDIR or /tmp. */
#ifndef SUPPORT_TEMPDIR_H
#define SUPPORT_TEMPDIR_H

/* The absolute path of a new folder, mode 0700. Never NULL: a test that cannot have one is aborted.
 */
char *tempdir_new(void);

/* Removes the folder and everything in it, without following links, and frees `path`. NULL is
 * allowed. */
void tempdir_remove(char *path);

/* From here on folders are made in memory, where the system has a place for that: for tests of many
 * durable files that are not about the disk. */
void tempdir_in_memory(void);

#endif
