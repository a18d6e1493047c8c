/* base_chain_test.c -- bytes on their way to a socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "file_rig.h"

enum { LARGE = 3 * CHUNK_SIZE + 100 };

static struct pool pool;
static struct chain chain;
static char pattern[LARGE];
static int released;

static int set_up(void **state)
{
    (void)state;
    chain_pool_init(&pool, 4);
    chain_init(&chain, &pool);
    released = 0;
    for (size_t i = 0; i < LARGE; i++)
        pattern[i] = (char)(i * 31 + i / 251);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chain_free(&chain);
    pool_free(&pool);
    return 0;
}

static void release(void *arg)
{
    ++*(int *)arg;
}

/* All that is in the chain, at most size bytes. */
static struct slice contents(char *out, size_t size)
{
    struct iovec iov[64];
    unsigned n = chain_iovec(&chain, iov, 64);
    size_t len = 0;

    for (unsigned i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0 && iov[i].iov_len <= size - len);
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    assert_int_equal(len, chain.len);
    return (struct slice){ out, len };
}

static void small_pieces_share_a_chunk(void **state)
{
    struct iovec iov[4];
    char out[32];

    (void)state;
    assert_true(chain_append(&chain, slice_of("Hello, ")));
    memcpy(chain_extend(&chain, 5), "world", 5);
    assert_true(chain_append(&chain, slice_of("!")));
    assert_int_equal(chain_iovec(&chain, iov, 4), 1);
    assert_true(slice_equal(contents(out, 32), slice_of("Hello, world!")));
}

static void an_empty_chain_has_nothing_to_write(void **state)
{
    struct iovec iov[1];

    (void)state;
    assert_int_equal(chain_iovec(&chain, iov, 1), 0);
    assert_true(chain_append(&chain, slice_of("")));
    assert_int_equal(chain_iovec(&chain, iov, 1), 0);
    chain_drain(&chain, 0);
    assert_int_equal(chain.len, 0);
}

static void large_pieces_cross_chunks(void **state)
{
    static char out[LARGE + 1];

    (void)state;
    assert_true(chain_append(&chain, slice_of("x")));
    assert_true(chain_append(&chain, (struct slice){ pattern, LARGE }));
    assert_int_equal(contents(out, sizeof(out)).len, LARGE + 1);
    assert_memory_equal(out + 1, pattern, LARGE);
}

static void an_extension_is_in_one_piece_and_stays_where_it_is(void **state)
{
    struct iovec iov[4];
    char *first, *room;

    (void)state;
    first = chain_extend(&chain, 8);
    assert_true(
        chain_append(&chain, (struct slice){ pattern, CHUNK_SIZE - 9 }));
    room = chain_extend(&chain, 2); /* one byte is left in the chunk */
    memcpy(room, "ab", 2);
    memcpy(first, "12345678", 8);
    assert_int_equal(chain_iovec(&chain, iov, 4), 2);
    assert_int_equal(iov[0].iov_len, CHUNK_SIZE - 1);
    assert_memory_equal(iov[0].iov_base, "12345678", 8);
    assert_int_equal(iov[1].iov_len, 2);
    chain_drain(&chain, CHUNK_SIZE - 1);
    assert_memory_equal(room, "ab", 2);
    assert_non_null(chain_extend(&chain, CHUNK_SIZE));
}

static void draining_by_any_step_shows_the_bytes_in_order(void **state)
{
    static const size_t steps[] = { 1,    7, 4096, CHUNK_SIZE, CHUNK_SIZE + 1,
                                    LARGE };

    (void)state;
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        size_t at = 0;

        assert_true(chain_append(&chain, (struct slice){ pattern, LARGE }));
        while (chain.len > 0) {
            struct iovec iov[1];
            size_t n = steps[s] < chain.len ? steps[s] : chain.len;

            assert_int_equal(chain_iovec(&chain, iov, 1), 1);
            assert_memory_equal(iov[0].iov_base, pattern + at,
                                n < iov[0].iov_len ? n : iov[0].iov_len);
            chain_drain(&chain, n);
            at += n;
        }
        assert_int_equal(at, LARGE);
        assert_null(chain.head);
    }
}

static void a_drained_chain_takes_more(void **state)
{
    char out[16];

    (void)state;
    assert_true(chain_append(&chain, slice_of("abc")));
    chain_drain(&chain, 2);
    assert_true(chain_append(&chain, slice_of("def")));
    assert_true(slice_equal(contents(out, 16), slice_of("cdef")));
    chain_drain(&chain, 4);
    assert_true(chain_append(&chain, slice_of("g")));
    assert_true(slice_equal(contents(out, 16), slice_of("g")));
}

