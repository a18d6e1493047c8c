/* lua_stream_read.c -- how a task reads a stream: see lua_stream.h.
 *
 * A call looks at the bytes that are there, takes what was asked for, or says
 * how many it needs to look again.  It keeps nothing but its arguments on the
 * Lua stack, when it began and how far it has looked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "script/lua_stream.h"
#include "script/wait.h"

#include <math.h>

/* The stack of all that reads. */
enum { AT_SELF = 1, AT_WHAT, AT_PREFIX, AT_STARTED, AT_CLOSINGS, AT_SCANNED };

/* Upvalues of the iterator that receive_until makes. */
enum { UP_SELF = 1, UP_PATTERN, UP_INCLUSIVE, UP_HAS_HIT };

/* What is read; ctx of the continuations. */
enum receive_kind {
    RECEIVE_LINE,
    RECEIVE_ALL,
    RECEIVE_COUNT,
    RECEIVE_ANY,
    RECEIVE_UNTIL
};

/* What a look at the input came to; else it says how many bytes it wants. */
static const size_t taken = 0, too_much = SIZE_MAX;

/* --- results -------------------------------------------------------------- */

/* What was pushed may have run a finalizer, which has closed the stream or read
 * on. */
static void consume(struct lua_stream *self, size_t n)
{
    size_t there = self->stream == NULL ? 0 : stream_input(self->stream).len;

    if (n > there)
        n = there;
    self->consumed += n;
    if (n > 0)
        stream_consume(self->stream, n);
}

static size_t prefix_len(lua_State *L)
{
    return lua_isnil(L, AT_PREFIX) ? 0 : lua_rawlen(L, AT_PREFIX);
}

/* Puts the prefix before the string on top of the stack. */
static void add_prefix(lua_State *L)
{
    if (prefix_len(L) == 0)
        return;
    lua_pushvalue(L, AT_PREFIX);
    lua_insert(L, -2);
    lua_concat(L, 2);
}

static void push_bytes(lua_State *L, const char *data, size_t len)
{
    lua_pushlstring(L, data, len);
    add_prefix(L);
}

/* Without carriage returns, as LuaSocket reads lines. */
static void push_line(lua_State *L, struct slice line)
{
    const char *cr = slice_find(line, '\r');
    luaL_Buffer buffer;
    size_t n = 0;
    char *out;

    if (cr == NULL || cr == line.data + line.len - 1) { /* nearly always */
        push_bytes(L, line.data, line.len - (cr != NULL));
        return;
    }
    out = luaL_buffinitsize(L, &buffer, line.len);
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != '\r')
            out[n++] = line.data[i];
    luaL_pushresultsize(&buffer, n);
    add_prefix(L);
}

/* nil and err are on the stack: adds what has come so far, and takes it. */
static int add_partial(lua_State *L, struct lua_stream *self,
                       enum receive_kind kind)
{
    struct slice in = { "", 0 };

    if (kind == RECEIVE_ANY)
        return 2;
    if (self->stream != NULL)
        in = stream_input(self->stream);
    if (kind == RECEIVE_LINE)
        push_line(L, in);
    else
        push_bytes(L, in.data, in.len);
    if (in.len > 0)
        consume(self, in.len);
    return 3;
}

static int fail(lua_State *L, struct lua_stream *self, enum receive_kind kind,
                const char *err)
{
    lua_stream_fail(L, err);
    return add_partial(L, self, kind);
}

/* The same, and the bytes stay for whoever reads them. */
static int fail_without(lua_State *L, enum receive_kind kind, const char *err)
{
    lua_stream_fail(L, err);
    if (kind == RECEIVE_ANY)
        return 2;
    lua_pushliteral(L, "");
    add_prefix(L);
    return 3;
}

/* What had come of a stream that was closed; by now there may be another one,
 * whose bytes are not ours. */
static int fail_closed(lua_State *L, struct lua_stream *self,
                       enum receive_kind kind)
{
    return lua_stream_is_open(self) ? fail_without(L, kind, "closed")
                                    : fail(L, self, kind, "closed");
}

/* --- looking at the input ------------------------------------------------- */

/* How far the bytes were looked at that lie in the buffer. */
static size_t scanned(const struct lua_stream *self, uint64_t to)
{
    return to > self->consumed ? (size_t)(to - self->consumed) : 0;
}

