/* script_lua_system_test.c -- what lua/fcgi needs of the system.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script/lua_system.h"
#include "script_rig.h"

#include <sys/stat.h>

/* Gives the script the functions as globals. */
static void open_system(void)
{
    rig_open("on_request = print");
    lua_pushglobaltable(rig.script->L);
    luaL_setfuncs(rig.script->L, lua_system, 0);
    lua_pop(rig.script->L, 1);
}

static void run(const char *code)
{
    if (luaL_dostring(rig.script->L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(rig.script->L, -1));
}

static lua_Integer number(const char *name)
{
    lua_Integer value;

    lua_getglobal(rig.script->L, name);
    value = lua_tointeger(rig.script->L, -1);
    lua_pop(rig.script->L, 1);
    return value;
}

static void a_duplicate_is_for_the_same_file(void **state)
{
    int ends[2], copy;
    char got = 0;

    (void)state;
    open_system();
    assert_int_equal(pipe(ends), 0);
    lua_pushinteger(rig.script->L, ends[1]);
    lua_setglobal(rig.script->L, "fd");
    run("copy = assert(duplicate(fd))");
    copy = (int)number("copy");
    assert_int_not_equal(copy, ends[1]);
    assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(copy, "x", 1), 1);
    assert_int_equal(read(ends[0], &got, 1), 1);
    assert_int_equal(got, 'x');
    run("close(copy)");
    assert_int_equal(fcntl(copy, F_GETFD), -1);
    close(ends[0]);
    close(ends[1]);
    run("local ok, err = duplicate(fd)\n"
        "assert(ok == nil and err == 'Bad file descriptor', err)\n"
        "assert(not pcall(duplicate)) assert(not pcall(close, 'x'))");
}

static void a_folder_with_hashed_names_is_told(void **state)
{
    static const struct {
        const char *name;
        bool is_hash;
    } files[] = {
        { "2b349938.0", true },   { "2B34993f.12", true },
        { "2b349938.r0", false }, { "2b349938", false },
        { "2b34993.0", false },   { "2b3499380.0", false },
        { "bundle.crt", false },
    };
    char folder[96], path[128];

    (void)state;
    open_system();
    snprintf(folder, sizeof(folder), "%s/certs", rig.folder);
    lua_pushstring(rig.script->L, folder);
    lua_setglobal(rig.script->L, "folder");
    run("assert(is_hashed(folder) == false)");
    assert_int_equal(mkdir(folder, 0700), 0);
    run("assert(is_hashed(folder) == false)");
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
        rig_write_file(path, "");
        run(files[i].is_hash ? "assert(is_hashed(folder) == true)"
                             : "assert(is_hashed(folder) == false)");
        unlink(path);
    }
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_duplicate_is_for_the_same_file),
        SCRIPT_TEST(a_folder_with_hashed_names_is_told),
    };

    return cmocka_run_group_tests_name("script/lua_system", tests, NULL, NULL);
}
