"""The life of a request (specification 5): begin, roles, abort, end.

SPDX-License-Identifier: MIT
"""
import pytest

from support import fastcgi
from support.fastcgi import (CANT_MPX_CONN, KEEP_CONN, OVERLOADED,
                             REQUEST_COMPLETE)
from support.lua import ECHO, EVAL, GO, HOLD, Lua, params_for

# Streams for ever, until writing says that the client has gone.
ENDLESS = ("req:write('A: b\\n\\n') local s = ('x'):rep(65536) "
           "while req:write(s) do end "
           "fcgi.log('notice', 'writer ended')")


# --- keep-conn ---

def test_connection_is_closed_without_keep_conn(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, ECHO, body=b"x", flags=0)
        conn.collect(1).check_complete()
        conn.expect_eof()


def test_connection_stays_with_keep_conn(lua):
    with lua.connect() as conn:
        for _ in range(3):
            lua.on(conn, ECHO, body=b"x", flags=KEEP_CONN)
        assert conn.barrier() == []


def test_other_flags_are_ignored(lua):
    with lua.connect() as conn:
        assert lua.on(conn, ECHO, body=b"x", flags=0xff).text == "x"
        assert lua.on(conn, ECHO, body=b"x", flags=0x81).text == "x"
        lua.start(conn, 1, ECHO, body=b"x", flags=0xfe)
        conn.collect(1).check_complete()
        conn.expect_eof()


def test_keep_conn_is_decided_by_each_request(lua):
    with lua.connect() as conn:
        lua.on(conn, ECHO, flags=1)
        lua.on(conn, ECHO, flags=1)
        lua.start(conn, 1, ECHO, flags=0)
        conn.collect(1)
        conn.expect_eof()


# --- too many ---

def test_request_over_max_reqs_is_overloaded(lua_with):
    lua = lua_with("--max-reqs=1")
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        assert conn.barrier() == []
        conn.begin(2)
        assert conn.barrier() == []     # no STDOUT before PARAMS are complete
        conn.params(2, params_for(ECHO))
        conn.stdin(2)
        refused = conn.collect(2)
        assert refused.protocol_status == OVERLOADED
        assert refused.status == 503 and refused.body
        conn.stdin(1, b"first")
        assert conn.collect(1).text == "first"
        assert lua.on(conn, ECHO, body=b"again", id=2).text == "again"


def test_max_reqs_counts_all_connections(lua_with):
    lua = lua_with("--max-reqs=1")
    with lua.connect() as one, lua.connect() as two:
        one.begin(1)
        one.params(1, params_for(ECHO))
        assert one.barrier() == []
        lua.start(two, 1, ECHO)
        assert two.collect(1).protocol_status == OVERLOADED
        one.stdin(1, b"x")
        assert one.collect(1).text == "x"
        assert lua.on(two, ECHO, body=b"y").text == "y"


def test_refused_request_without_keep_conn_closes(lua_with):
    lua = lua_with("--max-reqs=1")
    with lua.connect() as one, lua.connect() as two:
        one.begin(1)
        assert one.barrier() == []
        lua.start(two, 1, ECHO, flags=0)
        assert two.collect(1).status == 503
        two.expect_eof()


def test_aborted_refused_request_ends(lua_with):
    lua = lua_with("--max-reqs=1")
    with lua.connect() as conn:
        conn.begin(1)
        conn.begin(2)
        conn.abort(2)
        conn.collect(2)
        conn.params(1, params_for(ECHO))
        conn.stdin(1, b"x")
        assert conn.collect(1).text == "x"


def test_flood_of_begun_requests_is_refused_at_once(lua_with):
    lua = lua_with("--max-reqs=10")
    idle = lua.gateway.fds()
    with lua.connect() as conn:
        for id in range(1, 101):
            conn.begin(id)
        conn.barrier()
        assert len(conn.done) == 80     # 10 wait, 10 are to get their 503
        for responses in conn.done.values():
            assert responses[0].protocol_status == OVERLOADED
            assert responses[0].raw == b""
    lua.gateway.wait_fds(idle)
    with lua.connect() as conn:         # all slots are free again
        for id in range(1, 11):
            conn.begin(id)
        for id in range(1, 11):
            conn.params(id, params_for(ECHO))
            conn.stdin(id)
            assert conn.collect(id).status == 200


