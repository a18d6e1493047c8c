/* watched.h -- how the files of a script come to the process that watches them,
 * whichever process loads it: this one, a child that only tries it, a template
 * or a worker.
 *
 * Where they go is set for the whole process, like the log: a script that loads
 * a module an hour later tells of it as it did at first.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_WATCHED_H
#define PROC_WATCHED_H

#include "proc/post.h"
#include "proc/watch.h"
#include "script/script.h"

/* A script is about to load a file: see script_config.on_file. */
void watched_file(const char *path);

/* From now on files go to the watch of this process; NULL: nowhere. */
void watched_by(struct watch *watch);

/* ... to whoever holds the other end of the link. */
void watched_over_link(int link);

/* ... into an open file, for watched_take_notes. */
void watched_in_notes(int fd);

/* An empty file for notes, without a name.  Returns the fd, or -1 with errno.
 */
int watched_open_notes(void);

/* Adds what a child has noted.  A note that it did not complete is dropped. */
void watched_take_notes(struct watch *watch, int fd);

/* Adds what a message of the kind LINK_FILE tells. */
void watched_take(struct watch *watch, const struct link_message *message);

/* Tells a script of the files that may be shown. */
void watched_know(const struct watch *watch, struct script *script);

/* Tells a script, whose process is at hand or at the other end of a link, why
 * the newest code does not load, and which files may be shown with that. */
void watched_break(const struct watch *watch, struct script *script,
                   const char *why);
void watched_break_by_post(const struct watch *watch, struct post *post,
                           const char *why);

#endif
