/* lua_headers.c -- see lua_headers.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_headers.h"

#include "core/params.h"
#include "script/lua_request.h"

#include <lauxlib.h>
#include <string.h>

static void push_slice(lua_State *L, struct slice value)
{
    lua_pushlstring(L, value.len > 0 ? value.data : "", value.len);
}

static char upper(char c)
{
    return (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c == '-' ? '_' : c);
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '_' ? '-' : c);
}

/* The part of a parameter's name that is a header's: HTTP_X_Y -> X_Y, and the
 * two that CGI names without HTTP_.  Never Proxy: scripts would take it for
 * the variable of that name (httpoxy). */
static bool is_header(struct slice param, struct slice *header)
{
    *header = param;
    if (slice_equal(param, slice_of("CONTENT_TYPE")) ||
        slice_equal(param, slice_of("CONTENT_LENGTH")))
        return true;
    if (param.len <= 5 || memcmp(param.data, "HTTP_", 5) != 0)
        return false;
    slice_take(header, 5);
    return !slice_equal_nocase(*header, slice_of("PROXY"));
}

static bool same_header(struct slice header, struct slice name)
{
    if (header.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (upper(header.data[i]) != upper(name.data[i]))
            return false;
    return true;
}

/* These two nginx sends as HTTP_ parameters, too. */
static bool comes_once(struct slice header)
{
    return same_header(header, slice_of("CONTENT_TYPE")) ||
           same_header(header, slice_of("CONTENT_LENGTH"));
}

/* Some web servers send a repeated header twice: cookies are joined as a
 * browser would have sent them. */
static const char *joint(struct slice header)
{
    return slice_equal_nocase(header, slice_of("COOKIE")) ? "; " : ", ";
}

/* Adds a value to the list of a name that was there before: the name is on top,
 * and popped.  Nobody joins values one by one: the peer chooses how many there
 * are. */
static void add_repeated(lua_State *L, int all, int repeated,
                         struct slice value)
{
    if (lua_isnil(L, repeated)) {
        lua_newtable(L);
        lua_replace(L, repeated);
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, repeated) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -2);
        lua_rawget(L, all);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, repeated);
    }
    push_slice(L, value);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 2);
}

/* Joins each of these lists. */
static void join_repeated(lua_State *L, int all, int repeated)
{
    lua_pushnil(L);
    while (lua_next(L, repeated) != 0) {
        int list = lua_gettop(L);
        lua_Integer n = (lua_Integer)lua_rawlen(L, list);
        const char *between = joint(slice_of(lua_tostring(L, list - 1)));
        luaL_Buffer joined;

        lua_pushvalue(L, list - 1);
        luaL_buffinit(L, &joined);
        for (lua_Integer i = 1; i <= n; i++) {
            if (i > 1)
                luaL_addstring(&joined, between);
            lua_rawgeti(L, list, i);
            luaL_addvalue(&joined);
        }
        luaL_pushresult(&joined);
        lua_rawset(L, all);
        lua_pop(L, 1);
    }
}

static int push_all_headers(lua_State *L, const struct request *req)
{
    struct slice in, param, value, header;
    int all, repeated;

    if (req == NULL)
        return lua_request_over(L);
    in = buffer_slice(&req->params);
    lua_newtable(L);
    all = lua_gettop(L);
    lua_pushnil(L);
    repeated = all + 1;
    while (params_next(&in, &param, &value) == PARAMS_PAIR) {
        luaL_Buffer name;
        char *room;

        if (!is_header(param, &header))
            continue;
        room = luaL_buffinitsize(L, &name, header.len);
        for (size_t i = 0; i < header.len; i++)
            room[i] = lower(header.data[i]);
        luaL_pushresultsize(&name, header.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, all) == LUA_TNIL) {
            lua_pop(L, 1);
            push_slice(L, value);
            lua_rawset(L, all);
        } else {
            lua_pop(L, 1);
            if (comes_once(header))
                lua_pop(L, 1);
            else
                add_repeated(L, all, repeated, value);
        }
    }
    if (!lua_isnil(L, repeated))
        join_repeated(L, all, repeated);
    lua_settop(L, all);
    return 1;
}

int lua_headers_get(lua_State *L)
{
    struct request *req = lua_request_get(L);
    struct slice in, name, param, value, header, first = { NULL, 0 };
    luaL_Buffer joined; /* of the second and those behind it */
    int found = 0;

    if (lua_gettop(L) == 1)
        return push_all_headers(L, req);
    name.data = luaL_checklstring(L, 2, &name.len);
    if (req == NULL)
        return lua_request_over(L);
    in = buffer_slice(&req->params);
    while (params_next(&in, &param, &value) == PARAMS_PAIR) {
        if (!is_header(param, &header) || !same_header(header, name))
            continue;
        if (found == 0) {
            first = value;
        } else {
            if (comes_once(header))
                break;
            if (found == 1) {
                luaL_buffinit(L, &joined);
                luaL_addlstring(&joined, first.data, first.len);
            }
            luaL_addstring(&joined, joint(header));
            luaL_addlstring(&joined, value.data, value.len);
        }
        found++;
    }
    if (found == 0)
        luaL_pushfail(L);
    else if (found == 1)
        push_slice(L, first);
    else
        luaL_pushresult(&joined);
    return 1;
}
