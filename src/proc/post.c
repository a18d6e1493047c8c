/* post.c -- see post.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/post.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct letter {
    struct list link;
    int fd;                      /* our own copy, or -1 */
    struct link_message message; /* its text as long as it is */
};

static void forget(struct post *post, struct letter *letter)
{
    list_remove(&letter->link);
    post->count--;
    if (letter->fd != -1)
        close(letter->fd);
    free(letter);
}

/* The process at the other end has gone: its link says so to whoever reads. */
static void on_writable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct post *post = watcher->data;

    (void)events;
    while (!list_is_empty(&post->waiting)) {
        struct letter *letter =
            list_entry(post->waiting.next, struct letter, link);

        if (link_offer(watcher->fd, &letter->message, letter->fd) == -1) {
            if (errno == EPIPE || errno == ECONNRESET)
                ev_io_stop(ev, watcher);
            return;
        }
        forget(post, letter);
    }
    ev_io_stop(ev, watcher);
}

void post_init(struct post *post, struct ev_loop *ev, int link)
{
    *post = (struct post){ .ev = ev };
    list_init(&post->waiting);
    ev_io_init(&post->writer, on_writable, link, EV_WRITE);
    post->writer.data = post;
}

static int keep(struct post *post, const struct link_message *message, int fd)
{
    size_t len = strnlen(message->text, LINK_TEXT_MAX - 1) + 1;
    struct letter *letter;

    if (post->count >= POST_WAITING_MAX) {
        errno = ENOBUFS;
        return -1;
    }
    letter = malloc(offsetof(struct letter, message.text) + len);
    if (letter == NULL)
        return -1;
    letter->fd = -1;
    if (fd != -1) {
        letter->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (letter->fd == -1) {
            free(letter);
            return -1;
        }
    }
    memcpy(&letter->message, message,
           offsetof(struct link_message, text) + len - 1);
    letter->message.text[len - 1] = '\0';
    list_init(&letter->link);
    list_append(&post->waiting, &letter->link);
    post->count++;
    ev_io_start(post->ev, &post->writer);
    return 0;
}

int post_send(struct post *post, const struct link_message *message, int fd)
{
    if (list_is_empty(&post->waiting)) {
        if (link_offer(post->writer.fd, message, fd) == 0)
            return 0;
        if (errno != EAGAIN && errno != ENOBUFS)
            return -1;
    }
    return keep(post, message, fd);
}

int post_tell(struct post *post, enum link_kind kind, const char *text)
{
    struct link_message message = { .kind = kind };

    snprintf(message.text, sizeof(message.text), "%s",
             text == NULL ? "" : text);
    return post_send(post, &message, -1);
}

int post_take_back(struct post *post, enum link_kind kind)
{
    for (struct list *link = post->waiting.next; link != &post->waiting;
         link = link->next) {
        struct letter *letter = list_entry(link, struct letter, link);
        int fd = letter->fd;

        if (letter->message.kind != kind || fd == -1)
            continue;
        letter->fd = -1;
        forget(post, letter);
        return fd;
    }
    return -1;
}

void post_free(struct post *post)
{
    ev_io_stop(post->ev, &post->writer);
    while (!list_is_empty(&post->waiting))
        forget(post, list_entry(post->waiting.next, struct letter, link));
}
