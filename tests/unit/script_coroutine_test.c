/* script_coroutine_test.c -- the coroutine library of scripts, beside Lua's.
 *
 * Each snippet runs three times: in a state with the stock library, in ours,
 * and in ours with wait() really waiting, which must be seen nowhere.
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

/* run(text, wait): what the snippet gives, as one string. */
static const char run_source[] =
    "local function show(v)\n"
    "  local kind = type(v)\n"
    "  if kind == 'string' then\n"
    "    v = v:gsub('0x%x+', 'ADDRESS')\n"
    "    v = v:gsub('%(thread expected', '(coroutine expected') -- 5.4.4\n"
    "    return ('%q'):format(v)\n"
    "  end\n"
    "  if kind == 'number' or kind == 'boolean' or kind == 'nil' then\n"
    "    return tostring(v)\n"
    "  end\n"
    "  return kind\n"
    "end\n"
    "function run(text, wait)\n"
    "  local env = setmetatable({ wait = wait }, { __index = _G })\n"
    "  local f = assert(load(text, '=snippet', 't', env))\n"
    "  local got = table.pack(pcall(f))\n"
    "  for i = 1, got.n do got[i] = show(got[i]) end\n"
    "  return table.concat(got, ' ')\n"
    "end\n";

static const char handler_source[] =
    "local fcgi = require 'fcgi'\n"
    "local function wait() fcgi.sleep(0) end\n"
    "local function stay() end\n"
    "function on_request(req)\n"
    "  local text = req:param('SNIPPET')\n"
    "  local waits = req:param('WAITS') == 'yes'\n"
    "  req:send(200, nil, run(text, waits and wait or stay))\n"
    "end\n";

static char expected[RIG_TEXT];

/* What the snippet gives in a coroutine of stock Lua. */
static void run_stock(const char *snippet)
{
    lua_State *L = luaL_newstate();

    assert_non_null(L);
    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, run_source), LUA_OK);
    assert_int_equal(luaL_dostring(L, "return coroutine.wrap(function(text) "
                                      "return run(text, function() end) end)"),
                     LUA_OK);
    lua_pushstring(L, snippet);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    snprintf(expected, sizeof(expected), "%s", lua_tostring(L, -1));
    lua_close(L);
}

static void open_ours(void)
{
    char whole[4096];

    snprintf(whole, sizeof(whole), "%s%s", run_source, handler_source);
    rig_open(whole);
}

static void run_ours(const char *snippet, bool waits)
{
    struct rig_request request;

    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "SNIPPET", snippet);
    rig_param(&request, "WAITS", waits ? "yes" : "no");
    rig_ready(&request);
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
    if (strcmp(request.body.data, expected) != 0)
        fail_msg("%s\n  is   %s%s\n  not  %s\n%s", snippet,
                 waits ? "(waiting) " : "", request.body.data, expected,
                 rig_log());
}

static void compare(const char *const *snippets, size_t count)
{
    open_ours();
    for (size_t i = 0; i < count; i++) {
        run_stock(snippets[i]);
        run_ours(snippets[i], false);
        run_ours(snippets[i], true);
    }
}

#define COMPARE(snippets)                                                      \
    compare(snippets, sizeof(snippets) / sizeof(*snippets))

static void values_pass_as_in_stock_lua(void **state)
{
    static const char *const snippets[] = {
        /* resume and yield, in both directions */
        "local co = coroutine.create(function(a, b)\n"
        "  wait()\n"
        "  local c, d = coroutine.yield(a + b, 'x')\n"
        "  wait()\n"
        "  return c, d, nil\n"
        "end)\n"
        "local t = table.pack(coroutine.resume(co, 1, 2))\n"
        "local u = table.pack(coroutine.resume(co, 'c', false))\n"
        "return t.n, t[1], t[2], t[3], u.n, u[1], u[2], u[3], u[4]",

        "local f = coroutine.wrap(function(...)\n"
        "  wait()\n"
        "  local n = select('#', ...)\n"
        "  while true do n = n + select('#', coroutine.yield(n)) wait() end\n"
        "end)\n"
        "return f(), f(1, nil, nil), f(nil)",

        /* nothing at all */
        "return coroutine.resume(coroutine.create(function() wait() end))",
        "return coroutine.wrap(wait)()",

        /* an iterator */
        "local sum = 0\n"
        "for i, j in coroutine.wrap(function()\n"
        "  for i = 1, 10 do wait() coroutine.yield(i, -i) end\n"
        "end) do wait() sum = sum + 2 * i + j end\n"
        "return sum",

        /* two that take turns */
        "local out = {}\n"
        "local function make(name)\n"
        "  return coroutine.wrap(function()\n"
        "    for i = 1, 3 do\n"
        "      wait() out[#out + 1] = name .. i coroutine.yield(true)\n"
        "    end\n"
        "  end)\n"
        "end\n"
        "local a, b = make('a'), make('b')\n"
        "while a() and b() do wait() end\n"
        "return table.concat(out, ' ')",

        /* many values */
        "local t = {}\n"
        "for i = 1, 5000 do t[i] = i end\n"
        "local co = coroutine.create(function(...)\n"
        "  wait()\n"
        "  coroutine.yield(...) wait()\n"
        "  return ...\n"
        "end)\n"
        "local n = select('#', coroutine.resume(co, table.unpack(t)))\n"
        "return n, select('#', coroutine.resume(co)),\n"
        "  select('#', coroutine.wrap(function(...) wait() return ... end)\n"
        "    (table.unpack(t)))",

        /* light userdata, threads and functions as values */
        "local co = coroutine.create(function(a) wait() return a, print end)\n"
        "return coroutine.resume(co, co)",

        /* a generator in a generator */
        "local function walk(t)\n"
        "  return coroutine.wrap(function()\n"
        "    for _, v in ipairs(t) do\n"
        "      if type(v) == 'table' then\n"
        "        for w in walk(v) do wait() coroutine.yield(w) end\n"
        "      else wait() coroutine.yield(v) end\n"
        "    end\n"
        "  end)\n"
        "end\n"
        "local out = {}\n"
        "for v in walk { 1, { 2, { 3, { 4 } }, 5 }, 6 } do\n"
        "  out[#out + 1] = v\n"
        "end\n"
        "return table.concat(out)",

        /* the coroutine is handed on while it is suspended */
        "local inner = coroutine.create(function()\n"
        "  wait() local got = coroutine.yield('first') wait() return got\n"
        "end)\n"
        "local a = coroutine.wrap(function() return coroutine.resume(inner) "
        "end)\n"
        "local b = coroutine.wrap(function(...)\n"
        "  return coroutine.resume(inner, ...) end)\n"
        "local x, y = a()\n"
        "return x, y, b('second')",
    };

    (void)state;
    COMPARE(snippets);
}

