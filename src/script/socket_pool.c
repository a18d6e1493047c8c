/* socket_pool.c -- see socket_pool.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/socket_pool.h"

#include "base/pool.h"
#include "script/wait.h"

#include <math.h>
#include <stdlib.h>

enum {
    KEEP_ENTRIES = 64,
    SWEEP_LEAST = 64 /* pools, before empty ones are looked for */
};

/* What the pools of a script share. */
struct socket_pools {
    struct script *script;
    struct pool entries; /* of struct idle */
    struct list pools;
    struct list dead; /* entries that have left their pools */
    struct loop_job reaper;
    struct loop_timer timer;
    double timer_at; /* when it fires, if it runs */
    int table;       /* reference: name -> pool */
    unsigned count, sweep_at;
};

/* A connection that lies in a pool. */
struct idle {
    struct list link; /* in idle, then in dead */
    struct socket_pool *pool;
    struct socket_pools *all;
    struct stream *stream;
    double expires; /* INFINITY: never */
    lua_Integer reused;
    int keeper; /* below TLS: reference of a socket that has the stream */
    bool is_dead;
};

/* --- places --------------------------------------------------------------- */

bool socket_pool_has_place(const struct socket_pool *pool)
{
    return !pool->is_limited ||
           pool->open + pool->granted < pool->size + pool->idle_count;
}

void socket_pool_grant(struct socket_pool *pool)
{
    while (pool->waiting_count > 0 && socket_pool_has_place(pool)) {
        struct socket_ticket *ticket =
            list_entry(list_take(&pool->waiting), struct socket_ticket, link);

        pool->waiting_count--;
        pool->granted++;
        ticket->is_granted = true;
        task_wake_list(&ticket->sock->io.writers);
    }
}

void socket_pool_enter(struct socket_pool *pool, struct lua_socket *sock)
{
    if (!pool->is_limited)
        return;
    pool->open++;
    sock->pool = pool;
}

static void free_place(struct socket_pool *pool)
{
    if (!pool->is_limited)
        return;
    pool->open--;
    socket_pool_grant(pool);
}

void socket_pool_leave(struct lua_socket *sock)
{
    struct socket_pool *pool = sock->pool;

    sock->pool = NULL;
    if (pool != NULL)
        free_place(pool);
}

/* --- the end of those that lie there -------------------------------------- */

/* A stream below TLS is that of its keeper, which the collector takes. */
static void forget(struct idle *entry)
{
    struct socket_pools *all = entry->all;

    if (entry->keeper == LUA_NOREF)
        stream_del(entry->stream);
    luaL_unref(all->script->L, LUA_REGISTRYINDEX, entry->keeper);
    pool_put(&all->entries, entry);
}

