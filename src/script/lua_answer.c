/* lua_answer.c -- answering a request from Lua.
 *
 * Writing waits when the peer does not keep up, so what is to be written stands
 * on the Lua stack until the response has taken it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/head.h"
#include "core/limits.h"
#include "script/lua_request.h"
#include "script/report.h"
#include "script/wait.h"

enum {
    LIST_DEPTH = 64, /* of lists in lists */
    SHORT_WRITE = 2048,
    DROPPED_PAUSE = 256 * 1024
};

/* --- the head ------------------------------------------------------------- */

/* What became of a change of the head.  An aborted request takes anything:
 * its handler is not to be interrupted. */
static int head_result(lua_State *L, const struct request *req,
                       enum response_result result)
{
    switch (result) {
    case RESPONSE_OK:
        return lua_request_chain(L);
    case RESPONSE_FULL:
        return luaL_error(L, "the head is too large");
    case RESPONSE_NO_MEMORY:
        return luaL_error(L, "not enough memory");
    case RESPONSE_LATE:
    case RESPONSE_FINISHED:
    case RESPONSE_ABORTED:
    case RESPONSE_WAIT:
        break;
    }
    if (req->is_aborted)
        return lua_request_chain(L);
    return luaL_error(L, result == RESPONSE_FINISHED
                             ? "the answer is finished"
                             : "the head has gone, or was begun by req:write");
}

static struct slice check_slice(lua_State *L, int index)
{
    struct slice value;

    value.data = luaL_checklstring(L, index, &value.len);
    return value;
}

static int check_status(lua_State *L, int index)
{
    lua_Integer status = luaL_checkinteger(L, index);

    luaL_argcheck(L, status >= 200 && status <= 599, index,
                  "a status is an integer from 200 to 599");
    return (int)status;
}

/* req:set_status(code[, reason]) -> req */
static int l_set_status(lua_State *L)
{
    struct request *req = lua_request_get(L);
    int status = check_status(L, 2);
    struct slice reason = { "", 0 };

    if (req == NULL)
        return lua_request_over(L);
    if (!lua_isnoneornil(L, 3))
        reason = check_slice(L, 3);
    luaL_argcheck(L, head_is_value(reason), 3, "has a control byte");
    luaL_argcheck(L, reason.len <= RESPONSE_REASON_MAX, 3, "is too long");
    return head_result(L, req, response_set_status(req, status, reason));
}

/* A number is none: the table { "Content-Type: text/html" } has the key 1. */
static struct slice check_name(lua_State *L)
{
    struct slice name;

    luaL_checktype(L, 2, LUA_TSTRING);
    name = check_slice(L, 2);
    luaL_argcheck(L, head_is_name(name), 2, "is not the name of a header");
    return name;
}

/* One value, at index: a string or a number. */
static enum response_result add_value(lua_State *L, struct request *req,
                                      struct slice name, int index)
{
    struct slice value = slice_trim(check_slice(L, index));

    luaL_argcheck(L, head_is_value(value), 3, "has a control byte");
    return response_add_header(req, name, value);
}

/* A table that has something, but no list in it, was meant otherwise.  n is
 * what table.pack counts. */
static void check_no_fields(lua_State *L, int index, int argument)
{
    lua_pushnil(L);
    if (lua_next(L, index) == 0)
        return;
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "n") != 0)
        luaL_argerror(L, argument,
                      lua_pushfstring(L,
                                      "a list of strings or numbers expected, "
                                      "got a table with the field %s",
                                      luaL_tolstring(L, -1, NULL)));
    lua_pop(L, 1);
}

/* "Status" is not a header of the answer, though CGI writes it as one. */
static int set_status_header(lua_State *L, struct request *req)
{
    struct slice value = check_slice(L, 3), digits = value;
    unsigned long long status = 0;

    digits = slice_take(&value, 3);
    luaL_argcheck(L,
                  slice_to_number(digits, 599, &status) && status >= 200 &&
                      (value.len == 0 || value.data[0] == ' ') &&
                      head_is_value(value) && value.len <= RESPONSE_REASON_MAX,
                  3, "a status is an integer from 200 to 599");
    return head_result(
        L, req, response_set_status(req, (int)status, slice_trim(value)));
}

