"""The script: its forms, its hooks, what it sees, how loading fails.

SPDX-License-Identifier: MIT
"""
import os
import socket
import subprocess

import pytest

from support import fastcgi
from support import gateway as gateways
from support.gateway import run


# --- forms ---

@pytest.mark.parametrize("script", [
    "function on_request(req) return 200, {}, 'ok' end",
    "return function(req) return 200, {}, 'ok' end",
    "return { on_request = function(req) return 200, {}, 'ok' end }",
    "local function f(req) return 200, {}, 'ok' end on_request = f return",
    "#!/usr/bin/env fcgi-lua\nfunction on_request(req) "
    "return 200, {}, 'ok' end",
    "#!/usr/bin/env fcgi-lua\r\nreturn function() return 200, {}, 'ok' end",
    "\ufeffreturn function() return 200, {}, 'ok' end",
])
def test_form_of_script(gateway, script):
    assert gateway(script).request().text == "ok"


def test_table_may_hold_settings(gateway):
    gw = gateway("return { on_request = function(req) req:body() "
                 "return 200, {}, 'ok' end, max_body = 100, "
                 "['max-reqs'] = 7, log_level = 'info' }")
    assert gw.request(body=b"x" * 101).status == 413
    with gw.connect() as conn:
        assert conn.get_values()[b"FCGI_MAX_REQS"] == b"7"


def test_table_may_say_where_to_listen(gateway, tmp_path):
    path = str(tmp_path / "s")
    gw = gateway("return { on_request = function(req) return 200, {}, 'ok' "
                 f"end, listen = 'unix:{path}' }}", listen=None, address=path)
    assert gw.request().text == "ok"


def test_table_may_say_several_places(gateway, tmp_path):
    one, two = str(tmp_path / "1"), str(tmp_path / "2")
    gw = gateway("return { on_request = function(req) return 200, {}, 'ok' "
                 f"end, listen = {{'unix:{one}', 'unix:{two}'}} }}",
                 listen=None, address=two)
    assert gw.request().text == "ok"
    gw.address = one
    assert gw.request().text == "ok"


