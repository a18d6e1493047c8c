/* savefile.c -- see savefile.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/savefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TEMP_ROOM = 32,   /* of a temporary name: ".", 16 digits, ".part" */
    TRIES = 100,      /* of names that nobody else has */
    CHUNK = 64 * 1024 /* of one write, aligned in the file */
};

/* Is there something that a file must not take the place of?  Says early what
 * would otherwise be found at the end, such as a name that is too long. */
static int look(const char *path)
{
    size_t len = strlen(path);
    struct stat st;

    if (len > 0 && path[len - 1] == '/') {
        errno = EISDIR;
        return -1;
    }
    if (stat(path, &st) == -1)
        return errno == ENOENT && len > 0 ? 0 : -1;
    if (S_ISREG(st.st_mode))
        return 0;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    return -1;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Writes another name in its folder to file->temp. */
static int invent_name(struct savefile *file)
{
    size_t folder = (size_t)(name_of(file->path) - file->path);
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return -1;
    snprintf(file->temp + folder, TEMP_ROOM, ".%016llx.part",
             (unsigned long long)number);
    return 0;
}

static int open_unnamed(struct savefile *file)
{
    size_t folder = (size_t)(name_of(file->path) - file->path);
    char end = file->temp[folder];

    file->temp[folder] = '\0';
    file->fd = open(folder > 0 ? file->temp : ".",
                    O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    file->temp[folder] = end;
    return file->fd == -1 ? -1 : 0;
}

static int open_named(struct savefile *file)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (invent_name(file) == -1)
            return -1;
        file->fd =
            open(file->temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (file->fd != -1 || errno != EEXIST)
            break;
    }
    file->is_named = file->fd != -1;
    return file->fd == -1 ? -1 : 0;
}

/* The name under which the kernel lets a file without one be linked. */
static void name_in_proc(const struct savefile *file, char name[64])
{
    snprintf(name, 64, "/proc/self/fd/%d", file->fd);
}

/* Checks the path and makes room for both names. */
static int prepare(struct savefile *file, const char *path)
{
    savefile_init(file);
    if (look(path) == -1)
        return -1;
    file->path = strdup(path);
    file->temp = malloc(strlen(path) + TEMP_ROOM);
    file->chunk = malloc(CHUNK);
    if (file->path == NULL || file->temp == NULL || file->chunk == NULL) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(file->temp, path, strlen(path) + 1);
    return 0;
}

int savefile_open(struct savefile *file, const char *path)
{
    char name[64];

    if (prepare(file, path) == -1)
        return -1;
    if (open_unnamed(file) == 0) {
        name_in_proc(file, name);
        if (access(name, F_OK) == 0)
            return 0;
        close(file->fd); /* no /proc */
        file->fd = -1;
    } else if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
        return -1;
    }
    return open_named(file);
}

int savefile_open_named(struct savefile *file, const char *path)
{
    return prepare(file, path) == -1 ? -1 : open_named(file);
}

static int write_out(struct savefile *file)
{
    struct slice rest = { file->chunk, file->chunk_len };

    while (rest.len > 0) {
        ssize_t n = write(file->fd, rest.data, rest.len);

        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return -1;
        slice_take(&rest, (size_t)n);
    }
    file->chunk_len = 0;
    return 0;
}

int savefile_write(struct savefile *file, struct slice bytes)
{
    while (bytes.len > 0) {
        struct slice part = slice_take(&bytes, CHUNK - file->chunk_len);

        memcpy(file->chunk + file->chunk_len, part.data, part.len);
        file->chunk_len += part.len;
        if (file->chunk_len == CHUNK && write_out(file) == -1)
            return -1;
    }
    return 0;
}

/* Links what has no name yet under one that nobody has. */
static int give_name(struct savefile *file)
{
    char name[64];

    name_in_proc(file, name);
    if (linkat(AT_FDCWD, name, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    for (int tries = 0; errno == EEXIST && tries < TRIES; tries++) {
        if (invent_name(file) == -1)
            return -1;
        if (linkat(AT_FDCWD, name, AT_FDCWD, file->temp, AT_SYMLINK_FOLLOW) ==
            0) {
            file->is_named = true;
            return 0;
        }
    }
    return -1;
}

/* Some file systems tell of what they could not write only when a file is
 * closed.  Such know no files without names. */
int savefile_keep(struct savefile *file)
{
    if (look(file->path) == -1 || write_out(file) == -1)
        return -1;
    if (file->is_named) {
        int fd = file->fd;

        file->fd = -1;
        if (close(fd) == -1 && errno != EINTR)
            return -1;
    } else if (give_name(file) == -1) {
        return -1;
    }
    if (file->is_named && rename(file->temp, file->path) == -1)
        return -1;
    file->is_named = false;
    return 0;
}

void savefile_drop(struct savefile *file)
{
    int saved = errno;

    if (file->is_named)
        unlink(file->temp);
    if (file->fd != -1)
        close(file->fd);
    free(file->path);
    free(file->temp);
    free(file->chunk);
    savefile_init(file);
    errno = saved;
}
