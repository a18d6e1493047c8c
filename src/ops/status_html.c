/* status_html.c -- the status page for people.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_view.h"

static void put_html(struct buffer *page, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '<')
            page_put(page, "&lt;");
        else if (c == '&')
            page_put(page, "&amp;");
        else
            page_put_slice(page, (struct slice){ &text.data[i], 1 });
    }
}

void status_html(const struct status_view *view, struct buffer *page)
{
    struct buffer text;

    buffer_init(&text, STATUS_PAGE_MAX);
    status_text(view, &text);
    page_put(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                   "<meta charset=\"utf-8\">\n<title>fcgi-lua: ");
    put_html(page, slice_of(view->status->pool));
    page_put(page, "</title>\n</head>\n<body>\n<pre>\n");
    put_html(page, buffer_slice(&text));
    page_put(page, "</pre>\n</body>\n</html>\n");
    buffer_free(&text);
}
