/* source.c -- see source.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/source.h"

#include "base/trust.h"
#include "script/dev.h"
#include "script/script_state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- a file --------------------------------------------------------------- */

struct reader {
    int fd;
    int error; /* an errno */
    size_t from, len;
    char piece[4096]; /* from to len are to be read */
};

/* Returns false at the end of the file, or when reading fails. */
static bool refill(struct reader *reader)
{
    ssize_t n;

    do
        n = read(reader->fd, reader->piece, sizeof(reader->piece));
    while (n == -1 && errno == EINTR);
    if (n == -1)
        reader->error = errno;
    reader->from = 0;
    reader->len = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Passes over UTF-8's byte order mark and a first line that begins with '#',
 * whose newline stays to be counted, as luaL_loadfilex does. */
static void skip_first_line(struct reader *reader)
{
    const char *newline;

    if (!refill(reader))
        return;
    if (reader->len >= 3 && memcmp(reader->piece, "\xef\xbb\xbf", 3) == 0)
        reader->from = 3;
    if (reader->from == reader->len || reader->piece[reader->from] != '#')
        return;
    do {
        newline = memchr(reader->piece + reader->from, '\n',
                         reader->len - reader->from);
        if (newline != NULL) {
            reader->from = (size_t)(newline - reader->piece);
            return;
        }
    } while (refill(reader));
}

static const char *read_piece(lua_State *L, void *arg, size_t *len)
{
    struct reader *reader = arg;
    const char *piece;

    (void)L;
    if (reader->from == reader->len && !refill(reader))
        return NULL;
    piece = reader->piece + reader->from;
    *len = reader->len - reader->from;
    reader->from = reader->len;
    return piece;
}

static int file_error(lua_State *L, const char *what, const char *path,
                      int error)
{
    lua_pushfstring(L, "cannot %s %s: %s", what, path, strerror(error));
    return LUA_ERRFILE;
}

static int refused(lua_State *L, const char *path, const char *why)
{
    script_of(L)->was_refused = true;
    lua_pushfstring(L,
                    "%s: refused, because fcgi-lua runs as root and others "
                    "could change what it runs: %s; or start it as another "
                    "user",
                    path, why);
    return SOURCE_REFUSED;
}

static bool is_lua(const char *path)
{
    size_t len = strlen(path);

    return len > 4 && strcmp(path + len - 4, ".lua") == 0;
}

/* Does somebody want to know of files? */
static bool is_asked(lua_State *L)
{
    return script_of(L)->config->on_file != NULL || script_of(L)->dev != NULL;
}

static void tell_of(lua_State *L, const char *path)
{
    const struct script_config *config = script_of(L)->config;

    if (script_of(L)->dev != NULL)
        dev_add_file(script_of(L)->dev, path);
    if (config->on_file != NULL &&
        (is_lua(path) || strcmp(path, config->path) == 0))
        config->on_file(path);
}

int source_load(lua_State *L, const char *path, const char *mode)
{
    struct reader reader = { .fd = -1 };
    char why[TRUST_WHY_MAX];
    int status;

    tell_of(L, path);
    if (geteuid() != 0)
        return luaL_loadfilex(L, path, mode);
    lua_pushfstring(L, "@%s", path); /* may raise: before the file is open */
    reader.fd = trust_open(path, why, sizeof(why));
    if (reader.fd == -1) {
        int error = errno;

        lua_pop(L, 1);
        if (why[0] != '\0')
            return refused(L, path, why);
        return file_error(L, "open", path, error);
    }
    skip_first_line(&reader);
    status = lua_load(L, read_piece, &reader, lua_tostring(L, -1), mode);
    close(reader.fd);
    lua_remove(L, -2); /* its name */
    if (reader.error == 0)
        return status;
    lua_pop(L, 1); /* made from the part that could be read */
    return file_error(L, "read", path, reader.error);
}

/* --- modules -------------------------------------------------------------- */

/* Calls the searcher that Lua has, upvalue 1, for the name at 1. */
static int call_stock(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Pushes where a module of that name is by the templates in package[field], as
 * package.searchpath, upvalue 2, finds it; or nil. */
static const char *find_module(lua_State *L, const char *field,
                               const char *name)
{
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushstring(L, name);
    lua_getfield(L, lua_upvalueindex(3), field);
    if (!lua_isstring(L, -1))
        return lua_pop(L, 3), lua_pushnil(L), NULL; /* Lua's own complains */
    lua_call(L, 2, 1);
    return lua_tostring(L, -1);
}

/* Raises what require does about the file of the module whose name is at 1;
 * the reason is on top of the stack. */
static int module_error(lua_State *L, const char *path)
{
    return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s",
                      lua_tostring(L, 1), path, lua_tostring(L, -1));
}

/* A module that is missing: tells of the files that it may come to be in. */
static void tell_of_missing(lua_State *L, const char *name)
{
    const char *templates;

    lua_getfield(L, lua_upvalueindex(3), "path");
    templates = lua_tostring(L, -1);
    name = luaL_gsub(L, name, ".", LUA_DIRSEP);
    while (templates != NULL && *templates != '\0') {
        size_t len = strcspn(templates, LUA_PATH_SEP);

        lua_pushlstring(L, templates, len);
        tell_of(L, luaL_gsub(L, lua_tostring(L, -1), LUA_PATH_MARK, name));
        lua_pop(L, 2);
        templates += len + (templates[len] != '\0' ? 1 : 0);
    }
    lua_pop(L, 2);
}

/* Upvalues: Lua's own searcher, package.searchpath, package. */
static int search_lua(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *path;

    if (geteuid() != 0 && !is_asked(L))
        return call_stock(L);
    path = find_module(L, "path", name);
    if (path == NULL && is_asked(L))
        tell_of_missing(L, name);
    if (path != NULL && geteuid() != 0)
        tell_of(L, path);
    if (path == NULL || geteuid() != 0)
        return call_stock(L);
    if (source_load(L, path, NULL) == LUA_OK) {
        lua_pushstring(L, path);
        return 2;
    }
    return module_error(L, path);
}

/* The dynamic linker wants a path.  That it leads to the same file as the one
 * that was judged is sure, because only root can change where it leads. */
static int search_c(lua_State *L, const char *name)
{
    char why[TRUST_WHY_MAX];
    const char *path;
    int fd;

    if (geteuid() != 0 || (path = find_module(L, "cpath", name)) == NULL)
        return call_stock(L);
    fd = trust_open(path, why, sizeof(why));
    if (fd != -1) {
        close(fd);
        return call_stock(L);
    }
    if (why[0] != '\0')
        refused(L, path, why);
    else
        file_error(L, "open", path, errno);
    return module_error(L, path);
}

static int search_c_module(lua_State *L)
{
    return search_c(L, luaL_checkstring(L, 1));
}

/* A library that holds all modules below the first name: a.b.c is in a. */
static int search_c_root(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *dot = strchr(name, '.');

    if (dot == NULL)
        return call_stock(L); /* the searcher before this one has judged it */
    lua_pushlstring(L, name, (size_t)(dot - name));
    return search_c(L, lua_tostring(L, -1));
}

static int return_all(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* dofile or loadfile; upvalue 1 is Lua's own. */
static int load_file(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        tell_of(L, lua_tostring(L, 1));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, return_all);
    return lua_gettop(L);
}

static void wrap_global(lua_State *L, const char *name)
{
    lua_getglobal(L, name);
    lua_pushcclosure(L, load_file, 1);
    lua_setglobal(L, name);
}

void source_open(lua_State *L)
{
    static const lua_CFunction wrappers[] = { NULL, NULL, search_lua,
                                              search_c_module, search_c_root };

    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (int i = 2; i <= 4; i++) {
        lua_rawgeti(L, -1, i);
        lua_getfield(L, -3, "searchpath");
        lua_pushvalue(L, -4);
        lua_pushcclosure(L, wrappers[i], 3);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 2);
    if (is_asked(L)) {
        wrap_global(L, "dofile");
        wrap_global(L, "loadfile");
    }
}
