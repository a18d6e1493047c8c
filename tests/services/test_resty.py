"""lua-resty-redis and lua-resty-memcached as Debian has them, over fcgi.ngx,
against redis and memcached.

SPDX-License-Identifier: MIT
"""
import pytest

from support import backends
from support.gateway import wait_until

REDIS = ["strings", "structures", "pipeline", "big", "errors", "unix",
         "pubsub"]
MEMCACHED = ["items", "numbers", "many", "versions", "big", "errors"]


@pytest.fixture
def start_red(start_works, resty):
    """start_red(redis): the work, for a redis of the test's own."""
    return lambda redis: start_works(
        "resty_redis.lua", *resty,
        args=("127.0.0.1", redis.port, redis.path))


@pytest.fixture
def start_cache(start_works, resty):
    return lambda memcached: start_works(
        "resty_memcached.lua", *resty, args=("127.0.0.1", memcached.port))


@pytest.fixture
def red(start_red, redis):
    return start_red(redis)


@pytest.fixture
def cache(start_cache, memcached):
    return start_cache(memcached)


def blocked(redis, count):
    """Until so many clients wait for a list."""
    wait_until(lambda: f"blocked_clients:{count}\r" in
               redis.command("INFO", "clients"), f"{count} to wait")


# --- redis ---

@pytest.mark.parametrize("name", REDIS)
def test_redis(red, name):
    assert red(name) == "done"


def test_redis_side_by_side(red):
    red.at_once(REDIS * 4)


def test_transactions_that_meet_each_other_are_all_made(red, redis):
    red.at_once(["transaction"] * 20, "counter")
    assert redis.command("GET", "counter") == "20"


def test_connections_are_used_again(red):
    first = int(red("reused"))
    assert [int(red("reused")) for _ in range(5)] == [
        *range(first + 1, first + 6)]


def test_who_waits_for_redis_keeps_nobody_waiting(red, redis):
    with red.gateway.connect() as conn:
        for id in range(1, 31):
            red.start(conn, "pop", "queue", id)
        blocked(redis, 30)
        red.hello()
        assert red("strings") == "done"
        for number in range(30):
            redis.command("RPUSH", "queue", number)
        found = conn.collect_all(range(1, 31))
    assert sorted(int(found[id].text) for id in found) == [*range(30)]


def test_a_time_limit(red):
    assert red("timeout", "queue") == "timeout, closed"


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_redis_ends_in_the_middle(start_red, end):
    with backends.Redis() as redis:
        red = start_red(redis)
        red.at_once(["reused"] * 10)  # these are in the pool
        with red.gateway.connect() as conn:
            for id in range(1, 11):
                red.start(conn, "broken", "queue", id)
            blocked(redis, 10)
            getattr(redis, end)()
            found = conn.collect_all(range(1, 11))
        assert {found[id].text for id in found} == {"closed"}
        red.hello()
        redis.start()
        # What was in the pool is not handed out any more.
        assert red("reused") == "0"
        assert red("strings") == "done"


# --- memcached ---

@pytest.mark.parametrize("name", MEMCACHED)
def test_memcached(cache, name):
    assert cache(name) == "done"


def test_memcached_side_by_side(cache):
    cache.at_once(MEMCACHED * 4)


def test_all_count(cache, memcached):
    cache.at_once(["count"] * 20, "counter")
    assert memcached.exchange(b"get counter\r\n", b"END") == (
        b"VALUE counter 0 3\r\n400\r\nEND\r\n")


def test_memcached_connections_are_used_again(cache):
    first = int(cache("reused"))
    assert int(cache("reused")) == first + 1


def test_memcached_is_started_anew(start_cache):
    with backends.Memcached() as memcached:
        cache = start_cache(memcached)
        assert cache("items") == "done"
        memcached.kill()
        response = cache.gateway.request(cache.params("items"))
        assert response.status == 500
        cache.gateway.wait_log("connection refused")
        memcached.start()
        assert cache("reused") == "0"
        assert cache("items") == "done"
