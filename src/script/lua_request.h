/* lua_request.h -- private to this room: the request userdata.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_REQUEST_H
#define SCRIPT_LUA_REQUEST_H

#include "base/buffer.h"
#include "core/request.h"
#include "script/script_state.h"

#define LUA_REQUEST "fcgi.request"
enum { LUA_REQUEST_MAGIC = 0x7265716c };

/* The user value of the handle: a private table, made when first needed. */
enum { REQUEST_MEMO = 1 };

/* A body is taken in one way. */
enum body_use { BODY_UNUSED, BODY_READ, BODY_WHOLE, BODY_FORM, BODY_PARTS };

/* Holds its request until the handler has ended; after that a handle that the
 * script kept only says how it ended.  So requests and their parameters go back
 * to their pool at once, not when the collector comes round, which could not
 * see their memory. */
struct lua_request {
    unsigned magic;
    enum body_use use;
    bool was_aborted;    /* when it was released */
    struct request *req; /* NULL: released */
    struct buffer line;  /* what read_line has so far */
};

/* Makes the class; once for each state.  May raise. */
void lua_request_open(lua_State *L);

/* The only way a request enters Lua.  May raise. */
void lua_request_push(lua_State *L, struct request *req);

/* The handler has ended: the handle lets go of its request. */
void lua_request_release(struct lua_request *self);

/* The handle at index 1; raises if it is none.  Only for functions that have
 * the class as upvalue 1. */
struct lua_request *lua_request_check(lua_State *L);

/* Its request, or NULL when it was released: then the caller returns what
 * lua_request_over does. */
static inline struct request *lua_request_get(lua_State *L)
{
    return lua_request_check(L)->req;
}

/* Pushes nil and how the request ended; returns 2. */
int lua_request_over(lua_State *L);

/* The handle at index 1, whose body is taken in this way from now on; raises if
 * it is in another.  NULL: it was released. */
struct lua_request *lua_request_use_body(lua_State *L, enum body_use use);

/* What a reader is told for it, static text; NULL: nothing is wrong. */
const char *lua_request_reason(enum request_status status);

/* Pushes the handle's private table. */
void lua_request_push_memo(lua_State *L);

/* Starts what req:on_abort was given; takes over the reference.  false: there
 * is no memory. */
bool lua_request_start_abort_hook(struct script *script, struct request *req,
                                  int ref);

/* The methods that answer (lua_answer.c) and read (lua_read.c). */
extern const luaL_Reg lua_request_answering[];
extern const luaL_Reg lua_request_reading[];

/* What lua/fcgi/answer.lua, file.lua and form.lua need besides. */
extern const luaL_Reg lua_request_private[];
extern const luaL_Reg lua_request_peeking[];
extern const luaL_Reg lua_request_forming[];

/* Pushes req and returns 1: what chained calls return. */
static inline int lua_request_chain(lua_State *L)
{
    lua_settop(L, 1);
    return 1;
}

#endif
