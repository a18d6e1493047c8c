/* script_source_test.c -- the files that Lua code comes from, and those that
 * root does not take it from.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "script_rig.h"

#define HANDLER "function on_request() end\n"
static const char handler[] = HANDLER;
static char module[128], *include[1];

static int set_up(void **state)
{
    if (rig_set_up(state) != 0)
        return -1;
    include[0] = rig.folder;
    rig.config.include = include;
    rig.config.includes = 1;
    return 0;
}

static int tear_down(void **state)
{
    unlink(module);
    return rig_tear_down(state);
}

/* Only root has files that nobody else owns. */
static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("not tested: only root can\n");
    return false;
}

static void write_module(const char *name, const char *text, mode_t mode)
{
    snprintf(module, sizeof(module), "%s/%s", rig.folder, name);
    rig_write_file(module, text);
    assert_int_equal(chmod(module, mode), 0);
}

static void assert_loads(const char *source, enum script_status status,
                         const char *part)
{
    assert_int_equal(rig_load(source), status);
    if (part != NULL)
        assert_contains(rig.error, part);
    rig_unload();
}

static void the_first_line_may_be_a_command(void **state)
{
    char source[9000];

    (void)state;
    assert_loads("#!/usr/bin/env fcgi-lua\nfunction on_request() end",
                 SCRIPT_OK, NULL);
    assert_loads("\xef\xbb\xbf"
                 "function on_request() end",
                 SCRIPT_OK, NULL);
    assert_loads("\xef\xbb\xbf#!x\nerror 'in line 2'", SCRIPT_FAILED,
                 "app.lua:2: in line 2");
    assert_loads("#\n\nx =", SCRIPT_SYNTAX, "app.lua:3: ");
    assert_loads("#!no newline", SCRIPT_FAILED, "no handler");
    assert_loads("", SCRIPT_FAILED, "no handler");
    for (size_t len = 4090; len < 8200; len++) { /* by pieces */
        if (len == 4100)
            len = 8188;
        memset(source, '#', len);
        strcpy(source + len, "\nerror 'line 2'");
        assert_loads(source, SCRIPT_FAILED, "app.lua:2: line 2");
        memset(source, '-', len);
        assert_loads(source, SCRIPT_FAILED, "app.lua:2: line 2");
    }
}

static void root_takes_no_script_that_others_can_change(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_loads(handler, SCRIPT_OK, NULL);
    assert_int_equal(chmod(rig.path, 0666), 0);
    assert_loads(NULL, SCRIPT_REFUSED, "everybody can write to ");
    assert_int_equal(chmod(rig.path, 0644), 0);
    assert_loads(NULL, SCRIPT_OK, NULL);
    assert_int_equal(chmod(rig.folder, 0777), 0);
    assert_loads(NULL, SCRIPT_REFUSED, "start it as another user");
    assert_int_equal(chmod(rig.folder, 0755), 0);
    assert_loads(NULL, SCRIPT_OK, NULL);
}

static void nor_such_a_module(void **state)
{
    (void)state;
    if (!is_root())
        return;
    write_module("part.lua", "#!lua\nloaded = ...", 0644);
    assert_loads("assert(select(2, require 'part'):match '/part.lua$')\n"
                 "assert(loaded == 'part') function on_request() end",
                 SCRIPT_OK, NULL);
    write_module("part.lua", "x =", 0644);
    assert_loads("require 'part'", SCRIPT_FAILED, "part.lua:1: ");
    write_module("part.lua", "loaded = true", 0666);
    assert_loads("require 'part'", SCRIPT_REFUSED, "app.lua:1: in main chunk");
    assert_loads("require 'part'", SCRIPT_REFUSED,
                 "part.lua: refused, because fcgi-lua runs as root");
    assert_loads("assert(not pcall(require, 'part') and not loaded)\n"
                 "function on_request() end",
                 SCRIPT_OK, NULL);
    assert_loads("pcall(require, 'part') loaded.x = 1", SCRIPT_REFUSED,
                 "attempt to index");
}

static void nor_a_library(void **state)
{
    static const char source[] =
        "package.cpath = package.path:match '^(.-)%?' .. '?.so'\n"
        "require(fcgi_name)";
    static char eval[] = "fcgi_name = 'part.of.it'";
    static char *chunks[] = { eval };

    (void)state;
    if (!is_root())
        return;
    write_module("part.so", "no library", 0644);
    rig.config.eval = chunks;
    rig.config.evals = 1;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chmod(module, 0644), 0);
        assert_loads(source, SCRIPT_FAILED, "part.so");
        assert_int_equal(chmod(module, 0646), 0);
        assert_loads(source, SCRIPT_REFUSED, "everybody can write to ");
        eval[strlen("fcgi_name = 'part")] = '\''; /* without the dots */
        eval[strlen("fcgi_name = 'part'")] = '\0';
    }
    unlink(module);
    assert_int_equal(symlink("missing", module), 0); /* it is not found */
    assert_loads(source, SCRIPT_FAILED, "module 'part' not found");
}

