"""SIGHUP: another script serves, and nobody notices but by its answers.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import threading

import pytest

from support import fastcgi
from support.gateway import free_port, wait_until
from support.lua import HANGS

SCRIPT = """
local fcgi = require "fcgi"
local n = 0
function on_request(req)
  n = n + 1
  local wait = tonumber(req:param "WAIT")
  if wait then fcgi.sleep(wait) end
  local go = req:param "GO"
  if go then
    fcgi.log("notice", "holding VERSION")
    while true do
      local file = io.open(go)
      if file then file:close() break end
      fcgi.sleep(0.005)
    end
  end
  return 200, { ["Content-Type"] = "text/plain" },
    "VERSION " .. fcgi.worker.generation .. " " .. (req:body() or "")
end
"""


def version(name, more=""):
    return SCRIPT.replace("VERSION", name) + more


def write(gw, text):
    """Puts another script in its place, in one step."""
    fresh = gw.folder / "fresh.lua"
    fresh.write_text(text)
    fresh.rename(gw.script)


def count(gw, pattern):
    return len(re.findall(pattern, gw.log(), re.M))


RELOADED = r"reloaded: generation \d+ serves"
NOT_RELOADED = r" error \[\S+\] not reloaded, generation \d+ serves on: "


def reload(gw, text=None, expect=RELOADED):
    """Reloads it and waits for the outcome."""
    if text is not None:
        write(gw, text)
    before = count(gw, expect)
    gw.signal(signal.SIGHUP)
    wait_until(lambda: count(gw, expect) > before, f"{expect!r}")


def answers(gw):
    return gw.request().text.rsplit(" ", 1)[0]


# --- what works --------------------------------------------------------------

def test_new_script_answers(gateway):
    gw = gateway(version("one"))
    pid, fds = gw.pid, gw.fds()
    assert answers(gw) == "one 1"
    reload(gw, version("two"))
    assert answers(gw) == "two 2"
    reload(gw)
    assert answers(gw) == "two 3"
    assert gw.pid == pid
    gw.wait_fds(fds)
    assert not re.search(r" (warn|error) \[", gw.log())


def test_kept_connection_stays(gateway):
    gw = gateway(version("one"))
    with gw.connect() as conn:
        assert conn.request(1).text == "one 1 "
        reload(gw, version("two"))
        assert conn.request(1).text == "two 2 "
        reload(gw, version("three"))
        assert conn.request(1).text == "three 3 "


def test_request_ends_with_the_script_that_it_began_with(gateway):
    gw = gateway(version("one"))
    go = gw.folder / "go"
    with gw.connect() as conn:
        conn.start(1, {"GO": str(go)})
        gw.wait_log("holding one")
        reload(gw, version("two"))
        assert conn.request(2).text == "two 2 "
        reload(gw, version("three"))
        assert conn.request(3).text == "three 3 "
        go.write_text("")
        assert conn.collect(1).text == "one 1 "


def test_body_of_a_request_of_the_old_script(gateway):
    gw = gateway(version("one"))
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1)
        conn.stdin(1, b"before,", end=False)
        conn.barrier()
        reload(gw, version("two"))
        conn.stdin(1, b" after")
        assert conn.collect(1).text == "one 1 before, after"


def test_request_whose_parameters_come_after_the_reload(gateway):
    gw = gateway(version("one"))
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, end=False)
        conn.barrier()
        reload(gw, version("two"))
        conn.send_raw(fastcgi.stream(fastcgi.PARAMS, 1))
        conn.stdin(1)
        assert conn.collect(1).text == "two 2 "


def test_role_that_the_new_script_does_not_serve(gateway):
    gw = gateway("function on_authorize() return true end")
    with gw.connect() as conn:
        conn.begin(1, role=fastcgi.AUTHORIZER)
        conn.params(1, end=False)
        conn.barrier()
        reload(gw, version("two"))
        conn.send_raw(fastcgi.stream(fastcgi.PARAMS, 1))
        assert conn.collect(1).protocol_status == fastcgi.UNKNOWN_ROLE
        assert conn.request(2).text == "two 2 "


def test_abort_reaches_the_old_script(gateway):
    gw = gateway("""
local fcgi = require "fcgi"
return { abort = "cancel", on_request = function(req)
  req:on_abort(function() print("old: aborted") end)
  print("old: waits")
  local ok, err = pcall(fcgi.sleep, 3600)
  print("old: cancelled by", fcgi.cancelled(err))
end }
""")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("old: waits")
        reload(gw, version("two"))
        conn.abort(1)
        conn.collect(1)
    gw.wait_log("old: aborted")
    gw.wait_log("old: cancelled by\tabort")
    assert answers(gw) == "two 2"


def test_error_in_the_old_script_is_told_as_its_own(gateway):
    gw = gateway("""
