"""The manual of the Lua API, lua/fcgi/meta.lua: it says neither more nor less
than the program has, its examples run, its @async are true.

In an example `print(...) --> values` and `local a, b = ... --> values` say
what comes out, as Lua expressions.

SPDX-License-Identifier: MIT
"""
import re

import pytest

from support import forms, meta
from support.fastcgi import AUTHORIZER, FILTER, RESPONDER
from support.gateway import run

META = meta.read()
FUNCTIONS = META.functions()
ROOT = meta.PATH.parents[2]

# The request that the chapter "The manual" describes.
PARAMS = {
    "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app", "PATH_INFO": "/shoes",
    "REQUEST_URI": "/app/shoes?name=Ada%20L&tag=a&tag=b",
    "QUERY_STRING": "name=Ada%20L&tag=a&tag=b", "HTTP_HOST": "shop.example",
    "HTTP_COOKIE": "visits=6; theme=dark", "CONTENT_TYPE": "text/plain",
}
BODY = b"one\ntwo\n"

# The one that the chapter "Forms and uploads" describes.
FORM_PARAMS = {**PARAMS, **forms.params(QUERY_STRING="",
                                        REQUEST_URI="/app/shoes")}
FORM = forms.multipart(
    forms.field("name", "Ada"), forms.field("tag", "a"),
    forms.field("tag", "b"),
    forms.file("list", "shoes.csv", "boots,9\nclogs,7\n", "text/csv"))


def request_for(code):
    """The parameters and the body that a piece of code is about."""
    return (FORM_PARAMS, FORM) if re.search(r"req:(form|parts)|part:", code) \
        else (PARAMS, BODY)


def ids(things):
    return [f"{one.owner}:{one.line}" for one in things]


# --- the parser is strict ---------------------------------------------------

SOUND = '''---@meta fcgi
-- SPDX-License-Identifier: MIT
--[==[
# A chapter

Prose.
]==]

--- Says what it is.
---@alias fcgi.Text string|number

--- A module.
---@class fcgi
--- A number.
---@field n integer
local fcgi = {}

--- Does something.
---
--- ```lua
--- print(1) --> 1
--- ```
---@async
---@param a fcgi.Text what it is
---@param b? integer
---@param ... any
---@return string? result
---@return "x"|"y z"|nil err why
---@overload fun(self: fcgi): table<string, string>
function fcgi.f(a, b, ...) end

return fcgi
'''


def test_parser_finds_everything():
    sound = meta.parse(SOUND)
    f = sound.functions()["fcgi.f"]
    assert list(sound.chapters) == ["A chapter"]
    assert sound.classes["fcgi"].fields["n"].type == "integer"
    assert sound.aliases["fcgi.Text"].type == "string|number"
    assert f.flags == {"async"} and f.args == ["a", "b", "..."]
    assert [(p.name, p.type, p.optional) for p in f.params] == [
        ("a", "fcgi.Text", False), ("b", "integer", True),
        ("...", "any", False)]
    assert [(r.type, r.name, r.text) for r in f.returns] == [
        ("string?", "result", ""), ('"x"|"y z"|nil', "err", "why")]
    assert [(e.owner, e.line, e.code) for e in sound.examples()] == [
        ("fcgi.f", 21, "print(1) --> 1")]


