/* lua_stream_write.c -- how a task writes a stream: see lua_stream.h.
 *
 * One string is written from where it lies.  Of lists the short pieces are
 * gathered, so that a command of twenty strings is one call of the kernel; what
 * it does not take at once is copied behind each other and waits as one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_stream.h"
#include "script/wait.h"

#include <stdio.h>

enum {
    LIST_DEPTH = 64,    /* of lists in lists */
    SMALL = 4096,       /* bytes of short pieces */
    SHORT_PIECE = 1024, /* they are at most this long */
    NUMBER_TEXT = 64
};

/* The stack of a send that waits.  The result is the index of the last byte
 * that was sent: ADD is what stands for the first of AT_BYTES. */
enum {
    AT_SELF = 1,
    AT_BYTES,
    AT_FIRST,
    AT_LAST,
    AT_ADD,
    AT_STARTED,
    AT_CLOSINGS
};

/* --- the pieces of a list ------------------------------------------------- */

/* Takes a piece; returns false to end. */
typedef bool piece_fn(void *arg, struct slice piece);

/* As Lua writes it, but without a string: nothing is allocated while a list is
 * walked, so no finalizer runs that could change it. */
static struct slice number_text(lua_State *L, int index, char out[NUMBER_TEXT])
{
    int n;

    if (lua_isinteger(L, index)) {
        n = snprintf(out, NUMBER_TEXT, LUA_INTEGER_FMT,
                     (LUAI_UACINT)lua_tointeger(L, index));
    } else {
        n = snprintf(out, NUMBER_TEXT, LUA_NUMBER_FMT,
                     (LUAI_UACNUMBER)lua_tonumber(L, index));
        if (out[strspn(out, "-0123456789")] == '\0') {
            out[n++] = '.';
            out[n++] = '0';
        }
    }
    return (struct slice){ out, (size_t)n };
}

/* Calls take for each piece of the value at index, which was checked. */
static bool walk(lua_State *L, int index, piece_fn *take, void *arg)
{
    char number[NUMBER_TEXT];
    struct slice piece;
    bool goes_on = true;

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        piece.data = lua_tolstring(L, index, &piece.len);
        return take(arg, piece);
    case LUA_TNUMBER:
        return take(arg, number_text(L, index, number));
    case LUA_TTABLE:
        break;
    default:
        return true;
    }
    for (lua_Integer i = 1; goes_on; i++) {
        bool is_end = lua_rawgeti(L, index, i) == LUA_TNIL;

        if (!is_end)
            goes_on = walk(L, lua_gettop(L), take, arg);
        lua_pop(L, 1);
        if (is_end)
            break;
    }
    return goes_on;
}

/* Raises unless all of the list at index can be sent. */
static void check_list(lua_State *L, int index, int depth)
{
    luaL_argcheck(L, depth < LIST_DEPTH, AT_BYTES, "lists in lists, too deep");
    luaL_checkstack(L, 8, "lists in lists");
    for (lua_Integer i = 1;; i++) {
        int type = lua_rawgeti(L, index, i);

        if (type == LUA_TTABLE)
            check_list(L, lua_gettop(L), depth + 1);
        else if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TNIL)
            luaL_argerror(L, AT_BYTES,
                          lua_pushfstring(
                              L,
                              "string, number or list of them expected, got %s",
                              lua_typename(L, type)));
        lua_pop(L, 1);
        if (type == LUA_TNIL)
            return;
    }
}

static bool add_len(void *arg, struct slice piece)
{
    *(size_t *)arg += piece.len;
    return true;
}

static size_t measure(lua_State *L, int index)
{
    size_t len = 0;

    walk(L, index, add_len, &len);
    return len;
}

struct copy {
    char *at;
    size_t room;
    size_t skip; /* bytes that come before */
};

static bool copy_piece(void *arg, struct slice piece)
{
    struct copy *copy = arg;
    struct slice before = slice_take(&piece, copy->skip);

    copy->skip -= before.len;
    piece = slice_take(&piece, copy->room);
    if (piece.len > 0)
        memcpy(copy->at, piece.data, piece.len);
    copy->at += piece.len;
    copy->room -= piece.len;
    return copy->room > 0;
}

/* Copies the bytes of the list at index that come after `skip` of them.  Memory
 * was allocated since they were counted, so a finalizer may have changed it. */
static void copy_list(lua_State *L, int index, size_t skip, char *out,
                      size_t len)
{
    struct copy copy = { out, len, skip };

    if (len > 0)
        walk(L, index, copy_piece, &copy);
    if (copy.room > 0)
        luaL_error(L, "a list that is sent was changed");
}

/* --- writing what the kernel takes at once -------------------------------- */

/* Pieces on their way; small are the bytes of the short ones. */
struct gather {
    struct stream *stream;
    struct slice pieces[STREAM_PIECES];
    size_t count, used, sent;
    enum stream_result result;
    char small[SMALL];
};

