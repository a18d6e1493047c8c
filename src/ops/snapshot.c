/* snapshot.c -- see snapshot.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/snapshot.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXTS = 7, TRIES_MAX = 100 };

const char *const snapshot_states[SNAPSHOT_ABORTED + 1] = {
    [SNAPSHOT_STARTING] = "Starting",   [SNAPSHOT_WAITING] = "Waiting",
    [SNAPSHOT_READY] = "Ready",         [SNAPSHOT_RUNNING] = "Running",
    [SNAPSHOT_FINISHING] = "Finishing", [SNAPSHOT_ABORTED] = "Aborted",
};

/* In front of the texts of each request. */
struct entry {
    double started;
    uint64_t content_length;
    uint32_t state;
    uint16_t lens[TEXTS];
};

static const uint16_t longest[TEXTS] = { 64, 32, 1024, 256, 128, 64, 256 };

uint64_t snapshot_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void texts_of(const struct snapshot_request *request,
                     struct slice texts[TEXTS])
{
    texts[0] = request->id;
    texts[1] = request->method;
    texts[2] = request->uri;
    texts[3] = request->script;
    texts[4] = request->user;
    texts[5] = request->remote;
    texts[6] = request->where;
}

void snapshot_begin(struct board_snapshot *snapshot)
{
    snapshot->version++; /* odd: readers wait */
    atomic_thread_fence(memory_order_seq_cst);
    snapshot->count = snapshot->left_out = snapshot->len = 0;
}

void snapshot_add(struct board_snapshot *snapshot,
                  const struct snapshot_request *request)
{
    struct entry entry = { .started = request->started,
                           .content_length = request->content_length,
                           .state = (uint32_t)request->state };
    struct slice texts[TEXTS];
    size_t len = sizeof(entry);
    char *at;

    texts_of(request, texts);
    for (int i = 0; i < TEXTS; i++) {
        if (texts[i].len > longest[i])
            texts[i].len = longest[i];
        entry.lens[i] = (uint16_t)texts[i].len;
        len += texts[i].len;
    }
    if (len > sizeof(snapshot->bytes) - snapshot->len) {
        snapshot->left_out++;
        return;
    }
    at = snapshot->bytes + snapshot->len;
    memcpy(at, &entry, sizeof(entry));
    at += sizeof(entry);
    for (int i = 0; i < TEXTS; i++) {
        if (texts[i].len > 0)
            memcpy(at, texts[i].data, texts[i].len);
        at += texts[i].len;
    }
    snapshot->len += (uint32_t)len;
    snapshot->count++;
}

void snapshot_end(struct board_snapshot *snapshot, uint64_t number)
{
    snapshot->taken = snapshot_now() | 1;
    atomic_thread_fence(memory_order_seq_cst);
    snapshot->version++;
    snapshot->number = number; /* last: who waits for it looks at this */
}

static bool copy(const struct board_snapshot *from, struct snapshot *to)
{
    uint32_t before = from->version;

    if ((before & 1) != 0)
        return false;
    to->count = from->count;
    to->left_out = from->left_out;
    to->len = from->len;
    to->taken = from->taken;
    if (to->len > sizeof(from->bytes))
        return false;
    memcpy(to->bytes, from->bytes, to->len);
    atomic_thread_fence(memory_order_seq_cst);
    return from->version == before;
}

enum snapshot_status snapshot_read(const struct board_snapshot *from,
                                   struct snapshot *to)
{
    *to = (struct snapshot){ .bytes = NULL };
    if (from->number == 0)
        return SNAPSHOT_NONE;
    to->bytes = malloc(sizeof(from->bytes));
    if (to->bytes == NULL)
        return SNAPSHOT_NO_MEMORY;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        if (copy(from, to))
            return SNAPSHOT_OK;
        sched_yield();
    }
    free(to->bytes);
    *to = (struct snapshot){ .bytes = NULL };
    return SNAPSHOT_NONE;
}

bool snapshot_next(struct slice *rest, struct snapshot_request *request)
{
    struct entry entry;
    struct slice all = *rest, texts[TEXTS];

    if (all.len < sizeof(entry))
        return false;
    memcpy(&entry, slice_take(&all, sizeof(entry)).data, sizeof(entry));
    for (int i = 0; i < TEXTS; i++) {
        if (all.len < entry.lens[i])
            return false;
        texts[i] = slice_take(&all, entry.lens[i]);
    }
    if (entry.state > SNAPSHOT_ABORTED)
        return false;
    *rest = all;
    *request =
        (struct snapshot_request){ .started = entry.started,
                                   .content_length = entry.content_length,
                                   .state = (enum snapshot_state)entry.state,
                                   .id = texts[0],
                                   .method = texts[1],
                                   .uri = texts[2],
                                   .script = texts[3],
                                   .user = texts[4],
                                   .remote = texts[5],
                                   .where = texts[6] };
    return true;
}
