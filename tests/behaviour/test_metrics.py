"""fcgi.counter and fcgi.gauge: the script's own numbers, shared by all workers,
on the status page.

SPDX-License-Identifier: MIT
"""
import json
import os
import signal

import pytest
from prometheus_client.openmetrics import parser

from support.gateway import Gateway, run, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local jobs = fcgi.counter("jobs", "Jobs that were done.")
local level = fcgi.gauge "level"
local env = { fcgi = fcgi, jobs = jobs, level = level, math = math,
  tostring = tostring, pcall = pcall, debug = debug, type = type }

function on_request(req)
  local code = req:query_string()
  local f = assert(load("return " .. code, "=code", "t", env))
  local good, value = pcall(f)
  return 200, {}, tostring(fcgi.worker.pid) .. " " .. tostring(value)
end
"""


def lua(gw, code):
    """The value of a Lua expression, or its error, as text."""
    return gw.request({"QUERY_STRING": code}).text.split(" ", 1)[1]


def page(gw, query):
    return gw.request({"SCRIPT_NAME": "/status", "QUERY_STRING": query}).text


def metrics(gw):
    return json.loads(page(gw, "json"))["metrics"]


def families(gw):
    return {family.name: family for family in
            parser.text_string_to_metric_families(page(gw, "openmetrics"))}


BOTH = {"params": [1, 2], "ids": ["single", "workers"]}


def running(workers):
    with Gateway(SCRIPT, "-w", workers, "--status=/status",
                 expect=None) as gateway:
        gateway.workers = workers
        yield gateway


@pytest.fixture(**BOTH)
def gw(request):
    yield from running(request.param)


@pytest.fixture(scope="module", **BOTH)
def shared(request):
    """For tests that change nothing."""
    yield from running(request.param)


def test_numbers_are_shared_by_all_workers(gw):
    for _ in range(20):
        assert lua(gw, "jobs:inc()") == "nil"
    lua(gw, "jobs:inc(5)")
    lua(gw, "jobs:inc(0.25)")
    lua(gw, "jobs:inc(0)")
    lua(gw, "level:set(7)")
    lua(gw, "level:inc()")
    lua(gw, "level:inc(-3.5)")
    assert metrics(gw) == {"jobs": 25.25, "level": 4.5}
    lua(gw, "level:set(-2)")
    assert metrics(gw)["level"] == -2
    text = page(gw, "")
    assert "\njobs:                 25.25\n" in text
    assert "\nlevel:                -2\n" in text
    found = families(gw)
    assert found["jobs"].type == "counter"
    assert found["jobs"].documentation == "Jobs that were done."
    assert [(one.name, one.value) for one in found["jobs"].samples] == [
        ("jobs_total", 25.25)]
    assert found["level"].type == "gauge"
    assert [(one.name, one.value) for one in found["level"].samples] == [
        ("level", -2)]


def test_whole_numbers_stay_exact(gw):
    lua(gw, "jobs:inc(9007199254740992)")
    lua(gw, "jobs:inc(0.5)")
    lua(gw, "jobs:inc(1000)")
    assert metrics(gw)["jobs"] == 9007199254741992


def test_the_same_name_is_the_same_metric(gw):
    for n in range(3):
        lua(gw, f"fcgi.counter('late', 'Help {n}.'):inc({n})")
    assert metrics(gw)["late"] == 3
    assert families(gw)["late"].documentation == "Help 0."


def test_labels_make_series_of_one_family(gw):
    lua(gw, "fcgi.counter('sold', 'Sold.', {kind='socks', size=4}):inc()")
    lua(gw, "jobs:inc()")
    lua(gw, "fcgi.counter('sold', 'Sold.', {size=4, kind='socks'}):inc()")
    lua(gw, r"""fcgi.counter('sold', nil, {kind='a "b" \\ é,}='}):inc(3)""")
    lua(gw, "fcgi.counter('sold'):inc(4)")
    found = families(gw)["sold"]
    assert [(one.labels, one.value) for one in found.samples] == [
        ({"kind": "socks", "size": "4"}, 2),
        ({"kind": 'a "b" \\ é,}='}, 3), ({}, 4)]
    assert metrics(gw)['sold{kind="socks",size="4"}'] == 2


def test_a_counter_may_be_named_as_its_sample(gw):
    lua(gw, "fcgi.counter('mails_total'):inc(2)")
    found = families(gw)
    assert found["mails"].samples[0].name == "mails_total"
    assert metrics(gw)["mails_total"] == 2
    assert "too much like the counter 'mails_total'" in lua(
        gw, "fcgi.counter('mails')")


def test_special_numbers_of_gauges(gw):
    lua(gw, "level:set(math.huge)")
    assert families(gw)["level"].samples[0].value == float("inf")
    assert metrics(gw)["level"] is None
    assert "\nlevel:                +Inf\n" in page(gw, "")
    lua(gw, "level:set(1e-7)")
    assert metrics(gw)["level"] == 1e-7
    lua(gw, "level:set(0.1)")
    assert "\nlevel:                0.1\n" in page(gw, "")


@pytest.mark.parametrize("code,what", [
    ("jobs:inc(-1)", "a counter never goes back"),
    ("jobs:inc(-0.1)", "a counter never goes back"),
    ("jobs:inc(0/0)", "a counter never goes back"),
    ("jobs:inc(math.huge)", "a counter never goes back"),
    ("jobs:inc(2^54)", "a counter never goes back"),
    ("jobs:inc('x')", "number expected"),
    ("jobs.inc(level, 1)", "metric expected"),
    ("jobs.inc({}, 1)", "with a colon"),
    ("jobs.inc()", "with a colon"),
    ("level.set(jobs, 1)", "metric expected"),
    ("level:set(0/0)", "not a number"),
    ("level:inc(0/0)", "not a number"),
    ("level:set()", "number expected"),
    ("jobs:set(1)", "set"),
    ("fcgi.counter()", "string expected"),
    ("fcgi.counter('')", "not a metric's name"),
    ("fcgi.counter('1a')", "not a metric's name"),
    ("fcgi.counter('a-b')", "not a metric's name"),
    ("fcgi.counter('a b')", "not a metric's name"),
    ("fcgi.counter('a\\n')", "not a metric's name"),
    ("fcgi.counter('é')", "not a metric's name"),
    ("fcgi.gauge('x\\0y')", "not a metric's name"),
    ("fcgi.counter(('a'):rep(128))", "the name is too long"),
    ("fcgi.counter('fcgi_lua_x')", "the program's own"),
    ("fcgi.gauge('jobs')", "too much like the counter 'jobs'"),
    ("fcgi.gauge('jobs_total')", "too much like the counter 'jobs'"),
    ("fcgi.counter('jobs_total')", "too much like the counter 'jobs'"),
    ("fcgi.counter('level')", "too much like the gauge 'level'"),
    ("fcgi.counter('a', {})", "string expected"),
    ("fcgi.counter('a', ('x'):rep(256))", "the help is too long"),
    ("fcgi.counter('a', 'x\\ny')", "not UTF-8 without control characters"),
    ("fcgi.counter('a', '\\xff')", "not UTF-8 without control characters"),
    ("fcgi.counter('a', 'x', 1)", "table expected"),
    ("fcgi.counter('a', 'x', {1})", "name is not a string"),
    ("fcgi.counter('a', 'x', {['a-b']=1})", "not a label's name"),
    ("fcgi.counter('a', 'x', {__x=1})", "not a label's name"),
    ("fcgi.counter('a', 'x', {['a:b']=1})", "not a label's name"),
    ("fcgi.counter('a', 'x', {a={}})", "neither a string nor a number"),
    ("fcgi.counter('a', 'x', {a='\\n'})", "without control characters"),
    ("fcgi.counter('a', 'x', {a='\\xed\\xa0\\x80'})", "not UTF-8"),
    ("fcgi.counter('a', 'x', {a=('y'):rep(256)})", "labels are too long"),
    ("fcgi.counter('a','x',{a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1})",
     "too many labels"),
])
def test_misuse_raises(shared, code, what):
    assert what in lua(shared, code)
    assert metrics(shared) == {"jobs": 0, "level": 0}


def test_there_is_a_limit_of_metrics(gw):
    answer = lua(gw, "pcall(function() for n = 1, 1000 do "
                     "fcgi.counter('n', nil, {n = n}):inc() end end)")
    assert answer == "false"
    assert "there are 512 metrics already" in lua(gw, "fcgi.gauge('more')")
    assert lua(gw, "jobs:inc()") == "nil"
    assert len(metrics(gw)) == 512
    assert len(families(gw)["n"].samples) == 510


def test_they_are_what_they_are(gw):
    assert lua(gw, "jobs") == "counter (jobs)"
    assert lua(gw, "level") == "gauge (level)"
    assert lua(gw, "debug.getmetatable(jobs).__name") == "counter"


def test_they_survive_workers_and_reloads(gw):
    lua(gw, "jobs:inc(3)")
    lua(gw, "level:set(1)")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: json.loads(page(gw, "json"))["reloads"] == 1,
               "the reload")
    lua(gw, "jobs:inc()")
    assert metrics(gw) == {"jobs": 4, "level": 1}
    if gw.workers == 1:
        return
    pid = int(gw.request({"QUERY_STRING": "jobs:inc()"}).text.split()[0])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: json.loads(
        page(gw, "json"))["workers ended (killed)"] == 1, "its end")
    lua(gw, "jobs:inc()")
    assert metrics(gw) == {"jobs": 6, "level": 1}


def test_no_page_is_needed_to_count():
    with Gateway(SCRIPT) as gw:
        assert lua(gw, "jobs:inc()") == "nil"


def test_a_check_may_make_them(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    assert run("-t", script).code == 0
