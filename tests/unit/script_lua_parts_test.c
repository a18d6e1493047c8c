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
#include "script_rig.h"

static struct rig_request request;

#define A "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n"
#define F                                                                      \
    "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n"            \
    "Content-Type: text/csv\r\nX: y\r\n\r\n"

/* Two pieces of a body, cut within the boundary. */
static const char first[] = A "one\r\n" F "two\nli",
                  second[] = "nes\r\n--b--\r\n";

static void open_handler(const char *statements)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
             "local path = '%s/saved'\n"
             "local function serve(req) %s end\n"
             "return { on_request = function(req)\n"
             "  return 200, nil, serve(req) or 'nothing'\n"
             "end }",
             rig.folder, statements);
    rig_unload();
    rig_open(source);
}

static bool begin(void)
{
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return false;
    rig_param(&request, "CONTENT_TYPE", "multipart/form-data; boundary=b");
    rig_ready(&request);
    rig_turns(1);
    return true;
}

static void piece(const char *text)
{
    if (request.req != NULL)
        rig_input(&request, text);
    rig_turns(2);
}

static void finish(void)
{
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
}

static void serve(void)
{
    assert_true(begin());
    piece(first);
    piece(second);
    finish();
}

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
        open_handler(ways[i].code);
        serve();
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

        open_handler(ways[i].code);
        for (size_t more = 0; !served; more += 16) {
            rig_limit_memory(more);
            serve();
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
    struct slice bytes = { block->data, sizeof(first) - 1 };

    if (!begin_or_fail())
        return;
    for (int i = 0; i < 2; i++) { /* in memory, then in the file */
        if (request.req != NULL)
            request_input(request.req, &request.req->body, block, bytes, i > 0);
        rig_turns(2);
        bytes.data += bytes.len;
        bytes.len = sizeof(second) - 1;
    }
    finish();
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
    memcpy(block->data, first, sizeof(first) - 1);
    memcpy(block->data + sizeof(first) - 1, second, sizeof(second) - 1);
    for (int i = 0; i < WAYS; i++) {
        open_handler(ways[i].code);
        alloc_each_fails(serve_or_fail, (void *)(size_t)&ways[i]);
    }
    block_unref(block);
}

static void a_part_that_could_not_be_made_is_not_lost(void **state)
{
    unsigned again = 0;

    (void)state;
    open_handler("local next_part, failed = req:parts(), false\n"
                 "local ok, part = pcall(next_part)\n"
                 "while not ok do\n"
                 "  failed = true\n"
                 "  fcgi.sleep(0)\n"
                 "  ok, part = pcall(next_part)\n"
                 "end\n"
                 "return tostring(failed) .. part.name");
    do {
        static size_t more;

        assert_true(begin());
        rig_limit_memory(more += 16);
        piece(first);
        rig.script->memory.limit = 0;
        piece(second);
        finish();
        if (strcmp(request.body.data, "truea") == 0)
            again++;
        else if (request.app_status == 0)
            assert_string_equal(request.body.data, "falsea");
    } while (strcmp(request.body.data, "falsea") != 0);
    assert_int_not_equal(again, 0);
}

/* debug.setmetatable can lend a class to anything. */
static void what_only_looks_like_a_part_is_none(void **state)
{
    (void)state;
    open_handler(
        "local part = req:parts()()\n"
        "local class = debug.getmetatable(part)\n"
        "local fake = io.tmpfile()\n"
        "local file = debug.getmetatable(fake)\n"
        "debug.setmetatable(fake, class)\n"
        "local results = { tostring(debug.getmetatable(part) == class) }\n"
        "for _, method in ipairs { 'read', 'read_line', 'save' } do\n"
        "  results[#results + 1] = tostring(pcall(part[method], fake, 1))\n"
        "end\n"
        "results[#results + 1] = tostring(pcall(function() return fake.x\n"
        "end)) .. tostring(pcall(tostring, fake))\n"
        "debug.setmetatable(fake, file)\n"
        "return table.concat(results, ',')");
    serve();
    assert_string_equal(request.body.data, "true,false,false,false,falsefalse");
}

static void the_rest_is_read_while_a_handler_waits(void **state)
{
    unsigned before;

    (void)state;
    open_handler("for part in req:parts() do end return 'ok'");
    assert_true(begin());
    before = request.consumed;
    piece("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n");
    piece("some data");
    assert_true(request.consumed > before);
    assert_int_equal(body_available(&request.req->body), 0);
    piece("\r\n--b--");
    finish();
    assert_string_equal(request.body.data, "ok");
}

static void a_broken_form_is_refused(void **state)
{
    (void)state;
    open_handler("for part in req:parts() do end");
    log_set_level(LOG_LEVEL_INFO);
    assert_true(begin());
    piece("junk");
    finish();
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
        SCRIPT_TEST(what_only_looks_like_a_part_is_none),
        SCRIPT_TEST(the_rest_is_read_while_a_handler_waits),
        SCRIPT_TEST(a_broken_form_is_refused),
    };

    return cmocka_run_group_tests_name("script/lua_parts", tests, NULL, NULL);
}
