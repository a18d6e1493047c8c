/* watch.h -- the files of a script: who asks hears when one has changed.
 *
 * Not the files are watched but the folders on the way to them, by name: so one
 * that is replaced, removed and made again, or behind a link that now leads
 * elsewhere is noticed as well as one that is written to.  An event only says
 * that it is time to look.  Whether a file has changed its content says: one
 * that is touched, or checked out as it was, has not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_WATCH_H
#define PROC_WATCH_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct watch;

/* Called from the loop; path is as the user would write it. */
typedef void watch_fn(void *arg, const char *path);

/* A watch of no files.  NULL when there is no memory. */
struct watch *watch_new(void);

/* NULL is accepted. */
void watch_del(struct watch *watch);

/* What a file's content is, in a number; 0: it cannot be read. */
uint64_t watch_print(const char *path);

/* Adds a file, whose content was that when it was loaded.  Without memory the
 * file is not watched, which is said. */
void watch_file(struct watch *watch, const char *path, uint64_t print);

/* From now on changed(arg, path) is called when a file has changed, or had done
 * so before: once for whatever changes at the same time.  Where nothing can be
 * watched a warning says so. */
void watch_start(struct watch *watch, struct ev_loop *ev, watch_fn *changed,
                 void *arg);

/* In a child: the parent's watch goes on, this one ends. */
void watch_leave(struct watch *watch);

/* Waits, without a loop, until a file has changed.  Returns its path, valid
 * until the next call of any of these; NULL: nothing can be watched. */
const char *watch_wait(struct watch *watch);

/* A script is being loaded: what it does not load is forgotten once it serves,
 * which watch_end_load says. */
void watch_begin_load(struct watch *watch);
void watch_end_load(struct watch *watch);

/* Calls each(arg, path) for every file that is watched; path is what watch_file
 * was given. */
void watch_each(const struct watch *watch,
                void (*each)(void *arg, const char *path), void *arg);

#endif
