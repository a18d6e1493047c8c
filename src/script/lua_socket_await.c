/* lua_socket_await.c -- fcgi.wait for a socket of ours.  Its stream receives
 * what comes, so that its descriptor does not tell what there is to be read.
 * Any number of tasks may wait, beside who reads and who writes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/ready.h"
#include "script/lua_socket.h"
#include "script/wait.h"

#include <poll.h>

/* The stack. */
enum { AT_SELF = 1, AT_MODE, AT_SECONDS, AT_STARTED, AT_CLOSINGS };

/* Which of the modes it is ready for. */
static unsigned look(lua_State *L, const struct lua_socket *self, unsigned mode)
{
    struct stream *stream = self->io.stream;
    struct pollfd poller = { .fd = stream_fd(stream) };
    unsigned got = 0;

    if (stream_is_connecting(stream))
        return 0;
    if (stream_input(stream).len > 0 ||
        (self->io.has_tls && lua_socket_ask_tls(L, "dirty")))
        got |= READY_READ;
    poller.events = (short)((mode & READY_READ ? POLLIN : 0) |
                            (mode & READY_WRITE ? POLLOUT : 0));
    if (poll(&poller, 1, 0) == 1) {
        if (poller.revents & (POLLIN | POLLHUP | POLLERR))
            got |= READY_READ;
        if (poller.revents & (POLLOUT | POLLHUP | POLLERR))
            got |= READY_WRITE;
    }
    return got & mode;
}

/* News of a connect come by themselves. */
static void ask_for_news(struct lua_socket *self, unsigned mode)
{
    struct stream *stream = self->io.stream;

    if (stream_is_connecting(stream))
        return;
    if ((mode & READY_READ) && stream_is_raw(stream))
        stream_await(stream, STREAM_IN);
    else if (mode & READY_READ)
        stream_read(stream, stream_input(stream).len + 1);
    if (mode & READY_WRITE)
        stream_await(stream, STREAM_OUT);
}

static int push_modes(lua_State *L, unsigned got)
{
    static const char *const names[] = {
        [READY_READ] = "r", [READY_WRITE] = "w", [READY_BOTH] = "rw"
    };

    lua_pushstring(L, names[got]);
    return 1;
}

static int await_k(lua_State *L, int status, lua_KContext mode)
{
    struct lua_socket *self = lua_touserdata(L, AT_SELF);
    double seconds = lua_tonumber(L, AT_SECONDS);
    unsigned got;

    (void)status;
    if (!lua_stream_is_open(&self->io) ||
        (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->io.closings)
        return lua_stream_fail(L, "closed");
    got = look(L, self, (unsigned)mode);
    if (got != 0)
        return push_modes(L, got);
    if (seconds >= 0) {
        seconds += lua_tonumber(L, AT_STARTED) - loop_now();
        if (seconds <= 0)
            return lua_stream_fail(L, "timeout");
    }
    task_begin_wait(L);
    ask_for_news(self, (unsigned)mode);
    return task_wait_in(L, &self->io.raw_waiters, seconds, mode, await_k);
}

int lua_socket_await(lua_State *L, unsigned mode, double seconds)
{
    const struct lua_socket *self = lua_touserdata(L, AT_SELF);

    lua_settop(L, AT_MODE);
    lua_pushnumber(L, seconds);
    lua_pushnumber(L, loop_now());
    lua_pushinteger(L, self->io.closings);
    return await_k(L, LUA_OK, mode);
}
