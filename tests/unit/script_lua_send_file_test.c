/* script_lua_send_file_test.c -- files that become answers: which are opened,
 * and what is sent of them while they and the client change.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/shared_fd.h"
#include "script_rig.h"

#include <sys/stat.h>

enum { MUCH = 200 * 1024 }; /* more than two pieces */

static struct rig_request request;
static char path[128];

/* A file of the rig's folder that goes with it. */
static const char *path_of(const char *name)
{
    static char text[160];

    snprintf(text, sizeof(text), "%s/%s", rig.folder, name);
    return text;
}

/* The file "big", which has so many bytes. */
static void make_big(long size)
{
    FILE *file = fopen(path_of("big"), "wb");

    assert_non_null(file);
    for (long i = 0; i < size; i++)
        putc((int)(i % 251), file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    int result = rig_set_up(state);

    snprintf(path, sizeof(path), "%s", path_of("big"));
    make_big(MUCH);
    return result;
}

static int tear_down(void **state)
{
    unlink(path_of("link"));
    unlink(path_of("fifo"));
    unlink(path);
    return rig_tear_down(state);
}

/* A handler that sends that file, and tells in the log how it went. */
static void open_sender(void)
{
    char source[512];

    snprintf(source, sizeof(source),
             "function on_request(req)\n"
             "  local ok, err = req:send_file('%s')\n"
             "  require 'fcgi'.log('notice', 'sent: ', tostring(ok), ' ',\n"
             "    tostring(err))\n"
             "end\n",
             path);
    rig_open(source);
}

static void assert_bytes(const struct rig_text *text, size_t from)
{
    for (size_t i = 0; i < text->len; i++)
        assert_int_equal((unsigned char)text->data[i], (from + i) % 251);
}

/* --- what is opened ------------------------------------------------------- */

static void only_regular_files_are_found(void **state)
{
    char source[1024];

    (void)state;
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    snprintf(source, sizeof(source),
             "for _, path in ipairs { '%s', '%s/fifo', '%s/none',\n"
             "  '%s/big/below', '/dev/null', 'big\\0', '' } do\n"
             "  equal(show(req:send_file(path)), 'nil, not found')\n"
             "end\n",
             rig.folder, rig.folder, rig.folder, rig.folder);
    rig_run_lua(source);
}

static void nothing_leads_out_of_the_root(void **state)
{
    char source[1024];

    (void)state;
    assert_int_equal(symlink("/etc/passwd", path_of("link")), 0);
    snprintf(source, sizeof(source),
             "for _, path in ipairs { 'link', '/link', '../etc/passwd',\n"
             "  '/../../etc/passwd', 'x/../../big', '/etc/passwd', '.', '',\n"
             "  '/' } do\n"
             "  equal(show(req:send_file(path, { root = '%s' })),\n"
             "    'nil, not found')\n"
             "end\n"
             "equal(show(req:send_file('big', { root = '%s/none' })),\n"
             "  'nil, not found')\n",
             rig.folder, rig.folder);
    rig_run_lua(source);
}

static void an_open_file_is_sent_from_where_it_stands(void **state)
{
    char source[512];

    (void)state;
    snprintf(source, sizeof(source),
             "function on_request(req)\n"
             "  local file <close> = io.open('%s', 'rb')\n"
             "  file:seek('set', %d)\n"
             "  req:send_file(file)\n"
             "end\n",
             path, MUCH - 1000);
    rig_open(source);
    rig_serve(&request);
    assert_int_equal(request.body.len, 1000);
    assert_bytes(&request.body, MUCH - 1000);
    assert_contains(request.head.data, "Content-Length: 1000\r\n");
}

/* --- what is sent --------------------------------------------------------- */

static void it_goes_as_the_client_takes_it(void **state)
{
    size_t total = 0;

    (void)state;
    open_sender();
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 0;
    rig_ready(&request);
    rig_turns(2);
    assert_int_equal(request.body_bytes, 0);
    while (request.req != NULL) {
        total += 30000;
        assert_true(total < MUCH + 2 * 30000);
        rig_make_room(&request, 30000);
        rig_turns(2);
        assert_int_equal(request.body_bytes, total < MUCH ? total : MUCH);
    }
    assert_int_equal(request.app_status, 0);
    assert_bytes(&request.body, 0);
    rig_assert_logged("sent: true nil");
}

static void a_file_that_shrinks_ends_the_answer(void **state)
{
    (void)state;
    open_sender();
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 1000;
    rig_ready(&request);
    rig_turns(2);
    assert_int_equal(truncate(path, 50000), 0);
    rig_make_room(&request, SIZE_MAX);
    rig_run();
    assert_int_equal(request.body_bytes, 50000);
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.app_status, 1);
    assert_contains(request.err.data, "short file");
    rig_assert_logged("sent: nil short file");
}