/* All that one call may gather: what Lua has memory for. */
static size_t gather_max(lua_State *L)
{
    const struct memory *memory = &script_of(L)->memory;

    if (memory->limit == 0)
        return RECEIVE_MAX;
    if (memory->limit <= memory->used)
        return 0;
    return memory->limit - memory->used < RECEIVE_MAX
               ? memory->limit - memory->used
               : RECEIVE_MAX;
}

static size_t look_for_line(lua_State *L, struct lua_stream *self,
                            struct slice in)
{
    struct slice news = in;
    const char *newline;

    slice_take(&news, scanned(self, self->scanned_to));
    newline = slice_find(news, '\n');
    if (newline == NULL) {
        self->scanned_to = self->consumed + in.len;
        return in.len < RECEIVE_LINE_MAX ? in.len + 1 : too_much;
    }
    in.len = (size_t)(newline - in.data);
    push_line(L, in);
    consume(self, in.len + 1);
    return taken;
}

/* As with LuaSocket receive(0) waits until there is something to be read. */
static size_t look_for_count(lua_State *L, struct lua_stream *self,
                             struct slice in)
{
    size_t n = (size_t)lua_tointeger(L, AT_WHAT), before = prefix_len(L);

    if (before > 0)
        n -= n < before ? n : before;
    else if (n == 0 && in.len == 0)
        return 1;
    if (in.len < n) {
        size_t max = gather_max(L);

        return in.len >= max ? too_much : n < max ? n : max;
    }
    push_bytes(L, in.data, n);
    consume(self, n);
    return taken;
}

static size_t look_for_all(lua_State *L, struct slice in)
{
    size_t max = gather_max(L);

    return in.len < max ? max : too_much;
}

static size_t look_for_any(lua_State *L, struct lua_stream *self,
                           struct slice in)
{
    size_t max = (size_t)lua_tointeger(L, AT_WHAT);

    if (in.len == 0)
        return 1;
    in = slice_take(&in, max);
    push_bytes(L, in.data, in.len);
    consume(self, in.len);
    return taken;
}

/* May the pattern begin before the byte at end, and be cut off by the end of
 * the input? */
static bool may_have_begun(struct slice in, struct slice pattern, size_t end)
{
    for (size_t at = in.len < pattern.len ? 0 : in.len - pattern.len + 1;
         at < end && at < in.len; at++)
        if (memcmp(in.data + at, pattern.data, in.len - at) == 0)
            return true;
    return false;
}

/* AT_WHAT: how many bytes at most, or nil. */
static size_t look_for_pattern(lua_State *L, struct lua_stream *self,
                               struct slice in)
{
    bool is_sized = !lua_isnil(L, AT_WHAT);
    size_t max = is_sized ? (size_t)lua_tointeger(L, AT_WHAT) : SIZE_MAX;
    size_t from = scanned(self, (uint64_t)lua_tointeger(L, AT_SCANNED));
    struct slice pattern;
    const char *hit = NULL;
    size_t n;

    pattern.data = lua_tolstring(L, lua_upvalueindex(UP_PATTERN), &pattern.len);
    from -= from < pattern.len ? from : pattern.len - 1;
    if (in.len > from)
        hit = memmem(in.data + from, in.len - from, pattern.data, pattern.len);
    n = hit == NULL ? in.len : (size_t)(hit - in.data);
    if (hit != NULL && n < max) {
        bool is_inclusive = lua_toboolean(L, lua_upvalueindex(UP_INCLUSIVE));

        push_bytes(L, in.data, is_inclusive ? n + pattern.len : n);
        consume(self, n + pattern.len);
        lua_pushboolean(L, is_sized);
        lua_replace(L, lua_upvalueindex(UP_HAS_HIT));
        return taken;
    }
    if (n >= max && (hit != NULL || !may_have_begun(in, pattern, max))) {
        push_bytes(L, in.data, max);
        consume(self, max);
        return taken;
    }
    lua_pushinteger(L, (lua_Integer)(self->consumed + in.len));
    lua_replace(L, AT_SCANNED);
    return in.len < RECEIVE_LINE_MAX ? in.len + 1 : too_much;
}

/* Pushes what was asked for, or says what it needs. */
static size_t look(lua_State *L, struct lua_stream *self,
                   enum receive_kind kind)
{
    struct slice in = stream_input(self->stream);