static void states_are_those_of_stock_lua(void **state)
{
    static const char *const snippets[] = {
        "local co = coroutine.create(function() wait() coroutine.yield() end)\n"
        "local a = coroutine.status(co)\n"
        "coroutine.resume(co)\n"
        "local b = coroutine.status(co)\n"
        "coroutine.resume(co)\n"
        "return a, b, coroutine.status(co)",

        "local co\n"
        "co = coroutine.create(function()\n"
        "  wait() return coroutine.status(co) end)\n"
        "return coroutine.resume(co)",

        "local outer\n"
        "outer = coroutine.create(function()\n"
        "  return coroutine.wrap(function()\n"
        "    wait() return coroutine.status(outer) end)()\n"
        "end)\n"
        "return coroutine.resume(outer)",

        "local co = coroutine.create(function() wait() error('x') end)\n"
        "coroutine.resume(co)\n"
        "return coroutine.status(co)",

        "local co, main = coroutine.running()\n"
        "wait()\n"
        "return co == coroutine.running(), main, coroutine.status(co)",

        "return coroutine.wrap(function()\n"
        "  local a = coroutine.running() wait()\n"
        "  return a == coroutine.running(), select(2, coroutine.running())\n"
        "end)()",

        "return coroutine.isyieldable(), coroutine.wrap(function()\n"
        "  wait() return coroutine.isyieldable() end)()",

        "local co = coroutine.create(function() wait() end)\n"
        "local a = coroutine.isyieldable(co)\n"
        "coroutine.resume(co)\n"
        "return a, coroutine.isyieldable(co)",

        "local seen = {}\n"
        "table.sort({ 3, 1, 2 }, function(a, b)\n"
        "  seen[1] = coroutine.isyieldable() return a < b end)\n"
        "return seen[1]",
    };

    (void)state;
    COMPARE(snippets);
}

static void refusals_are_those_of_stock_lua(void **state)
{
    static const char *const snippets[] = {
        "local co = coroutine.create(function() wait() end)\n"
        "coroutine.resume(co)\n"
        "return coroutine.resume(co)",

        "local f = coroutine.wrap(function() wait() end)\n"
        "f() f()",

        "local co\n"
        "co = coroutine.create(function()\n"
        "  wait() return coroutine.resume(co) end)\n"
        "return coroutine.resume(co)",

        "local f\n"
        "f = coroutine.wrap(function() wait() f() end)\n"
        "f()",

        "local co\n"
        "co = coroutine.create(function()\n"
        "  return coroutine.wrap(function()\n"
        "    wait() return coroutine.resume(co) end)()\n"
        "end)\n"
        "return coroutine.resume(co)",

        "return coroutine.resume(coroutine.running())",
        "return coroutine.close(coroutine.running())",
        "return pcall(coroutine.close, coroutine.running())",

        "local co\n"
        "co = coroutine.create(function()\n"
        "  return coroutine.wrap(function()\n"
        "    wait() return pcall(coroutine.close, co) end)()\n"
        "end)\n"
        "return coroutine.resume(co)",

        "coroutine.create(1)",
        "coroutine.create()",
        "coroutine.wrap({})",
        "coroutine.resume(print)",
        "coroutine.resume()",
        "coroutine.status('x')",
        "coroutine.status()",
        "coroutine.close(nil)",
        "coroutine.isyieldable(1)",
        "return pcall(coroutine.wrap, nil)",

        "local t = setmetatable({}, { __index = coroutine.wrap(function()\n"
        "  wait() end) })\n"
        "return t.a, t.b",
    };

    (void)state;
    COMPARE(snippets);
}