@pytest.mark.parametrize("old,new,what", [
    ("---@meta fcgi\n", "", "first line"),
    ("--[==[\n", "", "no chapters"),
    ("Prose.", "", "no description"),
    ("--- Does something.\n", "", "no description"),
    ("--- Says what it is.\n", "", "no description"),
    ("--- A module.\n", "", "no description"),
    ("--- A number.\n", "", "no description"),
    ("--- ```lua\n--- print(1) --> 1\n--- ```\n", "", "no example"),
    ("--- ```lua", "--- ```c", "a block of c code"),
    ("1\n--- ```\n", "1\n", "has no end"),
    ("---@async", "---@asink", "unknown tag"),
    ("---@async", "---@async yes", "stands alone"),
    ("---@param a fcgi.Text what it is\n", "", "but the @param"),
    ("---@param b? integer\n---@param ...", "---@param ...", "but the @param"),
    ("(a, b, ...)", "(b, a, ...)", "but the @param"),
    ("---@param a fcgi", "---@param a? fcgi", "but the @param|optional"),
    ("a fcgi.Text", "a fcgi.Texts", "is not defined"),
    ("a fcgi.Text", "a fun(", "unbalanced"),
    ('---@return string? result\n---@return "x"|"y z"|nil err why\n', "",
     "neither @return"),
    ("Does something.", "Does something.  Returns nothing.", "or both"),
    ("string? result", "string?", "needs a type and a name"),
    ("---@field n integer", "---@field n integer many", "stands above"),
    ("function fcgi.f", "function fcgi:f", "a colon"),
    ("function fcgi.f", "function other.f", "is no class"),
    ("return fcgi\n", "", "is not returned"),
    ("return fcgi\n", "local x = 1\n", "not understood"),
    ("return fcgi\n", "--- Lost.\n\nreturn fcgi\n", "belongs to"),
])
def test_parser_refuses(old, new, what):
    assert old in SOUND
    text = SOUND.replace(old, new, 1)
    if new == "---@param a? fcgi":      # an optional one before another
        text = text.replace("b? integer", "b integer")
    with pytest.raises(meta.MetaError, match=what):
        meta.parse(text)


# --- it is the API of the program -------------------------------------------

# One object of each class; each runs in a handler of the role filter.
OBJECTS = {
    "fcgi": ["fcgi"],
    "fcgi.Part": ["req:parts()()"],
    "fcgi.Request": ["req"],
    "fcgi.Task": ["fcgi.spawn(function() end)",
                  "fcgi.every(60, function() end)"],
    "fcgi.Channel": ["fcgi.channel()"],
    "fcgi.Counter": ["fcgi.counter('c')"],
    "fcgi.Gauge": ["fcgi.gauge('g')"],
    "fcgi.File": ["req.input", "req.out", "req.err"],
    "fcgi.Socket": ["fcgi.tcp()"],
    "fcgi.Process": ["fcgi.popen { 'true' }"],
    "fcgi.Reader": ["fcgi.popen { 'true' }.stdout"],
    "fcgi.Udp": ["fcgi.udp()"],
}

# Names of functions: of what a metatable's __index leads to; of a table that
# has none.
WALK = """\
local object, found = %s, {}
local class = debug.getmetatable(object)
local function add(names)
  for name, value in pairs(names) do
    if type(value) == "function" and name:sub(1, 2) ~= "__" then
      found[#found + 1] = name
    end
  end
end
local index = not class and object or class.__index
if type(index) == "table" then add(index) end
if type(index) == "function" then
  local i = 1
  while true do
    local name, value = debug.getupvalue(index, i)
    if not name then break end
    if type(value) == "table" and value ~= class then add(value) end
    i = i + 1
  end
end
return 200, {}, table.concat(found, " ")
"""

FILTERS = """\
local fcgi = require "fcgi"
function on_filter(req)
  local code = "local req, fcgi = ... " .. req:param "LUA"
  return assert(load(code, "=test", "t"))(req, fcgi)
end
"""


@pytest.fixture
def text_of(shared_gateway):
    """text_of(code): the text that a handler of the role filter answers."""
    gw = shared_gateway(FILTERS)

    def ask(code):
        params, body = request_for(code)
        response = gw.request(
            {**params, "LUA": code, "FCGI_DATA_LENGTH": "4",
             "FCGI_DATA_LAST_MOD": "1700000000"},
            body, role=FILTER, data=b"file")
        assert response.status == 200, (code, response, gw.log()[-2000:])
        return response.text
    return ask


def test_every_class_has_an_object_here():
    assert set(OBJECTS) == {name for name, cls in META.classes.items()
                            if cls.is_table}


@pytest.mark.parametrize("name,expression", [
    (name, expression) for name, expressions in OBJECTS.items()
    for expression in expressions])
def test_functions_are_those_of_the_program(text_of, name, expression):
    documented = set(META.classes[name].functions)
    assert set(text_of(WALK % expression).split()) == documented


