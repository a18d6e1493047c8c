"""Coroutines of the script: what Lua's manual says of them holds, and a wait
passes through everything that can yield.

Each piece of code runs in lua5.4 and in a handler, there with wait() doing
nothing and with wait() waiting: nothing of it may show.

SPDX-License-Identifier: MIT
"""
import re
import subprocess

import pytest

from support.lua import EVAL, Lua

# What is told of values; addresses and the word for a thread differ.
SHOW = """
local function show(...)
  local out = table.pack(...)
  for i = 1, out.n do
    local v = out[i]
    out[i] = type(v) == "string" and ("%q"):format(v)
      or (type(v) == "table" or type(v) == "thread" or type(v) == "function"
          or type(v) == "userdata") and type(v) or tostring(v)
  end
  return table.concat(out, " ")
end
"""

SNIPPETS = {
    # values in and out
    "arguments and results": """
        local co = coroutine.create(function(...)
          wait() local got = table.pack(...)
          local more = table.pack(coroutine.yield(got.n, ...))
          wait() return more.n, table.unpack(more, 1, more.n) end)
        local a = show(coroutine.resume(co, 1, nil, 3, nil))
        local b = show(coroutine.resume(co, nil, nil))
        return a, b, show(coroutine.resume(co)), coroutine.status(co)""",
    "no values": """
        local co = coroutine.create(function() wait() coroutine.yield() end)
        return show(coroutine.resume(co)), show(coroutine.resume(co)),
          show(coroutine.resume(co))""",
    "many values": """
        local list = {} for i = 1, 200 do list[i] = i end
        local f = coroutine.wrap(function(...) wait()
          coroutine.yield(...) wait() return select('#', ...), ... end)
        return select('#', f(table.unpack(list))), (f())""",
    "wrap": """
        local f = coroutine.wrap(function(a, b) wait()
          local c = coroutine.yield(a + b) wait()
          local d, e = coroutine.yield(c * 2) wait() return d + e end)
        return f(1, 2), f(10), f(3, 4), pcall(f)""",
    "a C function as the body": """
        return coroutine.wrap(math.max)(3, 9, 4),
          show(coroutine.resume(coroutine.create(pcall), error, 'x'))""",
    "yield across pcall in between": """
        local f = coroutine.wrap(function()
          local r = table.pack(pcall(function()
            wait() local v = coroutine.yield('in') wait() error(v, 0) end))
          wait() return table.unpack(r, 1, r.n) end)
        return f(), f('thrown')""",
    "producers and filters": """
        local function gen(n) return coroutine.wrap(function()
          for i = 2, n do wait() coroutine.yield(i) end end) end
        local function filter(p, g) return coroutine.wrap(function()
          for n in g do if n % p ~= 0 then wait() coroutine.yield(n) end
          end end) end
        local x, primes = gen(40), {}
        while true do local n = x() if not n then break end
          primes[#primes + 1] = n x = filter(n, x) end
        return table.concat(primes, ' ')""",
    "permutations": """
        local function permute(a, n) if n <= 1 then wait()
          coroutine.yield(table.concat(a)) else for i = 1, n do
            a[n], a[i] = a[i], a[n] permute(a, n - 1)
            a[n], a[i] = a[i], a[n] end end end
        local out = {}
        for s in coroutine.wrap(function() permute({1, 2, 3}, 3) end) do
          out[#out + 1] = s end
        return table.concat(out, ' ')""",
    # states
    "status": """
        local co local log = {}
        local function say() log[#log + 1] = coroutine.status(co) end
        co = coroutine.create(function() say() wait() say()
          local other = coroutine.create(function() wait() say() end)
          coroutine.resume(other) say() coroutine.yield() wait() say() end)
        say() coroutine.resume(co) say() coroutine.resume(co) say()
        return table.concat(log, ' ')""",
    "status of one that failed": """
        local co = coroutine.create(function() wait() error('x', 0) end)
        local a = show(coroutine.resume(co))
        return a, coroutine.status(co), show(coroutine.resume(co))""",
    "status of ourselves": """
        local co = coroutine.running()
        return coroutine.status(co), coroutine.wrap(function() wait()
          return coroutine.status(co) end)()""",
    "running": """
        local outer, is_main = coroutine.running()
        local co co = coroutine.create(function() wait()
          local self, main = coroutine.running()
          return self == co, main, self == outer end)
        return is_main, type(outer), coroutine.resume(co)""",
    "isyieldable": """
        local outside = coroutine.isyieldable()
        local co = coroutine.create(function() wait()
          return coroutine.isyieldable() end)
        local of_new = coroutine.isyieldable(co)
        local inside local t = { 2, 1 }
        table.sort(t, function(a, b)
          inside = coroutine.isyieldable() return a < b end)
        return outside, of_new, inside, coroutine.resume(co)""",
    # refusals
    "resume of a dead one": """
        local co = coroutine.create(function() wait() end)
        coroutine.resume(co)
        return show(coroutine.resume(co)), show(coroutine.resume(co))""",
    "resume of ourselves": """
        local co co = coroutine.create(function() wait()
          return coroutine.resume(co) end)
        return show(coroutine.resume(co)),
          show(coroutine.resume(coroutine.running()))""",
    "resume of one that has resumed us": """
        local co co = coroutine.create(function() wait()
          return coroutine.wrap(function() wait()
            return coroutine.resume(co) end)() end)
        return coroutine.resume(co)""",
    "wrap of one that is running": """
        local f f = coroutine.wrap(function() wait() return pcall(f) end)
        return f()""",
    "bad arguments": """
        local out = {}
        for i, f in ipairs { coroutine.create, coroutine.wrap,
            coroutine.resume, coroutine.status, coroutine.close } do
          out[i] = select(2, pcall(f, 1))
            :gsub('coroutine%.%a+', '?'):gsub('thread', 'coroutine') end
        return table.concat(out, '; ')""",
    # errors
    "errors keep their value": """
        local value = {}
        local ok, err = pcall(coroutine.wrap(function() wait() error(value)
          end))
        local _, got = coroutine.resume(coroutine.create(function() wait()
          error(value) end))
        return ok, err == value, got == value""",
    "errors of text get the position": """
        return pcall(function() coroutine.wrap(function() wait()
          error('x', 0) end)() end)""",
    "errors through three wraps": """
        local function f(n) wait() if n == 0 then error('deep', 0) end
          coroutine.wrap(f)(n - 1) end
        return pcall(f, 3)""",
    "error nil": """
        return show(coroutine.resume(coroutine.create(function() wait()
          error() end))), pcall(coroutine.wrap(function() wait() error(nil)
          end))""",
    "runtime errors": """
        return coroutine.resume(coroutine.create(function() wait()
          local x = nil; return x.field end))""",
    "traceback of another": """
        local co = coroutine.create(function() local function inner()
          wait() coroutine.yield() end inner() end)
        coroutine.resume(co)
        return (debug.traceback(co):gsub('%[C%]: in [^\\n]*', '[C]'))""",
    # close
    "close": """
        local log = {}
        local co = coroutine.create(function()
          local x <close> = setmetatable({}, { __close = function(_, e)
            log[#log + 1] = 'x ' .. tostring(e) end })
          local y <close> = setmetatable({}, { __close = function(_, e)
            log[#log + 1] = 'y ' .. tostring(e) end })
          wait() coroutine.yield() end)
        coroutine.resume(co)
        return show(coroutine.close(co)), coroutine.status(co),
          table.concat(log, ', '), show(coroutine.close(co))""",
    "close of one that has not begun": """
        local co = coroutine.create(wait)
        return show(coroutine.close(co)), coroutine.status(co)""",
    "close of one that failed": """
        local co = coroutine.create(function() wait() error({}) end)
        coroutine.resume(co)
        return show(coroutine.close(co)), show(coroutine.close(co))""",
    "error in what close runs": """
        local co = coroutine.create(function()
          local x <close> = setmetatable({}, { __close = function()
            error('closing', 0) end })
          wait() coroutine.yield() end)
        coroutine.resume(co)
        return show(coroutine.close(co)), coroutine.status(co)""",
    "close of ourselves and of who has resumed us": """
        local co co = coroutine.create(function() wait()
          return select(2, pcall(coroutine.close, coroutine.running())),
            coroutine.wrap(function() wait()
              return select(2, pcall(coroutine.close, co)) end)() end)
        return coroutine.resume(co)""",
    "wrap closes after an error": """
        local log = {}
        local f = coroutine.wrap(function()
          local x <close> = setmetatable({}, { __close = function(_, e)
            log[1] = tostring(e) end })
          wait() error('x', 0) end)
        local ok, err = pcall(f)
        return ok, err, log[1]""",
    # waits through everything that can yield
    "pcall": """
        return pcall(function(...) wait() return ..., 'ok' end, 1), pcall(
          function() wait() error('x', 0) end)""",
    "xpcall": """
        return xpcall(function(...) wait() return ... end, print, 1, 2),
          xpcall(function() wait() error('x', 0) end,
            function(e) return 'handled ' .. e end)""",
    "nested pcall": """
        return pcall(pcall, pcall, function() wait() error('x', 0) end)""",
    "metamethods": """
        local log, meta = {}, {}
        for _, name in ipairs { 'add', 'sub', 'mul', 'div', 'mod', 'pow',
            'idiv', 'band', 'bor', 'bxor', 'shl', 'shr', 'concat' } do
          meta['__' .. name] = function(a, b) wait() return name end end
        for _, name in ipairs { 'unm', 'bnot', 'len' } do
          meta['__' .. name] = function() wait() return name end end
        meta.__eq = function() wait() return true end
        meta.__lt = function() wait() return true end
        meta.__le = function() wait() return false end
        meta.__call = function(_, ...) wait() return 'call', ... end
        meta.__index = function(_, k) wait() return 'index ' .. k end
        meta.__newindex = function(_, k, v) wait() log[k] = v end
        local a, b = setmetatable({}, meta), setmetatable({}, meta)
        a.new = 'value'
        return a + b, a - 1, 2 * a, a / b, a % b, a ^ b, a // b, a & b,
          a | b, a ~ b, a << b, a >> b, a .. b, 'x' .. a, -a, ~a, #a,
          a == b, a ~= b, a < b, a <= b, a > 1, 1 >= a, a.key, log.new,
          a(1, 2)""",
    "concat of many": """
        local m = setmetatable({}, { __concat = function(a, b) wait()
          return (type(a) == 'table' and 'M' or a) ..
            (type(b) == 'table' and 'M' or b) end })
        return 'a' .. m .. 'b' .. m .. 'c'""",
    "comparison in a condition": """
        local m = setmetatable({}, { __lt = function() wait() return true end,
          __eq = function() wait() return false end })
        local out = {}
        if m < 1 then out[1] = 'lt' end
        if not (m == setmetatable({}, getmetatable(m))) then out[2] = 'ne' end
        while m < 2 do out[3] = 'while' break end
        return table.concat(out, ' ')""",
    "close at the end of a block": """
        local log = {}
        local function mark(name) return setmetatable({}, { __close =
          function(_, e) wait() log[#log + 1] = name .. tostring(e) end }) end
        do local a <close>, b <const> = mark 'a', 1
          local c <close> = mark 'c' end
        local function f() local d <close> = mark 'd' return 1, 2, 3 end
        local r = table.pack(f())
        local ok, err = pcall(function() local e <close> = mark 'e'
          error('x', 0) end)
        for i = 1, 2 do local g <close> = mark('g' .. i)
          if i == 2 then break end end
        return table.concat(log, ' '), r.n, r[3], ok, err""",
    "iterators": """
        local function iter(s, i) wait() if i < s then return i + 1 end end
        local sum = 0 for i in iter, 4, 0 do sum = sum + i end
        local out = {}
        for k, v in next, { 'a', 'b' } do wait() out[k] = v end
        for k in pairs(setmetatable({}, { __pairs = function(t) wait()
          return function(_, k) wait() if not k then return 'p' end end, t
          end })) do out[#out + 1] = k end
        return sum, table.concat(out)""",
    "a closing value of a for": """
        local log = {}
        local function closer(name) return setmetatable({}, { __close =
          function(_, e) wait() log[#log + 1] = name .. tostring(e) end }) end
        for i in function(_, i) wait() if not i then return 1 end end, nil,
          nil, closer 'end ' do log[#log + 1] = i end
        for _ in function() wait() return 1 end, nil, nil,
          closer 'break ' do break end
        pcall(function() for _ in function() wait() return 1 end, nil, nil,
          closer 'error ' do error('x', 0) end end)
        local function f() for _ in function() wait() return 1 end, nil, nil,
          closer 'return ' do return 'r' end end
        log[#log + 1] = f()
        return table.concat(log, ', ')""",
    "goto out of a block": """
        local log = {} local n = 0
        ::again:: do local x <close> = setmetatable({}, { __close =
          function() wait() log[#log + 1] = n end })
          n = n + 1 if n < 3 then goto again end end
        return table.concat(log, ' ')""",
    "dofile": """
        local path = os.tmpname()
        local f = assert(io.open(path, 'w'))
        f:write('wait_global() return 1, 2') f:close()
        wait_global = wait
        local a, b = dofile(path)
        os.remove(path)
        return a, b""",
    "tail calls": """
        local function f(n) if n == 0 then return wait() or 'end' end
          return f(n - 1) end
        return f(1000)""",
    "150 coroutines deep": """
        local function nest(n) wait() if n == 0 then return 'bottom' end
          local r = coroutine.wrap(nest)(n - 1) wait() return r end
        return nest(150)""",
    "150 deep with resume": """
        local function nest(n) if n == 0 then wait() return 'bottom' end
          return select(2, coroutine.resume(coroutine.create(nest), n - 1))
        end
        return nest(150)""",
    "too deep": """
        local depth = 0
        local function nest() depth = depth + 1
          return coroutine.wrap(nest)() end
        local ok, err = pcall(nest)
        return ok, err:match('C stack overflow'), depth > 150""",
    "metamethods in coroutines in metamethods": """
        local m = setmetatable({}, { __index = function(_, k)
          return coroutine.wrap(function() wait()
            return coroutine.wrap(function() wait() return k .. k end)()
          end)() end })
        return m.a .. m.b""",
}