static void a_client_that_leaves_ends_it(void **state)
{
    (void)state;
    open_sender();
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 1000;
    rig_ready(&request);
    rig_turns(2);
    rig_abort(&request);
    rig_run();
    assert_int_equal(request.body_bytes, 1000);
    rig_assert_logged("sent: nil aborted");
}

/* --- what the kernel sends ------------------------------------------------ */

static struct {
    int pieces;
    off_t end; /* of the last one */
    struct shared_fd *file;
} kernel;

static bool takes_files(const struct exchange *exchange)
{
    (void)exchange;
    return true;
}

static void take_file(struct exchange *exchange, struct shared_fd *file,
                      off_t offset, size_t n)
{
    assert_int_equal(offset, kernel.end);
    kernel.pieces++;
    kernel.end = offset + (off_t)n;
    rig_of(exchange)->room -= n;
    if (kernel.file == NULL)
        kernel.file = shared_fd_ref(file);
}

static struct exchange_ops kernel_ops(void)
{
    struct exchange_ops ops = rig_exchange_ops;

    kernel.pieces = 0;
    kernel.end = 0;
    kernel.file = NULL;
    ops.takes_files = takes_files;
    ops.file = take_file;
    return ops;
}

static void begin_with_kernel(const struct exchange_ops *ops, size_t room)
{
    open_sender();
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.exchange.ops = ops;
    request.room = room;
    rig_ready(&request);
    rig_turns(2);
}

static void large_pieces_are_for_the_kernel(void **state)
{
    struct exchange_ops ops = kernel_ops();

    (void)state;
    begin_with_kernel(&ops, 100000);
    assert_int_equal(kernel.end, 100000);
    rig_make_room(&request, SIZE_MAX / 2);
    rig_run();
    assert_int_equal(kernel.end, MUCH);
    assert_int_equal(kernel.pieces, 2);
    assert_int_equal(request.body_bytes, 0);
    assert_int_equal(request.ends, 1);
    /* The script has closed it: the descriptor is there for the kernel. */
    lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
    assert_int_equal(kernel.file->refs, 1);
    assert_int_not_equal(fcntl(kernel.file->fd, F_GETFD), -1);
    shared_fd_unref(kernel.file);
}

static void what_is_not_there_any_more_is_not_for_the_kernel(void **state)
{
    struct exchange_ops ops = kernel_ops();

    (void)state;
    begin_with_kernel(&ops, 100000);
    assert_int_equal(truncate(path, 150000), 0);
    rig_make_room(&request, SIZE_MAX / 2);
    rig_run();
    assert_int_equal(kernel.end, 100000);
    assert_int_equal(request.body_bytes, 50000);
    assert_int_equal(request.app_status, 1);
    shared_fd_unref(kernel.file);
}

/* --- without memory ------------------------------------------------------- */

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    rig_write_file(path, "hello");
    open_sender();
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t)(const void *)"hello");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_regular_files_are_found),
        TEST(nothing_leads_out_of_the_root),
        TEST(an_open_file_is_sent_from_where_it_stands),
        TEST(it_goes_as_the_client_takes_it),
        TEST(a_file_that_shrinks_ends_the_answer),
        TEST(a_client_that_leaves_ends_it),
        TEST(large_pieces_are_for_the_kernel),
        TEST(what_is_not_there_any_more_is_not_for_the_kernel),
        TEST(without_memory_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_send_file", tests, NULL,
                                       NULL);
}