static bool flush(struct gather *gather)
{
    size_t sent;

    if (gather->count == 0)
        return true;
    gather->result =
        stream_write(gather->stream, gather->pieces, gather->count, &sent);
    gather->sent += sent;
    gather->count = gather->used = 0;
    return gather->result == STREAM_DONE;
}

static bool gather_piece(void *arg, struct slice piece)
{
    struct gather *gather = arg;
    struct slice *last;
    char *at;

    if (piece.len > SHORT_PIECE) {
        if (gather->count == STREAM_PIECES && !flush(gather))
            return false;
        gather->pieces[gather->count++] = piece;
        return true;
    }
    if ((gather->count == STREAM_PIECES || SMALL - gather->used < piece.len) &&
        !flush(gather))
        return false;
    at = gather->small + gather->used;
    memcpy(at, piece.data, piece.len);
    gather->used += piece.len;
    last = gather->count > 0 ? &gather->pieces[gather->count - 1] : NULL;
    if (last != NULL && last->data + last->len == at)
        last->len += piece.len;
    else
        gather->pieces[gather->count++] = (struct slice){ at, piece.len };
    return true;
}

/* --- waiting -------------------------------------------------------------- */

static int send_on(lua_State *L, size_t done);

static int sent_up_to(lua_State *L, size_t done)
{
    lua_pushinteger(L, lua_tointeger(L, AT_ADD) + (lua_Integer)done);
    return 1;
}

/* nil and err are on the stack. */
static int add_index(lua_State *L, size_t done)
{
    sent_up_to(L, done);
    return 3;
}

static struct slice bytes_left(lua_State *L, size_t done)
{
    size_t first = (size_t)lua_tointeger(L, AT_FIRST) + done;
    const char *data = lua_type(L, AT_BYTES) == LUA_TSTRING
                           ? lua_tostring(L, AT_BYTES)
                           : lua_touserdata(L, AT_BYTES);

    return (struct slice){ data + first,
                           (size_t)lua_tointeger(L, AT_LAST) - first };
}

/* Was it closed since the call began?  By now it may be connected anew. */
static bool was_closed(lua_State *L, const struct lua_stream *self)
{
    return self->stream == NULL ||
           (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->closings;
}

static double left(lua_State *L, const struct lua_stream *self)
{
    return lua_stream_left(self, LUA_STREAM_SEND, lua_tonumber(L, AT_STARTED));
}

static int send_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    return send_on(L, (size_t)ctx);
}

/* What a write of AT_BYTES, of which `done` were sent by now, has come to. */
static int go_on(lua_State *L, struct lua_stream *self, size_t done,
                 enum stream_result result)
{
    double seconds;

    if (result == STREAM_DONE)
        return sent_up_to(L, done);
    if (result != STREAM_WAIT) {
        lua_stream_fail_with(L, self, result);
        return add_index(L, done);
    }
    seconds = left(L, self);
    if (seconds != 0)
        return task_wait_in(L, &self->writers, seconds, (lua_KContext)done,
                            send_k);
    lua_stream_fail(L, "timeout");
    return add_index(L, done);
}

static int send_on(lua_State *L, size_t done)
{
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    enum stream_result result;
    struct slice rest;
    size_t sent;

    if (was_closed(L, self)) {
        lua_stream_fail(L, "closed");
        return add_index(L, done);
    }
    if (!list_is_empty(&self->writers)) { /* since the task was woken */
        lua_stream_fail(L, "socket busy writing");
        return add_index(L, done);
    }
    rest = bytes_left(L, done);
    result = stream_write(self->stream, &rest, 1, &sent);
    return go_on(L, self, done + sent, result);
}

/* --- through TLS ---------------------------------------------------------- */

static int tls_write_k(lua_State *L, int status, lua_KContext ctx)
{
    size_t len =
        (size_t)(lua_tointeger(L, AT_LAST) - lua_tointeger(L, AT_FIRST));
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    bool is_done = lua_toboolean(L, -3);
    lua_Integer sent = is_done ? (lua_Integer)len : lua_tointeger(L, -1);

    (void)status;
    (void)ctx;
    if (sent > 0 && self->stream != NULL)
        stream_stats(self->stream)->sent += (uint64_t)sent;
    if (is_done)
        return sent_up_to(L, len);
    lua_pop(L, 1);
    return add_index(L, sent > 0 ? (size_t)sent : 0);
}

/* AT_BYTES is a string. */
static int tls_write(lua_State *L, struct lua_stream *self)
{
    struct slice bytes = bytes_left(L, 0);
    double seconds = left(L, self);

    lua_getiuservalue(L, AT_SELF, LUA_STREAM_TLS);
    lua_getfield(L, -1, "write");
    lua_insert(L, -2);
    if (bytes.len == lua_rawlen(L, AT_BYTES))
        lua_pushvalue(L, AT_BYTES);
    else
        lua_pushlstring(L, bytes.data, bytes.len);
    if (seconds < 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, seconds);
    lua_callk(L, 3, 3, 0, tls_write_k);
    return tls_write_k(L, LUA_OK, 0);
}

