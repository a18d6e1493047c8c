/* dev.h -- private to this room: what --dev adds, pages that show errors.
 *
 * They are made in C from what the error handling has at hand, and touch the
 * script's state as little as the plain 500 does, which is the answer where a
 * page cannot be made.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_DEV_H
#define SCRIPT_DEV_H

#include "core/request.h"
#include "script/script_state.h"

/* Of a script with --dev; else it has none. */
struct dev {
    struct list files; /* struct dev_file: that its code came from */
    char *broken;      /* why the newest code does not load; or NULL */
};

struct dev_file {
    struct list link;
    char path[];
};

/* NULL when there is no memory. */
struct dev *dev_new(void);

/* NULL is accepted. */
void dev_del(struct dev *dev);

/* Adds a file, unless it is known; without memory it is not shown. */
void dev_add_file(struct dev *dev, const char *path);

/* Ends an answer with an error: with a page where that is wanted, the head has
 * not gone and no authorizer is asked; else as response_fail with 500. */
void dev_answer(const struct script *script, struct request *req,
                struct slice text, struct slice trace);

/* The same for the newest code, which does not load. */
void dev_answer_broken(const struct script *script, struct request *req);

#endif