def test_fields_of_the_module_are_those_of_the_program(text_of):
    fields = text_of("local found = {} for name, value in pairs(fcgi) do "
                     "if type(value) ~= 'function' then "
                     "found[#found + 1] = name end end "
                     "return 200, {}, table.concat(found, ' ')").split()
    assert set(fields) == set(META.classes["fcgi"].fields)


def words_of_the_source():
    """Every string in it that could be the name of a field."""
    words = set()
    for path in [*ROOT.glob("src/script/*.c"), *ROOT.glob("lua/fcgi/*.lua")]:
        if path != meta.PATH:
            words |= set(re.findall(r'"([a-z_]{2,})"', path.read_text()))
    return sorted(words)


@pytest.mark.parametrize("name,expression", [
    ("fcgi.Request", "req"), ("fcgi.Part", OBJECTS["fcgi.Part"][0])])
def test_fields_of_an_object_are_those_of_the_program(text_of, name,
                                                      expression):
    """They cannot be listed, so everything that may be one is asked for."""
    documented = set(META.classes[name].fields)
    optional = {"filename"}     # the first part is no file
    asked = sorted({*words_of_the_source(), *documented})
    found = text_of("local object, found = %s, {} "
                    "for word in ('%s'):gmatch('%%S+') do "
                    "local value = object[word] if value ~= nil and "
                    "type(value) ~= 'function' then "
                    "found[#found + 1] = word end end "
                    "return 200, {}, table.concat(found, ' ')"
                    % (expression, " ".join(asked)))
    assert set(found.split()) == documented - optional


@pytest.mark.parametrize("name", sorted(set(OBJECTS) - {"fcgi"}))
def test_what_can_be_closed_is_said_to_be(text_of, name):
    closes = text_of("return 200, {}, tostring(debug.getmetatable(%s).__close "
                     "~= nil)" % OBJECTS[name][0])
    said = "`<close>`" in META.classes[name].doc.text
    assert closes == str(said).lower()


@pytest.mark.parametrize("hook", sorted({
    "on_start", "on_worker", "on_exit", "on_reload", "on_abort",
    *(name for name in META.classes["fcgi.App"].fields
      if name.startswith("on_"))}))
def test_hooks_are_those_of_the_program(tmp_path, hook):
    script = tmp_path / "app.lua"
    script.write_text("return { %s = function() end, on_request = print }"
                      % hook)
    documented = hook in META.classes["fcgi.App"].fields
    assert (run("--check", script).code == 0) == documented


def test_file_is_sound_lua(text_of):
    assert text_of("return 200, {}, type(loadfile('%s', 't'))"
                   % meta.PATH) == "function"


# --- its examples run -------------------------------------------------------

CHECK = """\
local fcgi = require "fcgi"

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local function show(values)
  local out = {}
  for i = 1, values.n do out[i] = ("%q"):format(tostring(values[i])) end
  return table.concat(out, ", ")
end

-- What came out at a line, and what the manual says.
function check(line, got, expected)
  if same(got, expected) then
    fcgi.log("notice", "as expected at ", line, ".")
  else
    fcgi.log("error", "meta.lua:", line, ": ", show(got), ", not ",
      show(expected))
  end
end
"""

# Runs an example as a handler.  One that does not answer gets an answer.
RUNNER = """\
function on_request(req)
  local code = "local req = ... " .. req:param "LUA"
  local lines = ("\\n"):rep(math.tointeger(req:param "LINE") - 1)
  local f = assert(load(lines .. code, "=meta.lua", "t"))
  local results = table.pack(f(req))
  if results.n == 0 then pcall(req.set_status, req, 204) end
  return table.unpack(results, 1, results.n)
end
"""
RESULT = re.compile(r"(\s*)(.*?)\s*--> (.*)")
PRINTED = re.compile(r"print\((.*)\)")
ASSIGNED = re.compile(r"(?:local )?([A-Za-z_][\w, ]*?) = .*")
HOOK = re.compile(r"^function on_|^return \{", re.M)