static int close_keeper(lua_State *L)
{
    lua_getfield(L, 1, "close");
    lua_insert(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

static void reap(struct loop_job *job)
{
    struct socket_pools *all = list_entry(job, struct socket_pools, reaper);
    lua_State *L = all->script->L;

    while (!list_is_empty(&all->dead)) {
        struct idle *entry =
            list_entry(list_take(&all->dead), struct idle, link);

        if (entry->keeper != LUA_NOREF && lua_checkstack(L, 4)) {
            lua_pushcfunction(L, close_keeper);
            lua_rawgeti(L, LUA_REGISTRYINDEX, entry->keeper);
            if (lua_pcall(L, 1, 0, 0) != LUA_OK)
                lua_pop(L, 1); /* no memory: the collector closes it */
        }
        forget(entry);
    }
}

/* Takes an entry out of its pool; the place stays taken. */
static void take_out(struct idle *entry)
{
    list_remove(&entry->link);
    entry->pool->idle_count--;
}

/* Can be called by the stream: it and what runs Lua end later. */
static void evict(struct idle *entry)
{
    struct socket_pool *pool = entry->pool;

    take_out(entry);
    entry->is_dead = true;
    if (entry->keeper == LUA_NOREF)
        stream_close(entry->stream);
    list_append(&entry->all->dead, &entry->link);
    loop_post(entry->all->script->loop, &entry->all->reaper);
    free_place(pool);
}

/* The peer has ended it, or says something that nobody asked for. */
static void take_news(void *owner, enum stream_side side)
{
    struct idle *entry = owner;

    (void)side;
    if (!entry->is_dead)
        evict(entry);
}

static bool is_awaited(void *owner, enum stream_side side)
{
    (void)owner;
    return side == STREAM_IN;
}

static const struct stream_ops idle_ops = { take_news, is_awaited };

/* --- the time that they may lie there ------------------------------------- */

static void look_at_clock(struct loop_timer *timer);

/* The timer fires when the first one expires, or sooner: it is left alone when
 * a connection is used again, as nearly all are. */
static void watch_clock(struct socket_pools *all, double expires)
{
    struct loop *loop = all->script->loop;

    if (!isfinite(expires) ||
        (loop_timer_is_running(&all->timer) && all->timer_at <= expires))
        return;
    all->timer_at = expires;
    loop_timer_start(loop, &all->timer, expires - loop_now(), look_at_clock);
}

/* Returns when the next one of the pool expires. */
static double evict_expired(struct socket_pool *pool, double now)
{
    double next = INFINITY;

    for (struct list *link = pool->idle.next, *after; link != &pool->idle;
         link = after) {
        struct idle *entry = list_entry(link, struct idle, link);

        after = link->next;
        if (entry->expires <= now)
            evict(entry);
        else
            next = fmin(next, entry->expires);
    }
    return next;
}

static void look_at_clock(struct loop_timer *timer)
{
    struct socket_pools *all = list_entry(timer, struct socket_pools, timer);
    double next = INFINITY, now = loop_now();

    loop_timer_stop(timer);
    for (struct list *link = all->pools.next; link != &all->pools;
         link = link->next) {
        struct socket_pool *pool = list_entry(link, struct socket_pool, link);

        next = fmin(next, evict_expired(pool, now));
    }
    watch_clock(all, next);
}

/* --- all pools ------------------------------------------------------------ */

static struct socket_pools *need_pools(lua_State *L)
{
    struct script *script = script_of(L);
    struct socket_pools *all = script->socket_pools;

    if (all == NULL) {
        all = malloc(sizeof(*all));
        if (all == NULL)
            return (void)luaL_error(L, "not enough memory"), NULL;
        *all = (struct socket_pools){ .script = script,
                                      .table = LUA_NOREF,
                                      .sweep_at = SWEEP_LEAST };
        pool_init(&all->entries, sizeof(struct idle), KEEP_ENTRIES);
        list_init(&all->pools);
        list_init(&all->dead);
        loop_job_init(&all->reaper, reap);
        script->socket_pools = all;
    }
    if (all->table == LUA_NOREF) {
        lua_newtable(L);
        all->table = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return all;
}

void socket_pools_del(struct socket_pools *all)
{
    if (all == NULL)
        return;
    while (!list_is_empty(&all->dead)) {
        struct idle *entry =
            list_entry(list_take(&all->dead), struct idle, link);

        if (entry->keeper == LUA_NOREF)
            stream_del(entry->stream);
        pool_put(&all->entries, entry);
    }
    loop_timer_stop(&all->timer);
    loop_unpost(&all->reaper);
    pool_free(&all->entries);
    free(all);
}

struct socket_pool *socket_pool_find(lua_State *L, int index)
{
    const struct socket_pools *all = script_of(L)->socket_pools;

    if (all == NULL || all->table == LUA_NOREF)
        return lua_pushnil(L), NULL;
    index = lua_absindex(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, all->table);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

static bool is_empty(const struct socket_pool *pool)
{
    return pool->idle_count == 0 && pool->open == 0 && pool->granted == 0 &&
           pool->waiting_count == 0;
}

/* Drops pools that are empty from the table on top of the stack, so that a
 * program that makes up names keeps none of them. */
static void sweep(lua_State *L, struct socket_pools *all)
{
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        const struct socket_pool *pool = lua_touserdata(L, -1);

        lua_pop(L, 1);
        if (!is_empty(pool))
            continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
        all->count--;
    }
    all->sweep_at = all->count < SWEEP_LEAST / 2 ? SWEEP_LEAST : 2 * all->count;
}

/* When it was swept, or the state closes. */
static int collect(lua_State *L)
{
    struct socket_pool *pool = lua_touserdata(L, 1);

    while (!list_is_empty(&pool->idle)) {
        struct idle *entry = list_entry(pool->idle.next, struct idle, link);

        take_out(entry);
        forget(entry);
    }
    list_remove(&pool->link);
    return 0;
}

struct socket_pool *socket_pool_make(lua_State *L, int index, unsigned size)
{
    struct socket_pools *all = need_pools(L);
    struct socket_pool *pool;

    index = lua_absindex(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, all->table);
    if (all->count >= all->sweep_at)
        sweep(L, all);
    pool = lua_newuserdatauv(L, sizeof(*pool), 0);
    *pool = (struct socket_pool){ .all = all, .size = size };
    list_init(&pool->link);
    list_init(&pool->idle);
    list_init(&pool->waiting);
    lua_createtable(L, 0, 1); /* no script ever gets it: it needs no class */
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    list_append(&all->pools, &pool->link);
    all->count++;
    lua_remove(L, -2);
    return pool;
}

/* --- in and out ----------------------------------------------------------- */

/* Begins to listen for the end of a connection.  Returns why it is of no use,
 * or NULL. */
static const char *watch(struct idle *entry)
{
    stream_set_owner(entry->stream, &idle_ops, entry);
    if (entry->keeper != LUA_NOREF) {
        stream_await(entry->stream, STREAM_IN);
        return NULL;
    }
    switch (stream_read(entry->stream, 1)) {
    case STREAM_WAIT:
        return NULL;
    case STREAM_DONE:
        return "unread data in buffer";
    case STREAM_END:
    case STREAM_FAILED:
        break;
    }
    return "closed";
}

/* The layer of TLS of the socket at one index, a table, becomes that of the
 * socket at another; both belong to the same stream. */
static void move_tls(lua_State *L, int from, int to)
{
    struct lua_socket *giver = lua_touserdata(L, from);
    struct lua_socket *taker = lua_touserdata(L, to);

    taker->io.has_tls = giver->io.has_tls;
    if (!giver->io.has_tls)
        return;
    lua_getiuservalue(L, from, LUA_STREAM_TLS);
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "sock");
        lua_pushvalue(L, to);
        lua_rawset(L, -3); /* the field is there: nothing is allocated */
    }
    lua_setiuservalue(L, to, LUA_STREAM_TLS);
    lua_pushnil(L);
    lua_setiuservalue(L, from, LUA_STREAM_TLS);
    giver->io.has_tls = false;
}

/* Makes an entry of what the socket at index 1 has, which is closed then.  May
 * raise before; NULL: a finalizer has closed it meanwhile. */
static struct idle *make_entry(lua_State *L, struct socket_pools *all,
                               struct lua_socket *sock)
{
    struct lua_socket *keeper = NULL;
    struct idle *entry;
    int ref = LUA_NOREF;

    if (sock->io.has_tls) {
        keeper = lua_socket_push(L, LUA_SOCKET_CLASS, AF_UNSPEC);
        lua_pushvalue(L, -1);
        ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    entry = pool_get(&all->entries);
    if (entry == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return (void)luaL_error(L, "not enough memory"), NULL;
    }
    if (!lua_stream_is_up(&sock->io)) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        pool_put(&all->entries, entry);
        return NULL;
    }
    *entry = (struct idle){ .all = all, .keeper = ref, .reused = sock->reused };
    list_init(&entry->link);
    if (keeper != NULL)
        move_tls(L, 1, lua_gettop(L));
    entry->stream = lua_stream_detach(&sock->io);
    if (keeper != NULL)
        lua_stream_attach(&keeper->io, entry->stream);
    return entry;
}

const char *socket_pool_put(lua_State *L, struct socket_pool *pool,
                            struct lua_socket *sock, double seconds)
{
    struct idle *entry = make_entry(L, pool->all, sock);
    const char *why = entry == NULL ? "closed" : watch(entry);

    if (entry == NULL)
        return why;
    if (why != NULL) {
        forget(entry);
        socket_pool_leave(sock);
        return why;
    }
    if (sock->pool != pool) {
        socket_pool_leave(sock);
        socket_pool_enter(pool, sock);
    }
    sock->pool = NULL; /* its place is the connection's */
    if (pool->idle_count >= pool->size)
        evict(list_entry(pool->idle.prev, struct idle, link));
    entry->pool = pool;
    entry->expires = isfinite(seconds) ? loop_now() + seconds : INFINITY;
    list_append(pool->idle.next, &entry->link); /* before the first */
    pool->idle_count++;
    watch_clock(pool->all, entry->expires);
    socket_pool_grant(pool);
    return NULL;
}

void socket_pool_take(lua_State *L, struct socket_pool *pool, int index)
{
    struct idle *entry = list_entry(pool->idle.next, struct idle, link);
    struct lua_socket *sock = lua_touserdata(L, index);

    if (entry->keeper != LUA_NOREF) {
        struct lua_socket *keeper;

        index = lua_absindex(L, index);
        lua_rawgeti(L, LUA_REGISTRYINDEX, entry->keeper);
        keeper = lua_touserdata(L, -1);
        move_tls(L, lua_gettop(L), index);
        lua_stream_detach(&keeper->io);
        lua_pop(L, 1);
        luaL_unref(L, LUA_REGISTRYINDEX, entry->keeper);
    }
    take_out(entry);
    lua_stream_attach(&sock->io, entry->stream);
    sock->kind = LUA_SOCKET_CLIENT;
    sock->reused = entry->reused + 1;
    if (sock->options_set != 0)
        lua_socket_apply(sock); /* as to a connection of its own */
    if (pool->is_limited)
        sock->pool = pool; /* it is counted already */
    pool_put(&pool->all->entries, entry);
}