def test_multiplexing_is_never_refused(lua):
    with lua.connect() as conn:
        for id in range(1, 51):
            conn.begin(id)
            conn.params(id, params_for(ECHO), end=False)
        for id in range(50, 0, -1):
            conn.params(id)
        for id in range(1, 51):
            conn.stdin(id, b"%d;" % id, end=False)
        for id in range(25, 51):
            conn.stdin(id, b"%d" % id)
        for id in range(1, 25):
            conn.stdin(id, b"%d" % id)
        for id in range(1, 51):
            response = conn.collect(id)
            assert response.text == f"{id};{id}"
            assert response.protocol_status not in (CANT_MPX_CONN,
                                                    OVERLOADED)


def test_interleaved_answers_are_not_mixed(lua):
    with lua.connect() as conn:
        for id in range(1, 51):
            lua.start(conn, id, f"req:write('Id: {id}\\n\\n') "
                      "for i = 1, 40 do "
                      f"req:write(('%5d'):format({id}):rep(300)) "
                      "if i % 10 == 0 then fcgi.sleep(0) end end")
        for id in range(1, 51):
            response = conn.collect(id)
            assert response.headers["id"] == str(id)
            assert response.body == b"%5d" % id * 300 * 40


# --- abort ---

def aborted(conn, id=1):
    response = conn.collect(id)
    assert response.protocol_status == REQUEST_COMPLETE
    return response