function on_request(req)
  req:body()
  req:write("no head at all\\n\\n")
end
""", name="app.lua")
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1)
        conn.barrier()
        reload(gw, "return { stderr = 'log', on_request = print }")
        conn.stdin(1)
        response = conn.collect(1)
    assert response.status == 500
    assert b"app.lua" in response.stderr    # the old one's --stderr


def test_hooks_of_both_scripts(gateway):
    hooks = """
function on_start() print("VERSION start", fcgi.worker) end
function on_worker(id)
  print("VERSION worker", id, fcgi.worker.generation)
  fcgi.sleep(0.01)
  print("VERSION slept")
  fcgi.spawn(function()
    local ok, err = pcall(fcgi.sleep, 3600)
    print("VERSION task", fcgi.cancelled(err))
  end)
end
function on_exit(id, reason)
  fcgi.sleep(0.01)
  print("VERSION exit", id, reason)
end
"""
    gw = gateway(version("one", hooks.replace("VERSION", "one")))
    reload(gw, version("two", hooks.replace("VERSION", "two")))
    gw.wait_log("one task\treload")
    assert gw.stop() == 0
    said = re.findall(r"notice \[\S+\] ((?:one|two|reloaded).*)", gw.log())
    assert [line.replace("\t", " ") for line in said] == [
        "one start nil", "one worker 1 1", "one slept",
        "two start nil", "two worker 1 2", "two slept",
        "reloaded: generation 2 serves",
        "one exit 1 reload", "one task reload",
        "two exit 1 stop", "two task stop"]


def test_old_script_serves_until_on_worker_has_ended(gateway):
    gw = gateway(version("one"))
    go = gw.folder / "go"
    write(gw, version("two", """
function on_worker()
  print("worker waits")
  while not io.open("GO") do fcgi.sleep(0.005) end
end
""".replace("GO", str(go))))
    gw.signal(signal.SIGHUP)
    gw.wait_log("worker waits")
    assert answers(gw) == "one 1"
    go.write_text("")
    gw.wait_log(RELOADED)
    assert answers(gw) == "two 2"


def test_on_exit_waits_for_the_last_request(gateway):
    gw = gateway(version("one", "function on_exit(_, why) "
                                "print('exit', why) end"))
    go = gw.folder / "go"
    with gw.connect() as conn:
        conn.start(1, {"GO": str(go)})
        gw.wait_log("holding one")
        reload(gw, version("two"))
        assert answers(gw) == "two 2"
        assert "exit\t" not in gw.log()
        go.write_text("")
        conn.collect(1)
        gw.wait_log("exit\treload")


def test_watchdog_watches_both_scripts(gateway):
    loops = ("function on_request(req) req:body() "
             "if req:param 'LOOP' then while true do end end "
             "return 200, {}, 'VERSION' end")
    gw = gateway(loops.replace("VERSION", "one"), "--block-limit=0.2")
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, fastcgi.default_params({"LOOP": "1"}))
        conn.barrier()
        reload(gw, loops.replace("VERSION", "two"))
        assert gw.request({"LOOP": "1"}).status == 500
        conn.stdin(1)
        assert conn.collect(1).status == 500
        assert gw.request({"LOOP": "1"}).status == 500
    assert count(gw, r"stopped: it ran .*--block-limit") == 3
    assert gw.request().text == "two"


# --- settings ----------------------------------------------------------------

TABLE = """
return { SETTINGS on_request = function(req)
  local body, err = req:body()
  return 200, {}, body or err
end }
"""


def test_limits_of_the_new_table_take_effect(gateway):
    gw = gateway(TABLE.replace("SETTINGS", "max_body = 10,"))
    assert gw.request(body=b"x" * 11).status == 413
    reload(gw, TABLE.replace("SETTINGS", "max_body = 20,"))
    assert gw.request(body=b"x" * 11).status == 200
    assert gw.request(body=b"x" * 21).status == 413
    reload(gw, TABLE.replace("SETTINGS", ""))
    assert gw.request(body=b"x" * 21).status == 200


def test_timeout_of_the_new_table_takes_effect(gateway):
    gw = gateway(version("one"))
    reload(gw, """
