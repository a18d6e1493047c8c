"""-r '[METHOD ]URL': one request from the shell.

SPDX-License-Identifier: MIT
"""
import os
import signal
import subprocess

import pytest

from support.gateway import (DEADLINE, check_reports, environment, program,
                             run, wait_until)

SCRIPT = """
local fcgi = require "fcgi"
local state = "unset"
local app = {}
function app.on_worker(id) fcgi.sleep(0.01) state = "worker " .. id end
function app.on_exit(id, reason) fcgi.log("notice", "exit ", reason) end
function app.on_request(req)
  local path = req:path()
  if path == "/state" then return 200, {}, state end
  if path == "/echo" then
    req:set_status(200)
    for piece in function() return req:read(65536) end do req:write(piece) end
    return req
  end
  if path == "/rest" then return 200, {}, tostring(#(req:read() or "")) end
  if path == "/param" then
    return 200, {}, req:param(req:query("name")) or "none"
  end
  if path == "/status" then
    return tonumber(req:query("n")), { ["X-A"] = { "1", "2" } }, "body"
  end
  if path == "/cgi" then return req:write("Status: 404 Gone Away\\r\\n\\r\\nx") end
  if path == "/fail" then error("of its own") end
  if path == "/late" then req:set_status(200) req:write("half") req:flush()
    error("late") end
  if path == "/never" then end
  if path == "/err" then req:write_err("a note\\n") return 204 end
  if path == "/endless" then
    req:write("Content-Type: text/plain\\n\\n")
    while req:write(("x"):rep(10000)) do end
    fcgi.log("notice", "gone")
    return req
  end
  if path == "/task" then
    fcgi.spawn(function() fcgi.sleep(0.02) fcgi.log("notice", "cleaned") end)
      :detach()
    return 200, {}, "done"
  end
  if path == "/sleep" then fcgi.sleep(300) end
end
return app
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    path = tmp_path_factory.mktemp("oneshot") / "app.lua"
    path.write_text(SCRIPT)

    def ask(request, *options, **args):
        return run("-r", request, *options, path, **args)
    ask.path = str(path)
    return ask


def test_the_answer_is_a_cgi_programs(ask):
    done = ask("/status?n=200")
    assert (done.code, done.out) == (
        0, "Status: 200 OK\nX-A: 1\nX-A: 2\nContent-Length: 4\n\nbody")
    done = ask("/cgi")
    assert done.out.startswith("Status: 404 Gone Away\n")
    assert done.out.endswith("\n\nx")


@pytest.mark.parametrize("status, code", [(204, 0), (399, 0), (400, 1),
                                          (599, 1)])
def test_the_exit_code_is_that_of_the_status(ask, status, code):
    assert ask(f"/status?n={status}").code == code


def test_head_has_no_body(ask):
    done = ask("HEAD /status?n=200")
    assert done.code == 0 and done.out.endswith("Content-Length: 4\n\n")


@pytest.mark.parametrize("request_, name, value", [
    ("/param?name=REQUEST_METHOD", "REQUEST_METHOD", "GET"),
    ("DELETE /param?name=REQUEST_METHOD", "REQUEST_METHOD", "DELETE"),
    ("  PATCH   /param?name=REQUEST_METHOD ", "REQUEST_METHOD", "PATCH"),
    ("http://example.org:81/param?name=HTTP_HOST", "HTTP_HOST",
     "example.org:81"),
    ("/param?name=HTTP_HOST", "HTTP_HOST", "localhost"),
    ("/param?name=SERVER_PROTOCOL", "SERVER_PROTOCOL", "HTTP/1.1"),
    ("/param?name=REMOTE_ADDR", "REMOTE_ADDR", "none"),
])
def test_the_parameters_are_those_of_a_web_server(ask, request_, name, value):
    assert ask(request_).out.rpartition("\n")[2] == value, name


@pytest.mark.parametrize("name, value", [
    ("HTTP_X_A", "1"), ("CONTENT_TYPE", "text/x"), ("REMOTE_USER", "joe"),
    ("REMOTE_ADDR", "::1"), ("HTTPS", "on"), ("HTTP_HOST", "other")])
def test_the_environment_has_what_a_url_cannot_say(ask, name, value):
    done = ask(f"/param?name={name}", env={name: value})
    assert done.out.rpartition("\n")[2] == value


@pytest.mark.parametrize("name", ["HTTP_PROXY", "PATH", "QUERY_STRING2"])
def test_not_all_of_it_is_a_parameter(ask, name):
    done = ask(f"/param?name={name}",
               env={name: os.environ.get(name, "http://evil")})
    assert done.out.rpartition("\n")[2] == "none"


def test_the_body_comes_from_a_pipe(ask):
    assert ask("POST /echo", stdin="some body").out.endswith("\n\nsome body")
    assert ask("POST /rest", stdin="x" * 3_000_000).out.endswith("\n3000000")
    assert ask("POST /rest", stdin="").out.endswith("\n\n0")


def test_the_body_comes_from_a_file(ask, tmp_path):
    (tmp_path / "body").write_bytes(b"y" * 2_000_000)
    with open(tmp_path / "body", "rb") as body:
        body.seek(500_000)  # the shell may have read some
        assert ask("PUT /rest", stdin=body).out.endswith("\n1500000")
    with open(tmp_path / "body", "rb") as body:
        assert ask("PUT /param?name=CONTENT_LENGTH",
                   stdin=body).out.endswith("\n2000000")


def test_a_get_leaves_stdin_alone(ask, tmp_path):
    (tmp_path / "lines").write_text("one\ntwo\n")
    with open(tmp_path / "lines") as lines:
        assert ask("/echo", stdin=lines).code == 0
        assert os.lseek(lines.fileno(), 0, os.SEEK_CUR) == 0


def test_a_body_over_its_limit_is_refused(ask):
    done = ask("POST /rest", "--max-body=1000", stdin="x" * 100_000)
    assert done.code == 1 and done.out.startswith("Status: 413 ")


def test_large_bodies_go_both_ways_at_once(ask):
    done = ask("POST /echo", stdin="0123456789" * 1_000_000)
    assert done.code == 0
    assert done.out.partition("\n\n")[2] == "0123456789" * 1_000_000


def test_errors_are_told_once(ask):
    done = ask("/fail")
    assert done.code == 1 and done.out.startswith("Status: 500 ")
    assert done.err.count("of its own") == 1
    done = ask("/err")
    assert done.code == 0 and done.err.count("a note") == 1


def test_an_answer_that_breaks_off_fails(ask):
    done = ask("/late")
    assert done.code == 1 and done.out.startswith("Status: 200 OK\n")


def test_hooks_run_and_tasks_end(ask):
    done = ask("/state")
    assert done.out.endswith("\nworker 1")
    assert "exit stop" in done.err
    assert "cleaned" in ask("/task").err


def test_a_timeout_holds_here_too(ask):
    done = ask("/sleep", "--timeout=100ms")
    assert done.code == 1 and done.out.startswith("Status: 504 ")


@pytest.mark.parametrize("request_", ["", "x", "GET", "G@T /x", "/ü", "/%",
                                      "/a b", "http://"])
def test_what_is_no_request_is_refused(ask, request_):
    done = ask(request_)
    assert (done.code, done.out) == (64, "")
    assert "--request" in done.err or "-r: " in done.err


def test_a_reader_that_leaves_aborts_the_request(ask):
    with subprocess.Popen([program(), "-r", "/endless", ask.path],
                          env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        child.stdout.read(100_000)
        child.stdout.close()
        assert child.wait(DEADLINE) == 1
        err = child.stderr.read().decode()
    check_reports(err)
    assert "gone" in err


def test_a_reader_that_pauses_holds_the_writer(ask):
    with subprocess.Popen([program(), "-r", "/endless", ask.path],
                          env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as child:
        child.stdout.read(1)

        def sleeps():
            with open(f"/proc/{child.pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "S"
        wait_until(sleeps, "it to wait")
        with open(f"/proc/{child.pid}/wchan") as wchan:
            assert "pipe" not in wchan.read()  # the loop goes on
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE) == -signal.SIGTERM


def test_a_full_disk_is_told(ask):
    with open("/dev/full", "wb") as full:
        child = subprocess.Popen(
            [program(), "-r", "/status?n=200", ask.path], env=environment(),
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE)
        err = child.communicate(timeout=DEADLINE)[1].decode()
    assert child.returncode == 1 and "cannot write the answer" in err


def test_a_script_that_does_not_load_has_its_exit_code(tmp_path):
    script = tmp_path / "bad.lua"
    script.write_text("function (")
    assert run("-r", "/", script).code == 65
    script.write_text("return { on_worker = function() error('no') end,"
                      "on_request = function() end }")
    done = run("-r", "/", script)
    assert done.code == 78 and "on_worker failed" in done.err
    script.write_text("return { request = '/', on_request = print }")
    assert run("-r", "/", script).code == 78