# What the examples of sockets begin with, in one line.
ENDS = {cls: re.sub(r" --.*", "", META.chapters[chapter].examples[0].code
                   ).replace("\n", " ")
        for cls, chapter in [("fcgi.Socket", "Sockets"),
                             ("fcgi.Udp", "Datagrams")]}


def with_checks(example):
    """The example's code, in which every --> is a check, and their lines."""
    lines, checked = [], []
    for number, line in enumerate(example.code.split("\n"), example.line):
        found = RESULT.fullmatch(line)
        if not found:
            assert "-->" not in line, (number, line)
            lines.append(line)
            continue
        blanks, code, expected = found.groups()
        printed = PRINTED.fullmatch(code)
        assigned = ASSIGNED.fullmatch(code)
        assert printed or assigned, (number, "neither print nor =", line)
        got = (printed or assigned)[1]
        checked.append(number)
        lines.append(f"{blanks}{code + ' ' if assigned else ''}"
                     f"check({number}, table.pack({got}), "
                     f"table.pack({expected}))")
    ends = ENDS.get(example.owner.partition(":")[0])
    if ends:
        lines[0] = f"{ends} {lines[0]}"
    return "\n".join(lines), checked


def check_log(log, checked):
    """No errors, and all checks were made."""
    errors = re.findall(r"^\S+ error .*", log, re.M)
    made = {int(n) for n in re.findall(r"as expected at (\d+)\.", log)}
    assert not errors, log
    assert made == set(checked), log


def test_results_are_checked(gateway):
    """The tests below can fail."""
    gw = gateway(RUNNER, "--eval", CHECK)
    example = meta.Example("x", 7, "print(1, {2}) --> 1, {2}\n"
                                   "local a = 3 --> 4\nprint(1.0) --> 1")
    code, checked = with_checks(example)
    assert checked == [7, 8, 9]
    assert gw.request({"LUA": code, "LINE": "7"}).status == 204
    assert "as expected at 7." in gw.log()
    assert 'meta.lua:8: "3", not "4"' in gw.log()
    assert 'meta.lua:9: "1.0", not "1"' in gw.log()
    assert gw.request({"LUA": "local x\nx.y = 1", "LINE": "7"}).status == 500
    assert "meta.lua:8: attempt to index" in gw.log()


HANDLERS = [one for one in META.examples() if not HOOK.search(one.code)]
SCRIPTS = [one for one in META.examples() if HOOK.search(one.code)]


@pytest.mark.parametrize("example", HANDLERS, ids=ids(HANDLERS))
def test_example_runs(shared_gateway, example):
    gw = shared_gateway(RUNNER, "--eval", CHECK)
    code, checked = with_checks(example)
    before = len(gw.log())
    params, body = request_for(example.code)
    response = gw.request({**params, "LUA": code, "LINE": str(example.line)},
                          body)
    assert response.status < 500, gw.log()[before:]
    check_log(gw.log()[before:], checked)


@pytest.mark.parametrize("example", SCRIPTS, ids=ids(SCRIPTS))
def test_script_example_runs(gateway, example):
    code, checked = with_checks(example)
    role, data = RESPONDER, None
    if "on_authorize" in code:
        role = AUTHORIZER
    elif "on_filter" in code:
        role, data = FILTER, b"the file"
    gw = gateway("\n" * (example.line - 1) + code, "--eval", CHECK)
    response = gw.request(
        {**PARAMS, "FCGI_DATA_LENGTH": str(len(data or b"")),
         "FCGI_DATA_LAST_MOD": "1700000000"},
        b"" if role == AUTHORIZER else BODY, role=role, data=data)
    assert response.status == (500 if "on_error" in code else 200)
    check_log(gw.log(), checked)


# --- what it says of waiting ------------------------------------------------