def test_unknown_setting_names_the_nearest(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("return { on_request = print, max_bdoy = 10 }")
    result = run("-t", script)
    assert result.code == 78
    assert "max_bdoy" in result.err
    assert "max_body" in result.err or "max-body" in result.err


@pytest.mark.parametrize("field", [
    "max_body = 'much'", "max_reqs = -1", "timeout = {}", "grace = 'soon'",
    "listen = 42", "max_conns = 0.5", "log_level = 'loud'",
    "on_request = 'x'", "on_error = 5"])
def test_bad_setting_is_78(tmp_path, field):
    script = tmp_path / "app.lua"
    script.write_text("local t = { on_request = print } "
                      f"for k, v in pairs {{ {field} }} do t[k] = v end "
                      "return t")
    result = run("-t", script)
    assert result.code == 78, result
    name = field.split()[0]
    assert name in result.err or name.replace("_", "-") in result.err


# --- loading fails ---

@pytest.mark.parametrize("check", [["-t"], ["-l", "unix:{folder}/s"]])
@pytest.mark.parametrize("text,code,words", [
    ("function on_request(", 65, ["app.lua:1:"]),
    ("x = = 1", 65, ["app.lua:1:"]),
    ("\n\nerror 'at load'", 78, ["app.lua:3:", "at load"]),
    ("error { code = 1 }", 78, []),
    ("error()", 78, []),
    ("local x = nil + 1", 78, ["app.lua:1:", "arithmetic"]),
    ("require 'no.such.module'", 78, ["no.such.module"]),
    ("x = 1", 78, ["on_request"]),
    ("", 78, ["on_request"]),
    ("return {}", 78, ["on_request"]),
    ("return 5", 78, []),
    ("on_request = 'x'", 78, ["on_request"]),
    ("\x1bLua\x54\x00\x19\x93\r\n\x1a\n", 65, ["app.lua"]),
])
def test_script_that_cannot_be_loaded(tmp_path, check, text, code, words):
    script = tmp_path / "app.lua"
    script.write_text(text)
    result = run(*[c.format(folder=tmp_path) for c in check], script)
    assert result.code == code, result
    assert result.err.strip(), "no message"
    for word in words:
        assert word in result.err
    assert not (tmp_path / "s").exists()


def test_bytecode_is_refused(tmp_path):
    script = tmp_path / "app.lua"
    maker = tmp_path / "maker.lua"
    maker.write_text(
        f"local f = io.open('{script}', 'wb') f:write(string.dump(function() "
        "on_request = print end)) f:close() on_request = print")
    assert run("-t", maker).code == 0
    assert script.read_bytes().startswith(b"\x1bLua")
    result = run("-t", script)
    assert result.code == 65 and "app.lua" in result.err


def test_missing_script_is_66(tmp_path):
    result = run("-t", tmp_path / "none.lua")
    assert result.code == 66 and "none.lua" in result.err


def test_folder_as_script_is_66(tmp_path):
    result = run("-t", tmp_path)
    assert result.code == 66 and str(tmp_path) in result.err


def test_good_script_is_checked_without_listening(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("function on_request() end")
    assert run("-t", script).code == 0
    assert run("--check", script).code == 0


# --- what the script sees ---

def test_arguments(gateway):
    gw = gateway("local a, b = ... local fcgi = require 'fcgi' "
                 "local t = { select('#', ...), a, b, #arg, arg[1], arg[2], "
                 "#fcgi.args, fcgi.args[1], fcgi.args[2] } "
                 "return function() return 200, {}, table.concat(t, ' ') end",
                 args=("one", "--two"))
    assert gw.request().text == "2 one --two 2 one --two 2 one --two"


def test_arg_0_is_the_script(gateway):
    gw = gateway("return function() return 200, {}, arg[0] end")
    assert gw.request().text.endswith("app.lua")


def test_version(gateway):
    gw = gateway("return function() return 200, {}, "
                 "require('fcgi').version end")
    version = gw.request().text
    assert version and version in run("-V").out


def test_print_goes_to_the_log(gateway):
    gw = gateway("print('at', 'load') io.stdout:write('raw at load\\n') "
                 "function on_request(req) print('in', 7, nil, req ~= nil) "
                 "io.write('raw in\\n') return 200, {}, 'page' end")
    response = gw.request()
    assert response.text == "page" and response.stderr == b""
    gw.wait_log(r"at\s+load")
    gw.wait_log(r"in\s+7\s+nil\s+true")
    gw.wait_log("raw in")
    gw.wait_log("raw at load")


def test_log_function(gateway):
    gw = gateway("local fcgi = require 'fcgi'\n"
                 "function on_request(req)\n"
                 "  fcgi.log('error', 'an ', 'error ', 1)\n"
                 "  fcgi.log('warn', 'a warning')\n"
                 "  fcgi.log('notice', 'a notice')\n"
                 "  fcgi.log('info', 'an info')\n"
                 "  fcgi.log('debug', 'a debug')\n"
                 "  return 200 end", "--log-level=info")
    gw.request({"REQUEST_URI": "/a?b"})
    gw.wait_log(r" error \[\d+(/\d+)?\] .*app\.lua:3: .*an error 1.*/a\?b")
    gw.wait_log(r" warn \[.*app\.lua:4: .*a warning")
    gw.wait_log(r" notice \[.*app\.lua:5: .*a notice")
    gw.wait_log(r" info \[.*app\.lua:6: .*an info")
    assert "a debug" not in gw.log()


def test_log_function_at_load(gateway):
    gw = gateway("require('fcgi').log('notice', 'loading') "
                 "function on_request() return 200 end")
    gw.wait_log("notice .*loading")


@pytest.mark.parametrize("call", ["log()", "log('loud', 'x')",
                                  "log({}, 'x')", "log(1, 'x')"])
def test_log_refuses_unknown_levels(lua, call):
    assert lua.value(f"(pcall(function() fcgi.{call} end))") == "false"


def test_global_state_lives_from_request_to_request(gateway):
    gw = gateway("n = 0 function on_request() n = n + 1 "
                 "return 200, {}, '' .. n end")
    assert [gw.request().text for _ in range(3)] == ["1", "2", "3"]


def test_require_finds_modules_of_the_include_folder(gateway, tmp_path):
    (tmp_path / "one.lua").write_text("return 'one'")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "init.lua").write_text("return 'two'")
    gw = gateway("local a, b = require 'one', require 'two' "
                 "return function() return 200, {}, a .. b end",
                 "-I", tmp_path)
    assert gw.request().text == "onetwo"


def test_require_in_a_handler(gateway, tmp_path):
    (tmp_path / "late.lua").write_text("return 'late'")
    gw = gateway("function on_request() return 200, {}, require 'late' end",
                 "-I", tmp_path)
    assert gw.request().text == "late"
    assert gw.request().text == "late"


def test_standard_libraries_are_there(lua):
    for name in ("string", "table", "math", "os", "io", "utf8", "coroutine",
                 "debug", "package"):
        assert lua.value(f"type({name})") == '"table"'


def test_random_seeds_differ(gateway):
    script = ("local n = math.random(0) function on_request() "
              "return 200, {}, '' .. n end")
    numbers = {gateway(script).request().text for _ in range(3)}
    assert len(numbers) == 3


def test_os_exit_does_not_lose_the_log(gateway):
    gw = gateway("function on_request() print 'bye' os.exit(3) end",
                 expect=3)
    with gw.connect() as conn:
        conn.start(1)
        conn.expect_close()
    assert gw.wait() == 3
    assert "bye" in gw.log()


# --- on_error ---

ON_ERROR = """\
local fcgi = require "fcgi"
function on_request(req)
  return assert(load("local req, fcgi = ... " .. req:param "LUA", "=t"))(
    req, fcgi)
end
function on_error(req, err, traceback)
  %s
end
"""


def test_on_error_may_answer(gateway):
    gw = gateway(ON_ERROR % "return 503, {}, 'sorry: ' .. tostring(err) .. "
                 "type(traceback)")
    response = gw.request({"LUA": "error('broken', 0)"})
    assert response.status == 503
    assert response.text == "sorry: brokenstring"


def test_on_error_gets_the_error_object(gateway):
    gw = gateway(ON_ERROR % "return 500, {}, type(err) .. err.code .. "
                 "tostring(traceback:find 'stack traceback' ~= nil)")
    assert gw.request({"LUA": "error { code = 7 }"}).text == "table7true"


def test_on_error_may_write_its_answer(gateway):
    gw = gateway(ON_ERROR % "req:set_status(500):write('written ', "
                 "req:param 'X')")
    response = gw.request({"LUA": "error 'x'", "X": "by hook"})
    assert response.status == 500 and response.text == "written by hook"


def test_on_error_may_wait(gateway):
    gw = gateway(ON_ERROR % "fcgi.sleep(0.01) return 500, {}, 'waited'")
    assert gw.request({"LUA": "error 'x'"}).text == "waited"


def test_on_error_that_raises_is_500(gateway):
    gw = gateway(ON_ERROR % "error 'in the hook'")
    response = gw.request({"LUA": "error 'first'"})
    assert response.status == 500 and b"hook" not in response.raw
    gw.wait_log("in the hook")
    assert gw.request({"LUA": "return 200, {}, 'x'"}).text == "x"


def test_on_error_that_answers_nothing_is_500(gateway):
    gw = gateway(ON_ERROR % "fcgi.log('notice', 'hook ran')")
    assert gw.request({"LUA": "error 'x'"}).status == 500
    gw.wait_log("hook ran")


def test_on_error_is_not_called_without_an_error(gateway):
    gw = gateway(ON_ERROR % "fcgi.log('notice', 'hook ran')")
    assert gw.request({"LUA": "return 200, {}, 'x'"}).text == "x"
    assert "hook ran" not in gw.log()


def test_on_error_after_the_head_cannot_answer(gateway):
    gw = gateway(ON_ERROR % "fcgi.log('notice', 'hook ran') "
                 "return 500, {}, 'too late'")
    response = gw.request({"LUA": "req:write('A: b\\n\\nx') req:flush() "
                                  "error 'x'"})
    assert response.status == 200 and response.body == b"x"
    assert response.app_status == 1
    gw.wait_log("hook ran")


# --- executed by itself ---

@pytest.fixture
def path_with_program(tmp_path):
    """A PATH that finds the program under the name of the shebang lines."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "fcgi-lua").symlink_to(gateways.program())
    return f"{folder}:{os.environ['PATH']}"


def test_script_executed_directly_serves_fd_0(tmp_path, path_with_program):
    script = tmp_path / "app.fcgi"
    script.write_text("#!/usr/bin/env fcgi-lua\n"
                      "function on_request() return 200, {}, arg[0] end\n")
    script.chmod(0o755)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        log = open(tmp_path / "log", "wb")
        child = subprocess.Popen(
            [str(script)], stdin=listener, stderr=log, stdout=log,
            env=gateways.environment({"PATH": path_with_program}))
    try:
        assert fastcgi.request(path).text == str(script)
        child.terminate()
        assert child.wait(gateways.DEADLINE) == 0
    finally:
        child.kill()
        child.wait()
        log.close()
    gateways.check_reports((tmp_path / "log").read_text())


def test_script_executed_directly_with_arguments(tmp_path, path_with_program):
    script = tmp_path / "app.fcgi"
    script.write_text("#!/usr/bin/env fcgi-lua\n"
                      "io.stderr:write(table.concat(arg, '+'), '\\n') "
                      "error 'enough'\n")
    script.chmod(0o755)
    done = subprocess.run(
        [str(script), "a", "b"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=gateways.DEADLINE,
        env=gateways.environment({"PATH": path_with_program}))
    assert "a+b" in done.stderr and done.returncode == 78


# --- -e ---

def test_eval_runs_before_the_script(gateway):
    gw = gateway("local seen = x function on_request() "
                 "return 200, {}, seen end", "-e", "x = 'set before'")
    assert gw.request().text == "set before"


def test_evals_run_in_order(gateway):
    gw = gateway("function on_request() return 200, {}, x end",
                 "-e", "x = 'a'", "--eval=x = x .. 'b'")
    assert gw.request().text == "ab"


def test_broken_eval_is_told(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("on_request = print")
    result = run("-t", "-e", "x = = 1", script)
    assert result.code == 65 and result.err.strip()
    result = run("-t", "-e", "error 'in eval'", script)
    assert result.code == 78 and "in eval" in result.err


# --- coroutines of the script ---

def test_waits_pass_through_coroutines(lua):
    assert lua.text(
        "local out = {} for v in coroutine.wrap(function() for i = 1, 3 do "
        "fcgi.sleep(0.002) coroutine.yield(i) end end) do "
        "out[#out + 1] = v end return 200, {}, table.concat(out)") == "123"


def test_waits_pass_through_nested_coroutines(lua):
    assert lua.text(
        "local function level(n) if n == 0 then fcgi.sleep(0.002) "
        "return 'bottom' end local co = coroutine.create(level) "
        "local ok, v = coroutine.resume(co, n - 1) assert(ok, v) "
        "return v .. n end return 200, {}, level(5)") == "bottom12345"


def test_waits_pass_through_pcall_and_metamethods(lua):
    assert lua.text(
        "local t = setmetatable({}, { __index = function(_, k) "
        "fcgi.sleep(0.002) return k end, __call = function(_, x) "
        "fcgi.sleep(0.002) return x end }) "
        "local ok, a = pcall(function() return t.key end) "
        "local ok2, b = xpcall(t, print, 'arg') "
        "for k in t, 'stop' do break end "
        "return 200, {}, dump(ok, a, ok2, b)") == 'true, "key", true, "arg"'


def test_waiting_coroutine_is_normal(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, "co = coroutine.create(function() waits = true "
                  "while not go do fcgi.sleep(0.005) end go, waits = nil "
                  "end) coroutine.resume(co) return 200, {}, "
                  "coroutine.status(co)")
        while lua.value("waits") != "true":
            pass
        text = lua.value("coroutine.status(co), coroutine.resume(co)")
        assert text.startswith('"normal", false, ')
        lua(GO_CODE)
        assert conn.collect(1).text == "dead"


GO_CODE = "go = true return 200"


def test_wait_in_a_comparator_is_refused(lua):
    text = lua.text(
        "local ok, err = pcall(table.sort, {3, 1, 2}, function(a, b) "
        "fcgi.sleep(0.001) return a < b end) "
        "return 200, {}, dump(ok, tostring(err))")
    assert text.startswith("false") and "cannot wait here" in text


def test_wait_in_a_comparator_within_a_coroutine_is_refused(lua):
    text = lua.text(
        "local ok, err = pcall(table.sort, {3, 1, 2}, function(a, b) "
        "coroutine.wrap(function() fcgi.sleep(0.001) end)() "
        "return a < b end) return 200, {}, dump(ok, tostring(err))")
    assert text.startswith("false") and "cannot wait here" in text


def test_wait_at_load_is_refused(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("require('fcgi').sleep(0.001) on_request = print")
    result = run("-t", script)
    assert result.code == 78 and "cannot wait here" in result.err


def test_errors_of_coroutines_are_the_stock_ones(lua):
    text = lua.text(
        "local co = coroutine.create(function() error { x = 7 } end) "
        "local ok, err = coroutine.resume(co) "
        "local ok2, err2 = pcall(coroutine.wrap(function() error 'w' end)) "
        "return 200, {}, dump(ok, err.x, coroutine.status(co), "
        "(coroutine.resume(co)), ok2, err2)")
    assert text.startswith('false, 7, "dead", false, false, "')
    assert "w" in text


def test_coroutine_close_cancels_its_wait(lua):
    text = lua.text(
        "local closed local co co = coroutine.create(function() "
        "local x <close> = setmetatable({}, { __close = function() "
        "closed = true end }) coroutine.yield(1) end) "
        "coroutine.resume(co) local ok = coroutine.close(co) "
        "return 200, {}, dump(ok, closed, coroutine.status(co))")
    assert text == 'true, true, "dead"'


def test_coroutine_identity_is_not_shared_by_requests(lua):
    lua("seen = setmetatable({}, {__mode = 'k'}) return 200")
    for _ in range(20):
        assert lua.value("(function() local co = coroutine.running() "
                         "local old = seen[co] seen[co] = true "
                         "return old end)()") == "nil"
    lua("seen = nil return 200")


def test_hook_of_one_request_is_not_seen_by_the_next(lua):
    lua("debug.sethook(function() hooked = (hooked or 0) + 1 end, 'l') "
        "local x = 1 debug.sethook(coroutine.running()) return 200")
    lua("hooked = 0 return 200")
    for _ in range(5):
        lua("local x = 1\n local y = 2\n return 200")
    assert lua.value("hooked") == "0"
