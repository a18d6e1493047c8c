"""--status and --ping: what operators see, and that they always see it.

SPDX-License-Identifier: MIT
"""
import contextlib
import json
import os
import re
import signal

import pytest
from prometheus_client.openmetrics import parser

from support import fastcgi
from support.gateway import Gateway, wait_until

HANDLER = """
local fcgi = require "fcgi"

local function spin()
  local file
  repeat file = io.open(arg[0] .. ".go") until file
  file:close()
end

function on_request(req)
  local path = req:path()
  if path == "/sleep" then
    fcgi.sleep(60) -- here it waits
  elseif path == "/spin" then
    spin()
  elseif path == "/fail" then
    error("no")
  elseif path == "/404" then
    return 404, {}, "none"
  elseif path == "/body" then
    return 200, {}, req:body()
  end
  return 200, {}, ("%d %d %s"):format(fcgi.worker.id, fcgi.worker.pid, path)
end
"""

# Who has left is not slept for.
SCRIPT = HANDLER + 'return { on_request = on_request, abort = "cancel" }'

# What php-fpm's page has, in its order.
PHP_FPM = ["pool", "process manager", "start time", "start since",
           "accepted conn", "listen queue", "max listen queue",
           "listen queue len", "idle processes", "active processes",
           "total processes", "max active processes", "max children reached",
           "slow requests"]
FORMATS = ["", "json", "openmetrics", "html"]


def params(path, query="", **more):
    uri = path + ("?" + query if query else "")
    return {"SCRIPT_NAME": path, "QUERY_STRING": query, "REQUEST_URI": uri,
            **more}


def ask(gw, query="", path="/status", **more):
    return gw.request(params(path, query, **more))


def text(gw, query=""):
    """The page's first block: name -> value."""
    lines = ask(gw, query).text.split("\n\n")[0].strip().split("\n")
    return dict(re.fullmatch(r"([^:]+):\s+(.*)", line).groups()
                for line in lines)


def full(gw):
    return json.loads(ask(gw, "full&json").text)


def as_json(gw):
    return json.loads(ask(gw, "json").text)


def families(gw, query="openmetrics"):
    return {family.name: family for family in
            parser.text_string_to_metric_families(ask(gw, query).text)}


def sample(found, name, **labels):
    """The value of the only sample of that name with those labels."""
    values = [one.value for family in found.values()
              for one in family.samples if one.name == name
              and all(one.labels.get(k) == v for k, v in labels.items())]
    assert len(values) == 1, (name, labels, values)
    return values[0]


BOTH = {"params": [1, 2], "ids": ["single", "workers"]}


def with_pages(workers):
    with Gateway(SCRIPT, "-w", workers, "--status=/status",
                 "--ping=/ping") as gateway:
        gateway.workers = workers
        wait_until(lambda: as_json(gateway)["total processes"] == workers,
                   "all workers")
        yield gateway


@pytest.fixture(**BOTH)
def gw(request):
    yield from with_pages(request.param)


@pytest.fixture(scope="module", **BOTH)
def shared(request):
    """For tests to which the requests of others do not matter."""
    yield from with_pages(request.param)


def sleeper(gw, path="/sleep", **more):
    """A connection with a request that waits."""
    conn = gw.connect()
    conn.start(params=params(path, **more))
    return conn


def running(gw, count):
    """The full page, once so many requests run and wait."""
    def look():
        page = full(gw)
        states = [one["state"] for one in page["running"]]
        return len(states) == count and "Starting" not in states and page
    return wait_until(look, f"{count} requests run")


# --- the formats ------------------------------------------------------------

def test_text_has_the_names_of_php_fpm(gw):
    for _ in range(5):
        gw.request()
    wait_until(lambda: text(gw)["requests"] == "5", "five requests")
    page = text(gw)
    assert list(page)[:len(PHP_FPM)] == PHP_FPM
    assert page["pool"] == "app.lua"
    assert page["process manager"] == ("single" if gw.workers == 1
                                       else "static")
    assert re.fullmatch(r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
                        page["start time"])
    assert page["total processes"] == str(gw.workers)
    assert page["idle processes"] == str(gw.workers)
    assert page["active processes"] == "0"
    assert int(page["accepted conn"]) >= 6
    assert int(page["listen queue len"]) > 0
    assert int(page["memory"]) > 10000
    assert page["requests 2xx"] == "5" and page["requests 5xx"] == "0"


