/* script_lua_part_test.c -- a part as a script sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "form_rig.h"

/* debug.setmetatable can lend a class to anything. */
static void what_only_looks_like_a_part_is_none(void **state)
{
    (void)state;
    form_open(
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
    form_serve();
    assert_string_equal(request.body.data, "true,false,false,false,falsefalse");
}

/* What a read had when it was cancelled comes first, in lines too. */
static void a_cancelled_read_leaves_its_lines(void **state)
{
    (void)state;
    form_open("local part = req:parts()()\n"
              "local task = fcgi.spawn(part.read, part)\n"
              "fcgi.sleep(0) fcgi.sleep(0) task:cancel() task:join()\n"
              "return table.concat({ part:read_line(), part:read_line(2),\n"
              "  part:read_line(), part:read(1), part:read(),\n"
              "  tostring(part:read_line()) }, '|')");
    assert_true(form_begin());
    form_piece(FORM_A "one\ntwo\nthr");
    rig_turns(4);
    form_piece("ee\nfour\r\n--b--");
    form_finish();
    assert_string_equal(request.body.data, "one\n|tw|o\n|t|hree\nfour|nil");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(what_only_looks_like_a_part_is_none),
        SCRIPT_TEST(a_cancelled_read_leaves_its_lines),
    };

    return cmocka_run_group_tests_name("script/lua_part", tests, NULL, NULL);
}
