/* socket_rig.h -- handlers that see two ends of a connection: near and far.
 * Include it after script_rig.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef UNIT_SOCKET_RIG_H
#define UNIT_SOCKET_RIG_H

#include "script_rig.h"

#include <dirent.h>

#define SOCKET_PAIR                                                            \
    "local server <close> = fcgi.tcp()\n"                                      \
    "assert(server:bind('127.0.0.1', 0) and server:listen())\n"                \
    "local host, port = server:getsockname()\n"                                \
    "local near <close> = fcgi.tcp()\n"                                        \
    "assert(near:connect(host, port))\n"                                       \
    "local far <close> = assert(server:accept())\n"

/* 16 MiB, which no socket takes at once. */
#define SOCKET_BIG "local big = ('x'):rep(4096):rep(4096)\n"

static inline unsigned socket_rig_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* As rig_run_lua, with near, far and server; no descriptor is left. */
static inline void socket_rig_run(const char *statements)
{
    static char source[12 * 1024];
    unsigned before;

    assert_true((size_t)snprintf(source, sizeof(source), "%s%s", SOCKET_PAIR,
                                 statements) < sizeof(source));
    before = socket_rig_fds();
    rig_run_lua(source);
    rig_unload();
    assert_true(socket_rig_fds() <= before);
}

/* A handler whose statements end with the answer "ok", served with each
 * allocation failing in turn, and with ever more memory for Lua. */
static inline void socket_rig_run_without_memory(const char *statements)
{
    static char source[12 * 1024];
    char body[] = "ok";
    unsigned before;

    assert_true((size_t)snprintf(source, sizeof(source),
                                 "local fcgi = require 'fcgi'\n"
                                 "function on_request(req)\n"
                                 "do %s%s end\n"
                                 "collectgarbage()\n"
                                 "return 200, nil, 'ok'\nend\n",
                                 SOCKET_PAIR, statements) < sizeof(source));
    rig_open(source);
    before = socket_rig_fds();
    alloc_each_fails(rig_serve_or_fail, body);
    rig_serve_short_of_memory(body, 64);
    lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
    assert_true(socket_rig_fds() <= before);
}

#endif
