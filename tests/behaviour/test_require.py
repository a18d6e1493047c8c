"""require as Lua has it, and what it loads may wait.

Each piece of code runs in lua5.4 and in a handler, there with wait() doing
nothing and with wait() waiting: nothing of it may show.

SPDX-License-Identifier: MIT
"""
import re
import subprocess

import pytest

# file(name, text) makes a module that require finds; what is told of values.
PRELUDE = """
local folder = os.tmpname()
os.remove(folder)
os.execute("mkdir " .. folder)
local made = {}
local path, cpath = package.path, package.cpath
package.path, package.cpath = folder .. "/?.lua", folder .. "/?.so"
local function file(name, text)
  made[#made + 1] = folder .. "/" .. name .. ".lua"
  local f = assert(io.open(made[#made], "w"))
  f:write(text)
  f:close()
end
local function show(...)
  local out = table.pack(...)
  for i = 1, out.n do
    local v = out[i]
    out[i] = type(v) == "string" and ("%q"):format((v:gsub("/tmp/lua_%w+",
        "FOLDER")))
      or (type(v) == "table" or type(v) == "function") and type(v)
      or tostring(v)
  end
  return table.concat(out, " ")
end
local before = {}
for name in pairs(package.loaded) do before[name] = true end
local function tidy(...)
  for name in pairs(package.loaded) do
    if not before[name] then package.loaded[name] = nil end
  end
  for name in pairs(package.preload) do
    if not name:find "^fcgi" then package.preload[name] = nil end
  end
  while #package.searchers > 4 do table.remove(package.searchers) end
  package.path, package.cpath = path, cpath
  for i = 1, #made do os.remove(made[i]) end
  os.remove(folder)
  return ...
end
"""