def run_stock(snippet):
    code = (SHOW + "local function wait() end\n"
            "print(show(coroutine.wrap(function() return pcall(function()\n"
            + snippet + "\nend) end)()))")
    done = subprocess.run(["lua5.4", "-"], input=code.encode(),
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


def run_ours(lua, snippet, wait):
    return lua.text(SHOW + f"local function wait() {wait} end\n"
                    "return 200, {}, show(pcall(function()\n" + snippet
                    + "\nend))")


def without_places(text):
    """Chunks' names, lines and addresses."""
    text = re.sub(r'(stdin|test|\[string[^]]*\]):\d+:', "CHUNK:", text)
    text = re.sub(r"<?(stdin|test):\d+>?", "CHUNK", text)
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


@pytest.mark.parametrize("name", SNIPPETS)
def test_as_in_lua(lua, name):
    wanted = without_places(run_stock(SNIPPETS[name]))
    assert "true" == wanted[:4], wanted      # the snippet itself is sound
    for wait in ("", "fcgi.sleep(0)"):
        assert without_places(run_ours(lua, SNIPPETS[name], wait)) == wanted


@pytest.mark.parametrize("wait", [
    "fcgi.spawn(fcgi.sleep, 0):join()",
    "fcgi.timeout(3600, fcgi.sleep, 0)",
    "local ch = fcgi.channel() fcgi.spawn(ch.put, ch, 1) ch:get()",
    "coroutine.wrap(fcgi.sleep)(0)",
])
@pytest.mark.parametrize("name", ["arguments and results", "metamethods",
                                  "close at the end of a block", "iterators",
                                  "a closing value of a for", "xpcall",
                                  "producers and filters"])
def test_as_in_lua_whatever_it_waits_for(lua, name, wait):
    wanted = without_places(run_stock(SNIPPETS[name]))
    assert without_places(run_ours(lua, SNIPPETS[name], wait)) == wanted


def test_too_many_coroutines_in_one_another_while_waiting(lua):
    assert lua.text(
        "local function nest(n) fcgi.sleep(0) return coroutine.wrap(nest)("
        "n + 1) end local ok, err = pcall(nest, 1) fcgi.sleep(0) "
        "return 200, {}, dump(ok, (err:match('C stack overflow')))"
        ) == 'false, "C stack overflow"'


def test_a_task_is_no_coroutine_to_yield_from(lua):
    assert lua.text(
        "local t = fcgi.spawn(function() coroutine.yield(1) end) "
        "return 200, {}, (select(2, t:join()):gsub('^test:1: ', ''))"
        ) == "attempt to yield from outside a coroutine of the script"


def test_other_tasks_see_one_that_waits_as_normal(lua):
    assert lua.text(
        "local co = coroutine.create(function() fcgi.sleep(0.01) "
        "coroutine.yield('y') end) local t = fcgi.spawn(coroutine.resume, co)"
        " fcgi.sleep(0) local status = coroutine.status(co) "
        "local _, refused = coroutine.resume(co) "
        "return 200, {}, dump(status, refused, t:join())") == \
        ('"normal", "cannot resume non-suspended coroutine", true, "y"')


def test_a_coroutine_may_go_from_task_to_task(lua):
    assert lua.text(
        "local f = coroutine.wrap(function() for i = 1, 3 do fcgi.sleep(0) "
        "coroutine.yield(i) end end) local got = {} "
        "for i = 1, 3 do got[i] = fcgi.spawn(f):join() end "
        "return 200, {}, dump(got)") == "{1, 2, 3}"


def test_nothing_of_a_request_stays_in_a_coroutine(gateway):
    # One that outlives the request that made it goes on in the next.
    gw = gateway(EVAL)
    lua = Lua(gw)
    lua("gen = coroutine.wrap(function() for i = 1, 9 do fcgi.sleep(0) "
        "coroutine.yield(i) end end) gen() return 200")
    assert lua.value("gen(), gen()") == "2, 3"