static void errors_are_those_of_stock_lua(void **state)
{
    static const char *const snippets[] = {
        "local co = coroutine.create(function() wait() error('oops') end)\n"
        "return coroutine.resume(co)",

        "coroutine.wrap(function()\n"
        "  wait()\n"
        "  error('oops')\n"
        "end)()",

        "coroutine.wrap(function() wait() error('oops', 0) end)()",
        "coroutine.wrap(function() wait() error('oops', 2) end)()",
        "coroutine.wrap(function() wait() error() end)()",
        "return coroutine.wrap(function() wait() error({}) end)()",
        "coroutine.wrap(function() wait() local x = nil + 1 end)()",
        "coroutine.wrap(function() wait() error(42) end)()",

        "coroutine.wrap(function()\n"
        "  coroutine.wrap(function()\n"
        "    wait()\n"
        "    error('deep')\n"
        "  end)()\n"
        "end)()",

        "local object = setmetatable({}, { __tostring = function()\n"
        "  return 'never' end })\n"
        "local ok, err = coroutine.resume(coroutine.create(function()\n"
        "  wait() error(object) end))\n"
        "return ok, err == object",

        "return select(2, xpcall(function()\n"
        "  wait() coroutine.wrap(function() wait() error('x') end)()\n"
        "end, function(m) return 'handled ' .. m end))",

        "for i in coroutine.wrap(function()\n"
        "  coroutine.yield(1) wait() error('in the iterator')\n"
        "end) do end",

        /* after an error it is dead */
        "local f = coroutine.wrap(function() wait() error('x', 0) end)\n"
        "local a, b = pcall(f)\n"
        "return a, b, pcall(f)",

        /* an error in pcall in it is its own affair */
        "return coroutine.wrap(function()\n"
        "  local ok, err = pcall(function() wait() error('inner', 0) end)\n"
        "  wait()\n"
        "  return ok, err, coroutine.yield() \n"
        "end)()",

        /* called through C */
        "return pcall(coroutine.wrap(function() wait() error('x') end))",
        "return pcall(pcall, coroutine.wrap(function() wait() error('x') end))",
        "return pcall(coroutine.resume, coroutine.create(function()\n"
        "  wait() error('x') end))",
    };

    (void)state;
    COMPARE(snippets);
}

static void closing_is_that_of_stock_lua(void **state)
{
    static const char *const snippets[] = {
        "local co = coroutine.create(function() end)\n"
        "return coroutine.close(co), coroutine.status(co)",

        "local log = {}\n"
        "local co = coroutine.create(function()\n"
        "  local a <close> = setmetatable({}, { __close = function(_, e)\n"
        "    log[#log + 1] = 'a ' .. tostring(e) end })\n"
        "  local b <close> = setmetatable({}, { __close = function(_, e)\n"
        "    log[#log + 1] = 'b ' .. tostring(e) end })\n"
        "  wait()\n"
        "  coroutine.yield()\n"
        "end)\n"
        "coroutine.resume(co)\n"
        "wait()\n"
        "local ok = coroutine.close(co)\n"
        "return ok, coroutine.status(co), table.concat(log, ', '),\n"
        "  coroutine.resume(co)",

        /* an error while closing */
        "local co = coroutine.create(function()\n"
        "  local a <close> = setmetatable({}, { __close = function()\n"
        "    error('in close', 0) end })\n"
        "  wait()\n"
        "  coroutine.yield()\n"
        "end)\n"
        "coroutine.resume(co)\n"
        "local ok, err = coroutine.close(co)\n"
        "return ok, err, coroutine.status(co)",

        /* closing one that failed, twice */
        "local co = coroutine.create(function() wait() error('x', 0) end)\n"
        "coroutine.resume(co)\n"
        "local ok, err = coroutine.close(co)\n"
        "return ok, err, coroutine.close(co)",

        "local co = coroutine.create(function() wait() return 1, 2 end)\n"
        "coroutine.resume(co)\n"
        "return coroutine.close(co)",

        /* wrap closes what an error left open */
        "local log = {}\n"
        "local ok, err = pcall(coroutine.wrap(function()\n"
        "  local a <close> = setmetatable({}, { __close = function(_, e)\n"
        "    log[#log + 1] = tostring(e) end })\n"
        "  wait()\n"
        "  error('first', 0)\n"
        "end))\n"
        "return ok, err, table.concat(log, ', ')",

        "local ok, err = pcall(coroutine.wrap(function()\n"
        "  local a <close> = setmetatable({}, { __close = function(_, e)\n"
        "    error('second after ' .. e, 0) end })\n"
        "  wait()\n"
        "  error('first', 0)\n"
        "end))\n"
        "return ok, err",

        /* resume leaves them open until close */
        "local closed = false\n"
        "local co = coroutine.create(function()\n"
        "  local a <close> = setmetatable({}, { __close = function()\n"
        "    closed = true end })\n"
        "  wait()\n"
        "  error('x', 0)\n"
        "end)\n"
        "coroutine.resume(co)\n"
        "local before = closed\n"
        "return before, coroutine.close(co), closed",

        /* an ordinary end, waiting while closing */
        "local log = {}\n"
        "local f = coroutine.wrap(function()\n"
        "  local a <close> = setmetatable({}, { __close = function()\n"
        "    wait() log[#log + 1] = 'closed' end })\n"
        "  coroutine.yield('one')\n"
        "  return 'two'\n"
        "end)\n"
        "local a, b = f(), f()\n"
        "return a, b, log[1]",

        /* the fourth value of a for loop */
        "local closed = 0\n"
        "local function each()\n"
        "  local guard = setmetatable({}, { __close = function()\n"
        "    wait() closed = closed + 1 end })\n"
        "  return coroutine.wrap(function()\n"
        "    for i = 1, 3 do wait() coroutine.yield(i) end\n"
        "  end), nil, nil, guard\n"
        "end\n"
        "for i in each() do if i == 2 then break end end\n"
        "for i in each() do end\n"
        "return closed",
    };

    (void)state;
    COMPARE(snippets);
}

