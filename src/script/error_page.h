/* error_page.h -- private to this room: an error as a page, for whoever writes
 * the script.
 *
 * It shows the message, the traceback with the lines of source around each of
 * its places, and the request; nothing is loaded from elsewhere, no script
 * runs in it, and what a stranger could have put into any of this is escaped.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_ERROR_PAGE_H
#define SCRIPT_ERROR_PAGE_H

#include "base/buffer.h"
#include "base/list.h"
#include "core/request.h"

struct error_page {
    const char *title;
    struct slice text;  /* the message, lines */
    struct slice trace; /* as Lua writes it; may be empty */
};

/* The buffers that a page is made in; they are the caller's to free. */
void error_page_init(struct buffer *lines, struct buffer *body);

/* Makes the header lines and the body of a page: HTML if the client asks for
 * it, else plain text.  Source is shown of those files (struct dev_file) only.
 * Returns false when there is no memory. */
bool error_page_make(const struct error_page *page, const struct request *req,
                     const struct list *files, struct buffer *lines,
                     struct buffer *body);

#endif
