/* dev.c -- see dev.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/dev.h"

#include "script/error_page.h"
#include "script/handler.h"

#include <stdlib.h>
#include <string.h>

struct dev *dev_new(void)
{
    struct dev *dev = calloc(1, sizeof(*dev));

    if (dev != NULL)
        list_init(&dev->files);
    return dev;
}

void dev_del(struct dev *dev)
{
    if (dev == NULL)
        return;
    while (!list_is_empty(&dev->files))
        free(list_entry(list_take(&dev->files), struct dev_file, link));
    free(dev->broken);
    free(dev);
}

void dev_add_file(struct dev *dev, const char *path)
{
    size_t size = strlen(path) + 1;
    struct dev_file *file;

    for (struct list *link = dev->files.next; link != &dev->files;
         link = link->next)
        if (strcmp(list_entry(link, struct dev_file, link)->path, path) == 0)
            return;
    file = malloc(sizeof(*file) + size);
    if (file == NULL)
        return;
    memcpy(file->path, path, size);
    list_init(&file->link);
    list_append(&dev->files, &file->link);
}

static void answer(const struct script *script, struct request *req,
                   const struct error_page *page)
{
    struct buffer lines, body;

    error_page_init(&lines, &body);
    if (script->dev != NULL && req->role != REQUEST_AUTHORIZER &&
        !response_is_begun(&req->response) && req->exchange != NULL &&
        !req->is_aborted &&
        error_page_make(page, req, &script->dev->files, &lines, &body))
        response_fail_with(req, 500, buffer_slice(&lines), buffer_slice(&body));
    else
        response_fail(req, 500);
    buffer_free(&lines);
    buffer_free(&body);
}

void dev_answer(const struct script *script, struct request *req,
                struct slice text, struct slice trace)
{
    const struct error_page page = { .title = "Error in the script",
                                     .text = text,
                                     .trace = trace };

    answer(script, req, &page);
}

void dev_answer_broken(const struct script *script, struct request *req)
{
    struct error_page page = { .title = "The script cannot be loaded" };

    if (script->dev != NULL && script->dev->broken != NULL) {
        struct slice rest = slice_of(script->dev->broken);
        static const char heading[] = "\nstack traceback:";
        const char *trace = strstr(rest.data, heading);

        page.text = slice_take(
            &rest, trace == NULL ? rest.len : (size_t)(trace - rest.data));
        if (rest.len > 0)
            slice_take(&rest, 1); /* the newline */
        page.trace = rest;
    }
    answer(script, req, &page);
}

/* --- for the processes ---------------------------------------------------- */

void script_know_file(struct script *script, const char *path)
{
    if (script->dev != NULL)
        dev_add_file(script->dev, path);
}

void script_break(struct script *script, const char *why)
{
    char *copy;

    if (script->dev == NULL)
        return;
    copy = strdup(why);
    free(script->dev->broken);
    script->dev->broken = copy; /* without memory a page without a reason */
    script->is_broken = true;
    if (script->service != NULL && script->service->owner == script)
        script->service->ops = &handler_broken_ops;
}