static void check_list(lua_State *L)
{
    lua_Integer i;

    for (i = 1;; i++) {
        struct slice value;

        if (lua_rawgeti(L, 3, i) == LUA_TNIL)
            break;
        luaL_argcheck(L, lua_isstring(L, -1), 3,
                      "a list of strings or numbers expected");
        value.data = lua_tolstring(L, -1, &value.len);
        luaL_argcheck(L, head_is_value(slice_trim(value)), 3,
                      "has a control byte");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (i == 1)
        check_no_fields(L, 3, 3);
}

static enum response_result add_list(lua_State *L, struct request *req,
                                     struct slice name)
{
    enum response_result result = RESPONSE_OK;

    for (lua_Integer i = 1; result == RESPONSE_OK; i++) {
        if (lua_rawgeti(L, 3, i) == LUA_TNIL)
            break;
        result = add_value(L, req, name, lua_gettop(L));
        lua_pop(L, 1);
    }
    return result;
}

/* Everything is checked before the first header changes. */
static int change_header(lua_State *L, bool replaces)
{
    struct request *req = lua_request_get(L);
    struct slice name = check_name(L), value;
    enum response_result result = RESPONSE_OK;

    if (req == NULL)
        return lua_request_over(L);
    lua_settop(L, 3);
    if (slice_equal_nocase(name, slice_of("Status")) && !lua_isnil(L, 3))
        return set_status_header(L, req);
    if (lua_istable(L, 3)) {
        check_list(L);
    } else if (!lua_isnil(L, 3)) {
        value = check_slice(L, 3);
        luaL_argcheck(L, head_is_value(slice_trim(value)), 3,
                      "has a control byte");
    }
    if (replaces)
        result = response_remove_header(req, name);
    if (result == RESPONSE_OK && lua_istable(L, 3))
        result = add_list(L, req, name);
    else if (result == RESPONSE_OK && !lua_isnil(L, 3))
        result = add_value(L, req, name, 3);
    return head_result(L, req, result);
}

/* req:set_header(name, string | number | list | nil) -> req */
static int l_set_header(lua_State *L)
{
    return change_header(L, true);
}

/* req:add_header(name, string | number | list) -> req */
static int l_add_header(lua_State *L)
{
    luaL_checkany(L, 3);
    luaL_argcheck(L, !lua_isnil(L, 3), 3, "string expected, got nil");
    return change_header(L, false);
}

/* --- the body ------------------------------------------------------------- */

/* true; nil and why; or it raises. */
static int write_result(lua_State *L, enum response_result result)
{
    switch (result) {
    case RESPONSE_OK:
        lua_pushboolean(L, 1);
        return 1;
    case RESPONSE_ABORTED:
        luaL_pushfail(L);
        lua_pushliteral(L, "aborted");
        return 2;
    case RESPONSE_FULL:
        return luaL_error(L, "the head is too large");
    case RESPONSE_NO_MEMORY:
        return luaL_error(L, "not enough memory");
    case RESPONSE_FINISHED:
    case RESPONSE_LATE:
    case RESPONSE_WAIT:
        break;
    }
    luaL_pushfail(L);
    lua_pushliteral(L, "finished");
    return 2;
}

/* The bytes of a string or a number at index; the copy that a number needs is
 * left on the stack. */
static struct slice text_at(lua_State *L, int index)
{
    struct slice text;

    lua_pushvalue(L, index);
    text.data = lua_tolstring(L, -1, &text.len);
    return text;
}

/* How many bytes the value at index has; raises unless it can be written. */
static size_t measure(lua_State *L, int index, int argument, int depth)
{
    size_t size = 0;
    lua_Integer i;

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return lua_rawlen(L, index);
    case LUA_TNUMBER:
        size = text_at(L, index).len;
        lua_pop(L, 1);
        return size;
    case LUA_TTABLE:
        break;
    default:
        return (size_t)luaL_argerror(
            L, argument,
            lua_pushfstring(L,
                            "string, number or list of them expected, got %s",
                            luaL_typename(L, index)));
    }
    luaL_argcheck(L, depth < LIST_DEPTH, argument, "lists in lists, too deep");
    luaL_checkstack(L, 8, "lists in lists");
    for (i = 1; lua_rawgeti(L, index, i) != LUA_TNIL; i++) {
        size += measure(L, lua_gettop(L), argument, depth + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (i == 1)
        check_no_fields(L, index, argument);
    return size;
}

/* Copies what measure measured to *at; a finalizer that runs meanwhile may
 * have made the list longer. */
static void flatten(lua_State *L, int index, char **at, const char *end)
{
    if (lua_type(L, index) != LUA_TTABLE) {
        struct slice text = text_at(L, index);

        if (text.len > (size_t)(end - *at))
            luaL_error(L, "a list that is written was changed");
        memcpy(*at, text.data, text.len);
        *at += text.len;
        lua_pop(L, 1);
        return;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, index, i) != LUA_TNIL; i++) {
        flatten(L, lua_gettop(L), at, end);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Replaces the arguments from index `first` to `last` by one string there. */
static void join_arguments(lua_State *L, int first, int last, size_t size)
{
    luaL_Buffer buffer;
    char *start = luaL_buffinitsize(L, &buffer, size), *at = start;

    for (int i = first; i <= last; i++)
        flatten(L, i, &at, start + size);
    luaL_pushresultsize(&buffer, (size_t)(at - start));
    lua_replace(L, first);
}

/* Makes every argument a string; small ones in a row become one.  A large
 * string stays as it is: it is written from where it lies. */
static void make_strings(lua_State *L)
{
    int top = lua_gettop(L), out = 2;

    for (int i = 2, j; i <= top; i = j) {
        size_t size = 0, next;

        for (j = i; j <= top; j++) {
            next = measure(L, j, j, 0);
            if (j > i && size + next > SHORT_WRITE)
                break;
            size += next;
        }
        if (j > i + 1 || lua_type(L, i) != LUA_TSTRING)
            join_arguments(L, i, j - 1, size);
        lua_pushvalue(L, i);
        lua_replace(L, out++);
    }
    lua_settop(L, out - 1);
}

static int paused_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    lua_pushboolean(L, 1);
    return 1;
}

/* Bytes that are thrown away never fill anything: a handler that writes without
 * end to a HEAD request must let others in all the same. */
static int end_write(lua_State *L, struct request *req,
                     enum response_result result)
{
    if (result == RESPONSE_OK && req->response.dropped >= DROPPED_PAUSE &&
        lua_isyieldable(L)) {
        req->response.dropped = 0;
        return task_sleep(L, 0, paused_k);
    }
    return write_result(L, result);
}

/* Strings from index 2 on; ctx is how many bytes of those that are left are
 * written.  What is written goes off the stack. */
static int write_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    enum response_result result = RESPONSE_OK;
    size_t done = (size_t)ctx;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    while (result == RESPONSE_OK && lua_gettop(L) > 1) {
        struct slice rest;
        size_t len;

        rest.data = lua_tolstring(L, 2, &len);
        rest.len = len;
        slice_take(&rest, done);
        result = response_write(req, &rest);
        done = len - rest.len;
        if (result == RESPONSE_OK) {
            lua_remove(L, 2);
            done = 0;
        }
    }
    if (result != RESPONSE_WAIT)
        return end_write(L, req, result);
    return task_wait_request(L, req, (lua_KContext)done, write_k);
}

/* What nearly every call is: a few short strings.  They are joined on the C
 * stack, which costs no garbage, if the peer keeps up; false: nothing was
 * written. */
static bool write_short(lua_State *L, struct request *req, int top,
                        enum response_result *result)
{
    char joined[SHORT_WRITE];
    struct slice all = { joined, 0 };

    for (int i = 2; i <= top; i++) {
        struct slice text;

        if (lua_type(L, i) != LUA_TSTRING)
            return false;
        text.data = lua_tolstring(L, i, &text.len);
        if (text.len > sizeof(joined) - all.len)
            return false;
        memcpy(joined + all.len, text.data, text.len);
        all.len += text.len;
    }
    if (req->exchange == NULL ||
        req->exchange->ops->room(req->exchange) < sizeof(joined))
        return false;
    *result = response_write(req, &all);
    return true;
}

/* req:write(...) -> true | nil, "aborted" | nil, "finished" */
static int l_write(lua_State *L)
{
    struct request *req = lua_request_get(L);
    int top = lua_gettop(L);
    enum response_result result;

    if (req == NULL)
        return lua_request_over(L);
    if (write_short(L, req, top, &result))
        return end_write(L, req, result);
    for (int i = 2; i <= top; i++)
        measure(L, i, i, 0); /* all are checked before the first byte */
    make_strings(L);
    return write_k(L, LUA_OK, 0);
}

static int write_err_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    struct slice text;
    enum response_result result;

    (void)status;
    (void)ctx;
    if (req == NULL)
        return lua_request_over(L);
    text.data = lua_tolstring(L, 2, &text.len);
    result = response_write_err(req, text);
    if (result == RESPONSE_WAIT)
        return task_wait_request(L, req, 0, write_err_k);
    return write_result(L, result);
}

