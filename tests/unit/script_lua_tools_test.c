/* script_lua_tools_test.c -- fcgi.equal and fcgi.random, and that the tools
 * which are written in Lua are there.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "script_rig.h"

#include <sys/random.h>
#include <sys/syscall.h>

static struct rig_request request;

/* --- the kernel's random numbers ------------------------------------------ */

/* What getrandom does, in place of the C library's. */
static struct {
    unsigned interruptions; /* it fails with EINTR that many times first */
    size_t at_most;         /* bytes of one call; 0: as many as asked for */
    int error;              /* it always fails so */
    unsigned calls;
} kernel;

ssize_t getrandom(void *room, size_t len, unsigned flags)
{
    kernel.calls++;
    if (kernel.error != 0 || kernel.interruptions > 0) {
        errno = kernel.error != 0 ? kernel.error : EINTR;
        if (kernel.interruptions > 0)
            kernel.interruptions--;
        return -1;
    }
    if (kernel.at_most > 0 && len > kernel.at_most)
        len = kernel.at_most;
    return syscall(SYS_getrandom, room, len, flags);
}

/* The script loads with a kernel that works. */
static void load(const char *statements)
{
    char source[4096];

    memset(&kernel, 0, sizeof(kernel));
    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
             "local function refused(part, f, ...)\n"
             "  local ok, err = pcall(f, ...)\n"
             "  if ok or not tostring(err):find(part, 1, true) then\n"
             "    error('not refused: ' .. tostring(err), 2)\n"
             "  end\n"
             "end\n"
             "function on_request(req)\n%s\n"
             "  return 200, nil, 'ok'\n"
             "end",
             statements);
    rig_unload();
    rig_open(source);
    kernel.calls = 0;
}

static void serve(const char *statements)
{
    load(statements);
    rig_serve(&request);
    rig_check(&request);
}

/* --- equal ---------------------------------------------------------------- */

static void equal_compares_every_byte(void **state)
{
    (void)state;
    serve("assert(fcgi.equal('', '') == true)\n"
          "assert(fcgi.equal('a', 'a') and not fcgi.equal('a', 'b'))\n"
          "assert(fcgi.equal('a', '') == false)\n"
          "local s = ('x'):rep(100)\n"
          "assert(fcgi.equal(s, ('x'):rep(100)))\n"
          "for i = 1, #s do\n"
          "  for bit = 0, 7 do\n"
          "    local c = string.char(s:byte(i) ~ 1 << bit)\n"
          "    local other = s:sub(1, i - 1) .. c .. s:sub(i + 1)\n"
          "    assert(fcgi.equal(s, other) == false)\n"
          "    assert(fcgi.equal(other, s) == false)\n"
          "  end\n"
          "end");
}

static void equal_looks_behind_a_nul(void **state)
{
    (void)state;
    serve("assert(fcgi.equal('a\\0b', 'a\\0b'))\n"
          "assert(not fcgi.equal('a\\0b', 'a\\0c'))\n"
          "assert(not fcgi.equal('a\\0', 'a'))\n"
          "assert(not fcgi.equal('\\x80', '\\0'))");
}

static void equal_takes_strings_only(void **state)
{
    (void)state;
    serve("refused(\"bad argument #1 to\", fcgi.equal, nil, nil)\n"
          "refused('string expected, got nil', fcgi.equal, 'a', nil)\n"
          "refused('string expected, got no value', fcgi.equal, 'a')\n"
          "refused('string expected, got table', fcgi.equal, {}, 'a')\n"
          "refused('app.lua:', function() fcgi.equal() end)\n"
          "assert(fcgi.equal(12, '12'))");
}

/* --- random --------------------------------------------------------------- */

static void random_gives_that_many_bytes(void **state)
{
    (void)state;
    serve("for _, n in ipairs { 0, 1, 16, 255, 256, 257, 4096, 1 << 20 } do\n"
          "  assert(#fcgi.random(n) == n)\n"
          "end\n"
          "assert(fcgi.random(32) ~= fcgi.random(32))\n"
          "assert(#fcgi.random(2.0) == 2 and #fcgi.random('2') == 2)\n"
          "local seen, kinds = {}, 0\n"
          "for byte in fcgi.random(1 << 16):gmatch('.') do\n"
          "  if not seen[byte] then seen[byte], kinds = 1, kinds + 1 end\n"
          "end\n"
          "assert(kinds == 256)");
}

