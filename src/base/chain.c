/* chain.c -- see chain.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/chain.h"

#include <assert.h>
#include <stdlib.h>

struct chunk {
    struct chunk *next;
    char *data; /* the first byte that is left */
    size_t len; /* bytes left */
    void (*release)(void *arg);
    void *arg;
    char *end; /* where own room ends; NULL: bytes held by reference */
    struct shared_fd *file; /* whose bytes these are; NULL: they are at data */
    off_t offset;           /* there, of the first that is left */
    char bytes[];
};

void chain_pool_init(struct pool *pool, unsigned most)
{
    pool_init(pool, sizeof(struct chunk) + CHUNK_SIZE, most);
}

void chain_init(struct chain *chain, struct pool *pool)
{
    *chain = (struct chain){ .pool = pool };
}

static size_t chunk_room(const struct chunk *chunk)
{
    if (chunk == NULL || chunk->end == NULL)
        return 0;
    return (size_t)(chunk->end - (chunk->data + chunk->len));
}

static struct chunk *chunk_new(struct pool *pool)
{
    struct chunk *chunk = pool_get(pool);

    if (chunk == NULL)
        return NULL;
    chunk->next = NULL;
    chunk->data = chunk->bytes;
    chunk->len = 0;
    chunk->release = NULL;
    chunk->file = NULL;
    chunk->end = chunk->bytes + CHUNK_SIZE;
    return chunk;
}

static void chunk_del(struct pool *pool, struct chunk *chunk)
{
    if (chunk->end != NULL) {
        pool_put(pool, chunk);
        return;
    }
    if (chunk->release != NULL)
        chunk->release(chunk->arg);
    shared_fd_unref(chunk->file);
    free(chunk);
}

static void link_chunk(struct chain *chain, struct chunk *chunk)
{
    if (chain->tail == NULL)
        chain->head = chunk;
    else
        chain->tail->next = chunk;
    chain->tail = chunk;
}

void chain_free(struct chain *chain)
{
    while (chain->head != NULL) {
        struct chunk *chunk = chain->head;

        chain->head = chunk->next;
        chunk_del(chain->pool, chunk);
    }
    chain->tail = NULL;
    chain->len = 0;
}

char *chain_extend(struct chain *chain, size_t n)
{
    char *room;

    assert(n <= CHUNK_SIZE);
    if (chunk_room(chain->tail) < n) {
        struct chunk *chunk = chunk_new(chain->pool);

        if (chunk == NULL)
            return NULL;
        link_chunk(chain, chunk);
    }
    room = chain->tail->data + chain->tail->len;
    chain->tail->len += n;
    chain->len += n;
    return room;
}

/* Makes room for n bytes more in new chunks behind the tail's own room, linked
 * to *fresh but not to the chain: so an append is whole or nothing. */
static bool take_chunks(struct pool *pool, size_t n, struct chunk **fresh)
{
    struct chunk **end = fresh;

    *fresh = NULL;
    for (size_t had = 0; had < n; had += CHUNK_SIZE) {
        *end = chunk_new(pool);
        if (*end == NULL)
            goto fail;
        end = &(*end)->next;
    }
    return true;

fail:
    while (*fresh != NULL) {
        struct chunk *chunk = *fresh;

        *fresh = chunk->next;
        chunk_del(pool, chunk);
    }
    return false;
}

bool chain_append(struct chain *chain, struct slice bytes)
{
    size_t room = chunk_room(chain->tail);
    struct chunk *fresh = NULL;

    if (bytes.len == 0)
        return true;
    if (bytes.len > room && !take_chunks(chain->pool, bytes.len - room, &fresh))
        return false;
    chain->len += bytes.len;
    for (;;) {
        struct slice part = slice_take(&bytes, room);

        if (part.len > 0) {
            memcpy(chain->tail->data + chain->tail->len, part.data, part.len);
            chain->tail->len += part.len;
        }
        if (fresh == NULL)
            return true;
        link_chunk(chain, fresh);
        fresh = fresh->next;
        chain->tail->next = NULL;
        room = CHUNK_SIZE;
    }
}

bool chain_append_ref(struct chain *chain, struct slice bytes,
                      void (*release)(void *arg), void *arg)
{
    struct chunk *chunk = malloc(sizeof(*chunk));

    if (chunk == NULL)
        return false;
    *chunk = (struct chunk){ .len = bytes.len, .release = release, .arg = arg };
    chunk->data = (char *)(size_t)bytes.data; /* only ever read */
    link_chunk(chain, chunk);
    chain->len += bytes.len;
    return true;
}

bool chain_append_file(struct chain *chain, struct shared_fd *file,
                       off_t offset, size_t n)
{
    struct chunk *chunk = malloc(sizeof(*chunk));

    if (chunk == NULL)
        return false;
    *chunk = (struct chunk){ .len = n,
                             .file = shared_fd_ref(file),
                             .offset = offset };
    link_chunk(chain, chunk);
    chain->len += n;
    return true;
}

int chain_file(const struct chain *chain, off_t *offset, size_t *n)
{
    const struct chunk *chunk = chain->head;

    if (chunk == NULL || chunk->file == NULL)
        return -1;
    *offset = chunk->offset;
    *n = chunk->len;
    return chunk->file->fd;
}

unsigned chain_iovec(const struct chain *chain, struct iovec *iov, unsigned max)
{
    unsigned n = 0;

    for (struct chunk *chunk = chain->head;
         chunk != NULL && chunk->file == NULL && n < max; chunk = chunk->next)
        if (chunk->len > 0)
            iov[n++] = (struct iovec){ chunk->data, chunk->len };
    return n;
}

void chain_drain(struct chain *chain, size_t n)
{
    assert(n <= chain->len);
    chain->len -= n;
    while (chain->head != NULL) {
        struct chunk *chunk = chain->head;
        size_t part = n < chunk->len ? n : chunk->len;

        if (chunk->file != NULL)
            chunk->offset += (off_t)part;
        else
            chunk->data += part;
        chunk->len -= part;
        n -= part;
        if (chunk->len > 0)
            return;
        chain->head = chunk->next;
        if (chain->head == NULL)
            chain->tail = NULL;
        chunk_del(chain->pool, chunk);
    }
}