def test_json_has_the_keys_of_the_text(gw):
    page = as_json(gw)
    assert [key for key in page if key != "metrics"] == list(text(gw))
    assert isinstance(page["start time"], int)
    assert page["start time"] > 1e9
    assert page["metrics"] == {}


def test_openmetrics_is_understood_by_its_parser(gw):
    gw.request(body=b"12345", params=params("/body"))
    gw.request(params("/404"))
    gw.request(params("/fail"))
    wait_until(lambda: as_json(gw)["requests"] == 3, "three requests")
    found = families(gw)
    assert sample(found, "fcgi_lua_requests_total", status="2xx") == 1
    assert sample(found, "fcgi_lua_requests_total", status="4xx") == 1
    assert sample(found, "fcgi_lua_requests_total", status="5xx") == 1
    assert sample(found, "fcgi_lua_received_bytes_total") == 5
    assert sample(found, "fcgi_lua_sent_bytes_total") >= 9
    assert sample(found, "fcgi_lua_server_info", pool="app.lua") == 1
    assert sample(found, "fcgi_lua_workers", state="idle") == gw.workers
    duration = found["fcgi_lua_request_duration_seconds"]
    assert duration.type == "histogram" and duration.unit == "seconds"
    assert sample(found, "fcgi_lua_request_duration_seconds_count") == 3
    assert sample(found, "fcgi_lua_request_duration_seconds_bucket",
                  le="+Inf") == 3
    assert sample(found, "fcgi_lua_request_duration_seconds_sum") > 0
    for family in found.values():
        assert family.documentation, family.name