local fcgi = require "fcgi"
return { timeout = 0.1, on_request = function() fcgi.sleep(3600) end }
""")
    assert gw.request().status == 504


def test_command_line_stays_the_stronger(gateway):
    gw = gateway(TABLE.replace("SETTINGS", ""), "--max-body=10",
                 env={"FCGI_LUA_TMPDIR": "/tmp"})
    reload(gw, TABLE.replace("SETTINGS", "max_body = 20,"))
    assert gw.request(body=b"x" * 11).status == 413


def test_log_of_the_new_table(gateway, tmp_path):
    gw = gateway(TABLE.replace("SETTINGS", ""))
    log = tmp_path / "log"
    write(gw, TABLE.replace("SETTINGS", f"log = '{log}', log_level = 'info',"))
    gw.signal(signal.SIGHUP)
    wait_until(log.exists, "the new log")
    reload_again = count(gw, RELOADED)
    write(gw, "x =")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in log.read_text(), "a line there")
    assert count(gw, RELOADED) == reload_again


def test_what_needs_a_restart_keeps_its_value(gateway, tmp_path):
    address = ("127.0.0.1", free_port())
    gw = gateway("return { on_request = function() return 200, {}, '1' end, "
                 "listen = '%s:%d' }" % address, listen=None, address=address)
    other = free_port()
    reload(gw, "return { on_request = function() return 200, {}, '2' end, "
               f"listen = '127.0.0.1:{other}', pid = '{tmp_path}/pid' }}")
    assert gw.request().text == "2"
    with pytest.raises(ConnectionRefusedError):
        fastcgi.connect(("127.0.0.1", other)).close()
    assert not (tmp_path / "pid").exists()
    for name in "listen", "pid":
        assert count(gw, rf" warn \[\S+\] {name} has changed: the old value "
                         "holds until a restart") == 1
    assert "workers has changed" not in gw.log()


def test_same_script_changes_nothing_that_needs_a_restart(gateway):
    gw = gateway(version("one"), env={"FCGI_LUA_WORKERS": "1"})
    reload(gw)
    assert "has changed" not in gw.log()


# --- what does not -----------------------------------------------------------

BROKEN = {
    "syntax": ("x = = 1", r"\S*app.lua:1: .*near '='"),
    "error": ("local function f() error('no cheese') end\nf()",
              r"\S*app.lua:1: no cheese\n    stack traceback:"),
    "no handler": ("", "app.lua: no handler"),
    "setting": ("return { on_request = print, max_body = 'much' }",
                r"\S*app.lua: max_body: \"much\" is not a size"),
    "unknown": ("return { on_request = print, max_bodies = 1 }",
                r"\S*app.lua: max_bodies: there is no such setting"),
    "exit": ("os.exit(3)", "the trial of the script ended with exit code 3"),
    "crash": ("os.execute('kill -ABRT ' .. io.open('/proc/self/stat')"
              ":read('n'))", "the trial of the script ended by SIGABRT"),
    "loop": ("while true do end", r"\S*app.lua:1: stopped: loading took "
             r"more than 0.5 s \(--load-timeout\)"),
    "on_start": (version("two", "function on_start() error('late') end"),
                 r"\S*app.lua:\d+: late"),
    "on_start loop": (version("two", "function on_start() while true do end "
                                     "end"),
                      r"\S*app.lua:\d+: stopped: loading took more than"),
    "on_worker": (version("two", "function on_worker() fcgi.sleep(0) "
                                 "error('later') end"),
                  "on_worker failed"),
    "on_worker waits": (version("two", "function on_worker() "
                                       "fcgi.sleep(3600) end"),
                        "on_worker failed"),
    "on_start exit": (version("two", "function on_start() os.exit(0) end"),
                      r"\S*app.lua:\d+: os.exit would end the service"),
    "on_worker exit": (version("two", "function on_worker() os.exit(true) "
                                      "end"),
                       "on_worker failed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_script_changes_nothing_but_the_log(gateway, name):
    text, why = BROKEN[name]
    gw = gateway(version("one"), "--load-timeout=0.5")
    with gw.connect() as conn:
        assert conn.request(1).text == "one 1 "
        fds = gw.fds()
        reload(gw, text, NOT_RELOADED)
        assert re.search(NOT_RELOADED + why, gw.log())
        assert count(gw, NOT_RELOADED) == 1
        assert conn.request(1).text == "one 1 "
        assert gw.fds() == fds
        reload(gw, version("two"))      # and it is not stuck
        assert conn.request(1).text == "two 2 "


def test_a_script_that_serves_may_exit(gateway):
    gw = gateway(version("one"))
    reload(gw, version("two") + """