/* req:write_err(...): the web server's error log, and ours */
static int l_write_err(lua_State *L)
{
    struct request *req = lua_request_get(L);
    int top = lua_gettop(L);
    size_t size = 0;
    struct slice text, line;

    if (req == NULL)
        return lua_request_over(L);
    for (int i = 2; i <= top; i++)
        size += measure(L, i, i, 0);
    lua_settop(L, top > 1 ? top : 2);
    join_arguments(L, 2, top, size);
    lua_settop(L, 2);
    text.data = lua_tolstring(L, 2, &text.len);
    for (struct slice rest = text; rest.len > 0; slice_take(&rest, 1)) {
        const char *newline = slice_find(rest, '\n');

        line = slice_take(
            &rest, newline == NULL ? rest.len : (size_t)(newline - rest.data));
        report_log(LOG_LEVEL_NOTICE, req, line, (struct slice){ NULL, 0 });
    }
    if (script_of(L)->limits.stderr_to_log || text.len == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return write_err_k(L, LUA_OK, 0);
}

static int flush_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    enum response_result result;

    (void)status;
    (void)ctx;
    if (req == NULL)
        return lua_request_over(L);
    result = response_flush(req);
    if (result == RESPONSE_WAIT)
        return task_wait_request(L, req, 0, flush_k);
    return write_result(L, result);
}