# A comparator of table.sort cannot be left.
NO_WAIT = """\
local fcgi = require "fcgi"
local outcome
local big = ("x"):rep(1 << 20)
function on_filter(req)
  local code = "local req, fcgi, big, server, sock, program, part = ... "
    .. req:param "LUA"
  local f = assert(load(code, "=test", "t"))
  local server <close> = fcgi.tcp()
  assert(server:bind("127.0.0.1", 0) and server:listen())
  local sock <close> = fcgi.tcp()
  assert(sock:connect(server:getsockname()))
  local peer <close> = server:accept()
  local program <close> = fcgi.popen { "sleep", "60" }
  local part = code:find "part:" and req:parts()()
  req:set_header("Content-Type", "text/plain")
  local ok, err = pcall(table.sort, { 1, 2 }, function()
    f(req, fcgi, big, server, sock, program, part)
    return false
  end)
  outcome = ok and "ended" or tostring(err)
end
function on_request()
  return 200, {}, outcome
end
"""

# Two unix sockets; nobody takes what a sends to b.
DATAGRAMS = ("local a <close> = fcgi.udp() local b <close> = fcgi.udp() "
             "local path = 'unix:@fcgi-lua-' .. tostring(a) "
             "b:setsockname(path) a:setpeername(path) ")

