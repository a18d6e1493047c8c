/* script_lua_process_test.c -- programs that a script runs: fcgi.run,
 * fcgi.popen and what becomes of them.  What programs see is in
 * io_child_test.c.
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

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static unsigned open_before, open_rigged;

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* Those that were let go of are reaped by the loop. */
static void wait_for_children(void)
{
    siginfo_t info;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        loop_turn(rig.loop, false);
    assert_int_equal(errno, ECHILD);
}

static int set_up(void **state)
{
    open_before = open_descriptors();
    signal(SIGPIPE, SIG_IGN); /* as main does */
    if (rig_set_up(state) == -1)
        return -1;
    loop_turn(rig.loop, false);
    open_rigged = open_descriptors();
    return 0;
}

/* Whatever the test has left ends with the script and the loop. */
static int tear_down(void **state)
{
    int result = rig_tear_down(state);

    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(open_descriptors(), open_before);
    return result;
}

/* --- fcgi.run --------------------------------------------------------------
 */

static void a_run_gives_status_and_both_outputs(void **state)
{
    (void)state;
    rig_run_lua("local r = fcgi.run { 'sh', '-c', 'echo a; echo b >&2; exit 3' "
                "}\n"
                "equal(r.status, 3)\n"
                "equal(r.stdout, 'a\\n')\n"
                "equal(r.stderr, 'b\\n')\n"
                "equal(fcgi.run { 'true' }.status, 0)\n"
                "equal(fcgi.run { 'sh', '-c', 'kill -15 $$' }.status, 143)\n"
                "equal(fcgi.run { 'echo', 1, 2.5, 'x y' }.stdout, "
                "'1 2.5 x y\\n')\n");
}

static void its_input_is_a_string_or_a_list(void **state)
{
    (void)state;
    rig_run_lua("equal(fcgi.run { 'cat', stdin = 'abc' }.stdout, 'abc')\n"
                "equal(fcgi.run { 'cat', stdin = 12 }.stdout, '12')\n"
                "equal(fcgi.run { 'cat', stdin = { 'a', { 1, 'b' }, {} } "
                "}.stdout, 'a1b')\n"
                "equal(fcgi.run { 'cat', stdin = '' }.stdout, '')\n"
                "equal(fcgi.run { 'cat' }.stdout, '')\n");
}

/* More than the pipes hold, both ways at once. */
static void large_input_and_output_do_not_block_one_another(void **state)
{
    (void)state;
    rig_run_lua("local big = ('0123456789abcdef'):rep(64 * 1024)\n"
                "equal(fcgi.run { 'cat', stdin = big }.stdout == big, true)\n"
                "local r = fcgi.run { 'sh', '-c', 'cat >&2; echo done', stdin ="
                " big }\n"
                "equal(r.stdout, 'done\\n')\n"
                "equal(r.stderr == big, true)\n"
                "equal(fcgi.run { 'true', stdin = big }.status, 0)\n"
                "equal(fcgi.run { 'head', '-c', 3, stdin = big }.stdout, "
                "'012')\n");
}

static void where_output_goes_can_be_said(void **state)
{
    (void)state;
    rig_run_lua("local both = { 'sh', '-c', 'echo a; echo b >&2' }\n"
                "both.stderr = 'merge'\n"
                "local r = fcgi.run(both)\n"
                "equal(r.stdout, 'a\\nb\\n')\n"
                "equal(r.stderr, '')\n"
                "both.stderr, both.stdout = 'pipe', 'null'\n"
                "r = fcgi.run(both)\n"
                "equal(r.stdout, '')\n"
                "equal(r.stderr, 'b\\n')\n"
                "both.stderr = 'null'\n"
                "r = fcgi.run(both)\n"
                "equal(r.stdout .. r.stderr, '')\n"
                "equal(r.status, 0)\n");
}

