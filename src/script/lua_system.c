/* lua_system.c -- see lua_system.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_system.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static int l_duplicate(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy != -1) {
        lua_pushinteger(L, copy);
        return 1;
    }
    luaL_pushfail(L);
    lua_pushstring(L, strerror(errno));
    return 2;
}

static int l_close(lua_State *L)
{
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

/* As "2b349938.0": the hash of a name, and a number. */
static bool is_hash(const char *name)
{
    int digits = 0;

    while (isxdigit((unsigned char)name[digits]))
        digits++;
    return digits == 8 && name[8] == '.' && isdigit((unsigned char)name[9]);
}

static int l_is_hashed(lua_State *L)
{
    DIR *dir = opendir(luaL_checkstring(L, 1));
    const struct dirent *entry;
    bool found = false;

    if (dir != NULL) {
        while (!found && (entry = readdir(dir)) != NULL)
            found = is_hash(entry->d_name);
        closedir(dir);
    }
    lua_pushboolean(L, found);
    return 1;
}

const luaL_Reg lua_system[] = {
    { "duplicate", l_duplicate },
    { "close", l_close },
    { "is_hashed", l_is_hashed },
    { NULL, NULL },
};