static void random_asks_for_nothing_when_none_is_wanted(void **state)
{
    (void)state;
    serve("assert(fcgi.random(0) == '')");
    assert_int_equal(kernel.calls, 0);
}

static void random_has_bounds(void **state)
{
    (void)state;
    serve("refused('must not be negative', fcgi.random, -1)\n"
          "refused('must not be negative', fcgi.random, math.mininteger)\n"
          "refused('at most 1048576 bytes', fcgi.random, (1 << 20) + 1)\n"
          "refused('at most 1048576 bytes', fcgi.random, math.maxinteger)\n"
          "refused('number expected', fcgi.random)\n"
          "refused('no integer representation', fcgi.random, 1.5)\n"
          "refused('app.lua:', function() fcgi.random(-1) end)");
    assert_int_equal(RANDOM_MAX, 1 << 20);
    assert_int_equal(kernel.calls, 0);
}

static void an_interrupted_draw_goes_on(void **state)
{
    (void)state;
    load("assert(#fcgi.random(100) == 100)");
    kernel.interruptions = 3;
    rig_serve(&request);
    rig_check(&request);
    assert_int_equal(kernel.calls, 4);
}

static void a_short_draw_goes_on(void **state)
{
    (void)state;
    load("local s = fcgi.random(100)\n"
         "assert(#s == 100 and s:sub(71) ~= ('\\0'):rep(30))");
    kernel.at_most = 7;
    rig_serve(&request);
    rig_check(&request);
    assert_int_equal(kernel.calls, 15);
}

static void a_failed_draw_raises(void **state)
{
    (void)state;
    load("refused('no random bytes: Function not impl', fcgi.random, 5000)\n"
         "refused('app.lua:', function() fcgi.random(1) end)\n"
         "assert(fcgi.random(0) == '')");
    kernel.error = ENOSYS;
    rig_serve(&request);
    rig_check(&request);
}

/* --- the others ----------------------------------------------------------- */

static void the_tools_in_lua_are_there(void **state)
{
    (void)state;
    serve("for _, name in ipairs { 'escape', 'unescape', 'html',\n"
          "    'encode_query', 'decode_query', 'date' } do\n"
          "  assert(fcgi[name] == require('fcgi.tools')[name], name)\n"
          "  assert(type(fcgi[name]) == 'function')\n"
          "end\n"
          "assert(require 'fcgi' == fcgi and type(fcgi.now) == 'function')");
}

static void over_the_limit_the_tools_fail_cleanly(void **state)
{
    bool served = false;

    (void)state;
    load(
        "local s = fcgi.random(2000)\n"
        "assert(fcgi.equal(s, fcgi.unescape(fcgi.escape(s))))\n"
        "local _, all = fcgi.decode_query(fcgi.encode_query { a = { s, 1 } })\n"
        "assert(all.a[1] == s and #fcgi.date() == #fcgi.date(0))\n"
        "assert(#fcgi.html(('<'):rep(500)) == 2000)");
    for (size_t more = 0; !served; more += 16) {
        rig_limit_memory(more);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        served = request.app_status == 0;
        if (!served)
            assert_failed_with(&request, "Status: 500 ");
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
    assert_string_equal(request.body.data, "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(equal_compares_every_byte),
        SCRIPT_TEST(equal_looks_behind_a_nul),
        SCRIPT_TEST(equal_takes_strings_only),
        SCRIPT_TEST(random_gives_that_many_bytes),
        SCRIPT_TEST(random_asks_for_nothing_when_none_is_wanted),
        SCRIPT_TEST(random_has_bounds),
        SCRIPT_TEST(an_interrupted_draw_goes_on),
        SCRIPT_TEST(a_short_draw_goes_on),
        SCRIPT_TEST(a_failed_draw_raises),
        SCRIPT_TEST(the_tools_in_lua_are_there),
        SCRIPT_TEST(over_the_limit_the_tools_fail_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_tools", tests, NULL, NULL);
}