static void the_environment_is_added_to_ours(void **state)
{
    (void)state;
    setenv("FROM_US", "1", 1);
    setenv("REPLACED", "1", 1);
    setenv("REMOVED", "1", 1);
    rig_run_lua(
        "local show = 'echo $FROM_US,$REPLACED,$REPLACE,${REMOVED-none},$NEW'\n"
        "local env = { REPLACED = 'x', REPLACE = 'y', REMOVED = false, NEW = 7 "
        "}\n"
        "equal(fcgi.run { 'sh', '-c', show, env = env }.stdout, "
        "'1,x,y,none,7\\n')\n"
        "equal(fcgi.run { 'sh', '-c', show }.stdout, '1,1,,1,\\n')\n"
        "equal(fcgi.run { '/usr/bin/env', clear_env = true }.stdout, '')\n"
        "equal(fcgi.run { '/usr/bin/env', clear_env = true, env = { A = 1, B = "
        "false } }.stdout, 'A=1\\n')\n"
        "equal(fcgi.run { 'true', env = { PATH = '/nowhere' } }, nil)\n");
    unsetenv("FROM_US");
    unsetenv("REPLACED");
    unsetenv("REMOVED");
}

static void what_cannot_be_run_is_told(void **state)
{
    (void)state;
    rig_run_lua(
        "for _, run in ipairs { fcgi.run, fcgi.popen } do\n"
        "  equal(show(run { 'no-such-program' }), 'nil, not found')\n"
        "  equal(show(run { '' }), 'nil, not found')\n"
        "  equal(show(run { '/etc/passwd' }), 'nil, permission denied')\n"
        "  equal(show(run { '/' }), 'nil, permission denied')\n"
        "  equal(show(run { 'true', cwd = '/no/such' }), 'nil, cwd: not "
        "found')\n"
        "  equal(show(run { 'true', ('x'):rep(4e6) }), 'nil, arguments too "
        "long')\n"
        "end\n"
        "equal(fcgi.run { 'pwd', cwd = '/usr' }.stdout, '/usr\\n')\n");
}

static void a_run_that_takes_too_long_is_killed(void **state)
{
    (void)state;
    rig_run_lua(
        "local r, err, part = fcgi.run { 'sh', '-c', 'echo a; echo b >&2; "
        "sleep 1000', timeout = 0.05 }\n"
        "equal(show(r, err), 'nil, timeout')\n"
        "equal(type(part.stdout .. part.stderr), 'string')\n"
        "equal(part.status, nil)\n"
        "equal(select(2, fcgi.run { 'sleep', 1000, timeout = 0 }), "
        "'timeout')\n"
        /* its outputs have ended, it has not */
        "equal(select(2, fcgi.run { 'sh', '-c', 'exec sleep 1000 >/dev/null "
        "2>&1', timeout = 0.05 }), 'timeout')\n"
        "equal(fcgi.run { 'echo', 'x', timeout = 100 }.stdout, 'x\\n')\n");
    wait_for_children();
}

static void a_run_that_says_too_much_is_killed(void **state)
{
    (void)state;
    rig_run_lua(
        "local r, err, part = fcgi.run { 'yes', max = 5.5 }\n"
        "equal(show(r, err, part.stdout), 'nil, too large, y\\ny\\ny')\n"
        "r, err, part = fcgi.run { 'sh', '-c', 'yes >&2', max = 4 }\n"
        "equal(show(r, err, part.stderr), 'nil, too large, y\\ny\\n')\n"
        "equal(fcgi.run { 'echo', 'abc', max = 4 }.stdout, 'abc\\n')\n"
        "equal(select(2, fcgi.run { 'echo', 'abcd', max = 4 }), 'too "
        "large')\n"
        "equal(select(2, fcgi.run { 'head', '-c', 16777217, '/dev/zero' }), "
        "'too large')\n"
        "equal(#fcgi.run { 'head', '-c', 16777217, '/dev/zero', max = 1e9 "
        "}.stdout, 16777217)\n");
    wait_for_children();
}