    switch (kind) {
    case RECEIVE_LINE:
        return look_for_line(L, self, in);
    case RECEIVE_ALL:
        return look_for_all(L, in);
    case RECEIVE_COUNT:
        return look_for_count(L, self, in);
    case RECEIVE_ANY:
        return look_for_any(L, self, in);
    case RECEIVE_UNTIL:
        break;
    }
    return look_for_pattern(L, self, in);
}

/* --- waiting -------------------------------------------------------------- */

static int read_on(lua_State *L, enum receive_kind kind);

/* The peer sends no more. */
static int end(lua_State *L, struct lua_stream *self, enum receive_kind kind,
               enum stream_result result)
{
    struct slice in = stream_input(self->stream);

    if (kind == RECEIVE_ALL && result == STREAM_END && in.len > 0) {
        push_bytes(L, in.data, in.len);
        consume(self, in.len);
        return 1;
    }
    lua_stream_fail_with(L, self, result);
    return add_partial(L, self, kind);
}

/* Was it closed since the call began?  By now it may be connected anew. */
static bool was_closed(lua_State *L, const struct lua_stream *self)
{
    return self->stream == NULL ||
           (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->closings;
}

static double left(lua_State *L, const struct lua_stream *self)
{
    return lua_stream_left(self, LUA_STREAM_RECEIVE,
                           lua_tonumber(L, AT_STARTED));
}

static int receive_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    return read_on(L, (enum receive_kind)ctx);
}

/* What tls:read returned is on top of the stack. */
static int tls_read_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    enum receive_kind kind = (enum receive_kind)ctx;
    struct slice bytes;

    (void)status;
    self->has_reader = false;
    if (was_closed(L, self))
        return fail_closed(L, self, kind);
    if (lua_type(L, -2) == LUA_TSTRING) {
        bytes.data = lua_tolstring(L, -2, &bytes.len);
        if (!stream_feed(self->stream, bytes))
            return luaL_error(L, "not enough memory");
        stream_stats(self->stream)->received += bytes.len;
        lua_settop(L, AT_SCANNED);
        return read_on(L, kind);
    }
    if (lua_type(L, -1) == LUA_TSTRING &&
        strcmp(lua_tostring(L, -1), "closed") == 0)
        return end(L, self, kind, STREAM_END);
    luaL_checkstack(L, 4, NULL);
    luaL_pushfail(L);
    lua_pushvalue(L, -2);
    return add_partial(L, self, kind);
}

static int tls_read(lua_State *L, struct lua_stream *self,
                    enum receive_kind kind, size_t missing)
{
    double seconds = left(L, self);

    lua_getiuservalue(L, AT_SELF, LUA_STREAM_TLS);
    lua_getfield(L, -1, "read");
    lua_insert(L, -2);
    lua_pushinteger(L, missing < STREAM_BLOCK  ? STREAM_BLOCK
                       : missing < STREAM_HIGH ? (lua_Integer)missing
                                               : STREAM_HIGH);
    if (seconds < 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, seconds);
    self->has_reader = true;
    lua_callk(L, 3, 2, (lua_KContext)kind, tls_read_k);
    return tls_read_k(L, LUA_OK, (lua_KContext)kind);
}

static int read_on(lua_State *L, enum receive_kind kind)
{
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    bool is_last_try = false;

    self->has_reader = false;
    if (was_closed(L, self))
        return fail_closed(L, self, kind);
    if (!lua_stream_is_open(self)) /* what is left is another reader's */
        return fail_without(L, kind, "closed");
    if (!list_is_empty(&self->readers)) /* perhaps since the task was woken */
        return fail_without(L, kind, "socket busy reading");
    for (;;) {
        size_t want = look(L, self, kind);
        enum stream_result result;
        double seconds;

        if (want == taken)
            return 1;
        if (want == too_much)
            return fail_without(L, kind, "too large");
        if (self->has_tls)
            return tls_read(L, self, kind,
                            want - stream_input(self->stream).len);
        result = stream_read(self->stream, want);
        if (result == STREAM_DONE)
            continue;
        if (result != STREAM_WAIT)
            return end(L, self, kind, result);
        seconds = left(L, self);
        self->has_reader = seconds != 0;
        if (seconds != 0)
            return task_wait_in(L, &self->readers, seconds, (lua_KContext)kind,
                                receive_k);
        if (is_last_try)
            return fail(L, self, kind, "timeout");
        stream_poll(self->stream, want); /* it may have come by now */
        is_last_try = true;
    }
}