local answer = on_request
function on_request(req)
  if req:header("X-Exit") then os.exit(7) end
  return answer(req)
end
""")
    assert answers(gw) == "two 2"
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1, {"HTTP_X_EXIT": "1"})
        conn.stdin(1, b"")
        assert gw.wait() == 7


def test_script_that_is_gone(gateway):
    gw = gateway(version("one"))
    os.unlink(gw.script)
    reload(gw, expect=NOT_RELOADED)
    assert answers(gw) == "one 1"


def test_c_code_that_hangs_in_the_trial(gateway):
    gw = gateway(version("one"), "--load-timeout=0.2")
    reload(gw, HANGS, NOT_RELOADED)
    assert answers(gw) == "one 1"


def test_requests_are_served_during_the_trial(gateway):
    gw = gateway(version("one"), "--load-timeout=60")
    fifo = gw.folder / "fifo"
    os.mkfifo(fifo)
    # Opening the fifo waits for a writer; only the trial does.
    write(gw, version("two", f"""
local done = io.open("{fifo}.done")
if done then done:close() else
  io.open("{fifo}"):close()
  io.open("{fifo}.done", "w"):close()
end
"""))
    gw.signal(signal.SIGHUP)
    gw.wait_log("reloading")
    with gw.connect() as conn:
        for _ in range(20):
            assert conn.request(1).text == "one 1 "
    assert answers(gw) == "one 1"
    with open(fifo, "w"):
        gw.wait_log(RELOADED)
    assert answers(gw) == "two 2"


def test_trial_prints_nothing(gateway):
    gw = gateway(version("one"))
    reload(gw, version("two", "print('loading two')"))
    assert count(gw, "loading two") == 1


# --- signals meanwhile ---------------------------------------------------------

def test_several_hups_become_one_more(gateway):
    gw = gateway(version("one"), "--load-timeout=60")
    fifo = gw.folder / "fifo"
    os.mkfifo(fifo)
    write(gw, version("two", f"""
local done = io.open("{fifo}.done")
if done then done:close() else
  io.open("{fifo}"):close()
  io.open("{fifo}.done", "w"):close()
end
"""))
    gw.signal(signal.SIGHUP)
    gw.wait_log("reloading")
    for _ in range(20):
        gw.signal(signal.SIGHUP)
        gw.barrier()
    with open(fifo, "w"):
        gw.wait_log("generation 3 serves")
    assert answers(gw) == "two 3"
    assert count(gw, r"\] reloading ") == 2


def test_hup_during_on_worker_of_the_start(gateway):
    gw = gateway(version("one", """
function on_worker()
  print("worker waits")
  while not io.open(arg[0] .. ".go") do fcgi.sleep(0.005) end
end
"""), wait=False)
    gw.wait_log("worker waits")
    write(gw, version("two"))
    gw.signal(signal.SIGHUP)
    (gw.folder / "app.lua.go").write_text("")
    gw.wait_log(RELOADED)
    assert answers(gw) == "two 2"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stop_during_the_trial(gateway, sig):
    gw = gateway(version("one"))
    fifo, note = gw.folder / "fifo", gw.folder / "note"
    os.mkfifo(fifo)
    write(gw, f"""
local note = io.open("{note}", "w")
note:write(io.open("/proc/self/stat"):read("n"), "\\n")
note:close()
io.open("{fifo}") -- waits for ever
""")
    gw.signal(signal.SIGHUP)
    child = int(wait_until(lambda: note.exists() and note.read_text(),
                           "the trial"))
    assert child != gw.pid
    assert gw.stop(sig) == 0
    assert not os.path.exists(f"/proc/{child}")


def test_stop_during_on_worker_of_a_reload(gateway):
    gw = gateway(version("one", "function on_exit() print('one exit') end"))
    write(gw, version("two", "function on_worker() print('waits') "
                             "fcgi.sleep(3600) end "
                             "function on_exit() print('two exit') end"))
    gw.signal(signal.SIGHUP)
    gw.wait_log(r"\] waits")
    assert gw.stop() == 0
    assert "one exit" in gw.log() and "two exit" not in gw.log()


def test_stop_waits_for_requests_of_both_scripts(gateway):
    gw = gateway(version("one", "function on_exit(_, r) print('one', r) end"))
    go = gw.folder / "go"
    with gw.connect() as conn, gw.connect() as other:
        conn.start(1, {"GO": str(go)}, flags=0)
        gw.wait_log("holding one")
        reload(gw, version("two", "function on_exit(_, r) print('two', r) "
                                  "end"))
        other.start(1, {"GO": str(go)}, flags=0)
        gw.wait_log("holding two")
        gw.signal(signal.SIGTERM)
        gw.wait_log("stopping, 2 requests")
        go.write_text("")
        assert conn.collect(1).text == "one 1 "
        assert other.collect(1).text == "two 2 "
        assert gw.wait() == 0
    assert "one\treload" in gw.log() and "two\tstop" in gw.log()


def test_grace_limits_the_old_script(gateway):
    gw = gateway("""