static void waits_pass_through_everything(void **state)
{
    static const char *const snippets[] = {
        "return pcall(function() wait() return 'pcall' end)",
        "return pcall(pcall, pcall, function() wait() return 1 end)",
        "return xpcall(function() wait() error('x', 0) end, tostring)",
        "return select(2, pcall(function()\n"
        "  local ok, err = pcall(function() wait() error('a', 0) end)\n"
        "  wait() error(err .. 'b', 0)\n"
        "end))",

        /* metamethods */
        "local m = {}\n"
        "for _, name in ipairs { '__add', '__sub', '__mul', '__div', '__mod',\n"
        "  '__pow', '__idiv', '__band', '__bor', '__bxor', '__shl', '__shr',\n"
        "  '__concat', '__index', '__call' } do\n"
        "  m[name] = function() wait() return name end\n"
        "end\n"
        "m.__unm = function() wait() return '__unm' end\n"
        "m.__bnot = function() wait() return '__bnot' end\n"
        "m.__len = function() wait() return '__len' end\n"
        "m.__eq = function() wait() return true end\n"
        "m.__lt = function() wait() return true end\n"
        "m.__le = function() wait() return false end\n"
        "m.__newindex = function(t, k, v) wait() rawset(t, k, v) end\n"
        "local a, b = setmetatable({}, m), setmetatable({}, m)\n"
        "b.field = 'set'\n"
        "return a + b, a - b, a * b, a / b, a % b, a ^ b, a // b, a & b,\n"
        "  a | b, a ~ b, a << b, a >> b, a .. b, a.x, a(), -a, ~a, #a, a == "
        "b,\n"
        "  a < b, a <= b, a > b, a >= b, b.field, 1 + a, 'x' .. a",

        /* iterators of all kinds */
        "local n = 0\n"
        "for i in function(_, i) wait() i = (i or 0) + 1\n"
        "  if i < 5 then return i end end do n = n + i end\n"
        "return n",
        "local t = setmetatable({}, { __pairs = function(t)\n"
        "  wait()\n"
        "  return function(_, k) wait() if not k then return 1, 2 end end, t\n"
        "end })\n"
        "for k, v in pairs(t) do return k, v end",
        /* C functions that can be left */
        "return select('#', table.unpack(table.pack(pcall(function()\n"
        "  wait() return 1, 2, 3 end))))",
        "local f = os.tmpname()\n"
        "local h = io.open(f, 'w')\n"
        "h:write('local w = ... wait_in_file() return 7') h:close()\n"
        "_G.wait_in_file = wait\n"
        "local ok, r = pcall(dofile, f)\n"
        "os.remove(f)\n"
        "return ok, r",

        /* deep nesting: coroutines in coroutines */
        "local function nest(n)\n"
        "  if n == 0 then wait() return 'bottom' end\n"
        "  local r = coroutine.wrap(nest)(n - 1)\n"
        "  wait()\n"
        "  return r\n"
        "end\n"
        "return nest(30)",
        "local function nest(n)\n"
        "  if n == 0 then wait() error('bottom', 0) end\n"
        "  wait()\n"
        "  local _, ok, r = pcall(coroutine.resume, coroutine.create(nest), n "
        "- 1)\n"
        "  wait()\n"
        "  return ok, r\n"
        "end\n"
        "return nest(1), nest(2), nest(20)",

        /* recursion of Lua functions */
        "local function deep(n) if n == 0 then wait() return 0 end\n"
        "  return 1 + deep(n - 1) end\n"
        "return deep(5000), coroutine.wrap(deep)(5000)",

        /* a close that waits, on an error */
        "local log = {}\n"
        "local ok, err = pcall(function()\n"
        "  local a <close> = setmetatable({}, { __close = function(_, e)\n"
        "    wait() log[#log + 1] = e end })\n"
        "  local b <close> = setmetatable({}, { __close = function(_, e)\n"
        "    wait() log[#log + 1] = e error('second', 0) end })\n"
        "  wait()\n"
        "  error('first', 0)\n"
        "end)\n"
        "return ok, err, table.concat(log, ' ')",

        /* goto, varargs and upvalues survive */
        "local n, up = 0, 'u'\n"
        "local function f(...)\n"
        "  ::again:: wait() n = n + 1\n"
        "  if n < 3 then goto again end\n"
        "  return up, ...\n"
        "end\n"
        "return f(1, nil, 3)",
    };

    (void)state;
    COMPARE(snippets);
}