static void bytes_held_by_reference_are_not_copied(void **state)
{
    struct iovec iov[4];

    (void)state;
    assert_true(chain_append(&chain, slice_of("head")));
    assert_true(chain_append_ref(&chain, (struct slice){ pattern, 1000 },
                                 release, &released));
    assert_true(chain_append(&chain, slice_of("tail")));
    assert_int_equal(chain_iovec(&chain, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, pattern);
    assert_int_equal(chain.len, 1008);
}

static void a_reference_is_released_once_with_its_last_byte(void **state)
{
    (void)state;
    chain_append(&chain, slice_of("head"));
    chain_append_ref(&chain, (struct slice){ pattern, 10 }, release, &released);
    chain_append(&chain, slice_of("tail"));
    chain_drain(&chain, 13);
    assert_int_equal(released, 0);
    chain_drain(&chain, 1);
    assert_int_equal(released, 1);
    chain_drain(&chain, 4);
    assert_int_equal(released, 1);
    chain_append_ref(&chain, slice_of("x"), NULL, NULL);
    chain_drain(&chain, 1);
}

static void references_are_released_when_the_chain_is_freed(void **state)
{
    (void)state;
    chain_append_ref(&chain, (struct slice){ pattern, 10 }, release, &released);
    chain_append_ref(&chain, (struct slice){ pattern, 10 }, release, &released);
    chain_drain(&chain, 3);
    chain_free(&chain);
    assert_int_equal(released, 2);
    assert_int_equal(chain.len, 0);
    assert_null(chain.tail);
    assert_true(chain_append(&chain, slice_of("again")));
}

static void the_front_is_described_in_as_many_entries_as_fit(void **state)
{
    struct iovec iov[2];

    (void)state;
    chain_append(&chain, (struct slice){ pattern, LARGE });
    assert_int_equal(chain_iovec(&chain, iov, 2), 2);
    assert_int_equal(iov[0].iov_len + iov[1].iov_len, 2 * CHUNK_SIZE);
    assert_int_equal(chain_iovec(&chain, iov, 0), 0);
}

static void a_piece_of_a_file_stands_between_bytes(void **state)
{
    struct shared_fd *file = file_of(slice_of("0123456789"));
    struct iovec iov[4];
    off_t offset;
    size_t n;

    (void)state;
    assert_true(chain_append(&chain, slice_of("head")));
    assert_true(chain_append_file(&chain, file, 2, 6));
    assert_true(chain_append(&chain, slice_of("tail")));
    assert_int_equal(file->refs, 2);
    assert_int_equal(chain.len, 14);
    assert_int_equal(chain_file(&chain, &offset, &n), -1);
    assert_int_equal(chain_iovec(&chain, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 4);
    chain_drain(&chain, 5);
    assert_int_equal(chain_iovec(&chain, iov, 4), 0);
    assert_int_equal(chain_file(&chain, &offset, &n), file->fd);
    assert_int_equal(offset, 3);
    assert_int_equal(n, 5);
    assert_true(slice_equal(front_of(&chain), slice_of("34567")));
    chain_drain(&chain, 5);
    assert_int_equal(file->refs, 1);
    assert_true(slice_equal(front_of(&chain), slice_of("tail")));
    chain_drain(&chain, 4);
    assert_true(chain_append_file(&chain, file, 0, 1));
    chain_free(&chain);
    assert_int_equal(file->refs, 1);
    shared_fd_unref(file);
}

static void without_memory_a_file_is_not_held(void **state)
{
    struct shared_fd *file = file_of(slice_of("x"));

    (void)state;
    alloc_fail_at(1);
    assert_false(chain_append_file(&chain, file, 0, 1));
    assert_int_equal(file->refs, 1);
    assert_int_equal(chain.len, 0);
    shared_fd_unref(file);
}

static void fill(void *arg)
{
    static char out[LARGE];
    size_t len = 0;

    (void)arg;
    set_up(NULL);
    for (size_t n = 1; n < CHUNK_SIZE; n = n * 5 + 3) {
        if (chain_append(&chain, (struct slice){ pattern, n }))
            len += n;
        assert_int_equal(chain.len, len);
        if (chain_extend(&chain, 2) != NULL)
            len += 2;
        assert_int_equal(chain.len, len);
        if (chain_append_ref(&chain, slice_of("ref"), release, &released))
            len += 3;
        else
            assert_int_equal(released, 0);
        assert_int_equal(contents(out, sizeof(out)).len, len);
    }
    if (chain_append(&chain, (struct slice){ pattern, LARGE }))
        len += LARGE;
    assert_int_equal(chain.len, len);
    tear_down(NULL);
}

static void without_memory_an_append_is_whole_or_nothing(void **state)
{
    (void)state;
    alloc_each_fails(fill, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(small_pieces_share_a_chunk),
        TEST(an_empty_chain_has_nothing_to_write),
        TEST(large_pieces_cross_chunks),
        TEST(an_extension_is_in_one_piece_and_stays_where_it_is),
        TEST(draining_by_any_step_shows_the_bytes_in_order),
        TEST(a_drained_chain_takes_more),
        TEST(bytes_held_by_reference_are_not_copied),
        TEST(a_reference_is_released_once_with_its_last_byte),
        TEST(references_are_released_when_the_chain_is_freed),
        TEST(the_front_is_described_in_as_many_entries_as_fit),
        TEST(a_piece_of_a_file_stands_between_bytes),
        TEST(without_memory_a_file_is_not_held),
        cmocka_unit_test(without_memory_an_append_is_whole_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
