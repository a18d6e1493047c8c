/* savefile.h -- a file that appears under its name when it is whole, and not
 * before: whoever looks there sees what was there before, or all of the new
 * one, whatever happens meanwhile.  It is written in large pieces, however
 * small those are that it is made of: that costs the kernel a third less.
 *
 * Until then it has no name at all (O_TMPFILE), so that nothing is left even if
 * the process is killed; where the file system cannot do that it has another
 * name in the same folder, ".NUMBER.part".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_SAVEFILE_H
#define BASE_SAVEFILE_H

#include "base/slice.h"

struct savefile {
    int fd;     /* -1: nothing is open */
    char *path; /* where it is to appear */
    char *temp; /* its other name, or room for one */
    bool is_named;
    char *chunk; /* bytes that are not written yet */
    size_t chunk_len;
};

static inline void savefile_init(struct savefile *file)
{
    *file = (struct savefile){ .fd = -1 };
}

/* Begins a file, with the mode that the umask leaves of 0666.  What is there
 * now must be a file, or nothing.  Returns 0, or -1 with errno; either way
 * savefile_drop is to follow. */
int savefile_open(struct savefile *file, const char *path);

/* The same as if the file system knew no files without names. */
int savefile_open_named(struct savefile *file, const char *path);

/* Adds all of bytes; returns 0, or -1 with errno, after which the file can only
 * be dropped. */
int savefile_write(struct savefile *file, struct slice bytes);

/* Gives it its name, in place of what was there; returns 0, or -1 with errno.
 * Its bytes are with the kernel then, not yet on the disk. */
int savefile_keep(struct savefile *file);

/* Closes it; one that was not kept is gone.  errno survives. */
void savefile_drop(struct savefile *file);

#endif
