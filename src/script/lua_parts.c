/* lua_parts.c -- req:parts: the parts of a multipart/form-data body as they
 * come.  Nothing is kept of them but what a script asks for.
 *
 *     body --> reader --> part:read, read_line --> Lua
 *                     `--> part:save --> a file
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_parts.h"

#include "script/lua_part.h"
#include "script/refusal.h"
#include "script/wait.h"

#include <stdio.h>

/* Raises an error that says what is wrong with a body. */
static int raise_fault(lua_State *L, int status, const char *why)
{
    char text[160];

    snprintf(text, sizeof(text), "bad multipart: %s", why);
    refusal_push(L, status, text);
    return lua_error(L);
}

/* There are no more parts, and that is a fault. */
static int raise_end(lua_State *L, const struct reader *reader)
{
    if (strcmp(reader->why, "bad multipart") == 0)
        return raise_fault(L, 400, reader->mp.why);
    refusal_push(L, strcmp(reader->why, "too large") == 0 ? 413 : 400,
                 reader->why);
    return lua_error(L);
}

/* Skips what is left of a part and gives the next one.  The reader is at index
 * 1; at 2, whether a fault is raised. */
static int next_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = lua_touserdata(L, 1);
    struct slice data;

    (void)status;
    (void)ctx;
    if (reader->is_saving)
        return luaL_error(L, "a part is being saved by another task");
    for (;;) {
        if (reader->is_due)
            return lua_part_push(L, reader);
        if (reader_is_turn_over(L, reader))
            return task_sleep(L, 0, next_k);
        switch (reader_look(reader, &data)) {
        case LOOK_DATA:
            reader_take(reader, data.len);
            reader->was_read = true;
            break;
        case LOOK_PART:
            reader_begin_part(reader);
            break;
        case LOOK_ENDED:
            break;
        case LOOK_OVER:
            reader->number++; /* it has gone on from the last one, too */
            luaL_pushfail(L);
            return 1;
        case LOOK_WAIT:
            return reader_wait(L, reader, next_k);
        case LOOK_NOTHING:
            return lua_toboolean(L, 2) ? raise_end(L, reader)
                                       : reader_push_why(L, reader->why);
        case LOOK_MEMORY:
            return reader_no_memory(L);
        }
    }
}

/* What req:parts gives; upvalue 1 is the reader. */
static int l_iterate(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    reader_check(L);
    lua_pushboolean(L, 1);
    return next_k(L, LUA_OK, 0);
}

/* Everybody forgets enctype once. */
static const char *why_no_form(struct slice type)
{
    const struct slice plain = slice_of("application/x-www-form-urlencoded");

    return slice_equal_nocase(slice_take(&type, plain.len), plain)
               ? "the form was sent without enctype=\"multipart/form-data\""
               : "the body is not multipart/form-data";
}

/* req:parts() -> an iterator */
int lua_parts_iterate(lua_State *L)
{
    struct lua_request *handle = lua_request_check(L);
    const char *why;

    lua_settop(L, 1);
    if (handle->req == NULL) {
        refusal_push(L, 400, handle->was_aborted ? "aborted" : "finished");
        return lua_error(L);
    }
    if (handle->use == BODY_PARTS)
        return luaL_error(L, "the body is already being taken by req:parts, "
                             "which is called once");
    if (!multipart_is_form(reader_content_type(handle->req)))
        return raise_fault(L, 415,
                           why_no_form(reader_content_type(handle->req)));
    lua_request_use_body(L, BODY_PARTS);
    why = reader_push(L, handle, UINT64_MAX);
    if (why != NULL)
        return raise_fault(L, 400, why);
    lua_pushcclosure(L, l_iterate, 1);
    return 1;
}

/* --- for lua/fcgi/form.lua ------------------------------------------------ */

/* open_parts(req, max): a reader; nil, "bad multipart".  The body was taken by
 * use_form. */
static int l_open_parts(lua_State *L)
{
    struct lua_request *handle = lua_request_check(L);
    lua_Integer max = luaL_checkinteger(L, 2);

    lua_settop(L, 1);
    if (handle->req == NULL)
        return lua_request_over(L);
    if (reader_push(L, handle, (uint64_t)max) != NULL)
        return reader_push_why(L, "bad multipart");
    return 1;
}

/* next_part(reader) -> part | nil | nil, why */
static int l_next_part(lua_State *L)
{
    reader_check(L);
    lua_settop(L, 1);
    lua_pushboolean(L, 0);
    return next_k(L, LUA_OK, 0);
}

void lua_parts_open(lua_State *L, int request_class)
{
    reader_open(L);
    lua_newtable(L);
    lua_pushvalue(L, request_class);
    lua_pushcclosure(L, l_open_parts, 1);
    lua_setfield(L, -2, "open_parts");
    lua_pushcfunction(L, l_next_part);
    lua_setfield(L, -2, "next_part");
    lua_part_open(L); /* class, methods */
    lua_setfield(L, -3, "methods");
    lua_pushcclosure(L, lua_part_read_all, 1);
    lua_setfield(L, -2, "read_part");
}