static void too_deep_nesting_is_an_error(void **state)
{
    static const char *const snippets[] = {
        "local function nest() return coroutine.wrap(nest)() end\n"
        "local ok, err = pcall(nest)\n"
        "return ok, err:match('C stack overflow')",
        "local depth = 0\n"
        "local function nest()\n"
        "  depth = depth + 1\n"
        "  local co = coroutine.create(nest)\n"
        "  local ok, err = coroutine.resume(co)\n"
        "  if not ok then error(err, 0) end\n"
        "end\n"
        "local ok, err = pcall(nest)\n"
        "return ok, err, depth > 100",
    };

    (void)state;
    COMPARE(snippets);
}

/* --- what only a waiting coroutine can show ------------------------------- */

static void one_that_waits_is_normal_to_others(void **state)
{
    static struct rig_request first, second;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local inner\n"
             "function on_request(req)\n"
             "  if req:param('FIRST') then\n"
             "    inner = coroutine.create(function()\n"
             "      fcgi.sleep(0.02) return 'woken' end)\n"
             "    local _, got = coroutine.resume(inner)\n"
             "    return 200, nil, got .. coroutine.status(inner)\n"
             "  end\n"
             "  local _, resumed = coroutine.resume(inner)\n"
             "  return 200, nil, { coroutine.status(inner), ', ', resumed }\n"
             "end\n");
    for (int i = 0; i < 2; i++) {
        assert_true(rig_begin(&first, REQUEST_RESPONDER));
        rig_param(&first, "FIRST", "1");
        rig_ready(&first);
        rig_turns(1);
        rig_start(&second);
        rig_turns(1);
        assert_string_equal(second.body.data,
                            "normal, cannot resume non-suspended coroutine");
        rig_run();
        assert_string_equal(first.body.data, "wokendead");
    }
}

/* What closes a coroutine takes back the wait in it; who had resumed it goes
 * on as with one that has died. */
static void closing_one_that_waits_cancels_its_wait(void **state)
{
    static struct rig_request first, second;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local middle\n"
             "local function guard(name)\n"
             "  return setmetatable({}, { __close = function()\n"
             "    print('closed ' .. name) end })\n"
             "end\n"
             "function on_request(req)\n"
             "  if req:param('FIRST') then\n"
             "    middle = coroutine.create(function()\n"
             "      local m <close> = guard 'middle'\n"
             "      coroutine.wrap(function()\n"
             "        local i <close> = guard 'inner'\n"
             "        fcgi.sleep(1000)\n"
             "      end)()\n"
             "    end)\n"
             "    local ok, err = coroutine.resume(middle)\n"
             "    fcgi.sleep(0)\n"
             "    return 200, nil, { tostring(ok), ' ', err }\n"
             "  end\n"
             "  return 200, nil, { tostring(coroutine.close(middle)), ' ',\n"
             "    coroutine.status(middle) }\n"
             "end\n");
    assert_true(rig_begin(&first, REQUEST_RESPONDER));
    rig_param(&first, "FIRST", "1");
    rig_ready(&first);
    rig_turns(1);
    rig_start(&second);
    rig_run();
    assert_string_equal(second.body.data, "true dead");
    assert_string_equal(first.body.data,
                        "false cannot resume closed coroutine");
    assert_contains(strstr(rig_log(), "closed inner"), "closed middle");
}

/* What a coroutine closes as it is closed may be one that had resumed it. */
static void what_is_being_closed_is_not_closed_again(void **state)
{
    static const char *const closed[] = { "inner", "outer" };

    (void)state;
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++) {
        char code[1024];

        snprintf(code, sizeof(code),
                 "local inner, outer, err\n"
                 "inner = coroutine.create(function()\n"
                 "  local x <close> = setmetatable({}, { __close = function()\n"
                 "    err = select(2, pcall(coroutine.close, outer))\n"
                 "    string.rep('x', 100)\n"
                 "  end })\n"
                 "  fcgi.sleep(1000)\n"
                 "end)\n"
                 "outer = coroutine.create(coroutine.resume)\n"
                 "local task = fcgi.spawn(coroutine.resume, outer, inner)\n"
                 "fcgi.sleep(0)\n"
                 "equal(coroutine.close(%s), true)\n"
                 "equal(err, 'cannot close a coroutine while one that it ' ..\n"
                 "  'has resumed is being closed')\n"
                 "task:join()\n"
                 "equal(coroutine.status(inner), 'dead')\n"
                 "equal(coroutine.status(outer), 'dead')\n",
                 closed[i]);
        rig_run_lua(code);
    }
}

