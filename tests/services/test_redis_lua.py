"""redis-lua as Debian has it, over fcgi.socket, against redis.

SPDX-License-Identifier: MIT
"""
import pytest

from support import backends
from support.gateway import wait_until

WORKS = ["strings", "structures", "pipeline", "big", "errors", "unix",
         "pubsub"]


def works_of(start_works, redis):
    return start_works("redis_lua.lua", "--lua-compat=5.3",
                       args=("127.0.0.1", redis.port, redis.path))


@pytest.fixture
def works(start_works, redis):
    return works_of(start_works, redis)


def blocked(redis, count):
    """Until so many clients wait for a list."""
    wait_until(lambda: f"blocked_clients:{count}\r" in
               redis.command("INFO", "clients"), f"{count} to wait")


@pytest.mark.parametrize("name", WORKS)
def test_work(works, name):
    assert works(name) == "done"


def test_works_side_by_side(works):
    works.at_once(WORKS * 4)


def test_transactions_that_meet_each_other_are_all_made(works, redis):
    works.at_once(["transaction"] * 20, "counter")
    assert redis.command("GET", "counter") == "20"
    assert redis.command("GET", "counter:commits") == "20"


def test_who_waits_for_redis_keeps_nobody_waiting(works, redis):
    with works.gateway.connect() as conn:
        for id in range(1, 31):
            works.start(conn, "pop", "queue", id)
        blocked(redis, 30)
        works.hello()
        assert works("strings") == "done"
        for number in range(30):
            redis.command("RPUSH", "queue", number)
        found = conn.collect_all(range(1, 31))
    assert sorted(int(found[id].text) for id in found) == [*range(30)]


def test_a_time_limit(works):
    assert works("timeout", "queue") == "connection error: timeout"


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_server_ends_in_the_middle(start_works, end):
    with backends.Redis() as redis:
        works = works_of(start_works, redis)
        with works.gateway.connect() as conn:
            for id in range(1, 11):
                works.start(conn, "broken", "queue", id)
            blocked(redis, 10)
            getattr(redis, end)()
            found = conn.collect_all(range(1, 11))
        assert {found[id].text for id in found} == {
            "connection error: closed"}
        works.hello()
        response = works.gateway.request(works.params("strings"))
        assert response.status == 500
        works.gateway.wait_log(r"could not connect to .*connection refused")
        redis.start()
        assert works("strings") == "done"


def test_a_client_that_leaves_takes_its_wait_along(works, redis):
    with works.gateway.connect() as conn:
        works.start(conn, "pop", "queue")
        blocked(redis, 1)
        conn.abort(1)
        conn.collect(1)
    # Its handler goes on (abort is not "cancel"), and others are served.
    works.hello()
    redis.command("RPUSH", "queue", "x")
    blocked(redis, 0)