SNIPPETS = {
    "value and loader data": """
        file("m", "global_wait() return { name = ..., data = select(2, ...) }")
        local m, data = require "m"
        return m.name, m.data, data, m == package.loaded.m,
          show(require "m"), require "m" == m""",
    "nothing returned": """
        file("m", "global_wait()")
        return show(require "m"), show(require "m"), package.loaded.m""",
    "false returned": """
        count = 0
        file("m", "count = count + 1 global_wait() return false")
        return show(require "m"), show(require "m"), package.loaded.m,
          count""",
    "nil returned and a value set": """
        file("m", "package.loaded[...] = 'set' global_wait() return nil")
        return show(require "m"), show(require "m")""",
    "a value set and another returned": """
        file("m", "package.loaded[...] = 'set' global_wait() return 'got'")
        return show(require "m"), show(require "m")""",
    "false set": """
        file("m", "global_wait() package.loaded[...] = false")
        return show(require "m"), show(package.loaded.m)""",
    "a number for a name": """
        file("12", "global_wait() return type(...)")
        return show(require(12)), show(package.loaded["12"])""",
    "no name": "return pcall(require)",
    "a table for a name": "return pcall(require, {})",
    "not found": """
        return pcall(function() require "no.such" end)""",
    "not found, called by pcall": "return pcall(require, 'no.such')",
    "not found, searchers of all kinds": """
        for _, f in ipairs { function() wait() return "\\n\\tmine: no" end,
            function() wait() return nil end,
            function() wait() return 42 end,
            function() wait() return false, "data" end,
            function() wait() end } do
          package.searchers[#package.searchers + 1] = f
        end
        return pcall(require, "x")""",
    "a searcher that waits": """
        table.insert(package.searchers, function(name)
          wait()
          return function(...) wait() return show(...) end, "data of " .. name
        end)
        return show(require "x")""",
    "a searcher that raises": """
        table.insert(package.searchers, function(name) wait() error("no!")
        end)
        return pcall(require, "x")""",
    "a loader that is a C function": """
        package.preload.x = math.type
        return show(require "x")""",
    "preload": """
        package.preload.x = function(...) wait() return show(...) end
        return show(require "x")""",
    "no searchers": """
        local kept = package.searchers
        package.searchers = nil
        local a = show(pcall(require, "x"))
        package.searchers = {}
        local b = show(pcall(function() require "x" end))
        package.searchers = kept
        return a, b""",
    "a searcher that is none": """
        table.insert(package.searchers, 42)
        return pcall(require, "x")""",
    "an error in the module keeps its place": """
        file("m", "global_wait()\\nerror('out of cheese')")
        return show(pcall(require, "m")), package.loaded.m""",
    "an error keeps its value": """
        local value = {}
        package.preload.x = function() wait() error(value) end
        local ok, err = pcall(require, "x")
        return ok, err == value""",
    "an error that is nil": """
        package.preload.x = function() wait() error() end
        return pcall(require, "x")""",
    "a module that does not compile": """
        file("m", "return return")
        return pcall(require, "m")""",
    "a module that failed is loaded again": """
        count = 0
        file("m", "count = count + 1 global_wait() if count < 3 then "
          .. "error(count, 0) end return 'at last'")
        return show(pcall(require, "m")), show(pcall(require, "m")),
          show(pcall(require, "m")), show(pcall(require, "m"))""",
    "a value set, then an error": """
        file("m", "package.loaded[...] = 'half' global_wait() error('x', 0)")
        return show(pcall(require, "m")), show(pcall(require, "m"))""",
    "modules in modules": """
        file("a", "global_wait() local b = require 'b' return 'a' .. b")
        file("b", "global_wait() local c = require 'c' return 'b' .. c")
        file("c", "global_wait() return 'c'")
        return require "a", package.loaded.b, package.loaded.c""",
    "a loop that is broken by who knows": """
        file("a", "local M = {} package.loaded[...] = M global_wait() "
          .. "M.b = require 'b' return M")
        file("b", "global_wait() local a = require 'a' "
          .. "return { has = a.b == nil, a = a }")
        local a = require "a"
        return a.b.has, a.b.a == a""",
    "a yield in a module": """
        file("m", "global_wait() coroutine.yield(1)")
        local ok, err = coroutine.resume(coroutine.create(function()
          wait() require "m" end))
        return ok, err, package.loaded.m""",
    "a yield in a coroutine in a module": """
        file("m", "local f = coroutine.wrap(function() for i = 1, 3 do "
          .. "global_wait() coroutine.yield(i) end end) "
          .. "return f() + f() + f()")
        return (coroutine.wrap(function() coroutine.yield(require "m") end)())
        """,
    "in a coroutine that dies of it": """
        fine = nil
        file("m", "global_wait() if not fine then error('x', 0) end")
        local co = coroutine.create(require)
        local a = show(coroutine.resume(co, "m"))
        fine = true
        return a, show(require "m"), show(coroutine.close(co))""",
    "through a wrap": """
        file("m", "global_wait() error('x', 0)")
        return pcall(coroutine.wrap(function() require "m" end))""",
    "in a comparator": """
        file("m", "return 'm'")
        local t, got = { 3, 1, 2 }, nil
        table.sort(t, function(a, b) got = require "m" return a < b end)
        return got, table.concat(t)""",
    "in a finalizer": """
        file("m", "return 'm'")
        local got
        setmetatable({}, { __gc = function() got = require "m" end })
        collectgarbage() collectgarbage()
        return got""",
    "a tail call": """
        file("m", "global_wait() return 'm'")
        local function get(name) return require(name) end
        return get "m" """,
    "closing values of the caller": """
        local log = {}
        file("m", "global_wait() error('x', 0)")
        local ok, err = pcall(function()
          local a <close> = setmetatable({}, { __close = function(_, e)
            wait() log[1] = e end })
          require "m"
        end)
        return ok, err, log[1]""",
    "package.loaded is another table": """
        local kept = package.loaded
        package.loaded = {}
        file("m", "global_wait() return 'm'")
        require "m"
        local here = package.loaded.m
        package.loaded = kept
        return here, package.loaded.m""",
    "its traceback": """
        file("m", "local function inner() global_wait() "
          .. "error(debug.traceback('x', 2)) end\\ninner()\\nreturn 1")
        local ok, err = pcall(function() require "m" return 1 end)
        return ok, (err:gsub("%[C%]: in [^\\n]*", "[C]")
          :gsub("(m%.lua:2: in main chunk).*", "%1"))""",
    "many at once, one in the other": """
        for i = 1, 50 do
          file("m" .. i, ("global_wait() return %s")
            :format(i < 50 and ("require 'm%d' + 1"):format(i + 1) or "0"))
        end
        return require "m1" """,
}


def without_places(text):
    """Chunks' names and addresses; what Lua 5.4.4 calls a thread."""
    text = re.sub(r'(stdin|test|\[string[^]]*\]):\d+:', "CHUNK:", text)
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


