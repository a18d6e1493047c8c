/* lua_tools.c -- see lua_tools.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_tools.h"

#include "core/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

/* Every byte is looked at, whatever those before it were: volatile, so that no
 * compiler finds out that the rest does not matter any more. */
static bool are_equal(const volatile unsigned char *a,
                      const volatile unsigned char *b, size_t len)
{
    unsigned char differ = 0;

    for (size_t i = 0; i < len; i++)
        differ = (unsigned char)(differ | (a[i] ^ b[i]));
    return differ == 0;
}

/* fcgi.equal(a, b) -> boolean: the time depends on the lengths only, so that
 * nobody can guess a secret byte by byte. */
static int l_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len);
    const char *b = luaL_checklstring(L, 2, &b_len);

    lua_pushboolean(L, a_len == b_len &&
                           are_equal((const unsigned char *)a,
                                     (const unsigned char *)b, a_len));
    return 1;
}

/* Fills room; false with errno set. */
static bool draw(char *room, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(room, len, 0);

        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0) { /* large draws may end early */
            room += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* fcgi.random(n) -> n bytes that nobody can foretell */
static int l_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_Buffer buffer;
    char *room;

    luaL_argcheck(L, n >= 0, 1, "must not be negative");
    if (n > RANDOM_MAX)
        return luaL_argerror(
            L, 1, lua_pushfstring(L, "at most %d bytes", RANDOM_MAX));
    room = luaL_buffinitsize(L, &buffer, (size_t)n);
    if (!draw(room, (size_t)n))
        return luaL_error(L, "no random bytes: %s", strerror(errno));
    luaL_pushresultsize(&buffer, (size_t)n);
    return 1;
}

const luaL_Reg lua_tools[] = {
    { "equal", l_equal },
    { "random", l_random },
    { NULL, NULL },
};
