"""WSAPI applications, unmodified: Debian's own examples, and what they are
promised.

SPDX-License-Identifier: MIT
"""
import re

import pytest

from support import unpacked
from support.gateway import Gateway, run

ORBIT = "lua-orbit/hello", "lua-orbit/songs"
SAMPLES = "lua-wsapi-doc/samples"

SCRIPT = """
local cases = {}
local function text(s) return coroutine.wrap(function()
  coroutine.yield(s) end) end
function cases.env(env)
  return 200, {}, text(table.concat({ env.REQUEST_METHOD, env.PATH_INFO,
    env.QUERY_STRING, env.NO_SUCH, env.APP_PATH, type(env.HTTP_X),
    env.CONTENT_LENGTH }, "|"))
end
function cases.body(env)
  local got = {}
  got[1] = env.input:read(3)
  got[2] = env.input:read()
  got[3] = tostring(env.input:read(5))
  return 200, { ["Content-Type"] = "text/plain" },
    text(table.concat(got, "|"))
end
function cases.status() return "404 Gone Away", {}, text "x" end
function cases.number() return "201", { A = { 1, 2 }, B = true } end
function cases.none() end
function cases.float() return 404.0 end
function cases.low() return 100 end
function cases.headers() return 200, "A: b" end
function cases.header() return 200, { A = "b\\nc" } end
function cases.ends()
  local n = 0
  return 200, {}, function() n = n + 1 return n < 3 and tostring(n) end
end
function cases.read0(env) return 200, {}, tostring(env.input:read(0)) end
function cases.bad() return "often" end
function cases.err(env) env.error:write("a", " note\\n") return 204 end
function cases.waits(env)
  local fcgi = require "fcgi"
  return 200, {}, coroutine.wrap(function()
    for i = 1, 3 do fcgi.sleep(0.001) coroutine.yield(i .. "\\n") end
  end)
end
function cases.fails() return 200, {}, function() error("in the body") end end
return { run = function(env)
  return cases[env.PATH_INFO:sub(2)](env)
end }
"""


@pytest.fixture(scope="module")
def gw():
    with Gateway(SCRIPT) as gw:
        yield gw


def ask(gw, case, body=b"", **params):
    return gw.request({"SCRIPT_NAME": "", "PATH_INFO": "/" + case, **params},
                      body)


def test_a_module_that_the_script_returns_is_run(gw):
    answer = ask(gw, "env", QUERY_STRING="a=b", REQUEST_METHOD="PUT")
    method, path, query, none, folder, kind, length = answer.text.split("|")
    assert (method, path, query, none) == ("PUT", "/env", "a=b", "")
    assert folder == str(gw.folder) and kind == "string"
    assert length == "0"  # a PUT has a body


def test_the_body_is_read_as_they_read_it(gw):
    answer = ask(gw, "body", b"0123456789", REQUEST_METHOD="POST")
    assert answer.text == "012|3456789|nil"
    assert answer.headers["content-type"] == "text/plain"


def test_a_status_may_have_a_reason(gw):
    answer = ask(gw, "status")
    assert answer.headers["status"] == "404 Gone Away"
    assert answer.text == "x"
    answer = ask(gw, "number")
    assert answer.status == 201 and answer.body == b""
    assert ask(gw, "float").headers["status"] == "404 Not Found"
    assert answer.header_all("a") == ["1", "2"]
    assert answer.headers["b"] == "true"


def test_no_answer_is_500(gw):
    assert ask(gw, "none").status == 500
    assert ask(gw, "bad").status == 500
    gw.wait_log("the WSAPI application gave nothing")
    gw.wait_log("the WSAPI application gave the status often")
    assert ask(gw, "low").status == 500
    gw.wait_log("the WSAPI application gave the status 100")


def test_headers_that_are_none_are_told(gw):
    assert ask(gw, "headers").status == 500
    gw.wait_log("gave a string instead of a table of headers")
    assert ask(gw, "header").status == 500
    gw.wait_log("gave the header A: bad argument #2 to 'set_header'")


def test_whatever_is_false_ends_the_body(gw):
    answer = ask(gw, "ends")
    assert (answer.text, answer.app_status) == ("12", 0)


def test_no_bytes_are_nil(gw):
    assert ask(gw, "read0", b"x", REQUEST_METHOD="POST").text == "nil"


def test_the_error_stream_is_ours(gw):
    answer = ask(gw, "err")
    assert answer.status == 204 and b"a note\n" in answer.stderr


def test_an_iterator_may_wait(gw):
    assert ask(gw, "waits").text == "1\n2\n3\n"


def test_an_error_in_the_body_is_told(gw):
    assert ask(gw, "fails").status == 500
    gw.wait_log("in the body")


def test_the_sample_of_wsapi(tmp_path):
    script = tmp_path / "hello.ws"
    script.write_text('return require "hello"\n')
    done = run("-r", "/some/path", *unpacked.wsapi(SAMPLES), script)
    assert done.code == 0, done
    assert "Hello Wsapi!" in done.out and "PATH_INFO: /some/path" in done.out


@pytest.mark.parametrize("module, path, wanted", [
    ("hello", "/", "Hello World!"),
    ("hello", "/index", "Hello World!"),
    ("hello", "/say/Ada", "Hello Ada!"),
    ("hello", "/say/Ada?greeting=Ave%20", "Ave Ada!"),
    ("songs", "/", "Fixing a Hole"),
])
def test_the_examples_of_orbit(tmp_path, module, path, wanted):
    script = tmp_path / "app.lua"
    script.write_text(f'return require "fcgi.wsapi".handler "{module}"\n')
    done = run("-r", path, *unpacked.wsapi(*ORBIT), script)
    assert done.code == 0 and wanted in done.out, done


def test_orbit_knows_what_it_has_not(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text('require "fcgi.wsapi" return require "hello"\n')
    done = run("-r", "/none", *unpacked.wsapi(*ORBIT), script)
    assert done.code == 1 and done.out.startswith("Status: 404")


def test_a_form_of_wsapi(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("""
        local request = require "wsapi.request"
        local response = require "wsapi.response"
        return { run = function(env)
          local req, res = request.new(env), response.new()
          res:write(req.params.name, " ", req.POST.n)
          res:set_cookie("seen", "yes")
          return res:finish()
        end }""")
    done = run("-r", "POST /", *unpacked.wsapi(), script,
               stdin="name=Ada+L.&n=7", env={
                   "CONTENT_TYPE": "application/x-www-form-urlencoded",
                   "HTTP_COOKIE": "a=b"})
    assert done.code == 0, done
    assert done.out.endswith("\n\nAda L. 7") and "Set-Cookie: seen=yes" in \
        done.out


def test_a_body_without_a_length_has_one(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    done = run("-r", "POST /body", script, stdin="0123456789")
    assert done.out.endswith("\n\n012|3456789|nil")
    done = run("-r", "POST /env", script, stdin="0123456789")
    assert done.out.endswith("|10")


@pytest.mark.parametrize("given", ["{}", "1", "nil", "'no.such.module'"])
def test_what_is_no_application_is_refused(tmp_path, given):
    script = tmp_path / "app.lua"
    script.write_text(f'local f = require "fcgi.wsapi".handler({given})\n'
                      "return f\n")
    done = run("--check", script)
    assert done.code == 78
    assert re.search(r"app\.lua:1: ", done.err), done


def test_a_table_with_hooks_is_ours(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text("return { run = print, on_request = print }\n")
    done = run("--check", script)
    assert done.code == 78 and "no hook run" in done.err