/* --- what scripts call ---------------------------------------------------- */

/* A string index as LuaSocket and Lua's own functions have it. */
static size_t check_index(lua_State *L, int index, lua_Integer otherwise,
                          size_t len)
{
    lua_Integer i = luaL_optinteger(L, index, otherwise);

    if (i < 0)
        i += (lua_Integer)len + 1;
    if (i < 0)
        return 0;
    return (size_t)i > len + 1 ? len + 1 : (size_t)i;
}

/* Lays out the stack for what may wait: the bytes from `first` to before
 * `last`, counted from 0, of which `add` went before. */
static void lay_out(lua_State *L, const struct lua_stream *self, size_t first,
                    size_t last, size_t add)
{
    lua_settop(L, AT_BYTES);
    lua_pushinteger(L, (lua_Integer)first);
    lua_pushinteger(L, (lua_Integer)last);
    lua_pushinteger(L, (lua_Integer)add);
    lua_pushnumber(L, lua_stream_start(self));
    lua_pushinteger(L, self->closings);
}

static int send_string(lua_State *L, struct lua_stream *self)
{
    size_t len, first, last;

    lua_tolstring(L, AT_BYTES, &len);
    first = check_index(L, 3, 1, len);
    last = check_index(L, 4, -1, len);
    first -= first > 0;
    if (last > len)
        last = len;
    if (last < first)
        last = first;
    lay_out(L, self, first, last, first);
    return self->has_tls && first < last ? tls_write(L, self) : send_on(L, 0);
}

void lua_stream_join(lua_State *L)
{
    luaL_Buffer buffer;
    size_t len;
    char *out;

    check_list(L, AT_BYTES, 0);
    len = measure(L, AT_BYTES);
    out = luaL_buffinitsize(L, &buffer, len);
    copy_list(L, AT_BYTES, 0, out, len);
    luaL_pushresultsize(&buffer, len);
    lua_replace(L, AT_BYTES);
}

static int send_list(lua_State *L, struct lua_stream *self)
{
    unsigned closings = self->closings;
    struct gather gather;
    size_t len;
    char *rest;

    gather.stream = self->stream;
    gather.count = gather.used = gather.sent = 0;
    gather.result = STREAM_DONE;
    if (walk(L, AT_BYTES, gather_piece, &gather) && flush(&gather)) {
        lua_pushinteger(L, (lua_Integer)gather.sent);
        return 1;
    }
    if (gather.result != STREAM_WAIT) {
        lua_stream_fail_with(L, self, gather.result);
        lua_pushinteger(L, (lua_Integer)gather.sent);
        return 3;
    }
    len = measure(L, AT_BYTES) - gather.sent;
    rest = lua_newuserdatauv(L, len, 0);
    copy_list(L, AT_BYTES, gather.sent, rest, len);
    if (self->closings != closings) { /* by a finalizer */
        lua_stream_fail(L, "closed");
        lua_pushinteger(L, (lua_Integer)gather.sent);
        return 3;
    }
    lua_replace(L, AT_BYTES);
    lay_out(L, self, 0, len, gather.sent);
    return go_on(L, self, 0, STREAM_WAIT);
}

/* A whole string that the kernel takes at once, as nearly always. */
static int send_whole(lua_State *L, struct lua_stream *self)
{
    enum stream_result result;
    struct slice piece;
    size_t sent;

    piece.data = lua_tolstring(L, AT_BYTES, &piece.len);
    result = stream_write(self->stream, &piece, 1, &sent);
    if (result == STREAM_DONE) {
        lua_pushinteger(L, (lua_Integer)sent);
        return 1;
    }
    lay_out(L, self, 0, piece.len, 0);
    return go_on(L, self, sent, result);
}

int lua_stream_send(lua_State *L)
{
    struct lua_stream *self = lua_touserdata(L, AT_SELF);
    bool is_list = lua_istable(L, AT_BYTES);

    if (lua_gettop(L) == AT_BYTES && lua_type(L, AT_BYTES) == LUA_TSTRING &&
        self->stream != NULL && !self->has_tls && list_is_empty(&self->writers))
        return send_whole(L, self);
    if (is_list)
        check_list(L, AT_BYTES, 0);
    else
        luaL_checkstring(L, AT_BYTES);
    if (self->stream == NULL || !list_is_empty(&self->writers)) {
        lua_stream_fail(L, self->stream == NULL ? "closed"
                           : stream_is_connecting(self->stream)
                               ? "socket busy connecting"
                               : "socket busy writing");
        lua_pushinteger(L, 0);
        return 3;
    }
    if (is_list && lua_isnoneornil(L, 3) && lua_isnoneornil(L, 4) &&
        !self->has_tls)
        return send_list(L, self);
    if (is_list)
        lua_stream_join(L);
    return send_string(L, self);
}