static void misuse_names_the_line_of_the_script(void **state)
{
    (void)state;
    rig_run_lua(
        "local function wrong(part, f, spec)\n"
        "  local ok, err = pcall(function() f(spec) end)\n"
        "  equal(ok, false)\n"
        "  if not err:find('/app.lua:%d+: bad argument #1 to ') or not "
        "err:find(part, 1, true) then error(err) end\n"
        "end\n"
        "for _, f in ipairs { fcgi.run, fcgi.popen } do\n"
        "  wrong('table expected, got nil', f)\n"
        "  wrong('a program expected', f, {})\n"
        "  wrong('item 2: string expected, got boolean', f, { 'x', true })\n"
        "  wrong('item 1 has a NUL byte', f, { 'x\\0y' })\n"
        "  wrong(\"unknown option 'timout'\", f, { 'x', timout = 1 })\n"
        "  wrong(\"option 'cwd': string expected, got number\", f, { 'x', cwd "
        "= 1 })\n"
        "  wrong(\"option 'cwd' has a NUL byte\", f, { 'x', cwd = '/\\0' })\n"
        "  wrong(\"env: 'a=b' cannot be a name\", f, { 'x', env = { ['a=b'] = "
        "1 } })\n"
        "  wrong(\"env: '1' cannot be a name\", f, { 'x', env = { 'a=b' } })\n"
        "  wrong('env: A cannot have such a value', f, { 'x', env = { A = {} } "
        "})\n"
        "  wrong('env: A cannot have such a value', f, { 'x', env = { A = "
        "'\\0' } })\n"
        "  wrong(\"option 'stderr' cannot be 'file'\", f, { 'x', stderr = "
        "'file' })\n"
        "  wrong(\"option 'stdout' cannot be 'merge'\", f, { 'x', stdout = "
        "'merge' })\n"
        "end\n"
        "wrong(\"option 'stdin': string, number or list of them expected, got "
        "boolean\", fcgi.run, { 'x', stdin = { 'a', { true } } })\n"
        "wrong(\"option 'timeout' must not be negative\", fcgi.run, { 'x', "
        "timeout = -1 })\n"
        "wrong(\"option 'max' must not be negative\", fcgi.run, { 'x', max = "
        "0/0 })\n"
        "wrong(\"option 'stdin' cannot be 'inherit'\", fcgi.popen, { 'x', "
        "stdin = 'inherit' })\n"
        "wrong(\"unknown option 'timeout'\", fcgi.popen, { 'x', timeout = 1 "
        "})\n");
}

/* --- fcgi.popen ------------------------------------------------------------
 */

static void a_process_is_written_and_read(void **state)
{
    (void)state;
    rig_run_lua("local p <close> = fcgi.popen { 'cat' }\n"
                "equal(math.type(p.pid), 'integer')\n"
                "equal(tostring(p), 'process (' .. p.pid .. ')')\n"
                "equal(show(p:write('a', 1, { 'b', { 2 } })), 'true')\n"
                "equal(p:read(2), 'a1')\n"
                "equal(p:read(100), 'b2')\n"
                "p:write 'one\\ntwo\\r\\n\\nfour'\n"
                "equal(p:read_line(), 'one\\n')\n"
                "equal(p:read 'l', 'two\\r')\n"
                "equal(p:read '*L', '\\n')\n"
                "equal(show(p:close_write()), 'true')\n"
                "equal(p:read_line(), 'four')\n"
                "equal(show(p:read_line()), 'nil')\n"
                "equal(show(p:read(1)), 'nil')\n"
                "equal(show(p:read()), 'nil')\n"
                "equal(p:read 'a', '')\n"
                "equal(show(p:wait()), '0')\n"
                "equal(show(p:wait()), '0')\n"
                "equal(show(p:write 'x'), 'nil, closed')\n"
                "equal(show(p:close_write()), 'true')\n");
}