# For each function a call that waits if it can: nothing of the body has come,
# or of a form nothing but the head of a part, and nobody reads the answer.
CALLS = {
    "fcgi.sleep": "fcgi.sleep(60)",
    "fcgi.now": "fcgi.now()",
    "fcgi.log": "fcgi.log('notice', big)",
    "fcgi.cancelled": "fcgi.cancelled('x')",
    "fcgi.stats": "fcgi.stats()",
    "fcgi.spawn": "fcgi.spawn(fcgi.sleep, 60)",
    "fcgi.timeout": "fcgi.timeout(60, fcgi.sleep, 60)",
    "fcgi.every": "fcgi.every(60, print)",
    "fcgi.channel": "fcgi.channel(1)",
    "fcgi.wait": "fcgi.wait(0, 'w', 60)",
    "fcgi.resolve": "fcgi.resolve('www.test')",
    "fcgi.counter": "fcgi.counter('c', 'x', { a = 1 })",
    "fcgi.gauge": "fcgi.gauge('g')",
    "fcgi.Counter:inc": "fcgi.counter('c'):inc()",
    "fcgi.Gauge:set": "fcgi.gauge('g'):set(1)",
    "fcgi.Gauge:inc": "fcgi.gauge('g'):inc()",
    "fcgi.escape": "fcgi.escape(big)",
    "fcgi.unescape": "fcgi.unescape(big)",
    "fcgi.html": "fcgi.html(big)",
    "fcgi.join": "local _ = fcgi.join('/', 'a')",
    "fcgi.encode_query": "fcgi.encode_query { a = big }",
    "fcgi.decode_query": "fcgi.decode_query(big)",
    "fcgi.date": "fcgi.date()",
    "fcgi.equal": "fcgi.equal(big, big)",
    "fcgi.random": "fcgi.random(1 << 16)",
    "fcgi.Task:join": "fcgi.spawn(fcgi.sleep, 60):join()",
    "fcgi.Task:cancel": "fcgi.spawn(fcgi.sleep, 60):cancel()",
    "fcgi.Task:detach": "fcgi.spawn(print):detach()",
    "fcgi.Channel:put": "fcgi.channel():put(1)",
    "fcgi.Channel:get": "fcgi.channel():get()",
    "fcgi.Channel:close": "fcgi.channel():close()",
    "fcgi.connect": "fcgi.connect '127.0.0.1:1'",
    "fcgi.tcp": "fcgi.tcp()",
    "fcgi.udp": "fcgi.udp()",
    "fcgi.Udp:setsockname": "fcgi.udp():setsockname('www.test', 1)",
    "fcgi.Udp:setpeername": "fcgi.udp():setpeername('www.test', 1)",
    "fcgi.Udp:send": DATAGRAMS + "for i = 1, 1000 do a:send(i) end",
    "fcgi.Udp:sendto": DATAGRAMS + "for i = 1, 1000 do a:sendto(i, path) end",
    "fcgi.Udp:receive": DATAGRAMS + "a:receive()",
    "fcgi.Udp:receivefrom": DATAGRAMS + "a:receivefrom()",
    "fcgi.Udp:getsockname": "fcgi.udp():getsockname()",
    "fcgi.Udp:getpeername": "fcgi.udp():getpeername()",
    "fcgi.Udp:getfamily": "fcgi.udp():getfamily()",
    "fcgi.Udp:settimeout": "fcgi.udp():settimeout(1)",
    "fcgi.Udp:gettimeout": "fcgi.udp():gettimeout()",
    "fcgi.Udp:setoption": "fcgi.udp():setoption('broadcast', true)",
    "fcgi.Udp:getoption": "fcgi.udp():getoption('broadcast')",
    "fcgi.Udp:getfd": "fcgi.udp():getfd()",
    "fcgi.Udp:setfd": "fcgi.udp():setfd(-1)",
    "fcgi.Udp:dirty": "fcgi.udp():dirty()",
    "fcgi.Udp:close": "fcgi.udp():close()",
    "fcgi.Socket:connect": "fcgi.tcp():connect('127.0.0.1', 1)",
    "fcgi.Socket:bind": "fcgi.tcp():bind('127.0.0.1', 0)",
    "fcgi.Socket:listen": "local s <close> = fcgi.tcp() "
                          "assert(s:bind('127.0.0.1', 0) and s:listen())",
    "fcgi.Socket:accept": "server:accept()",
    "fcgi.Socket:receive": "sock:receive()",
    "fcgi.Socket:receiveany": "sock:receiveany(1)",
    "fcgi.Socket:receiveuntil": "sock:receiveuntil('x')",
    "fcgi.Socket:send": "for i = 1, 32 do sock:send(big) end",
    "fcgi.Socket:dirty": "sock:dirty()",
    "fcgi.Socket:settimeout": "sock:settimeout(1)",
    "fcgi.Socket:settimeouts": "sock:settimeouts(1, 1, 1)",
    "fcgi.Socket:gettimeout": "sock:gettimeout()",
    "fcgi.Socket:sslhandshake": "sock:sslhandshake(nil, 'x')",
    "fcgi.Socket:setoption": "sock:setoption('keepalive', true)",
    "fcgi.Socket:getoption": "sock:getoption('keepalive')",
    "fcgi.Socket:close": "sock:close()",
    "fcgi.Socket:setkeepalive": "sock:setkeepalive()",
    "fcgi.Socket:getreusedtimes": "sock:getreusedtimes()",
    "fcgi.Socket:shutdown": "sock:shutdown()",
    "fcgi.Socket:getfd": "sock:getfd()",
    "fcgi.Socket:setfd": "sock:setfd(sock:getfd())",
    "fcgi.Socket:getpeername": "sock:getpeername()",
    "fcgi.Socket:getsockname": "sock:getsockname()",
    "fcgi.Socket:getstats": "sock:getstats()",
    "fcgi.Socket:setstats": "sock:setstats(1)",
    "fcgi.run": "fcgi.run { 'true' }",
    "fcgi.popen": "local _ = fcgi.popen { 'true' }",
    "fcgi.Process:read": "program:read(1)",
    "fcgi.Process:read_line": "program:read_line()",
    "fcgi.Process:lines": "program:lines()",
    "fcgi.Process:write": "program:write(big)",
    "fcgi.Process:close_write": "program:close_write()",
    "fcgi.Process:wait": "program:wait()",
    "fcgi.Process:kill": "program:kill('CONT')",
    "fcgi.Process:close": "program:close()",
    "fcgi.Reader:read": "program.stdout:read()",
    "fcgi.Reader:read_line": "program.stdout:read_line()",
    "fcgi.Reader:lines": "program.stdout:lines()",
    "fcgi.Reader:close": "program.stdout:close()",
    "fcgi.File:read": "req.input:read(1)",
    "fcgi.File:lines": "req.input:lines()",
    "fcgi.File:write": "req.out:write(big)",
    "fcgi.File:flush": "req.out:write('x') req.out:flush()",
    "fcgi.File:close": "req.out:write('x') req.out:close()",
    "fcgi.File:seek": "req.input:seek()",
    "fcgi.File:setvbuf": "req.out:setvbuf('no')",
    "fcgi.Part:read": "local _ = part:read()",
    "fcgi.Part:read_line": "local _ = part:read_line()",
    "fcgi.Part:lines": "part:lines()",
    "fcgi.Part:save": "part:save('/tmp/fcgi-lua-is-never-there')",
    "fcgi.Request:param": "req:param 'X'",
    "fcgi.Request:params": "req:params()",
    "fcgi.Request:method": "req:method()",
    "fcgi.Request:path": "req:path()",
    "fcgi.Request:script_name": "req:script_name()",
    "fcgi.Request:path_info": "req:path_info()",
    "fcgi.Request:query_string": "req:query_string()",
    "fcgi.Request:uri": "req:uri()",
    "fcgi.Request:protocol": "req:protocol()",
    "fcgi.Request:scheme": "req:scheme()",
    "fcgi.Request:host": "req:host()",
    "fcgi.Request:remote_addr": "req:remote_addr()",
    "fcgi.Request:user": "req:user()",
    "fcgi.Request:content_length": "req:content_length()",
    "fcgi.Request:header": "req:header()",
    "fcgi.Request:query": "req:query()",
    "fcgi.Request:query_all": "req:query_all 'n'",
    "fcgi.Request:cookie": "req:cookie()",
    "fcgi.Request:cookie_all": "req:cookie_all 'n'",
    "fcgi.Request:read": "local _ = req:read(1)",
    "fcgi.Request:read_line": "local _ = req:read_line()",
    "fcgi.Request:lines": "req:lines()",
    "fcgi.Request:body": "local _ = req:body()",
    "fcgi.Request:form": "local _ = req:form 'x'",
    "fcgi.Request:form_all": "local _ = req:form_all 'x'",
    "fcgi.Request:parts": "req:parts()",
    "fcgi.Request:data": "local _ = req:data(1)",
    "fcgi.Request:is_aborted": "req:is_aborted()",
    "fcgi.Request:on_abort": "req:on_abort(print)",
    "fcgi.Request:set_status": "req:set_status(200)",
    "fcgi.Request:set_header": "req:set_header('A', 'b')",
    "fcgi.Request:add_header": "req:add_header('A', 'b')",
    "fcgi.Request:set_cookie": "req:set_cookie('a', 'b')",
    "fcgi.Request:write": "req:write(big)",
    "fcgi.Request:write_err": "req:write_err(big) req:write_err('x')",
    "fcgi.Request:flush": "req:write('x') req:flush()",
    "fcgi.Request:send": "req:send(200, {}, big)",
    "fcgi.Request:redirect": "req:redirect('/')",
    "fcgi.Request:send_file": "req:send_file('/proc/self/exe')",
    "fcgi.Request:event": "req:event('x')",
    "fcgi.Request:finish": "req:write('x') req:finish()",
}