/* The same when a task is closed by force. */
static void what_a_task_closes_by_force_is_not_closed_again(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local inner, outer\n"
             "function on_request(req)\n"
             "  inner = coroutine.create(function()\n"
             "    local x <close> = setmetatable({}, { __close = function()\n"
             "      print(pcall(coroutine.close, outer))\n"
             "    end })\n"
             "    fcgi.sleep(1000)\n"
             "  end)\n"
             "  outer = coroutine.create(coroutine.resume)\n"
             "  coroutine.resume(outer, inner)\n"
             "end\n");
    rig_start(&request);
    rig_turns(1);
    rig_unload();
    rig_assert_logged("resumed is being closed");
}

static void closing_one_another_is_not_too_deep(void **state)
{
    (void)state;
    rig_run_lua(
        "local last, err\n"
        "for i = 1, 10000 do\n"
        "  local before = last\n"
        "  last = coroutine.create(function()\n"
        "    local x <close> = setmetatable({}, { __close = function()\n"
        "      if before then assert(coroutine.close(before)) end\n"
        "    end })\n"
        "    coroutine.yield()\n"
        "  end)\n"
        "  coroutine.resume(last)\n"
        "end\n"
        "local ok, err = coroutine.close(last)\n"
        "equal(ok, false)\n"
        "assert(err:find('close one another too deep', 1, true), err)\n");
}

static void the_coroutine_of_a_task_is_not_the_scripts_to_close(void **state)
{
    static struct rig_request first, second;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local co\n"
             "function on_request(req)\n"
             "  if req:param('FIRST') then\n"
             "    co = coroutine.running()\n"
             "    fcgi.sleep(0.02)\n"
             "    return 200, nil, 'unharmed'\n"
             "  end\n"
             "  local ok, err = pcall(coroutine.close, co)\n"
             "  return 200, nil, err\n"
             "end\n");
    assert_true(rig_begin(&first, REQUEST_RESPONDER));
    rig_param(&first, "FIRST", "1");
    rig_ready(&first);
    rig_turns(1);
    rig_start(&second);
    rig_run();
    assert_string_equal(second.body.data, "cannot close the coroutine of a "
                                          "task: cancel the task");
    assert_string_equal(first.body.data, "unharmed");
}

static void waiting_in_a_comparator_says_so(void **state)
{
    (void)state;
    rig_run_lua(
        "local ok, err = pcall(table.sort, { 3, 2, 1 }, function(a, b)\n"
        "  fcgi.sleep(0) return a < b end)\n"
        "equal(ok, false)\n"
        "assert(err:find('cannot wait here', 1, true), err)\n"
        /* inside a coroutine in it, too */
        "ok, err = pcall(table.sort, { 3, 2, 1 }, function(a, b)\n"
        "  return coroutine.wrap(function()\n"
        "    fcgi.sleep(0) return a < b end)()\n"
        "end)\n"
        "equal(ok, false)\n"
        "assert(err:find('cannot wait here', 1, true), err)\n"
        "fcgi.sleep(0)\n"); /* elsewhere it works still */
}

static void waiting_where_c_cannot_be_left_says_so(void **state)
{
    (void)state;
    rig_run_lua("local function refused(f, ...)\n"
                "  local ok, err = pcall(f, ...)\n"
                "  equal(ok, false)\n"
                "  assert(err:find('cannot wait here', 1, true), err)\n"
                "end\n"
                "refused(string.gsub, 'x', 'x', function() fcgi.sleep(0) end)\n"
                "local _, _, why = pcall(load, function() fcgi.sleep(0) end)\n"
                "assert(why:find('cannot wait here', 1, true), why)\n"
                "refused(function()\n"
                "  for _ in ipairs(setmetatable({}, { __index = function()\n"
                "    fcgi.sleep(0) end })) do end\n"
                "end)\n"
                "refused(tostring, setmetatable({}, { __tostring = function()\n"
                "  fcgi.sleep(0) end }))\n");
}

static void a_finalizer_cannot_wait_and_hurts_nobody(void **state)
{
    (void)state;
    rig_run_lua("local ran\n"
                "setmetatable({}, { __gc = function()\n"
                "  ran = true fcgi.sleep(0) end })\n"
                "collectgarbage()\n"
                "equal(ran, true)\n"
                "fcgi.sleep(0)\n");
}

/* What coroutine.close runs cannot wait; a wait that was refused must leave
 * nothing behind. */
static void waiting_in_what_close_runs_says_so(void **state)
{
    (void)state;
    rig_run_lua(
        "local why\n"
        "for i = 1, 3 do\n"
        "  local co = coroutine.create(function()\n"
        "    local x <close> = setmetatable({}, { __close = function()\n"
        "      fcgi.sleep(0) end })\n"
        "    coroutine.yield()\n"
        "  end)\n"
        "  coroutine.resume(co)\n"
        "  local ok, err = coroutine.close(co)\n"
        "  equal(ok, false)\n"
        "  assert(err:find('cannot wait here', 1, true), err)\n"
        "  fcgi.sleep(0)\n"
        "end\n");
}

