/* lua_stream.h -- private to this room: what tasks do with a stream of io.
 *
 * A userdata whose first member is a struct lua_stream can be read and written
 * by the functions here, with LuaSocket's patterns, limits of time and partial
 * results: a socket (lua_socket.c), or whatever else has a stream.  They find
 * it at index 1.  One task at a time reads, and one writes.
 *
 * Bytes stay in the stream's buffer until all that was asked for is there, or
 * the call fails.  So nothing is lost when a task is cancelled in a wait.
 *
 * TLS is a layer of Lua: while has_tls is set the user value 1 is an object
 * with read(self, max, seconds), write(self, string, seconds) and close(self),
 * which are called where the stream would be read and written, and with
 * dirty(self) and is_broken(self).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_STREAM_H
#define SCRIPT_LUA_STREAM_H

#include "base/list.h"
#include "io/stream.h"

#include <lua.h>
#include <stdint.h>

enum { LUA_STREAM_TLS = 1 }; /* the user value */

/* What time is limited for. */
enum lua_stream_limit {
    LUA_STREAM_CONNECT,
    LUA_STREAM_SEND,
    LUA_STREAM_RECEIVE,
    LUA_STREAM_LIMITS
};

struct lua_stream {
    unsigned magic; /* whose class it is */
    bool has_tls;
    bool has_reader;         /* that has waited and not gone on; or was ended */
    struct stream *stream;   /* NULL: there never was one, or it is closed */
    struct list readers;     /* the tasks that wait, by wait_link */
    struct list writers;     /* ... for room or a connection */
    struct list raw_waiters; /* ... for the descriptor, below TLS */
    unsigned closings;       /* how often it was closed */
    uint64_t consumed;       /* bytes, of all streams that it has had */
    uint64_t scanned_to;     /* the byte up to which there is no newline */
    /* s, negative: none; each begins anew when bytes move */
    double limits[LUA_STREAM_LIMITS];
    double total; /* s of a whole call, likewise */
};

/* An empty one, without a stream, in the memory of a new userdata. */
void lua_stream_init(struct lua_stream *self, unsigned magic);

/* Gives it a closed stream if it has none.  Raises "cannot wait here" while the
 * script is loaded, and when there is no memory. */
struct stream *lua_stream_need(lua_State *L, struct lua_stream *self);

/* Has it a descriptor? */
static inline bool lua_stream_is_open(const struct lua_stream *self)
{
    return self->stream != NULL && stream_fd(self->stream) != -1;
}

/* Can it be read or written? */
bool lua_stream_is_up(const struct lua_stream *self);

/* Closes the stream: whoever waits gets nil, "closed".  Raises nothing. */
void lua_stream_close(struct lua_stream *self);

/* The same, but the descriptor is the caller's, open as it is; -1: there is
 * none. */
int lua_stream_release(struct lua_stream *self);

/* The same, but the stream, which is there and for which nobody waits, is the
 * caller's, connected as it is. */
struct stream *lua_stream_detach(struct lua_stream *self);

/* Takes over a connected stream; it has none that is. */
void lua_stream_attach(struct lua_stream *self, struct stream *stream);

/* Closes it and frees the stream.  Raises nothing. */
void lua_stream_free(struct lua_stream *self);

/* Limits all calls: LuaSocket's settimeout.  is_total: whole calls, else each
 * of their waits. */
void lua_stream_set_limit(struct lua_stream *self, double seconds,
                          bool is_total);

/* The number of seconds at index; nil or negative: no limit (-1). */
double lua_stream_check_limit(lua_State *L, int index);

/* When a call begins, in seconds: for lua_stream_left.  0: nobody will ask. */
double lua_stream_start(const struct lua_stream *self);

/* How long a call that began at that time may wait now, in seconds: 0: not at
 * all; negative: for ever. */
double lua_stream_left(const struct lua_stream *self,
                       enum lua_stream_limit limit, double started);

/* Pushes nil and err, and returns 2. */
int lua_stream_fail(lua_State *L, const char *err);

/* Pushes nil and why the stream gives no more. */
int lua_stream_fail_with(lua_State *L, struct lua_stream *self,
                         enum stream_result result);

/* --- reading (lua_stream_read.c) ------------------------------------------ */

/* Lua functions but for the check of their first argument, after which they are
 * called:
 *     receive(self[, pattern or n[, prefix]])
 *         -> string | nil, err, partial
 *     receive_any(self, max) -> string | nil, err
 *     receive_until(self, pattern[, options]) -> iterator */
int lua_stream_receive(lua_State *L);
int lua_stream_receive_any(lua_State *L);
int lua_stream_receive_until(lua_State *L);

/* --- writing (lua_stream_write.c) ----------------------------------------- */

/* send(self, string or number or nested lists of them[, first[, last]])
 *     -> last | nil, err, last: the index of the last byte that was sent */
int lua_stream_send(lua_State *L);

/* Replaces the list at index 2 by its bytes as one string; raises for what
 * cannot be sent. */
void lua_stream_join(lua_State *L);

#endif