static void lines_are_whole_whatever_their_length(void **state)
{
    (void)state;
    rig_run_lua("local mib = 1024 * 1024\n"
                "local p = fcgi.popen { 'cat' }\n"
                "local lines = { ('x'):rep(mib), ('v'):rep(mib - 1), "
                "('y'):rep(3 * mib + 5), '', 'z' }\n"
                "fcgi.spawn(function()\n"
                "  p:write(table.concat(lines, '\\n'))\n"
                "  p:close_write()\n"
                "end)\n"
                "local n = 0\n"
                "for line in p:lines() do\n"
                "  n = n + 1\n"
                "  equal(line == lines[n], true)\n"
                "end\n"
                "equal(n, 5)\n"
                "p = fcgi.popen { 'printf', 'abcdef\\nx' }\n"
                "equal(p:read_line(4), 'abcd')\n"
                "equal(p:read_line(4), 'ef\\n')\n"
                "equal(p:read_line(1), 'x')\n"
                "equal(show(p:read_line(1)), 'nil')\n"
                "raises('must be positive', p.read_line, p, 0)\n");
}

static void stderr_can_be_read(void **state)
{
    (void)state;
    rig_run_lua(
        "local p = fcgi.popen { 'sh', '-c', 'echo a; echo b >&2; echo c >&2',"
        " stderr = 'pipe', stdin = 'null' }\n"
        "equal(p.stderr:read 'l', 'b')\n"
        "equal(p.stdout:read 'a', 'a\\n')\n"
        "equal(p.stderr:read 'a', 'c\\n')\n"
        "equal(tostring(p.stderr), 'reader (open)')\n"
        "equal(show(p.stderr:close()), 'true')\n"
        "equal(show(p.stderr:read()), 'nil, closed')\n"
        "equal(tostring(p.stderr), 'reader (closed)')\n"
        "raises('its stdin is no pipe', p.write, p, 'x')\n"
        "p = fcgi.popen { 'true', stdout = 'null' }\n"
        "equal(show(p.stdout, p.stderr), 'nil, nil')\n"
        "raises('its stdout is no pipe', p.read, p)\n"
        "equal(p:wait(), 0)\n");
}

static void who_closes_its_input_early_closes_it(void **state)
{
    (void)state;
    rig_run_lua("local p <close> = fcgi.popen { 'sh', '-c', 'exec <&-; echo x; "
                "exec sleep 1000' }\n"
                "equal(p:read_line(), 'x\\n')\n"
                "equal(show(p:write('a')), 'nil, closed')\n");
    wait_for_children();
}

static void a_process_is_waited_for_and_killed(void **state)
{
    (void)state;
    rig_run_lua("local p = fcgi.popen { 'sleep', 1000 }\n"
                "equal(show(p:wait(0)), 'nil, timeout')\n"
                "equal(show(p:wait(0.01)), 'nil, timeout')\n"
                "equal(show(p:kill()), 'true')\n"
                "equal(p:wait(), 128 + 15)\n"
                "equal(show(p:kill()), 'nil, ended')\n"
                "equal(show(p:close()), 'true')\n"
                "equal(show(p:kill()), 'nil, ended')\n"
                "equal(p:wait(), 128 + 15)\n" /* it stays known */
                "equal(show(p:close()), 'true')\n"
                "for _, signal in ipairs { 'USR1', 'SIGUSR1', 10 } do\n"
                "  p = fcgi.popen { 'sleep', 1000 }\n"
                "  p:kill(signal)\n"
                "  equal(p:wait(), 128 + 10)\n"
                "end\n"
                "p = fcgi.popen { 'sleep', 1000 }\n"
                "for _, signal in ipairs { 'NONE', 0, -1, 1000, 1.5 } do\n"
                "  raises('is no signal', p.kill, p, signal)\n"
                "end\n"
                "raises('not a number of seconds', p.wait, p, -1)\n"
                "p:close()\n"
                "equal(show(p:wait()), 'nil, closed')\n"
                "equal(show(p:kill()), 'nil, closed')\n"
                "equal(show(p:read()), 'nil, closed')\n"
                "equal(show(p:read(1)), 'nil, closed')\n"
                "equal(show(p:read_line()), 'nil, closed')\n"
                "equal(show(p:read 'a'), 'nil, closed')\n"
                "equal(show(p:write 'x'), 'nil, closed')\n");
    wait_for_children();
}

