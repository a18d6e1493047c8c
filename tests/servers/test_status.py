"""The status page and the ping page behind web servers, each with the shipped
configuration that keeps them to one address.

SPDX-License-Identifier: MIT
"""
import http.client
import json
import os
import signal

import pytest
import webserver
from http_client import Connection, request
from prometheus_client.openmetrics import parser
from support.gateway import wait_until


@pytest.fixture(scope="module", params=webserver.STATUS,
                ids=lambda kind: kind.name)
def running(request):
    with request.param() as server:
        yield server


def page(server, query=""):
    answer = request(server.address, "GET", "/status" + query)
    assert answer.status == 200, answer
    return answer.body.decode()


def as_json(server, more=""):
    return json.loads(page(server, "?json" + more))


def from_elsewhere(server, target):
    """The status and body that a client with another address gets."""
    conn = http.client.HTTPConnection(*server.address, timeout=20,
                                      source_address=("127.0.0.2", 0))
    try:
        conn.request("GET", target)
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def test_pages_are_answered(server):
    assert "accepted conn:" in page(server)
    answer = request(server.address, "GET", "/ping")
    assert (answer.status, answer.body) == (200, b"pong")
    assert answer.header("cache-control") == "no-store"
    assert request(server.address, "HEAD", "/ping").body == b""
    names = {family.name for family in parser.text_string_to_metric_families(
        page(server, "?openmetrics&full"))}
    assert "fcgi_lua_request_duration_seconds" in names


def test_full_shows_requests(server, prefix):
    target = server.waiting("hold", prefix)
    with Connection(server.address) as conn:
        conn.send("GET", target)
        one = wait_until(
            lambda: [one for one in as_json(server, "&full")["running"]
                     if one["request uri"] == target
                     and one["state"] == "Waiting"], "the request")[0]
        assert one["remote"] == "127.0.0.1" and "app.lua:" in one["where"]
        server.mark(prefix, "go").touch()
        assert conn.answer().read().status == 200
    wait_until(lambda: not as_json(server, "&full")["running"], "its end")


@pytest.mark.parametrize("target", [
    "/status", "/status?full", "/ping", "/%73tatus", "/%70ing", "//status",
    "/./status", "/x/../status", "/status/", "/status%2f", "/status;x",
    "/status/../ping", "/%2e/status",
])
def test_others_do_not_see_them(server, target):
    status, body = from_elsewhere(server, target)
    assert b"accepted conn" not in body and body != b"pong"
    if target in ("/status", "/status?full", "/ping"):
        assert status == 403
    status, body = from_elsewhere(server, "/hello?name=you")
    assert (status, body) == (200, b"hello you\n")


def test_they_survive_workers_and_reloads(server):
    before = as_json(server, "&full")
    os.kill(before["processes"][0]["pid"], signal.SIGKILL)
    wait_until(lambda: as_json(server)["workers ended (killed)"]
               > before["workers ended (killed)"], "the end of a worker")
    server.gateway.signal(signal.SIGHUP)
    wait_until(lambda: as_json(server)["reloads"] > before["reloads"],
               "the reload")
    after = as_json(server)
    assert after["requests"] >= before["requests"]
    assert after["accepted conn"] >= before["accepted conn"]
    assert after["start time"] == before["start time"]
