/* lua_stream.c -- see lua_stream.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_stream.h"

#include "script/socket_error.h"
#include "script/wait.h"

#include <math.h>

/* --- news of the stream --------------------------------------------------- */

static struct list *waiters(struct lua_stream *self, enum stream_side side)
{
    return side == STREAM_IN ? &self->readers : &self->writers;
}

static void take_news(void *owner, enum stream_side side)
{
    struct lua_stream *self = owner;

    task_wake_list(waiters(self, side));
    task_wake_list(&self->raw_waiters);
    if (self->has_tls) { /* a reader may have to write, and a writer to read */
        task_wake_list(&self->readers);
        task_wake_list(&self->writers);
    }
}

static bool is_awaited(void *owner, enum stream_side side)
{
    struct lua_stream *self = owner;

    return !list_is_empty(waiters(self, side)) ||
           !list_is_empty(&self->raw_waiters) ||
           (self->has_tls &&
            !(list_is_empty(&self->readers) && list_is_empty(&self->writers)));
}

static const struct stream_ops ops = { take_news, is_awaited };

/* --- its life ------------------------------------------------------------- */

void lua_stream_init(struct lua_stream *self, unsigned magic)
{
    *self = (struct lua_stream){ .magic = magic, .total = -1 };
    for (int i = 0; i < LUA_STREAM_LIMITS; i++)
        self->limits[i] = -1;
    list_init(&self->readers);
    list_init(&self->writers);
    list_init(&self->raw_waiters);
}

struct stream *lua_stream_need(lua_State *L, struct lua_stream *self)
{
    struct script *script = script_of(L);

    if (self->stream != NULL)
        return self->stream;
    if (script->is_closing)
        return (void)luaL_error(L, "cannot wait here: the script is ending"),
               NULL;
    if (script->loop == NULL)
        task_begin_wait(L); /* raises */
    if (script->streams == NULL)
        script->streams = streams_new(script->loop);
    if (script->streams != NULL)
        self->stream = stream_new(script->streams);
    if (self->stream == NULL)
        return (void)luaL_error(L, "not enough memory"), NULL;
    stream_set_owner(self->stream, &ops, self);
    return self->stream;
}

bool lua_stream_is_up(const struct lua_stream *self)
{
    return self->stream != NULL && stream_fd(self->stream) != -1 &&
           stream_connected(self->stream) == STREAM_DONE;
}

static void wake_all(struct lua_stream *self)
{
    self->has_tls = false;
    self->closings++;
    self->scanned_to = 0; /* what nobody has read is not counted */
    task_wake_list(&self->readers);
    task_wake_list(&self->writers);
    task_wake_list(&self->raw_waiters);
}

/* A reader that waited, and has perhaps yet to go on, gets what had come. */
void lua_stream_close(struct lua_stream *self)
{
    if (self->stream != NULL && !self->has_reader) {
        stream_del(self->stream);
        self->stream = NULL;
    } else if (self->stream != NULL) {
        stream_close(self->stream);
    }
    wake_all(self);
}

int lua_stream_release(struct lua_stream *self)
{
    int fd = self->stream == NULL ? -1 : stream_release(self->stream);

    wake_all(self);
    return fd;
}

struct stream *lua_stream_detach(struct lua_stream *self)
{
    struct stream *stream = self->stream;

    self->stream = NULL;
    wake_all(self);
    return stream;
}

void lua_stream_attach(struct lua_stream *self, struct stream *stream)
{
    stream_del(self->stream); /* a closed one */
    self->stream = stream;
    stream_set_owner(stream, &ops, self);
}

void lua_stream_free(struct lua_stream *self)
{
    lua_stream_close(self);
    stream_del(self->stream);
    self->stream = NULL;
}

/* --- time ----------------------------------------------------------------- */

void lua_stream_set_limit(struct lua_stream *self, double seconds,
                          bool is_total)
{
    if (is_total) {
        self->total = seconds;
        return;
    }
    for (int i = 0; i < LUA_STREAM_LIMITS; i++)
        self->limits[i] = seconds;
}

double lua_stream_check_limit(lua_State *L, int index)
{
    double seconds = luaL_optnumber(L, index, -1);

    luaL_argcheck(L, !isnan(seconds), index, "not a number of seconds");
    return seconds >= 0 && isfinite(seconds) ? seconds : -1;
}

double lua_stream_start(const struct lua_stream *self)
{
    bool is_limited = self->total > 0;

    for (int i = 0; i < LUA_STREAM_LIMITS; i++)
        is_limited = is_limited || self->limits[i] > 0;
    return is_limited ? loop_now() : 0;
}

double lua_stream_left(const struct lua_stream *self,
                       enum lua_stream_limit limit, double started)
{
    double block = self->limits[limit], left = -1, now;

    if (block < 0 && self->total < 0)
        return -1;
    if (block == 0 || self->total == 0)
        return 0;
    now = loop_now();
    if (block > 0) {
        const struct stream_stats *stats = stream_stats(self->stream);
        double since =
            limit == LUA_STREAM_RECEIVE ? stats->last_in : stats->last_out;

        left = fmax(fmax(started, since) + block - now, 0);
    }
    if (self->total > 0) {
        double rest = fmax(started + self->total - now, 0);

        left = left < 0 ? rest : fmin(left, rest);
    }
    return left;
}

/* --- failures ------------------------------------------------------------- */

int lua_stream_fail(lua_State *L, const char *err)
{
    luaL_pushfail(L);
    lua_pushstring(L, err);
    return 2;
}

int lua_stream_fail_with(lua_State *L, struct lua_stream *self,
                         enum stream_result result)
{
    if (self->stream != NULL && stream_is_connecting(self->stream))
        return lua_stream_fail(L, "socket busy connecting");
    return lua_stream_fail(L, result == STREAM_FAILED
                                  ? socket_error(stream_error(self->stream))
                                  : "closed");
}