static void closing_wakes_all_who_wait(void **state)
{
    (void)state;
    rig_run_lua(
        "local p = fcgi.popen { 'sleep', 1000, stderr = 'pipe' }\n"
        "local tasks = {\n"
        "  fcgi.spawn(p.read, p), fcgi.spawn(p.stderr.read, p.stderr, 'l'),\n"
        "  fcgi.spawn(p.wait, p), fcgi.spawn(p.wait, p),\n"
        "  fcgi.spawn(p.write, p, ('x'):rep(1e6)),\n"
        "}\n"
        "fcgi.sleep(0)\n"
        "equal(show(p:read(1)), 'nil, socket busy reading')\n"
        "equal(show(p:write '1'), 'nil, socket busy writing')\n"
        "p:close()\n"
        "for _, task in ipairs(tasks) do\n"
        "  equal(show(task:join()), 'nil, closed')\n"
        "end\n");
    wait_for_children();
}

static void what_has_come_is_read_after_its_end(void **state)
{
    (void)state;
    rig_run_lua("local p = fcgi.popen { 'echo', 'hello' }\n"
                "equal(p:wait(), 0)\n"
                "equal(p:read(), 'hello\\n')\n"
                "equal(show(p:read()), 'nil')\n");
}

static void a_cancelled_read_loses_nothing(void **state)
{
    (void)state;
    rig_run_lua("local p = fcgi.popen { 'cat' }\n"
                "local function cancelled(f, ...)\n"
                "  local task = fcgi.spawn(f, ...)\n"
                "  fcgi.sleep(0.01)\n"
                "  task:cancel()\n"
                "  equal(show(task:join()), 'nil, cancelled')\n"
                "end\n"
                "p:write 'abc'\n"
                "cancelled(p.read_line, p)\n"
                "cancelled(p.read, p)\n"
                "cancelled(p.wait, p)\n"
                "cancelled(fcgi.run, { 'sleep', 1000 })\n"
                "p:write '\\nx'\n"
                "equal(p:read_line(), 'abc\\n')\n"
                "p:close_write()\n"
                "equal(p:read(), 'x')\n"
                "equal(p:wait(), 0)\n");
    wait_for_children();
}

static void misused_methods_say_so(void **state)
{
    (void)state;
    rig_run_lua(
        "local p <close> = fcgi.popen { 'true' }\n"
        "local function wrong(wanted, f)\n"
        "  local ok, err = pcall(function() f() end)\n"
        "  equal(ok, false)\n"
        "  err = err:gsub('^/.*/app.lua:%d+: ', '')\n"
        "  equal(err, wanted)\n"
        "end\n"
        "wrong('bad self (write process:read, with a colon)', p.read)\n"
        "wrong('bad self (write process:kill, with a colon)', function() "
        "p.kill('x') end)\n"
        "wrong('bad self (write process.stdout:read, with a colon)', "
        "p.stdout.read)\n"
        "wrong(\"bad argument #1 to 'read' (invalid format)\", function() "
        "p:read 'x' end)\n"
        "wrong(\"bad argument #1 to 'read' (invalid format)\", function() "
        "p:read(0) end)\n"
        "wrong(\"bad argument #2 to 'write' (string, number or list of them "
        "expected, got nil)\", function() p:write('a', nil) end)\n"
        "local loop = {}\n"
        "loop[1] = loop\n"
        "wrong(\"bad argument #1 to 'write' (string, number or list of them "
        "expected, got table)\", function() p:write(loop) end)\n");
}

/* --- who ends with whom ----------------------------------------------------
 */