def test_abort_before_params(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.abort(1)
        assert aborted(conn).raw == b""
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_before_params_end(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO), end=False)
        conn.abort(1)
        assert aborted(conn).raw == b""
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_during_stdin(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        conn.stdin(1, b"part", end=False)
        conn.abort(1)
        aborted(conn)
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_while_the_handler_sleeps(lua_with):
    # The answer cannot wait for the handler, which sleeps for an hour.
    lua = lua_with("--grace=0.1")
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'asleep') fcgi.sleep(3600)")
        lua.gateway.wait_log("asleep")
        conn.abort(1)
        aborted(conn)
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_while_the_handler_writes_against_a_full_socket(lua):
    with lua.connect(rcvbuf=4096) as conn:
        lua.start(conn, 1, ENDLESS)
        conn.wait_stdout(1, 1 << 20)
        conn.abort(1)
        response = aborted(conn)
        assert response.stdout_ended
        lua.gateway.wait_log("writer ended")
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_after_the_end_is_ignored(lua):
    with lua.connect() as conn:
        lua.on(conn, ECHO)
        conn.abort(1)
        assert conn.barrier() == []
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_twice_is_answered_once(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        conn.abort(1)
        conn.abort(1)
        aborted(conn)
        assert conn.barrier() == []


def test_abort_in_the_same_write_as_the_request(lua):
    with lua.connect() as conn:
        conn.expect(1)
        conn.send_raw(fastcgi.request_bytes(1, params_for(ECHO), b"x",
                                            flags=1, defaults=False)
                      + fastcgi.record(fastcgi.ABORT, 1))
        aborted(conn)
        assert lua.on(conn, ECHO, body=b"next").text == "next"


def test_abort_without_keep_conn_closes(lua):
    with lua.connect() as conn:
        conn.begin(1, flags=0)
        conn.params(1, params_for(ECHO))
        conn.abort(1)
        aborted(conn)
        conn.expect_eof()


def test_aborted_id_is_used_again_while_its_handler_still_runs(lua):
    with lua.connect() as conn:
        for n in range(50):
            lua.start(conn, 1, "fcgi.sleep(0.05) return 200, {}, 'old'")
            conn.abort(1)
            aborted(conn)
            assert lua.on(conn, ECHO, body=b"%d" % n).text == str(n)


def test_stdin_after_abort_is_dropped(lua):
    with lua.connect() as conn:
        conn.begin(1)
        conn.params(1, params_for(ECHO))
        conn.abort(1)
        aborted(conn)
        conn.stdin(1, b"x" * 100000)
        assert conn.barrier() == []


def test_abort_disturbs_no_neighbour(lua):
    with lua.connect() as conn:
        for id in (1, 2, 3):
            conn.begin(id)
            conn.params(id, params_for(ECHO))
        conn.abort(2)
        aborted(conn, 2)
        for id in (1, 3):
            conn.stdin(id, b"body %d" % id)
            assert conn.collect(id).text == f"body {id}"


def test_lost_connection_aborts_all_its_requests(lua_with):
    lua = lua_with()
    code = ("req:on_abort(function() fcgi.log('notice', 'lost ' .. "
            "req:param 'N') end) fcgi.log('notice', 'begun ' .. req:param 'N')"
            " req:body()")
    with lua.connect() as conn:
        for id in (1, 2, 3):
            conn.begin(id)
            conn.params(id, params_for(code, {"N": str(id)}))
        for id in (1, 2, 3):
            lua.gateway.wait_log(f"begun {id}")
    for id in (1, 2, 3):
        lua.gateway.wait_log(f"lost {id}")
    assert lua(ECHO, body=b"next").text == "next"


def test_end_of_file_while_a_request_runs_aborts_it(lua_with):
    lua = lua_with()
    with lua.connect() as conn:
        lua.start(conn, 1, "fcgi.log('notice', 'begun') "
                  "while not req:is_aborted() do fcgi.sleep(0.005) end "
                  "fcgi.log('notice', 'seen')")
        lua.gateway.wait_log("begun")
        conn.shutdown()
        lua.gateway.wait_log("seen")
        conn.expect_close()


def test_reset_connection_is_a_lost_one(gateway):
    lua = Lua(gateway(EVAL, listen="tcp"))
    conn = lua.connect()
    lua.start(conn, 1, ENDLESS)
    conn.wait_stdout(1, 1 << 16)
    conn.reset()
    lua.gateway.wait_log("writer ended")
    assert lua(ECHO, body=b"next").text == "next"


# --- end ---

@pytest.mark.parametrize("status", [0, 1, 7, 255, 256, 65536, 2**31 - 1])
def test_app_status_has_four_bytes(lua, status):
    response = lua(f"req:write('A: b\\n\\n') req:finish({status})")
    assert response.app_status == status


def test_stdout_ends_with_an_empty_record(lua):
    response = lua(ECHO, body=b"x")
    stdout = response.contents(fastcgi.STDOUT)
    assert stdout[-1] == b"" and all(stdout[:-1])
    assert response.records[-1].type == fastcgi.END


def test_stderr_is_not_sent_unless_used(lua):
    assert lua(ECHO, body=b"x").contents(fastcgi.STDERR) == []


def test_stderr_ends_with_an_empty_record_if_used(lua):
    response = lua("req:write_err('oops\\n') return 200, {}, 'x'")
    stderr = response.contents(fastcgi.STDERR)
    assert stderr == [b"oops\n", b""]
    assert response.stdout_ended


def test_stdout_and_stderr_interleave(lua):
    response = lua("req:write('A: b\\n\\none') req:write_err('e1\\n') "
                   "req:flush() req:write('two') req:write_err('e2\\n')")
    assert response.body == b"onetwo"
    assert response.stderr == b"e1\ne2\n"


def test_slots_are_free_after_aborts(lua_with):
    lua = lua_with("--max-reqs=5")
    with lua.connect() as conn:
        for _ in range(20):
            for id in range(1, 6):
                conn.begin(id)
                conn.params(id, params_for("req:body()"))
            for id in range(1, 6):
                conn.abort(id)
                aborted(conn, id)
        # the handlers of the aborted ones end by themselves
        assert lua.on(conn, ECHO, body=b"x").text == "x"


def test_waiting_request_does_not_hold_back_others(lua):
    with lua.connect() as conn:
        lua.start(conn, 1, HOLD)
        for id in range(2, 10):
            assert lua.on(conn, ECHO, body=b"x", id=id).text == "x"
        lua(GO)
        assert conn.collect(1).text == "held"
