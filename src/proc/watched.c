/* watched.c -- see watched.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/watched.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where files go; one of them at most. */
static struct {
    struct watch *watch;
    int link, notes; /* -1: none */
} to = { NULL, -1, -1 };

/* A note, of which as much is written as the path needs. */
struct note {
    uint64_t print;
    uint64_t len; /* of the path with its NUL */
    char path[PATH_MAX];
};

void watched_by(struct watch *watch)
{
    to.watch = watch;
    to.link = to.notes = -1;
}

void watched_over_link(int link)
{
    watched_by(NULL);
    to.link = link;
}

void watched_in_notes(int fd)
{
    watched_by(NULL);
    to.notes = fd;
}

static void send_file(const char *path, uint64_t print)
{
    struct link_message message = { .kind = LINK_FILE,
                                    .id = (uint32_t)(print >> 32),
                                    .slot = (uint32_t)print };

    snprintf(message.text, sizeof(message.text), "%s", path);
    link_send(to.link, &message, -1);
}

static void write_note(const char *path, uint64_t print)
{
    struct note note = { .print = print, .len = strlen(path) + 1 };
    size_t size = offsetof(struct note, path) + note.len;

    memcpy(note.path, path, note.len);
    while (write(to.notes, &note, size) == -1 && errno == EINTR)
        ;
}

void watched_file(const char *path)
{
    uint64_t print;

    if (to.watch == NULL && to.link == -1 && to.notes == -1)
        return;
    if (strlen(path) >= PATH_MAX)
        return; /* it cannot be opened either */
    print = watch_print(path);
    if (to.watch != NULL)
        watch_file(to.watch, path, print);
    else if (to.link != -1)
        send_file(path, print);
    else
        write_note(path, print);
}

int watched_open_notes(void)
{
    return memfd_create("fcgi-lua files", MFD_CLOEXEC);
}

void watched_take_notes(struct watch *watch, int fd)
{
    struct note note;
    size_t start = offsetof(struct note, path);

    if (lseek(fd, 0, SEEK_SET) == -1)
        return;
    while (read(fd, &note, start) == (ssize_t)start) {
        if (note.len == 0 || note.len > sizeof(note.path) ||
            read(fd, note.path, note.len) != (ssize_t)note.len)
            return;
        watch_file(watch, note.path, note.print);
    }
}

void watched_take(struct watch *watch, const struct link_message *message)
{
    watch_file(watch, message->text,
               (uint64_t)message->id << 32 | message->slot);
}

/* --- code that does not load ---------------------------------------------- */

static void know_file(void *arg, const char *path)
{
    script_know_file(arg, path);
}

void watched_know(const struct watch *watch, struct script *script)
{
    watch_each(watch, know_file, script);
}

void watched_break(const struct watch *watch, struct script *script,
                   const char *why)
{
    watched_know(watch, script);
    script_break(script, why);
}

static void tell_file(void *arg, const char *path)
{
    post_tell(arg, LINK_FILE, path);
}

void watched_break_by_post(const struct watch *watch, struct post *post,
                           const char *why)
{
    watch_each(watch, tell_file, post);
    post_tell(post, LINK_BROKEN, why);
}