static struct rig_request request;
static pid_t known;

/* Is there such a process, which is no zombie? */
static bool is_alive(pid_t pid)
{
    char path[64], line[512];
    FILE *file;
    bool is_zombie;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    is_zombie =
        fgets(line, sizeof(line), file) == NULL || strstr(line, ") Z ") != NULL;
    fclose(file);
    return !is_zombie;
}

static bool is_started(void)
{
    bool is_known = lua_getglobal(rig.script->L, "pid") == LUA_TNUMBER;

    lua_pop(rig.script->L, 1);
    return is_known;
}

/* The process that the script has told of. */
static void find_process(void)
{
    lua_getglobal(rig.script->L, "pid");
    known = (pid_t)lua_tointeger(rig.script->L, -1);
    lua_pop(rig.script->L, 1);
    assert_true(known > 0);
}

static void assert_killed(void)
{
    wait_for_children();
    assert_int_equal(kill(known, 0), -1);
    assert_int_equal(open_descriptors(), open_rigged);
}

static void open_script(const char *body)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
             "local function start()\n"
             "  process = fcgi.popen { 'sleep', 1000, stderr = 'pipe' }\n"
             "  pid = process.pid\n"
             "end\n"
             "%s\n",
             body);
    rig_open(source);
}

static void a_process_ends_with_its_request(void **state)
{
    static const char *const bodies[] = {
        "function on_request(req) start() return 200 end",
        "function on_request(req) start() error 'x' end",
        "function on_request(req) fcgi.spawn(start):join() return 200 end",
        "function on_request(req) req:finish() start() end",
        "function on_request(req)\n"
        "  fcgi.spawn(function() fcgi.spawn(start) fcgi.sleep(1000) end)\n"
        "  fcgi.sleep(0.01) return 200\n"
        "end",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        open_script(bodies[i]);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        find_process();
        assert_killed();
        rig_unload();
    }
}

static void a_process_ends_with_its_cancelled_request(void **state)
{
    (void)state;
    open_script("function on_request(req) start() process:read() end");
    rig_start(&request);
    while (!is_started())
        loop_turn(rig.loop, false);
    find_process();
    task_cancel(rig_task(), "timeout");
    rig_run();
    assert_killed();
}

/* What cleans up after a request may run programs for that. */
static void a_process_of_the_cleaning_up_ends_with_it(void **state)
{
    (void)state;
    open_script(
        "function on_request(req)\n"
        "  fcgi.spawn(function()\n"
        "    local t <close> = setmetatable({}, { __close = function()\n"
        "      fcgi.sleep(0.01) start() fcgi.sleep(0.01)\n"
        "      alive = process:wait(0) == nil\n"
        "    end })\n"
        "    fcgi.sleep(1000)\n"
        "  end)\n"
        "  fcgi.sleep(0.01)\n"
        "  return 200\n"
        "end");
    rig_serve(&request);
    lua_getglobal(rig.script->L, "alive");
    assert_true(lua_toboolean(rig.script->L, -1));
    lua_pop(rig.script->L, 1);
    find_process();
    assert_killed();
}

static void a_process_of_an_abort_hook_ends_with_it(void **state)
{
    (void)state;
    open_script("function on_request(req)\n"
                "  req:on_abort(function() start() end)\n"
                "  fcgi.sleep(0.05)\n"
                "end");
    rig_start(&request);
    rig_turns(2);
    rig_abort(&request);
    rig_run();
    find_process();
    assert_killed();
}

static void a_process_of_the_worker_lives_with_it(void **state)
{
    (void)state;
    open_script("function on_request(req)\n"
                "  fcgi.spawn(start):detach():join()\n"
                "  return 200\n"
                "end");
    rig_serve(&request);
    find_process();
    loop_turn(rig.loop, false);
    assert_int_equal(waitpid(known, NULL, WNOHANG), 0);
    rig_unload();
    assert_killed();
}

