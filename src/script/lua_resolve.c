/* lua_resolve.c -- see lua_resolve.h: names of hosts become addresses.
 *
 * Who has to wait does so for an object of its own, on its stack, into which
 * the answer is copied when it comes: however the wait ends, the collector
 * takes it back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_resolve.h"

#include "io/endpoint.h"
#include "io/resolver.h"
#include "script/wait.h"

#include <arpa/inet.h>
#include <math.h>

enum { ASKING_MAGIC = 0x61736b73 };

/* The stack of fcgi.resolve. */
enum { AT_NAME = 1, AT_FAMILY, AT_SECONDS, AT_ASKING };

struct asking {
    unsigned magic;
    struct resolve_wait wait;
    struct list waiting; /* the one task */
    struct resolve_answer answer;
};

/* --- arguments ------------------------------------------------------------ */

static enum resolve_family check_family(lua_State *L)
{
    static const char *const names[] = { "unspec", "inet", "inet6", NULL };
    static const enum resolve_family families[] = { RESOLVE_BOTH, RESOLVE_INET,
                                                    RESOLVE_INET6 };
    int is_integer;
    lua_Integer version = lua_tointegerx(L, AT_FAMILY, &is_integer);

    if (is_integer && (version == 4 || version == 6))
        return version == 4 ? RESOLVE_INET : RESOLVE_INET6;
    return families[luaL_checkoption(L, AT_FAMILY, "unspec", names)];
}

static double check_seconds(lua_State *L)
{
    double seconds = luaL_optnumber(L, AT_SECONDS, RESOLVE_SECONDS_MAX);

    luaL_argcheck(L, seconds >= 0, AT_SECONDS, "not a number of seconds");
    return fmin(seconds, RESOLVE_SECONDS_MAX);
}

/* --- answers -------------------------------------------------------------- */

static int push_failure(lua_State *L, const char *what)
{
    luaL_pushfail(L);
    lua_pushstring(L, what);
    return 2;
}

static void push_address(lua_State *L, const struct resolve_address *address)
{
    char text[INET6_ADDRSTRLEN];

    inet_ntop(address->is_inet6 ? AF_INET6 : AF_INET, address->bytes, text,
              sizeof(text));
    lua_pushstring(L, text);
}

static int push_answer(lua_State *L, const struct resolve_answer *answer)
{
    switch (answer->status) {
    case RESOLVE_OK:
        break;
    case RESOLVE_LATER:
    case RESOLVE_TIMEOUT:
        return push_failure(L, "timeout");
    case RESOLVE_NOT_FOUND:
        return push_failure(L, "not found");
    case RESOLVE_FAILED:
        return push_failure(L, "server failure");
    case RESOLVE_ABSENT:
        return push_failure(L, "built without c-ares");
    case RESOLVE_NO_MEMORY:
        return luaL_error(L, "not enough memory");
    }
    lua_createtable(L, (int)answer->count, 0);
    for (unsigned i = 0; i < answer->count; i++) {
        push_address(L, &answer->addresses[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* An address is its own answer, without waiting; so it is at the top level. */
static int push_itself(lua_State *L, const struct endpoint *address,
                       enum resolve_family family)
{
    bool is_inet6 = address->as.any.sa_family == AF_INET6;
    char text[ENDPOINT_TEXT];

    if (family != RESOLVE_BOTH && is_inet6 != (family == RESOLVE_INET6))
        return push_failure(L, "not found");
    endpoint_print(address, text);
    lua_createtable(L, 1, 0);
    lua_pushstring(L, text);
    lua_rawseti(L, -2, 1);
    return 1;
}

/* --- waiting -------------------------------------------------------------- */

static void on_end(struct resolve_wait *wait,
                   const struct resolve_answer *answer)
{
    struct asking *asking = list_entry(wait, struct asking, wait);

    asking->answer = *answer;
    task_wake_list(&asking->waiting);
}

static int asked_k(lua_State *L, int status, lua_KContext ctx)
{
    struct asking *asking = lua_touserdata(L, AT_ASKING);

    (void)status;
    (void)ctx;
    resolver_stop(&asking->wait); /* time may have passed */
    return push_answer(L, &asking->answer);
}

/* The script can call it by hand: debug.getmetatable exists. */
static int l_gc(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);

    if (asking != NULL && lua_rawlen(L, 1) == sizeof(*asking) &&
        lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(1)) &&
        asking->magic == ASKING_MAGIC)
        resolver_stop(&asking->wait);
    return 0;
}

/* Asks, and leaves the object on the stack at AT_ASKING. */
static struct asking *push_asking(lua_State *L)
{
    struct asking *asking = lua_newuserdatauv(L, sizeof(*asking), 0);

    asking->magic = ASKING_MAGIC;
    asking->wait.lookup = NULL;
    asking->wait.on_end = on_end;
    list_init(&asking->waiting);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return asking;
}

/* fcgi.resolve(name[, family[, seconds]]) -> list | nil, err; upvalue 1: the
 * class of what waits */
static int l_resolve(lua_State *L)
{
    struct slice name;
    enum resolve_family family;
    struct endpoint address;
    struct asking *asking;
    struct script *script = script_of(L);
    double seconds;

    lua_settop(L, AT_SECONDS);
    name.data = luaL_checklstring(L, AT_NAME, &name.len);
    family = check_family(L);
    seconds = check_seconds(L);
    if (strlen(name.data) == name.len && endpoint_ip(&address, name.data, 0))
        return push_itself(L, &address, family);
    task_begin_wait(L);
    asking = push_asking(L);
    if (script->resolver == NULL)
        script->resolver = resolver_new(script->loop, &script->limits.resolver);
    if (script->resolver == NULL)
        return luaL_error(L, "not enough memory");
    if (resolver_ask(script->resolver, name, family, &asking->wait,
                     &asking->answer) != RESOLVE_LATER)
        return push_answer(L, &asking->answer);
    asking->answer.status = RESOLVE_LATER;
    asking->answer.count = 0;
    return task_wait_in(L, &asking->waiting, seconds, 0, asked_k);
}

void lua_resolve_open(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_gc, 1);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushcclosure(L, l_resolve, 1);
    lua_setfield(L, -2, "resolve");
}
