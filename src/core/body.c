/* body.c -- see body.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/body.h"

#include "core/limits.h"
#include "core/service.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_PIECE = 1024 };

/* Large pieces hold the block that they were received into; small ones carry a
 * copy, with room for what follows. */
struct body_piece {
    struct body_piece *next;
    struct block *block; /* NULL: the bytes are the piece's own */
    struct slice bytes;
    size_t room; /* own bytes behind .bytes that are free */
    bool pooled;
    char own[];
};

void body_pool_init(struct pool *pool, unsigned most)
{
    pool_init(pool, sizeof(struct body_piece) + SMALL_PIECE, most);
}

void body_init(struct body *body)
{
    memset(body, 0, sizeof(*body));
    body->fd = -1;
}

static struct body_piece *piece_new(struct service *service, size_t own)
{
    bool pooled = own <= SMALL_PIECE;
    struct body_piece *piece =
        pooled ? pool_get(&service->pieces) : malloc(sizeof(*piece) + own);

    if (piece == NULL)
        return NULL;
    *piece = (struct body_piece){ .room = pooled ? SMALL_PIECE : own,
                                  .pooled = pooled };
    piece->bytes.data = piece->own;
    return piece;
}

static void piece_del(struct service *service, struct body_piece *piece)
{
    block_unref(piece->block);
    if (piece->pooled)
        pool_put(&service->pieces, piece);
    else
        free(piece);
}

static void drop_front(struct body *body, struct service *service)
{
    struct body_piece *piece = body->head;

    body->head = piece->next;
    if (body->head == NULL)
        body->tail = NULL;
    piece_del(service, piece);
}

/* The file is empty again: give its space back, keep it for what comes. */
static void rewind_file(struct body *body, struct service *service)
{
    if (body->file_written == 0)
        return;
    service->spooled -= body->file_written;
    body->file_read = body->file_written = 0;
    if (ftruncate(body->fd, 0) == -1)
        return; /* then it only stays larger than it needs to be */
}

void body_free(struct body *body, struct service *service)
{
    body->dropped = true;
    if (body->head == NULL && body->fd == -1)
        return; /* nearly always */
    while (body->head != NULL)
        drop_front(body, service);
    body->in_memory = 0;
    if (body->fd != -1) {
        service->spooled -= body->file_written;
        body->file_read = body->file_written = 0;
        close(body->fd);
        body->fd = -1;
    }
}

static bool add_copy(struct body *body, struct service *service,
                     struct slice bytes)
{
    struct body_piece *piece = body->tail;

    if (piece == NULL || piece->room < bytes.len) {
        /* Many small records become few pieces. */
        size_t size = body->tail != NULL && bytes.len < BODY_COPY_BELOW
                          ? BODY_COPY_BELOW
                          : bytes.len;

        piece = piece_new(service, size);
        if (piece == NULL)
            return false;
        if (body->tail == NULL)
            body->head = piece;
        else
            body->tail->next = piece;
        body->tail = piece;
    }
    memcpy((char *)(size_t)piece->bytes.data + piece->bytes.len, bytes.data,
           bytes.len);
    piece->bytes.len += bytes.len;
    piece->room -= bytes.len;
    body->in_memory += bytes.len;
    return true;
}

static bool add_block(struct body *body, struct service *service,
                      struct block *block, struct slice bytes)
{
    struct body_piece *piece = piece_new(service, 0);

    if (piece == NULL)
        return false;
    piece->block = block_ref(block);
    piece->bytes = bytes;
    piece->room = 0;
    if (body->tail == NULL)
        body->head = piece;
    else
        body->tail->next = piece;
    body->tail = piece;
    body->in_memory += bytes.len;
    return true;
}

/* O_TMPFILE has no name to unlink, but not every file system knows it. */
static int open_unlinked(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd != -1 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if ((size_t)snprintf(path, sizeof(path), "%s/fcgi-lua.XXXXXX", dir) >=
        sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd != -1)
        unlink(path);
    return fd;
}

static enum body_status add_file(struct body *body, struct service *service,
                                 struct slice bytes)
{
    uint64_t at = body->file_written;

    if (bytes.len > service->limits.max_spool - service->spooled)
        return BODY_NO_SPACE;
    if (body->fd == -1)
        body->fd = open_unlinked(service->tmpdir);
    if (body->fd == -1)
        return BODY_NO_SPACE;
    while (bytes.len > 0) {
        ssize_t n = pwrite(body->fd, bytes.data, bytes.len, (off_t)at);

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return BODY_NO_SPACE;
        at += (uint64_t)n;
        slice_take(&bytes, (size_t)n);
    }
    service->spooled += at - body->file_written;
    body->file_written = at;
    return BODY_OK;
}

enum body_status body_add(struct body *body, struct service *service,
                          struct block *block, struct slice bytes, bool to_file)
{
    uint64_t max = service->limits.max_body;
    enum body_status status = BODY_OK;

    if (body->ended || body->dropped)
        return BODY_OK;
    if (body->expected > 0)
        bytes =
            slice_take(&bytes, bytes.len < body->expected - body->received
                                   ? bytes.len
                                   : (size_t)(body->expected - body->received));
    if (max > 0 && bytes.len > max - body->received)
        return BODY_TOO_LARGE;
    if (bytes.len == 0)
        return BODY_OK;
    if (to_file || body->file_read < body->file_written)
        status = add_file(body, service, bytes);
    else if (bytes.len < BODY_COPY_BELOW
                 ? !add_copy(body, service, bytes)
                 : !add_block(body, service, block, bytes))
        status = BODY_NO_MEMORY;
    if (status != BODY_OK)
        return status;
    body->received += bytes.len;
    if (body->received == body->expected)
        body->ended = true;
    return BODY_OK;
}

void body_end(struct body *body)
{
    if (body->ended)
        return;
    body->ended = true;
    body->truncated = body->received < body->expected;
}

void body_drop(struct body *body, struct service *service)
{
    body_free(body, service);
}

static enum body_status load(struct body *body, struct service *service)
{
    uint64_t left = body->file_written - body->file_read;
    size_t want = left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE;
    struct block *block = block_new(&service->blocks);
    ssize_t n;

    if (block == NULL)
        return BODY_NO_MEMORY;
    do
        n = pread(body->fd, block->data, want, (off_t)body->file_read);
    while (n == -1 && errno == EINTR);
    if (n <= 0) {
        block_unref(block);
        return BODY_NO_SPACE;
    }
    if (!add_block(body, service, block,
                   (struct slice){ block->data, (size_t)n })) {
        block_unref(block);
        return BODY_NO_MEMORY;
    }
    block_unref(block); /* the piece holds it */
    body->file_read += (uint64_t)n;
    if (body->file_read == body->file_written)
        rewind_file(body, service);
    return BODY_OK;
}

enum body_status body_peek(struct body *body, struct service *service,
                           struct slice *front)
{
    enum body_status status;

    if (body->head == NULL && body->file_read < body->file_written) {
        status = load(body, service);
        if (status != BODY_OK)
            return status;
    }
    *front = body->head != NULL ? body->head->bytes : (struct slice){ NULL, 0 };
    return BODY_OK;
}

void body_consume(struct body *body, struct service *service, size_t n)
{
    if (n == 0)
        return;
    assert(body->head != NULL && n <= body->head->bytes.len);
    slice_take(&body->head->bytes, n);
    body->in_memory -= n;
    if (body->head->bytes.len == 0)
        drop_front(body, service);
}
