/* params_fuzz.c -- parameters of a peer who means harm.
 *
 * Whatever the bytes: each pair lies within them, all ways to look at them
 * agree, and what was read, written anew, reads the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/params.h"
#include "core/service.h"
#include "fcgi/values.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct scan {
    struct slice in;
    size_t len, n;
};

static void count(void *arg, struct slice name, struct slice value)
{
    struct scan *scan = arg;

    check(name.len == scan->len);
    check(name.data >= scan->in.data && value.data == name.data + name.len);
    check(value.data + value.len <= scan->in.data + scan->in.len);
    scan->n++;
}

/* Every pair is found where it was; returns whether all of them are whole. */
static bool read_pairs(struct slice in, struct buffer *again)
{
    struct slice rest = in, name, value, found;
    enum params_status status;
    size_t lengths[8] = { 0 };

    while ((status = params_next(&rest, &name, &value)) == PARAMS_PAIR) {
        check(value.data + value.len == rest.data);
        check(params_find(in, name, &found));
        check(found.data <= value.data);
        check(params_append(again, name, value) == BUFFER_OK);
        if (name.len < 8)
            lengths[name.len]++;
    }
    check((status == PARAMS_END) == (rest.len == 0));
    for (size_t len = 0; len < 8; len++) {
        struct scan scan = { .in = in, .len = len };

        check(params_scan(in, len, count, &scan) == (status == PARAMS_END));
        check(scan.n == lengths[len]);
    }
    return status == PARAMS_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = { (const char *)data, size };
    struct limits limits = limits_default();
    struct buffer again, third;
    char answer[FCGI_VALUES_MAX];

    if (size > 8192)
        return 0; /* finding each pair is quadratic */
    buffer_init(&again, 16 * size + 16);
    buffer_init(&third, 16 * size + 16);
    read_pairs(in, &again);
    check(read_pairs(buffer_slice(&again), &third));
    check(slice_equal(buffer_slice(&again), buffer_slice(&third)));
    check(fcgi_values_answer(in, &limits, answer) <= sizeof(answer));
    buffer_free(&again);
    buffer_free(&third);
    return 0;
}
