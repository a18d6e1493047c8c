"""fcgi.cqueues: libraries for cqueues, such as lua-http, in a handler.

SPDX-License-Identifier: MIT
"""
import http.server
import threading
import time

import pytest

from support.gateway import wait_until
from support.lua import EVAL, Lua

# Debian has lua-http for older versions of Lua; it runs with 5.4.
@pytest.fixture
def lua(shared_gateway):
    return Lua(shared_gateway(EVAL, "--lua-compat=5.1"))


RUN = ("local bridge, cqueues = require 'fcgi.cqueues', require 'cqueues' ")


class Pages(http.server.BaseHTTPRequestHandler):
    """/NAME answers NAME; /slow when it is let go."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path == "/slow":
            self.server.released.wait(60)
        body = self.path[1:].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def pages():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    server.seen, server.released = [], threading.Event()
    server.url = "http://127.0.0.1:%d" % server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(pages, path):
    return (RUN + "local request = require 'http.request' "
            "local text = bridge.run(function() local headers, stream = "
            f"request.new_from_uri('{pages.url}{path}'):go(60) "
            "return headers:get ':status' .. ' ' .. "
            "stream:get_body_as_string() end) return 200, {}, text")


def test_a_page_is_fetched(lua, pages):
    assert lua.text(fetch(pages, "/shoes")) == "200 shoes"


def test_others_are_served_meanwhile(lua, pages):
    with lua.connect() as conn:
        lua.start(conn, 1, fetch(pages, "/slow"))
        wait_until(lambda: pages.seen)
        for _ in range(3):
            assert lua.text(fetch(pages, "/quick")) == "200 quick"
        pages.released.set()
        assert conn.collect(1).text == "200 slow"


def test_nothing_is_left_of_it(lua, pages):
    lua.text(fetch(pages, "/a"))
    before = lua.gateway.fds()
    for _ in range(5):
        lua.text(fetch(pages, "/a") + " , collectgarbage()")
    lua.text("collectgarbage() collectgarbage() return 200, {}, ''")
    lua.gateway.wait_fds(before)


def test_waiting_takes_no_time_of_the_processor(lua):
    before = lua.gateway.cpu_time()
    begun = time.monotonic()
    assert lua.value(
        "(function() " + RUN + "return bridge.run(function() "
        "cqueues.sleep(0.3) return 'slept' end) end)()") == '"slept"'
    assert time.monotonic() - begun >= 0.3
    assert lua.gateway.cpu_time() - before < 0.2


def test_values_and_errors_come_through(lua):
    assert lua.text(
        RUN + "local value = {} "
        "local function f(...) cqueues.sleep(0) return ... end "
        "local ok, err = pcall(bridge.run, function() cqueues.sleep(0.001) "
        "error(value) end) "
        "local _, text = pcall(bridge.run, error, 'x') "
        "return 200, {}, dump(bridge.run(f, 1, nil, 3, nil)) .. ' ' .. "
        "dump(ok, err == value, text)") == '1, nil, 3, nil false, true, "x"'


def test_an_error_of_another_thread_is_raised(lua):
    assert lua.text(
        RUN + "local ok, err = pcall(bridge.run, function() "
        "cqueues.running():wrap(function() error('in a thread', 0) end) "
        "cqueues.sleep(600) end) return 200, {}, dump(ok, err)") == \
        'false, "in a thread"'


def test_it_ends_with_the_function(lua):
    assert lua.text(
        RUN + "ran = false bridge.run(function() "
        "cqueues.running():wrap(function() cqueues.sleep(0.005) ran = true "
        "end) end) fcgi.sleep(0.02) return 200, {}, dump(ran)") == "false"


def test_it_can_be_cancelled(lua):
    assert lua.text(
        RUN + "ran = false local task = fcgi.spawn(bridge.run, function() "
        "cqueues.sleep(0.02) ran = true end) fcgi.sleep(0.001) "
        "task:cancel('enough') local result = dump(task:join()) "
        "fcgi.sleep(0.03) return 200, {}, result .. ' ' .. dump(ran)") == \
        'nil, "enough" false'


def test_a_controller_of_ones_own_runs_until_it_is_empty(lua):
    assert lua.text(
        RUN + "local order, controller = {}, cqueues.new() "
        "for i = 1, 3 do controller:wrap(function() "
        "cqueues.sleep((4 - i) * 0.1) order[#order + 1] = i end) end "
        "local done = bridge.loop(controller) "
        "controller:wrap(error, 'x') local none, err = bridge.loop(controller)"
        " table.sort(order) return 200, {}, dump(order, done, none, err)") == \
        '{1, 2, 3}, true, nil, "x"'


def test_our_own_waits_are_refused_in_a_thread_of_cqueues(lua):
    for call in ("fcgi.sleep(0)", "fcgi.channel():get()",
                 "fcgi.spawn(fcgi.sleep, 60):join()",
                 "local f = coroutine.wrap(fcgi.sleep) f(0)"):
        assert lua.text(
            RUN + f"local ok, err = pcall(bridge.run, function() {call} end) "
            "return 200, {}, tostring(err)").endswith(
                "cannot wait here (inside a coroutine that a library in C "
                "has resumed)"), call