def run_stock(snippet):
    code = (PRELUDE + "local function wait() end global_wait = wait\n"
            "print(show(tidy(pcall(function()\n" + snippet + "\nend))))")
    done = subprocess.run(["lua5.4", "-"], input=code.encode(),
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


@pytest.mark.parametrize("name", SNIPPETS)
def test_as_in_lua(lua, name):
    wanted = without_places(run_stock(SNIPPETS[name]))
    assert wanted.startswith("true"), wanted    # the snippet itself is sound
    for wait in ("", "fcgi.sleep(0)"):
        if wait and "comparator" in name:
            continue
        got = lua.text(PRELUDE + f"local function wait() {wait} end "
                       "global_wait = wait\n"
                       "return 200, {}, show(tidy(pcall(function()\n"
                       + SNIPPETS[name] + "\nend)))")
        assert without_places(got) == wanted


# --- several tasks ----------------------------------------------------------

def in_tasks(lua, code):
    return lua.text(PRELUDE + "local function wait() fcgi.sleep(0) end "
                    "global_wait = wait global_fcgi = fcgi count = 0 dies = nil\n"
                    "return 200, {}, show(tidy(pcall(function()\n" + code
                    + "\nend)))")


def test_a_second_task_waits_for_the_first(lua):
    assert in_tasks(lua, """
        file("m", "count = count + 1 global_fcgi.sleep(0.02) return {}")
        local tasks = {}
        for i = 1, 20 do tasks[i] = fcgi.spawn(require, "m") end
        local m = require "m"
        for i = 1, 20 do assert(tasks[i]:join() == m) end
        return count""") == "true 1"


def test_requests_wait_for_one_another(gateway):
    gw = gateway("""
        local fcgi = require "fcgi"
        loads = 0
        package.preload.slow = function()
          loads = loads + 1
          while not go do fcgi.sleep(0.005) end
          return "loaded"
        end
        function on_request(req)
          if req:query "go" then go = true return 200, {}, "going" end
          fcgi.log("notice", "requires")
          return 200, {}, require "slow" .. " " .. loads
        end""")
    with gw.connect() as conn:
        for id in (1, 2, 3):
            conn.start(id)
        gw.wait_log("(?s)(requires.*){3}")
        assert gw.request({"QUERY_STRING": "go=1"}).text == "going"
        for response in conn.collect_all((1, 2, 3)).values():
            assert response.text == "loaded 1"


def test_one_that_is_half_loaded_is_waited_for(lua):
    assert in_tasks(lua, """
        file("m", "local M = {} package.loaded[...] = M "
          .. "global_fcgi.sleep(0.02) M.ready = true return M")
        local task = fcgi.spawn(require, "m")
        fcgi.sleep(0)
        local half, ready = package.loaded.m ~= nil, nil
        table.sort({ 2, 1 }, function() ready = require "m".ready end)
        return half, ready, require "m".ready, task:join().ready""") == \
        "true true nil true true"


def test_all_who_wait_get_the_error(lua):
    assert in_tasks(lua, """
        file("m", "count = count + 1 global_wait() if count == 1 then "
          .. "global_wait() error('no luck', 0) end return 'luck'")
        local a, b = fcgi.spawn(require, "m"), fcgi.spawn(require, "m")
        local c = show(pcall(require, "m"))
        return count, show(a:join()), show(b:join()), c, show(require "m")
        """).replace('\\"', "'") == (
            "true 1 \"nil 'no luck'\" \"nil 'no luck'\" \"false 'no luck'\" "
            "\"'luck' 'FOLDER/m.lua'\"")


@pytest.mark.parametrize("ends", [
    "task:cancel()", "coroutine.close(co)", "dies = true"])
def test_a_load_that_is_broken_off_is_done_by_who_waits(lua, ends):
    """Cancelled, or its coroutine was closed, or died and nobody closes it."""
    assert in_tasks(lua, f"""
        file("m", "count = count + 1 while count == 1 do global_fcgi.sleep("
          .. "0.001) if dies then error('dies') end end return count")
        local co = coroutine.create(require)
        local task = fcgi.spawn(coroutine.resume, co, "m")
        local waits = fcgi.spawn(require, "m")
        fcgi.sleep(0)
        {ends}
        return (waits:join()), (require "m")""") == "true 2 2"


def test_a_loop_of_modules_is_an_error(lua):
    assert in_tasks(lua, """
        file("a", "global_wait()\\nreturn require 'b'")
        file("b", "global_wait()\\nreturn require 'a'")
        return select(2, pcall(require, "a")), package.loaded.a,
          package.loaded.b""") == (
            'true "FOLDER/b.lua:2: loop while loading module \'a\': '
            'modules that require one another" nil nil')


def test_a_loop_of_modules_in_two_tasks_is_an_error(lua):
    assert in_tasks(lua, """
        file("a", "global_wait() local b = require 'b'")
        file("b", "global_wait() local a = require 'a'")
        local a, b = fcgi.spawn(require, "a"), fcgi.spawn(require, "b")
        return select(2, a:join()), select(2, b:join()),
          select(2, pcall(require, "a"))""") == (
            'true '
            + 3 * ('"FOLDER/%s.lua:1: loop while loading module \'%s\': '
                   'modules that require one another" ')
            % ("b", "a", "b", "a", "b", "a")).rstrip()


def test_a_loop_that_is_broken_by_who_knows_in_two_tasks(lua):
    assert in_tasks(lua, """
        file("a", "local M = {} package.loaded[...] = M global_wait() "
          .. "M.b = require 'b' return M")
        file("b", "global_wait() local a = require 'a' return { a = a }")
        local a, b = fcgi.spawn(require, "a"), fcgi.spawn(require, "b")
        a, b = a:join(), b:join()
        return a.b == b, b.a == a""") == "true true true"


def test_a_module_that_joins_who_requires_it_is_an_error(lua):
    assert in_tasks(lua, """
        file("a", "local t = global_fcgi.spawn(require, 'a') "
          .. "return select(2, t:join())")
        return (require "a")""").endswith(
            'loop while loading module \'a\': modules that require one '
            'another"')
    assert in_tasks(lua, """
        file("a", "local t = global_fcgi.spawn(function() return "
          .. "require 'a' end) global_wait() return t:join()")
        return pcall(require, "a")""") == (
            'true false "FOLDER/a.lua:1: tasks that wait for one another '
            'never end"')


def test_who_cannot_wait_is_told_so(lua):
    assert in_tasks(lua, """
        file("m", "global_fcgi.sleep(0.02)")
        local task = fcgi.spawn(require, "m")
        fcgi.sleep(0)
        local ok, err = pcall(table.sort, { 2, 1 }, function()
          require "m" end)
        task:join()
        return err:gsub("^test:%d+: ", "")""") == (
            'true "cannot wait here (inside table.sort)" 1')


def test_what_a_module_waits_for_names_what_is_in_the_way(lua):
    assert in_tasks(lua, """
        file("m", "global_fcgi.sleep(0)")
        local ok, err = pcall(table.sort, { 2, 1 }, function()
          require "m" end)
        return err""") == (
            'true "FOLDER/m.lua:1: cannot wait here (inside table.sort)"')


def test_who_waits_can_be_cancelled(lua):
    assert in_tasks(lua, """
        file("m", "global_fcgi.sleep(0.05) return 'm'")
        local first = fcgi.spawn(require, "m")
        local other = fcgi.spawn(require, "m")
        fcgi.sleep(0)
        other:cancel("enough")
        return fcgi.timeout(0.001, require, "m"), show(other:join()),
          (first:join())""").replace('\\"', "'") == (
            "true nil \"nil 'enough'\" \"m\"")


# --- where modules are loaded ------------------------------------------------

def test_at_the_top_level_nothing_can_wait(gateway, tmp_path):
    (tmp_path / "m.lua").write_text("require 'fcgi'.sleep(0)")
    gw = gateway("""
        local ok, err = pcall(require, "m")
        return function() return 200, {}, err end""", "-I", tmp_path)
    assert gw.request().text.endswith(
        "/m.lua:1: cannot wait here: the script is being loaded")


def test_on_worker_may_require_what_waits(gateway, tmp_path):
    (tmp_path / "m.lua").write_text(
        "local fcgi = require 'fcgi' fcgi.sleep(0.01) return 'ready'")
    gw = gateway("""
        function on_worker() m = require "m" end
        function on_request() return 200, {}, m end""", "-I", tmp_path)
    assert gw.request().text == "ready"


def test_the_slow_log_names_the_line_of_a_module(gateway, tmp_path):
    (tmp_path / "m.lua").write_text("\nrequire 'fcgi'.sleep(0.2)")
    gw = gateway("function on_request() require 'm' return 200 end",
                 "-I", tmp_path, "--slow=0.05")
    assert gw.request().status == 200
    gw.wait_log(r"slow: .* so far(?s:.*?)m\.lua:2: in main chunk(?s:.*?)"
                r"in function 'require'(?s:.*?)app\.lua:1:")


def test_an_error_has_the_traceback_of_its_module(gateway, tmp_path):
    (tmp_path / "m.lua").write_text(
        "local fcgi = require 'fcgi'\nfcgi.sleep(0)\nlocal function f()\n"
        "error 'out of cheese'\nend\nf()")
    gw = gateway("function on_request() require 'm' return 200 end",
                 "-I", tmp_path)
    assert gw.request().status == 500
    gw.wait_log(r"m\.lua:4: out of cheese(?s:.*?)m\.lua:6: in main chunk"
                r"(?s:.*?)in function 'require'(?s:.*?)app\.lua:1:")


def test_a_module_under_load_ends_with_its_gateway(gateway, tmp_path):
    (tmp_path / "m.lua").write_text("require 'fcgi'.sleep(600)")
    gw = gateway("""
        local fcgi = require "fcgi"
        function on_worker()
          fcgi.spawn(require, "m")
          fcgi.spawn(require, "m")
        end
        function on_request() return 200 end""", "-I", tmp_path)
    assert gw.request().status == 200
    assert gw.stop() == 0