@pytest.mark.parametrize("query,type", [
    ("", "text/plain; charset=utf-8"),
    ("nothing=1&what&&&", "text/plain; charset=utf-8"),
    ("json", "application/json"),
    ("json=1", "application/json"),
    ("openmetrics",
     "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
])
@pytest.mark.parametrize("more", ["", "&full"])
def test_each_format_says_what_it_is(shared, query, type, more):
    got = ask(shared, query + more)
    assert got.status == 200
    assert got.headers["content-type"] == type
    assert got.headers["cache-control"] == "no-store"
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("path", ["/status", "/ping"])
def test_pages_answer_get_and_head_only(shared, path):
    whole = ask(shared, path=path)
    got = ask(shared, path=path, REQUEST_METHOD="HEAD")
    assert got.status == 200 and got.body == b""
    assert got.headers.keys() == whole.headers.keys()
    for method in ("POST", "PUT", "OPTIONS", "get"):
        got = shared.request(params(path, REQUEST_METHOD=method),
                             b"x" * 100000)
        assert got.status == 405
        assert got.headers["allow"] == "GET, HEAD"


def test_ping_says_pong(shared):
    got = ask(shared, path="/ping")
    assert got.body == b"pong" and got.status == 200
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["content-type"] == "text/plain"


# --- which path -------------------------------------------------------------

@pytest.mark.parametrize("given", [
    {"SCRIPT_NAME": "/status"},
    {"SCRIPT_NAME": "/status", "PATH_INFO": ""},
    {"SCRIPT_NAME": "", "PATH_INFO": "/status"},
    {"SCRIPT_NAME": "/st", "PATH_INFO": "atus"},
    {"SCRIPT_NAME": None, "DOCUMENT_URI": "/status"},
    {"SCRIPT_NAME": "/status", "LONG": "x" * 200, "REQUEST_METHOD": None},
])
def test_path_comes_as_the_web_server_sends_it(shared, given):
    assert "accepted conn" in shared.request(given).text


@pytest.mark.parametrize("given", [
    {"SCRIPT_NAME": "/status/"},
    {"SCRIPT_NAME": "/Status"},
    {"SCRIPT_NAME": "/statusx"},
    {"SCRIPT_NAME": "/statu"},
    {"SCRIPT_NAME": "/app", "PATH_INFO": "/status"},
    {"SCRIPT_NAME": "/app", "REQUEST_URI": "/status"},
    {"SCRIPT_NAME": "/app", "DOCUMENT_URI": "/status"},
])
def test_another_path_is_the_scripts(shared, given):
    got = shared.request(given).text
    assert "accepted conn" not in got and re.match(r"\d+ \d+ /", got)


def test_there_is_no_page_unless_it_is_asked_for():
    for options in ([], ["--ping=/ping"]):
        with Gateway(SCRIPT, *options) as gw:
            assert ask(gw).text.endswith(" /status")
    with Gateway(SCRIPT, "--status=/status") as gw:
        assert ask(gw, path="/ping").text.endswith(" /ping")


def test_authorizers_are_never_answered_for():
    script = "function on_authorize(req) return true end\n" + HANDLER
    with Gateway(script, "--status=/status", "--ping=/ping") as gw:
        for path in ("/status", "/ping"):
            got = gw.request(params(path), role=fastcgi.AUTHORIZER)
            assert got.status == 200 and got.body == b""


def test_pages_need_no_handler_for_requests():
    with Gateway("function on_authorize(req) return true end",
                 "--status=/status", "--ping=/ping") as gw:
        assert ask(gw, path="/ping").body == b"pong"
        assert ask(gw).status == 200
        assert "requests are refused" not in gw.log()
        with gw.connect() as conn:
            conn.start()
            assert conn.collect().status == 500
        assert "the script has no on_request" in gw.log()


# --- what is counted --------------------------------------------------------

def test_pages_are_not_counted_as_requests(gw):
    gw.request()
    wait_until(lambda: as_json(gw)["requests"] == 1, "a request")
    before = as_json(gw)["status requests"]
    for path in ("/status", "/ping"):
        ask(gw, path=path)
    wait_until(lambda: as_json(gw)["status requests"] >= before + 3, "pages")
    page = as_json(gw)
    assert page["requests"] == 1
    assert page["active requests"] == 0 and page["active processes"] == 0


def counted(gw, **wanted):
    """The page, once it has these numbers."""
    wanted = {name.replace("_", " "): n for name, n in wanted.items()}
    return wait_until(lambda: (lambda page: page if all(
        page[name] == n for name, n in wanted.items()) else None)(as_json(gw)),
        str(wanted))


def test_pages_wear_no_worker_out():
    with Gateway(SCRIPT, "--status=/status", "--ping=/ping",
                 "--max-requests=3") as gw:
        for _ in range(10):
            assert ask(gw, path="/ping").body == b"pong"
        assert as_json(gw)["requests"] == 0
        for _ in range(3):
            gw.request()
        gw.wait()
        assert "max-requests" in gw.log()


def test_timeouts_and_slow_requests_are_counted():
    with Gateway(SCRIPT, "--status=/status", "--timeout=0.2",
                 "--slow=0.1") as gw:
        assert gw.request(params("/sleep")).status == 504
        gw.request()
        page = counted(gw, requests=2, timed_out_requests=1, slow_requests=1,
                       aborted_requests=0)
        assert page["requests 5xx"] == page["requests 2xx"] == 1
        assert page["request seconds"] > 0.2


def test_clients_that_leave_are_counted(gw):
    with sleeper(gw) as conn:
        running(gw, 1)
        conn.close()
    page = counted(gw, requests=1, aborted_requests=1)
    assert page["requests without answer"] == 1
    assert page["requests 2xx"] == page["requests 5xx"] == 0


def test_active_and_maxima(gw):
    conns = [sleeper(gw) for _ in range(3)]
    page = running(gw, 3)
    assert page["active requests"] == 3
    assert page["active processes"] in (1, gw.workers)
    assert page["max active processes"] >= page["active processes"]
    assert sum(p["active requests"] for p in page["processes"]) == 3
    assert sum(p["connections"] for p in page["processes"]) >= 3
    for conn in conns:
        conn.close()
    page = running(gw, 0)
    assert page["active processes"] == 0
    assert page["max active processes"] >= 1
    assert max(p["max active requests"] for p in page["processes"]) >= 2


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_listen_queue_is_the_kernels(listen):
    with Gateway(SCRIPT, "--status=/status", "--max-conns=1",
                 listen=listen) as gw:
        with gw.connect() as kept:
            def queue():
                page = kept.request(params=params("/status", "json"),
                                    flags=fastcgi.KEEP_CONN).text
                return json.loads(page)
            queue()
            waiting = [gw.connect() for _ in range(3)]
            page = wait_until(lambda: (lambda p: p["listen queue"] == 3
                                       and p)(queue()), "three wait")
            assert page["max listen queue"] >= 3
            assert page["listen queue len"] >= 3
            for conn in waiting:
                conn.close()


# --- in full ----------------------------------------------------------------

def test_full_shows_where_requests_wait(gw):
    with sleeper(gw, REMOTE_USER="ada", CONTENT_LENGTH="",
                 HTTP_X_REQUEST_ID="id-7"):
        page = running(gw, 1)
        one = page["running"][0]
        assert one["state"] == "Waiting"
        assert one["id"] == "id-7"
        assert one["request method"] == "GET"
        assert one["request uri"] == "/sleep"
        assert one["user"] == "ada" and one["remote"] == "192.0.2.7"
        assert one["content length"] == 0
        line = SCRIPT[:SCRIPT.index("-- here")].count("\n") + 1
        assert f"app.lua:{line}:" in one["where"]
        assert one["age"] >= 0 and one["request duration"] >= 0
        process = next(p for p in page["processes"]
                       if p["pid"] == one["pid"])
        assert process["worker"] == one["worker"]
        assert process["state"] == "Running"
        assert process["requests shown"] == 1
        assert len(page["processes"]) == gw.workers

        blocks = ask(gw, "full").text.split("************************\n")
        assert len(blocks) == 1 + gw.workers + 1
        assert re.search(r"^request URI: +/sleep$", blocks[-1], re.M)
        assert re.search(rf"^where: .*app.lua:{line}:", blocks[-1], re.M)

        found = families(gw, "full&openmetrics")
        assert sample(found, "fcgi_lua_running_request_age_seconds",
                      id="id-7", uri="/sleep") >= 0


def test_full_shows_who_goes_on_after_its_client_or_its_answer():
    with Gateway("""
            local fcgi = require "fcgi"
            function on_request(req)
              if req:path() == "/sent" then req:send(200, {}, "sent") end
              fcgi.sleep(3)
            end""", "--status=/status", "--grace=0") as gw:
        assert gw.request(params("/sent")).text == "sent"
        with sleeper(gw, "/left") as conn:
            running(gw, 2)
            conn.close()
        states = wait_until(
            lambda: (lambda found: "Aborted" in found.values() and found)(
                {one["request uri"]: one["state"]
                 for one in full(gw)["running"]}), "both are told of")
        assert states == {"/sent": "Finishing", "/left": "Aborted"}


def test_full_covers_all_workers():
    with Gateway(SCRIPT, "-w", "2", "--status=/status") as gw:
        wait_until(lambda: as_json(gw)["total processes"] == 2, "both workers")
        with contextlib.ExitStack() as stack:
            conns = []

            def covers_both():  # which worker takes one is nobody's promise
                conns.append(stack.enter_context(sleeper(gw)))
                page = running(gw, len(conns))
                return {one["worker"] for one in page["running"]} == {1, 2}
            wait_until(covers_both, "requests of both workers")


def kept_by_each(gw, stack):
    """A kept connection with each of two workers."""
    found = {}

    def both():
        conn = stack.enter_context(gw.connect())
        pid = conn.request(flags=fastcgi.KEEP_CONN).text.split()[1]
        found[pid] = conn
        return len(found) == 2
    wait_until(both, "a connection with each worker")
    return found


def test_a_blocked_worker_is_shown_and_holds_nobody_back():
    with Gateway(SCRIPT, "-w", "2", "--status=/status",
                 "--block-limit=30") as gw, contextlib.ExitStack() as stack:
        (pid, blocked), (_, asking) = kept_by_each(gw, stack).items()

        def page():
            got = asking.request(params=params("/status", "full&json"),
                                 flags=fastcgi.KEEP_CONN)
            return json.loads(got.text)

        def state():
            return next(p for p in page()["processes"]
                        if p["pid"] == int(pid))
        blocked.start(params=params("/spin"))
        process = wait_until(lambda: (lambda p: p["state"] == "Blocked"
                                      and p)(state()), "it is blocked")
        assert process["blocked seconds"] >= 0.2
        (gw.folder / "app.lua.go").touch()
        assert blocked.collect().status == 200
        wait_until(lambda: state()["state"] == "Idle", "it goes on")


HOSTILE = b"/<script>&'\"\\\n\r\t\x00\x1b[31m\xff\xc3\xa9{}#"


@pytest.mark.parametrize("query", FORMATS)
def test_what_clients_send_is_escaped(gw, query):
    with gw.connect() as conn:
        conn.start(params={**params("/sleep"), "REQUEST_URI": HOSTILE,
                           "REQUEST_METHOD": HOSTILE, "REMOTE_USER": HOSTILE,
                           "SCRIPT_FILENAME": HOSTILE})
        running(gw, 1)
        body = ask(gw, query + "&full").body
        for byte in (b"\x00", b"\x1b", b"\r", b"\xff"):
            assert byte not in body
        body.decode("utf-8")
        if query == "json":
            one = json.loads(body)["running"][0]
            assert one["request uri"].startswith("/<script>&'\"\\\n\r\t\0")
        elif query == "openmetrics":
            found = families(gw, "full&openmetrics")
            one = found["fcgi_lua_running_request_age_seconds"].samples[0]
            assert one.labels["uri"].startswith("/<script>&'\\x22\\x5C\\x0A")
        elif query == "html":
            assert b"<script>&" not in body
        else:
            assert len(re.findall(rb"^request URI:", body, re.M)) == 1


def test_what_does_not_fit_is_counted():
    with Gateway(SCRIPT, "--status=/status") as gw, gw.connect() as conn:
        count = 200
        for id in range(1, count + 1):
            conn.start(id, params={**params("/sleep"),
                                   "REQUEST_URI": "/" + "x" * 2000})
        gw.barrier()
        page = full(gw)
        process = page["processes"][0]
        assert process["requests shown"] == len(page["running"]) > 50
        assert process["requests left out"] > 0
        assert (process["requests shown"] + process["requests left out"]
                == count)
        assert {len(one["request uri"]) for one in page["running"]} == {1024}


def test_who_leaves_while_waiting_for_the_page_harms_nobody(gw):
    for _ in range(20):
        with gw.connect() as conn:
            conn.start(params=params("/status", "full"))
    with gw.connect() as conn:
        conn.start(params=params("/status", "full"), flags=fastcgi.KEEP_CONN)
        conn.abort()
        conn.collect()
    assert ask(gw, "full").status == 200


def test_a_stop_waits_for_the_page():
    with Gateway(SCRIPT, "-w", "2", "--status=/status") as gw:
        with gw.connect() as conn:
            conn.request(flags=fastcgi.KEEP_CONN)
            conn.start(params=params("/status", "full"), flags=0)
            os.kill(gw.pid, signal.SIGTERM)
            assert conn.collect().status == 200
        gw.wait()


# --- at the limit -----------------------------------------------------------

@pytest.mark.parametrize("flags", [0, fastcgi.KEEP_CONN])
def test_pages_are_answered_when_max_reqs_is_reached(flags):
    with Gateway(SCRIPT, "--status=/status", "--ping=/ping",
                 "--max-reqs=1") as gw, sleeper(gw):
        running(gw, 1)
        with gw.connect() as conn:
            got = conn.request(params=params("/ping"), flags=flags)
            assert got.body == b"pong"
        with gw.connect() as conn:
            got = conn.request(params=params("/status", "json"), flags=flags)
            assert json.loads(got.text)["active requests"] == 1
        with gw.connect() as conn:
            conn.start()
            assert conn.collect().status == 503
        page = as_json(gw)
        assert page["refused requests"] == 1
        assert page["max children reached"] >= 1
        assert page["requests 5xx"] == 1


def test_refusals_stay_what_they_are_beside_a_page():
    """On one connection: refused, served, refused."""
    with Gateway(SCRIPT, "--status=/status", "--ping=/ping",
                 "--max-reqs=1") as gw, sleeper(gw):
        running(gw, 1)
        with gw.connect() as conn:
            for _ in range(20):
                conn.start(1, params=params("/x"), flags=fastcgi.KEEP_CONN)
                assert conn.collect().status == 503
                got = conn.request(1, params=params("/ping"),
                                   flags=fastcgi.KEEP_CONN)
                assert got.body == b"pong"


def test_many_unfinished_requests_do_not_take_more_than_their_place():
    """Requests over the limit whose parameters never end, and then one."""
    with Gateway(SCRIPT, "--status=/status", "--ping=/ping",
                 "--max-reqs=1") as gw, sleeper(gw):
        running(gw, 1)
        with gw.connect() as conn:
            for id in range(1, 17):
                conn.begin(id)
            gw.barrier()
            with gw.connect() as other:
                other.start()
                assert other.collect().status == 503
            conn.close()

        def pong():
            with gw.connect() as conn:
                conn.start(params=params("/ping"))
                return conn.collect().body == b"pong"
        wait_until(pong, "the place is free again")


# --- it outlives what it tells of -------------------------------------------

def test_counts_survive_the_end_of_workers():
    with Gateway(SCRIPT, "-w", "2", "--status=/status", expect=None) as gw:
        done = 0
        for _ in range(3):
            pids = set()

            def both():
                nonlocal done
                pids.add(int(gw.request().text.split()[1]))
                done += 1
                return len(pids) == 2
            wait_until(both, "both workers")
            wait_until(lambda: as_json(gw)["requests"] == done, "all counted")
            before = as_json(gw)
            os.kill(min(pids), signal.SIGKILL)
            wait_until(lambda: as_json(gw)["workers ended (killed)"]
                       > before["workers ended (killed)"], "its end is noted")
            wait_until(lambda: as_json(gw)["total processes"] == 2, "another")
            after = as_json(gw)
            for name in ("requests", "requests 2xx", "bytes sent",
                         "accepted conn", "cpu seconds", "request seconds"):
                assert after[name] >= before[name], name
            assert after["start time"] == before["start time"]


def test_counts_survive_a_reload(gw):
    for _ in range(4):
        gw.request()
    wait_until(lambda: as_json(gw)["requests"] == 4, "all counted")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: as_json(gw)["reloads"] == 1, "the reload")
    wait_until(lambda: as_json(gw)["total processes"] == gw.workers,
               "the old ones are gone")
    page = as_json(gw)
    assert page["requests"] == 4 and page["generation"] == 2
    assert page["failed reloads"] == 0
    if gw.workers > 1:
        assert page["workers ended (reload)"] == 2
    gw.script.write_text("this is no Lua")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: as_json(gw)["failed reloads"] == 1, "its failure")
    assert as_json(gw)["generation"] == 2


def test_a_reload_may_bring_the_page(tmp_path):
    def script(settings):
        return HANDLER + "return { on_request = on_request, %s }" % settings
    with Gateway(script("")) as gw:
        assert ask(gw).text.endswith(" /status")
        gw.script.write_text(script("status = '/status', ping = '/ping'"))
        gw.signal(signal.SIGHUP)
        wait_until(lambda: "accepted conn" in ask(gw).text, "the page")
        assert as_json(gw)["requests"] >= 1
        gw.script.write_text(script("ping = '/status'"))
        gw.signal(signal.SIGHUP)
        wait_until(lambda: ask(gw).text == "pong", "the other page")