static void a_process_that_nobody_holds_is_collected(void **state)
{
    (void)state;
    open_script("function on_request(req)\n"
                "  start()\n"
                "  process = nil\n"
                "  collectgarbage()\n"
                "  collectgarbage()\n"
                "  fcgi.sleep(2)\n"
                "end");
    rig_start(&request);
    while (!is_started())
        loop_turn(rig.loop, false);
    assert_int_equal(script_tasks(rig.script), 1); /* it waits */
    wait_for_children();
    assert_int_equal(script_tasks(rig.script), 1);
    rig_run();
}

/* What still reads is kept by its reader. */
static void a_reader_keeps_its_process(void **state)
{
    (void)state;
    rig_run_lua("local out = fcgi.popen { 'sh', '-c', 'sleep 0.05; echo x' "
                "}.stdout\n"
                "collectgarbage()\n"
                "collectgarbage()\n"
                "equal(out:read 'l', 'x')\n");
}

static void a_block_ends_its_process(void **state)
{
    (void)state;
    rig_run_lua("local pid\n"
                "do\n"
                "  local p <close> = fcgi.popen { 'sleep', 1000 }\n"
                "  pid = p.pid\n"
                "end\n"
                "repeat\n"
                "  fcgi.sleep(0.001)\n"
                "until not io.open('/proc/' .. pid .. '/stat')\n");
}

/* It runs on in the background, and has our pipe or not. */
static void
what_a_program_leaves_behind_is_killed_if_it_has_our_pipe(void **state)
{
    pid_t quiet, loud;

    (void)state;
    open_script(
        "function on_request(req)\n"
        "  local p = fcgi.popen { 'sh', '-c', 'sleep 1000 >/dev/null & echo "
        "$!' }\n"
        "  quiet = tonumber(p:read 'l')\n"
        "  repeat\n" /* until it has let go of the pipe */
        "    local is = fcgi.run { 'cat', '/proc/' .. quiet .. '/comm' }\n"
        "  until is.stdout == 'sleep\\n'\n" /* the shell has saved its fd 1 */
        "  p:wait()\n"
        "  p = fcgi.popen { 'sh', '-c', 'sleep 1000 & echo $!' }\n"
        "  loud = tonumber(p:read 'l')\n"
        "  p:wait()\n"
        "  return 200\n"
        "end");
    rig_serve(&request);
    lua_getglobal(rig.script->L, "quiet");
    lua_getglobal(rig.script->L, "loud");
    quiet = (pid_t)lua_tointeger(rig.script->L, -2);
    loud = (pid_t)lua_tointeger(rig.script->L, -1);
    lua_pop(rig.script->L, 2);
    while (is_alive(loud))
        usleep(1000);
    assert_true(is_alive(quiet));
    kill(quiet, SIGKILL);
    wait_for_children();
}

/* --- where and what with ---------------------------------------------------
 */

static void nothing_is_run_before_there_is_a_loop(void **state)
{
    (void)state;
    assert_int_equal(rig_load("require('fcgi').popen { 'true' }\n"
                              "function on_request() end"),
                     SCRIPT_FAILED);
    assert_contains(rig.error,
                    "app.lua:1: cannot wait here: the script is being loaded");
    assert_int_equal(rig_load("require('fcgi').run { 'true' }\n"
                              "function on_request() end"),
                     SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:1: cannot wait here");
}

static void a_run_says_where_it_cannot_wait(void **state)
{
    (void)state;
    rig_run_lua(
        "raises('cannot wait here (inside table.sort)', table.sort, { 1, 2 }, "
        "function() fcgi.run { 'true' } end)\n");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing was run */
}

static void a_finalizer_at_the_end_runs_nothing(void **state)
{
    (void)state;
    rig_run_lua("kept = setmetatable({}, { __gc = function()\n"
                "  print(pcall(fcgi.popen, { 'true' }))\n"
                "end })\n");
    rig_unload();
    rig_assert_logged("cannot run a program here: the script is ending");
}

static void descriptors_may_run_out(void **state)
{
    struct rlimit before, limit;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "fcgi.spawn(function()\n"
             "  pcall(fcgi.popen)\n" /* loads what there is to be loaded */
             "end)\n"
             "function on_request(req)\n"
             "  local all = {}\n"
             "  repeat\n"
             "    local p, err = fcgi.popen { 'sleep', 1000 }\n"
             "    all[#all + 1] = p\n"
             "  until not p\n"
             "  for _, p in ipairs(all) do p:close() end\n"
             "  for i = 1, 100 do\n" /* none is closed but by the collector */
             "    local p, why = fcgi.popen { 'true' }\n"
             "    if not p then err = why end\n"
             "  end\n"
             "  return 200, nil, #all > 3 and err or 'none'\n"
             "end");
    rig_run();
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 40;
    setrlimit(RLIMIT_NOFILE, &limit);
    rig_serve(&request);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_string_equal(request.body.data, "too many open files");
    wait_for_children();
}