/* req:flush() -> true once the kernel took it */
static int l_flush(lua_State *L)
{
    lua_request_check(L);
    lua_settop(L, 1);
    return flush_k(L, LUA_OK, 0);
}

/* req:finish([app_status]); idempotent */
static int l_finish(lua_State *L)
{
    struct request *req = lua_request_get(L);
    lua_Integer app_status = luaL_optinteger(L, 2, 0);

    luaL_argcheck(L, app_status >= 0 && app_status <= UINT32_MAX, 2,
                  "out of range");
    if (req == NULL)
        return lua_request_over(L);
    response_finish(req, (uint32_t)app_status);
    lua_pushboolean(L, 1);
    return 1;
}

/* --- for lua/fcgi/answer.lua ---------------------------------------------- */

/* Has the head gone, or has the script begun one? */
/* body_bytes(req) -> how many were taken so far | nil */
static int l_body_bytes(lua_State *L)
{
    struct request *req = lua_request_get(L);

    if (req == NULL)
        return 0;
    lua_pushinteger(L, (lua_Integer)req->response.body_bytes);
    return 1;
}

static int l_is_begun(lua_State *L)
{
    struct request *req = lua_request_get(L);

    lua_pushboolean(L, req != NULL && req->response.state != RESPONSE_NEW);
    return 1;
}

/* has_header(req, name): was it set? */
static int l_has_header(lua_State *L)
{
    struct request *req = lua_request_get(L);

    lua_pushboolean(L, req != NULL && response_has_header(req, check_name(L)));
    return 1;
}

/* admit(req): the answer of on_authorize lets the client in. */
static int l_admit(lua_State *L)
{
    struct request *req = lua_request_get(L);

    if (req != NULL && response_admit(req) == RESPONSE_LATE)
        return luaL_error(L,
                          "on_authorize returned true, but has set the "
                          "status %d",
                          req->response.status);
    return 0;
}

const luaL_Reg lua_request_answering[] = {
    { "set_status", l_set_status }, { "set_header", l_set_header },
    { "add_header", l_add_header }, { "write", l_write },
    { "write_err", l_write_err },   { "flush", l_flush },
    { "finish", l_finish },         { NULL, NULL },
};

const luaL_Reg lua_request_private[] = {
    { "is_begun", l_is_begun },
    { "body_bytes", l_body_bytes },
    { "has_header", l_has_header },
    { "admit", l_admit },
    { NULL, NULL },
};
