/* script_lua_parts_test.c -- the parts of a form and the form itself, above all
 * when memory runs out.  What they give is tested in tests/behaviour.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "form_rig.h"

/* Forgets what was saved; was it, and as a whole? */
static bool forget_saved(void)
{
    char path[96], content[32] = "";
    int fd;

    snprintf(path, sizeof(path), "%s/saved", rig.folder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return false;
    assert_int_equal(read(fd, content, sizeof(content)), 9);
    close(fd);
    assert_string_equal(content, "two\nlines");
    unlink(path);
    return true;
}

static const struct way {
    const char *code, *result;
} ways[] = {
    { "local t = '' for part in req:parts() do\n"
      "t = t .. part.name .. (part.filename or '') .. part.type ..\n"
      "  (part.headers.x or '') .. part:read() end return t",
      "atext/plainonefxtext/csvytwo\nlines" },
    { "local t = '' for part in req:parts() do\n"
      "for s in function() return part:read(4) end do t = t .. s end\n"
      "end return t",
      "onetwo\nlines" },
    { "local t = '' for part in req:parts() do\n"
      "for s in part:lines() do t = t .. s .. ',' end end return t",
      "one,two,lines," },
    { "local t for part in req:parts() do\n"
      "if part.filename then t = part:save(path) end end\n"
      "return tostring(t)",
      "9" },
    { "local f = req:form() return f and f.a .. f.f", "onetwo\nlines" },
};

enum { WAYS = sizeof(ways) / sizeof(*ways), SAVING = 3 };

static void a_form_is_taken_in_many_ways(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        form_open(ways[i].code);
        form_serve();
        if (strcmp(request.body.data, ways[i].result) != 0)
            fail_msg("%s\n%s", request.body.data, rig_log());
        assert_int_equal(forget_saved(), i == SAVING);
    }
}

static void over_the_limit_it_fails_cleanly(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        bool served = false;

        form_open(ways[i].code);
        for (size_t more = 0; !served; more += 16) {
            rig_limit_memory(more);
            form_serve();
            served = request.app_status == 0;
            if (!served)
                assert_failed_with(&request, "Status: 500 ");
            else
                assert_string_equal(request.body.data, ways[i].result);
            forget_saved();
            rig_forget_log();
            rig.script->memory.limit = 0;
        }
    }
}

static struct block *block; /* with both pieces */

/* As begin, without memory perhaps. */
static bool begin_or_fail(void)
{
    static const char type[] = "\x0c\x1e"
                               "CONTENT_TYPEmultipart/form-data; boundary=b";

    if (!rig_begin(&request, REQUEST_RESPONDER))
        return false;
    if (buffer_append(&request.req->params, slice_of(type)) != BUFFER_OK) {
        rig_detach(&request);
        return false;
    }
    rig_ready(&request);
    rig_turns(1);
    return true;
}

static void serve_or_fail(void *arg)
{
    const struct way *way = arg;
    struct slice bytes = { block->data, sizeof(form_first) - 1 };

    if (!begin_or_fail())
        return;
    for (int i = 0; i < 2; i++) { /* in memory, then in the file */
        if (request.req != NULL)
            request_input(request.req, &request.req->body, block, bytes, i > 0);
        rig_turns(2);
        bytes.data += bytes.len;
        bytes.len = sizeof(form_second) - 1;
    }
    form_finish();
    if (request.app_status == 0 &&
        strcmp(request.body.data, way->result) != 0 &&
        strcmp(request.body.data, "nil") != 0 &&
        strcmp(request.body.data, "nothing") != 0)
        fail_msg("%s", request.body.data);
    forget_saved();
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    block = block_new(&rig.service.blocks);
    memcpy(block->data, form_first, sizeof(form_first) - 1);
    memcpy(block->data + sizeof(form_first) - 1, form_second,
           sizeof(form_second) - 1);
    for (int i = 0; i < WAYS; i++) {
        form_open(ways[i].code);
        alloc_each_fails(serve_or_fail, (void *)(size_t)&ways[i]);
    }
    block_unref(block);
}

static void a_part_that_could_not_be_made_is_not_lost(void **state)
{
    unsigned again = 0;

    (void)state;
    form_open("local next_part, failed = req:parts(), false\n"
              "local ok, part = pcall(next_part)\n"
              "while not ok do\n"
              "  failed = true\n"
              "  fcgi.sleep(0)\n"
              "  ok, part = pcall(next_part)\n"
              "end\n"
              "return tostring(failed) .. part.name");
    do {
        static size_t more;

        assert_true(form_begin());
        rig_limit_memory(more += 16);
        form_piece(form_first);
        rig.script->memory.limit = 0;
        form_piece(form_second);
        form_finish();
        if (strcmp(request.body.data, "truea") == 0)
            again++;
        else if (request.app_status == 0)
            assert_string_equal(request.body.data, "falsea");
    } while (strcmp(request.body.data, "falsea") != 0);
    assert_int_not_equal(again, 0);
}

static void a_broken_form_is_refused(void **state)
{
    (void)state;
    form_open("for part in req:parts() do end");
    log_set_level(LOG_LEVEL_INFO);
    assert_true(form_begin());
    form_piece("junk");
    form_finish();
    assert_failed_with(&request, "Status: 400 ");
    rig_assert_logged("info");
    rig_assert_logged("app.lua: bad multipart: it has no boundary");
    assert_lacks(rig_log(), "error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_form_is_taken_in_many_ways),
        SCRIPT_TEST(over_the_limit_it_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
        SCRIPT_TEST(a_part_that_could_not_be_made_is_not_lost),
        SCRIPT_TEST(a_broken_form_is_refused),
    };

    return cmocka_run_group_tests_name("script/lua_parts", tests, NULL, NULL);
}