static void memory_of_lua_may_run_out(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local r = fcgi.run { 'cat', stdin = 'ab', env = { A = 1 } }\n"
             "  local p = fcgi.popen { 'cat' }\n"
             "  p:write 'cd'\n"
             "  return 200, nil, r.stdout .. p:read(2)\n"
             "end");
    rig_serve_short_of_memory("abcd", 512);
    wait_for_children();
}

static void memory_may_run_out(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local r = fcgi.run { 'cat', stdin = 'ab' }\n"
             "  return 200, nil, r and r.stdout or 'ab'\n"
             "end");
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t) "ab");
    wait_for_children();
}

#define PROCESS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS_TEST(a_run_gives_status_and_both_outputs),
        PROCESS_TEST(its_input_is_a_string_or_a_list),
        PROCESS_TEST(large_input_and_output_do_not_block_one_another),
        PROCESS_TEST(where_output_goes_can_be_said),
        PROCESS_TEST(the_environment_is_added_to_ours),
        PROCESS_TEST(what_cannot_be_run_is_told),
        PROCESS_TEST(a_run_that_takes_too_long_is_killed),
        PROCESS_TEST(a_run_that_says_too_much_is_killed),
        PROCESS_TEST(misuse_names_the_line_of_the_script),
        PROCESS_TEST(a_process_is_written_and_read),
        PROCESS_TEST(lines_are_whole_whatever_their_length),
        PROCESS_TEST(stderr_can_be_read),
        PROCESS_TEST(who_closes_its_input_early_closes_it),
        PROCESS_TEST(a_process_is_waited_for_and_killed),
        PROCESS_TEST(closing_wakes_all_who_wait),
        PROCESS_TEST(what_has_come_is_read_after_its_end),
        PROCESS_TEST(a_cancelled_read_loses_nothing),
        PROCESS_TEST(misused_methods_say_so),
        PROCESS_TEST(a_process_ends_with_its_request),
        PROCESS_TEST(a_process_ends_with_its_cancelled_request),
        PROCESS_TEST(a_process_of_the_cleaning_up_ends_with_it),
        PROCESS_TEST(a_process_of_an_abort_hook_ends_with_it),
        PROCESS_TEST(a_process_of_the_worker_lives_with_it),
        PROCESS_TEST(a_process_that_nobody_holds_is_collected),
        PROCESS_TEST(a_reader_keeps_its_process),
        PROCESS_TEST(a_block_ends_its_process),
        PROCESS_TEST(what_a_program_leaves_behind_is_killed_if_it_has_our_pipe),
        PROCESS_TEST(nothing_is_run_before_there_is_a_loop),
        PROCESS_TEST(a_run_says_where_it_cannot_wait),
        PROCESS_TEST(a_finalizer_at_the_end_runs_nothing),
        PROCESS_TEST(descriptors_may_run_out),
        PROCESS_TEST(memory_of_lua_may_run_out),
        PROCESS_TEST(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
