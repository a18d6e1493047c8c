"""req:event: server-sent events.

SPDX-License-Identifier: MIT
"""
import re

import pytest

from support.gateway import Gateway

SCRIPT = """
local fcgi = require "fcgi"
if fcgi.args[1] == "fast" then -- a second is ten milliseconds
  local sleep, now = fcgi.sleep, fcgi.now
  fcgi.sleep = function(s) return sleep(s / 100) end
  fcgi.now = function() return now() * 100 end
end
local cases = {}
function cases.all(req)
  req:event "hello"
  req:event { data = "a\\nb\\r\\nc\\rd\\n", event = "tick", id = 7,
    retry = 2.5 }
  req:event { event = "bare" }
  req:event { data = "" }
  req:event {}
  req:event(42)
end
function cases.own(req)
  req:set_header("Cache-Control", "no-store"):set_status(200)
  req:set_header("X-Accel-Buffering", "yes")
  req:event "x"
end
function cases.raw(req)
  req:write("Content-Type: text/event-stream\\nX: 1\\n\\n")
  req:event "x"
end
function cases.over(req)
  req:event "x"
  req:finish()
  fcgi.log("notice", "then ", req:event "y")
end
function cases.misuse(req)
  local found = {}
  for _, f in ipairs {
    function() req:event() end,
    function() req:event { data = {} } end,
    function() req:event { event = "a\\nb" } end,
    function() req:event { id = "a\\0" } end,
    function() req:event { id = "\\r" } end,
    function() req:event { retry = "soon" } end,
    function() req:event { retry = -1 } end,
    function() req:event { date = "x" } end,
    function() req.event("x") end,
  } do
    found[#found + 1] = select(2, pcall(f))
  end
  return 200, {}, table.concat(found, "\\n")
end
function cases.loop(req)
  local n = 0
  while req:event { data = n } do n = n + 1 fcgi.sleep(0.001) end
  fcgi.log("notice", "the loop has ended")
end
function cases.silent(req)
  req:event "first"
  fcgi.sleep(3000)
end
local large = ("x"):rep(1000000)
function cases.tasks(req)
  local function send(name)
    for _ = 1, 3 do
      assert(req:event { event = name, data = large })
    end
  end
  local one, other = fcgi.spawn(send, "a"), fcgi.spawn(send, "b")
  one:join()
  other:join()
end
function cases.cancelled(req)
  req:event "first"
  local task = fcgi.spawn(req.event, req, large)
  fcgi.sleep(0.01)
  task:cancel()
  fcgi.log("notice", "cancelled: ", select(2, task:join()))
  req:event "last"
end
local function on_request(req)
  return cases[req:query("case")](req)
end
return { on_request = on_request, abort = fcgi.args[1] and "cancel" }
"""


@pytest.fixture(scope="module")
def gw():
    with Gateway(SCRIPT) as gw:
        yield gw


def ask(gw, case):
    return gw.request({"QUERY_STRING": "case=" + case})


def test_events_are_written_as_browsers_read_them(gw):
    answer = ask(gw, "all")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == (
        "data: hello\n\n"
        "event: tick\nid: 7\nretry: 2500\n"
        "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        "event: bare\n\n"
        "data: \n\n"
        ":\n\n"
        "data: 42\n\n")


def test_headers_of_the_script_stay(gw):
    answer = ask(gw, "own")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "yes"
    answer = ask(gw, "raw")
    assert answer.headers["x"] == "1" and answer.text == "data: x\n\n"


def test_tasks_do_not_send_events_into_one_another(gw):
    text = ask(gw, "tasks").text
    events = re.findall("event: ([ab])\ndata: x{1000000}\n\n", text)
    assert sorted(events) == ["a", "a", "a", "b", "b", "b"]
    assert len(text) == 6 * (1000000 + 17)


def test_an_event_that_is_cancelled_on_its_way_is_completed(gw):
    with gw.connect(rcvbuf=4096) as conn:
        conn.start(1, {"QUERY_STRING": "case=cancelled"})
        gw.wait_log("cancelled: cancelled")
        assert re.fullmatch("data: first\n\ndata: x{1000000}\n\n"
                            "data: last\n\n", conn.collect(1).text)


def test_after_the_end_it_says_so(gw):
    assert ask(gw, "over").text == "data: x\n\n"
    gw.wait_log("then nilfinished")


def test_misuse_names_the_line(gw):
    lines = ask(gw, "misuse").text.splitlines()
    for line in lines:
        assert re.match(r".*app\.lua:\d+: bad ", line), line
    texts = [re.sub(r".*app\.lua:\d+: bad ", "", line) for line in lines]
    of = "argument #1 to 'event' (%s)"
    assert texts == [
        of % "a string or a table expected, got nil",
        of % "data: string expected, got table",
        of % "event has a line end or NUL",
        of % "id has a line end or NUL", of % "id has a line end or NUL",
        of % "retry: a number of seconds expected",
        of % "retry: a number of seconds expected",
        of % "unknown field 'date': data, event, id or retry",
        "self (write req:event, with a colon)"]


def test_each_event_leaves_at_once_and_a_client_that_goes_ends_the_loop(gw):
    with gw.connect() as conn:
        conn.start(1, {"QUERY_STRING": "case=loop"})
        conn.wait_stdout(1, 300)
    gw.wait_log("the loop has ended")


def test_a_silent_stream_shows_that_it_lives():
    with Gateway(SCRIPT, args=["fast"]) as gw:
        with gw.connect() as conn:
            conn.start(1, {"QUERY_STRING": "case=silent"})
            answer = conn.wait_stdout(1, 1)
            while not answer.text.startswith("data: first\n\n:\n\n:\n\n"):
                assert conn.step() is not None
            conn.abort(1)
            assert conn.collect(1).text.replace(":\n\n", "") == \
                "data: first\n\n"