static void what_require_says_is_luas_own(void **state)
{
    (void)state;
    assert_loads("require 'no.such'", SCRIPT_FAILED,
                 "module 'no.such' not found:\n"
                 "\tno field package.preload['no.such']\n");
    assert_loads("package.path = nil require 'no'", SCRIPT_FAILED,
                 "'package.path' must be a string");
    assert_loads("package.cpath = {} require 'no'", SCRIPT_FAILED,
                 "'package.cpath' must be a string");
    assert_loads("require({})", SCRIPT_FAILED, "bad argument #1 to 'require'");
    assert_loads("package.searchers[2]()", SCRIPT_FAILED, "bad argument #1");
    assert_loads("package = nil require 'no'", SCRIPT_FAILED, "not found");
}

static void who_is_not_root_is_not_asked(void **state)
{
    (void)state;
    if (!is_root())
        return;
    write_module("part.lua", "loaded = true", 0666);
    rig_write_file(rig.path, "require 'part' function on_request() end");
    assert_int_equal(chmod(rig.path, 0666), 0);
    assert_int_equal(chmod(rig.folder, 0755), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_int_equal(rig_load(NULL), SCRIPT_OK);
    assert_int_equal(seteuid(0), 0);
}

static char told[4096];

static void hear(const char *path)
{
    size_t len = strlen(told);

    snprintf(told + len, sizeof(told) - len, "%s\n", path);
}

static void assert_told(const char *source, const char *file)
{
    char line[256];

    told[0] = '\0';
    assert_loads(source, SCRIPT_OK, NULL);
    assert_ptr_equal(strstr(told, rig.path), told); /* the script comes first */
    snprintf(line, sizeof(line), "%s/%s\n", rig.folder, file);
    assert_contains(told, line);
}

static void every_file_of_code_is_told_of(void **state)
{
    (void)state;
    rig.config.on_file = hear;
    write_module("part.lua", "more, fine = ..., true", 0644);
    for (int i = 0; i < 2; i++) {
        if (i == 1 && geteuid() == 0) { /* once more as somebody else */
            assert_int_equal(chmod(rig.folder, 0777), 0);
            assert_int_equal(chmod(rig.path, 0666), 0);
            assert_int_equal(seteuid(65534), 0);
        }
        assert_told("require 'part' assert(fine)\n" HANDLER, "part.lua");
        assert_told("dofile(arg[0]:gsub('app', 'part')) assert(fine)\n" HANDLER,
                    "part.lua");
        assert_told("loadfile((arg[0]:gsub('app', 'part')), 't', _G)(7)\n"
                    "assert(more == 7)\n" HANDLER,
                    "part.lua");
        assert_told("assert(not pcall(require, 'no.such'))\n" HANDLER,
                    "no/such.lua");
        assert_contains(told, "/no/such/init.lua\n");
        assert_told("assert(not pcall(dofile, arg[0] .. 'x.lua'))\n" HANDLER,
                    "app.luax.lua");
        assert_told("package.path = nil pcall(require, 'x')\n" HANDLER,
                    "app.lua");
    }
    if (geteuid() != 0)
        assert_int_equal(seteuid(getuid()), 0);
    assert_int_equal(chmod(rig.folder, 0755), 0);
    assert_int_equal(chmod(rig.path, 0644), 0);
    rig.config.on_file = NULL;
    told[0] = '\0';
    assert_loads(HANDLER, SCRIPT_OK, NULL);
    assert_string_equal(told, "");
}

/* Waits pass through a dofile that is told of as through Lua's own. */
static void a_file_that_is_run_may_yield(void **state)
{
    (void)state;
    rig.config.on_file = hear;
    write_module("part.lua", "return coroutine.yield(1) + 1", 0644);
    assert_loads("local run = coroutine.wrap(dofile)\n"
                 "assert(run((arg[0]:gsub('app', 'part'))) == 1)\n"
                 "assert(run(2) == 3)\n" HANDLER,
                 SCRIPT_OK, NULL);
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOURCE_TEST(the_first_line_may_be_a_command),
        SOURCE_TEST(root_takes_no_script_that_others_can_change),
        SOURCE_TEST(nor_such_a_module),
        SOURCE_TEST(nor_a_library),
        SOURCE_TEST(what_require_says_is_luas_own),
        SOURCE_TEST(who_is_not_root_is_not_asked),
        SOURCE_TEST(every_file_of_code_is_told_of),
        SOURCE_TEST(a_file_that_is_run_may_yield),
    };

    return cmocka_run_group_tests_name("script/source", tests, NULL, NULL);
}