local fcgi = require "fcgi"
function on_request()
  print("old waits")
  local ok, err = pcall(fcgi.sleep, 3600)
  print("old", fcgi.cancelled(err))
  error(err)
end
function on_exit(_, reason) print("old exit", reason) end
""", "--grace=0.2")
    with gw.connect() as conn:
        conn.start(1)
        gw.wait_log("old waits")
        reload(gw, version("two"))
        assert conn.collect(1).status == 503
        assert conn.request(1).text == "two 2 "
    gw.wait_log("old exit\treload")
    assert "old\tstop" in gw.log()
    gw.wait_log("--grace is over: 1 tasks of generation 1 are cancelled")


def test_stop_cancels_what_an_old_script_still_does(gateway):
    gw = gateway(version("one"), "--grace=0.2")
    with gw.connect() as conn:
        conn.start(1, {"WAIT": "3600"})
        conn.barrier()
        reload(gw, version("two"))
        assert gw.stop() == 0


# --- under load ----------------------------------------------------------------

class Client(threading.Thread):
    """Asks until it is told to stop, and checks every answer."""

    def __init__(self, gw, number, kept):
        super().__init__()
        self.gw, self.number, self.kept = gw, number, kept
        self.done, self.error, self.stopping = 0, None, False
        self.start()

    def check(self, response, body):
        response.check_complete()
        assert response.status == 200, response
        assert re.fullmatch(rf"v(\d+) \d+ {body}", response.text), response

    def run(self):
        try:
            if self.kept:
                with self.gw.connect() as conn:
                    self.ask(lambda body: conn.request(1, {}, body))
            else:
                self.ask(lambda body: self.gw.request({}, body))
        except BaseException as error:
            self.error = error

    def ask(self, one):
        while not self.stopping:
            body = f"{self.number}-{self.done}"
            self.check(one(body.encode()), body)
            self.done += 1


def test_no_request_fails_under_load(gateway):
    gw = gateway(version("v0"))
    clients = [Client(gw, n, n % 2 == 0) for n in range(6)]
    try:
        for n in range(1, 21):
            if n % 5 == 4:
                reload(gw, "this is no Lua", NOT_RELOADED)
            reload(gw, version(f"v{n}"))
            before = [client.done for client in clients]
            wait_until(lambda: all(client.error or client.done > was
                                   for client, was in zip(clients, before)),
                       "answers")
    finally:
        for client in clients:
            client.stopping = True
        for client in clients:
            client.join()
    assert [client.error for client in clients if client.error] == []
    assert sum(client.done for client in clients) > 100
    assert answers(gw) == "v20 21"


def test_reloads_do_not_grow_the_process(gateway):
    gw = gateway(version("one", "function on_worker() "
                                "fcgi.every(60, print) end"), lean=True)
    fds = gw.fds()

    def reload_often(times):
        for _ in range(times):
            reload(gw)
            assert gw.request().status == 200

    reload_often(20)
    before = gw.rss()
    reload_often(60)
    assert gw.fds() == fds
    assert gw.rss() < before + (8 << 20)


def test_signals_that_were_blocked_at_the_start_are_heard(gateway):
    gw = gateway(version("one"), preexec_fn=lambda: signal.pthread_sigmask(
        signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM]))
    reload(gw, version("two"))
    assert answers(gw) == "two 2"


def test_script_in_another_folder(gateway, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "greeting.lua").write_text("return 'one'")
    (tmp_path / "app.lua").write_text(
        "local greeting = require 'greeting'\n"
        "function on_request() return 200, {}, greeting .. arg[1] end")
    gw = gateway(None, f"--chdir={tmp_path}", "-I", "lib", "app.lua", "!")
    assert gw.request().text == "one!"
    (tmp_path / "lib" / "greeting.lua").write_text("return 'two'")
    reload(gw)
    assert gw.request().text == "two!"