def outcome_of(gw, code):
    """What became of code where nothing may wait."""
    params, body = request_for(code)
    with gw.connect() as conn:
        conn.start(1, {**params, "LUA": code, "CONTENT_LENGTH": len(body)},
                   body[:body.index(b"Ada")] if "part:" in code else b"",
                   role=FILTER, end=False)
        conn.collect(1)
    return gw.request().text


def test_every_function_is_called_where_it_cannot_wait():
    assert set(CALLS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", CALLS)
def test_async_is_what_waits(shared_gateway, name):
    gw = shared_gateway(NO_WAIT, "--log-level=error")
    outcome = outcome_of(gw, CALLS[name])
    if "async" in FUNCTIONS[name].flags:
        assert "cannot wait here" in outcome
    else:
        assert outcome == "ended"


@pytest.mark.parametrize("name,code", [
    ("fcgi.Request:lines", "req:lines()()"),
    ("fcgi.Request:parts", "req:parts()()"),
    ("fcgi.Part:lines", "part:lines()()"),
    ("fcgi.Process:lines", "program:lines()()"),
    ("fcgi.Socket:receiveuntil", "sock:receiveuntil('x')()")])
def test_iterator_is_what_waits(shared_gateway, name, code):
    gw = shared_gateway(NO_WAIT, "--log-level=error")
    assert FUNCTIONS[name].returns[0].type.startswith("async fun(")
    assert "cannot wait here" in outcome_of(gw, code)