static void waiting_in_what_wrap_closes_says_so(void **state)
{
    (void)state;
    rig_run_lua(
        "for i = 1, 3 do\n"
        "  local ok, err = pcall(coroutine.wrap(function()\n"
        "    local x <close> = setmetatable({}, { __close = function()\n"
        "      fcgi.sleep(0) end })\n"
        "    error('first', 0)\n"
        "  end))\n"
        "  equal(ok, false)\n"
        "  assert(err:find('cannot wait here', 1, true), err)\n"
        "  fcgi.sleep(0)\n"
        "end\n");
}

/* The same with a wait for the request: its waiter is on one list at most. */
static void a_read_that_was_refused_leaves_no_waiter(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("function on_request(req)\n"
             "  for i = 1, 3 do\n"
             "    local co = coroutine.create(function()\n"
             "      local x <close> = setmetatable({}, { __close =\n"
             "        function() req:read() end })\n"
             "      coroutine.yield()\n"
             "    end)\n"
             "    coroutine.resume(co)\n"
             "    coroutine.close(co)\n"
             "  end\n"
             "  return 200, nil, req:read(10)\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    assert_ptr_equal(request.req->waiters.next->next, &request.req->waiters);
    rig_input(&request, "body");
    rig_input_end(&request);
    rig_run();
    assert_string_equal(request.body.data, "body");
}

static void a_raw_yield_of_the_handler_is_a_500(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local log = {}\n"
             "function on_request(req)\n"
             "  if req:param('FIRST') then\n"
             "    local x <close> = setmetatable({}, { __close = function()\n"
             "      log[1] = 'closed' end })\n"
             "    coroutine.yield(1, 2, 3)\n"
             "  end\n"
             "  return 200, nil, log[1]\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "FIRST", "1");
    rig_ready(&request);
    rig_run();
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("attempt to yield from outside a coroutine");
    rig_serve(&request);
    assert_string_equal(request.body.data, "closed");
}

/* The marker of a wait is private: nobody who sees it can make use of it. */
static void a_raw_yield_through_a_wait_is_told_apart(void **state)
{
    (void)state;
    rig_run_lua("local co = coroutine.wrap(function()\n"
                "  local a = coroutine.yield(io.stdout)\n"
                "  fcgi.sleep(0)\n"
                "  return a\n"
                "end)\n"
                "equal(co(), io.stdout)\n"
                "equal(co(5), 5)\n");
}

static void the_thread_of_loading_cannot_be_harmed(void **state)
{
    (void)state;
    rig_open(
        "local main, is_main = coroutine.running()\n"
        "assert(is_main)\n"
        "local status, ok, err = coroutine.wrap(function()\n"
        "  return coroutine.status(main), pcall(coroutine.close, main)\n"
        "end)()\n"
        "assert(status == 'normal', status)\n"
        "assert(not ok and err == 'cannot close a normal coroutine', err)\n"
        "function on_request(req)\n"
        "  local status = coroutine.status(main)\n"
        "  local ok, err = pcall(coroutine.close, main)\n"
        "  local _, resumed = coroutine.resume(main)\n"
        "  return 200, nil, { status, ', ', err, ', ', resumed }\n"
        "end\n");
    {
        static struct rig_request request;

        rig_serve(&request);
        assert_string_equal(request.body.data,
                            "normal, cannot close a normal coroutine, "
                            "cannot resume non-suspended coroutine");
    }
}

static void a_coroutine_that_was_seen_is_not_used_again(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local seen = setmetatable({}, { __mode = 'k' })\n"
             "function on_request(req)\n"
             "  local co = coroutine.running()\n"
             "  local old = seen[co]\n"
             "  seen[co] = 'old'\n"
             "  return 200, nil, old or 'new'\n"
             "end\n");
    for (int i = 0; i < 3; i++) {
        rig_serve(&request);
        assert_string_equal(request.body.data, "new");
    }
}

static void a_hook_does_not_stay_for_the_next_request(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local calls = 0\n"
             "function on_request(req)\n"
             "  local before = calls\n"
             "  local hook = debug.gethook()\n"
             "  if req:param('FIRST') then\n"
             "    debug.sethook(function() calls = calls + 1 end, 'l')\n"
             "  end\n"
             "  local x = 1\n"
             "  return 200, nil, hook and 'hooked' or 'free'\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "FIRST", "1");
    rig_ready(&request);
    rig_run();
    assert_string_equal(request.body.data, "free");
    rig_serve(&request);
    assert_string_equal(request.body.data, "free");
}

static void a_wait_may_outlive_the_one_who_started_it(void **state)
{
    (void)state;
    /* The inner coroutine is collected with its outer one, both waiting. */
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  coroutine.wrap(function()\n"
             "    coroutine.wrap(function() fcgi.sleep(100) end)()\n"
             "  end)()\n"
             "end\n");
    {
        static struct rig_request request;

        rig_start(&request);
        rig_turns(1);
        assert_int_equal(request.ends, 0);
        rig_unload();
        assert_int_equal(request.ends, 1);
        assert_contains(request.head.data, "Status: 503 ");
    }
}