static int start(lua_State *L, enum receive_kind kind)
{
    const struct lua_stream *self = lua_touserdata(L, AT_SELF);

    lua_settop(L, AT_PREFIX);
    lua_pushnumber(L, lua_stream_start(self));
    lua_pushinteger(L, self->closings);
    lua_pushinteger(L, 0);
    return read_on(L, kind);
}

/* --- what scripts call ---------------------------------------------------- */

/* "*l" and "*a", or without the star as Lua's files have it. */
static enum receive_kind check_pattern(lua_State *L)
{
    const char *pattern = luaL_optstring(L, AT_WHAT, "*l");

    if (*pattern == '*')
        pattern++;
    if (*pattern == 'a')
        return RECEIVE_ALL;
    luaL_argcheck(L, *pattern == 'l', AT_WHAT, "invalid receive pattern");
    return RECEIVE_LINE;
}

/* A line or a number of bytes that lies in the buffer, as nearly all that
 * clients of databases ask for does; n: 0 is a line. */
static bool take_at_once(lua_State *L, struct lua_stream *self, size_t n)
{
    struct slice in;
    size_t end = n;

    if (!lua_stream_is_open(self) || !list_is_empty(&self->readers))
        return false;
    in = stream_input(self->stream);
    if (n == 0) {
        const char *newline = slice_find(in, '\n');

        if (newline == NULL)
            return false;
        in.len = n = (size_t)(newline - in.data);
        end = n + 1;
        n -= n > 0 && in.data[n - 1] == '\r';
        if (slice_find((struct slice){ in.data, n }, '\r') != NULL)
            return false;
    }
    if (in.len < n)
        return false;
    lua_pushlstring(L, in.data, n);
    consume(self, end);
    return true;
}

int lua_stream_receive(lua_State *L)
{
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    enum receive_kind kind = RECEIVE_COUNT;
    int top = lua_gettop(L);

    if (top < AT_WHAT && take_at_once(L, self, 0))
        return 1;
    if (top == AT_WHAT && lua_isinteger(L, AT_WHAT)) {
        lua_Integer n = lua_tointeger(L, AT_WHAT);

        if (n > 0 && take_at_once(L, self, (size_t)n))
            return 1;
    }
    if (!lua_isnoneornil(L, AT_PREFIX))
        luaL_checkstring(L, AT_PREFIX);
    if (lua_isnumber(L, AT_WHAT)) {
        lua_Integer n = luaL_checkinteger(L, AT_WHAT);

        luaL_argcheck(L, n >= 0, AT_WHAT, "invalid receive pattern");
        if (lua_type(L, AT_WHAT) == LUA_TSTRING) {
            lua_pushinteger(L, n);
            lua_replace(L, AT_WHAT);
        }
    } else {
        kind = check_pattern(L);
    }
    return start(L, kind);
}

int lua_stream_receive_any(lua_State *L)
{
    luaL_argcheck(L, luaL_checkinteger(L, AT_WHAT) > 0, AT_WHAT,
                  "must be positive");
    lua_settop(L, AT_WHAT);
    return start(L, RECEIVE_ANY);
}

/* iterator([size]) -> string | nil, err, partial; with a size nil alone after
 * the pattern, then it begins again */
static int next_until(lua_State *L)
{
    if (!lua_isnoneornil(L, 1))
        luaL_argcheck(L, luaL_checkinteger(L, 1) > 0, 1, "must be positive");
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(UP_SELF));
    lua_insert(L, AT_SELF);
    if (lua_toboolean(L, lua_upvalueindex(UP_HAS_HIT))) {
        lua_pushboolean(L, 0);
        lua_replace(L, lua_upvalueindex(UP_HAS_HIT));
        lua_settop(L, 0);
        lua_settop(L, 3);
        return 3;
    }
    return start(L, RECEIVE_UNTIL);
}

int lua_stream_receive_until(lua_State *L)
{
    size_t len;

    luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0, 2, "pattern is empty");
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        lua_getfield(L, 3, "inclusive");
        lua_replace(L, 3);
    }
    lua_settop(L, 3);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, next_until, UP_HAS_HIT);
    return 1;
}