static void cancellation_reaches_the_innermost(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local log = {}\n"
             "  local inner\n"
             "  local ok, err = pcall(coroutine.wrap(function()\n"
             "    inner = coroutine.create(function()\n"
             "      local x <close> = setmetatable({}, { __close =\n"
             "        function(_, e)\n"
             "          fcgi.sleep(0)\n"
             "          log[#log + 1] = fcgi.cancelled(e)\n"
             "        end })\n"
             "      local ok, err = pcall(fcgi.sleep, 100)\n"
             "      log[#log + 1] = tostring(err)\n"
             "      error(err)\n"
             "    end)\n"
             "    local ok, err = coroutine.resume(inner)\n"
             "    coroutine.close(inner)\n"
             "    log[#log + 1] = fcgi.cancelled(err)\n"
             "    error(err)\n"
             "  end))\n"
             "  log[#log + 1] = fcgi.cancelled(err)\n"
             "  log[#log + 1] = coroutine.status(inner)\n"
             "  return 200, nil, table.concat(log, ', ')\n"
             "end\n");
    rig_start(&request);
    rig_turns(1);
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_contains(request.body.data, "cancelled: stop, ");
    assert_contains(request.body.data, "stop, stop, dead");
}

/* --- memory --------------------------------------------------------------- */

static const char busy_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local out = {}\n"
    "  for i in coroutine.wrap(function()\n"
    "    for i = 1, 3 do\n"
    "      fcgi.sleep(0)\n"
    "      coroutine.yield(select(2, assert(coroutine.resume(\n"
    "        coroutine.create(function(n) fcgi.sleep(0) return n * 2 end),\n"
    "        i))))\n"
    "    end\n"
    "  end) do out[#out + 1] = i end\n"
    "  pcall(coroutine.wrap(function() error({}) end))\n"
    "  return 200, nil, table.concat(out, ' ')\n"
    "end\n";

static void over_the_limit_a_request_fails_cleanly(void **state)
{
    static struct rig_request request;
    bool served = false;

    (void)state;
    rig_open(busy_source);
    for (size_t more = 0; !served; more += 24) {
        rig_limit_memory(more);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        served = strcmp(request.body.data, "2 4 6") == 0;
        if (!served)
            assert_failed_with(&request, "Status: 500 ");
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
}

static void serve_busy(void *arg)
{
    struct rig_request *request = arg;

    if (!rig_begin(request, REQUEST_RESPONDER))
        return;
    rig_ready(request);
    rig_run();
    assert_int_equal(request->ends, 1);
    if (request->app_status == 0)
        assert_string_equal(request->body.data, "2 4 6");
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open(busy_source);
    alloc_each_fails(serve_busy, &request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(values_pass_as_in_stock_lua),
        SCRIPT_TEST(states_are_those_of_stock_lua),
        SCRIPT_TEST(refusals_are_those_of_stock_lua),
        SCRIPT_TEST(errors_are_those_of_stock_lua),
        SCRIPT_TEST(closing_is_that_of_stock_lua),
        SCRIPT_TEST(waits_pass_through_everything),
        SCRIPT_TEST(too_deep_nesting_is_an_error),
        SCRIPT_TEST(one_that_waits_is_normal_to_others),
        SCRIPT_TEST(closing_one_that_waits_cancels_its_wait),
        SCRIPT_TEST(what_is_being_closed_is_not_closed_again),
        SCRIPT_TEST(what_a_task_closes_by_force_is_not_closed_again),
        SCRIPT_TEST(closing_one_another_is_not_too_deep),
        SCRIPT_TEST(the_coroutine_of_a_task_is_not_the_scripts_to_close),
        SCRIPT_TEST(waiting_in_a_comparator_says_so),
        SCRIPT_TEST(waiting_where_c_cannot_be_left_says_so),
        SCRIPT_TEST(a_finalizer_cannot_wait_and_hurts_nobody),
        SCRIPT_TEST(waiting_in_what_close_runs_says_so),
        SCRIPT_TEST(waiting_in_what_wrap_closes_says_so),
        SCRIPT_TEST(a_read_that_was_refused_leaves_no_waiter),
        SCRIPT_TEST(a_raw_yield_of_the_handler_is_a_500),
        SCRIPT_TEST(a_raw_yield_through_a_wait_is_told_apart),
        SCRIPT_TEST(the_thread_of_loading_cannot_be_harmed),
        SCRIPT_TEST(a_coroutine_that_was_seen_is_not_used_again),
        SCRIPT_TEST(a_hook_does_not_stay_for_the_next_request),
        SCRIPT_TEST(a_wait_may_outlive_the_one_who_started_it),
        SCRIPT_TEST(cancellation_reaches_the_innermost),
        SCRIPT_TEST(over_the_limit_a_request_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/coroutine", tests, NULL, NULL);
}
