/* script_lua_udp_options_test.c -- setoption and getoption of datagrams.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script/lua_udp.h"
#include "script_rig.h"

#include <netinet/in.h>
#include <sys/socket.h>

static int fd;

static int l_set(lua_State *L)
{
    return lua_udp_set_option(L, fd);
}

static int l_get(lua_State *L)
{
    return lua_udp_get_option(L, fd);
}

/* Runs statements that see set(name, value), get(name), equal, refuses, raises;
 * of the socket fd. */
static void run_here(const char *statements)
{
    static const char prelude[] =
        "local self = {}\n"
        "local function set(...) return c_set(self, ...) end\n"
        "local function get(...) return c_get(self, ...) end\n"
        "local function equal(got, wanted)\n"
        "  if got ~= wanted then error(tostring(got), 2) end\n"
        "end\n"
        "local function refuses(ok, err)\n"
        "  equal(ok, nil)\n"
        "  equal(type(err), 'string')\n"
        "end\n"
        "local function raises(part, f, ...)\n"
        "  local ok, err = pcall(f, ...)\n"
        "  if ok or not err:find(part, 1, true) then\n"
        "    error(tostring(err), 2)\n"
        "  end\n"
        "end\n";
    static char text[8192];
    lua_State *L = luaL_newstate();

    assert_non_null(L);
    luaL_openlibs(L);
    lua_register(L, "c_set", l_set);
    lua_register(L, "c_get", l_get);
    snprintf(text, sizeof(text), "%s%s", prelude, statements);
    if (luaL_dostring(L, text) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

/* ... of a new socket of that kind; AF_UNSPEC: of a closed one. */
static void run(int family, int type, const char *statements)
{
    fd = family == AF_UNSPEC ? -1 : socket(family, type, 0);
    run_here(statements);
    if (fd != -1)
        close(fd);
}

static void booleans_are_set_and_asked_for(void **state)
{
    (void)state;
    run(AF_INET, SOCK_DGRAM,
        "for _, name in ipairs { 'reuseaddr', 'reuseport', 'broadcast',\n"
        "    'dontroute' } do\n"
        "  equal(get(name), false)\n"
        "  equal(set(name, true), 1)\n"
        "  equal(get(name), true)\n"
        "  equal(set(name, false), 1)\n"
        "  equal(get(name), false)\n"
        "  raises('boolean expected, got number', set, name, 1)\n"
        "  raises('boolean expected, got no value', set, name)\n"
        "end\n"
        "equal(get 'ip-multicast-loop', true)\n"
        "equal(set('ip-multicast-loop', false), 1)\n"
        "equal(get 'ip-multicast-loop', false)\n");
}

static void numbers_are_set_and_asked_for(void **state)
{
    (void)state;
    run(AF_INET, SOCK_DGRAM,
        "equal(set('ip-multicast-ttl', 4), 1)\n"
        "equal(get 'ip-multicast-ttl', 4)\n"
        "equal(set('recv-buffer-size', 8192.0), 1)\n"
        "equal(get 'recv-buffer-size' >= 8192, true)\n"
        "equal(set('send-buffer-size', 8192), 1)\n"
        "raises('out of range', set, 'recv-buffer-size', 1 << 40)\n"
        "raises('number expected', set, 'recv-buffer-size', true)\n"
        "refuses(set('ip-multicast-ttl', 256))\n");
}

static void groups_are_joined_and_left(void **state)
{
    (void)state;
    run(AF_INET, SOCK_DGRAM,
        "equal(set('ip-multicast-if', '127.0.0.1'), 1)\n"
        "equal(get 'ip-multicast-if', '127.0.0.1')\n"
        "equal(set('ip-multicast-if', '*'), 1)\n"
        "local group = { multiaddr = '239.1.2.3', interface = '127.0.0.1' }\n"
        "equal(set('ip-add-membership', group), 1)\n"
        "equal(set('ip-drop-membership', group), 1)\n"
        "refuses(set('ip-drop-membership', group))\n"
        "raises('not an address', set, 'ip-multicast-if', 'x')\n"
        "raises('not an address', set, 'ip-add-membership',\n"
        "  { multiaddr = '::1', interface = '*' })\n"
        "raises(\"'multiaddr' is no string\", set, 'ip-add-membership', {})\n"
        "raises(\"'interface' is no string\", set, 'ip-add-membership',\n"
        "  { multiaddr = '239.1.2.3' })\n"
        "raises('cannot be asked for', get, 'ip-add-membership')\n"
        "raises('not an address', set, 'ipv6-add-membership',\n"
        "  { multiaddr = '239.1.2.3' })\n"
        "raises('number expected', set, 'ipv6-add-membership',\n"
        "  { multiaddr = 'ff02::1', interface = 'x' })\n"
        "refuses(set('ipv6-add-membership', { multiaddr = 'ff02::1',\n"
        "  interface = 1 }))\n"
        "refuses(set('ipv6-v6only', true))\n");
}

static void a_device_has_a_name(void **state)
{
    (void)state;
    run(AF_INET, SOCK_DGRAM,
        "equal(get 'bindtodevice', '')\n"
        "if set('bindtodevice', 'lo') then\n" /* not everybody may */
        "  equal(get 'bindtodevice', 'lo')\n"
        "end\n"
        "refuses(set('bindtodevice', 'no-such-device'))\n"
        "raises('not the name of a device', set, 'bindtodevice',\n"
        "  ('x'):rep(16))\n");
}

static void errors_are_told_once(void **state)
{
    struct sockaddr_in nobody = { .sin_family = AF_INET };
    socklen_t len = sizeof(nobody);
    int other = socket(AF_INET, SOCK_DGRAM, 0);

    (void)state;
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(other, (struct sockaddr *)&nobody, len), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&nobody, &len), 0);
    close(other);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&nobody, len), 0);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    run_here("equal(get 'error', 'connection refused')\n"
             "equal(get 'error', nil)\n"
             "raises('cannot be set', set, 'error', 1)\n");
    close(fd);
}

static void other_names_raise(void **state)
{
    (void)state;
    run(AF_INET, SOCK_DGRAM,
        "raises(\"unsupported option 'nope'\", set, 'nope', true)\n"
        "raises(\"unsupported option ''\", get, '')\n"
        "raises('string expected', get)\n"
        "raises('string expected', set, nil, true)\n");
}

static void a_closed_socket_says_so(void **state)
{
    (void)state;
    run(AF_UNSPEC, 0,
        "local ok, err = set('broadcast', true)\n"
        "equal(err, 'closed')\n"
        "ok, err = get('broadcast')\n"
        "equal(err, 'closed')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans_are_set_and_asked_for),
        cmocka_unit_test(numbers_are_set_and_asked_for),
        cmocka_unit_test(groups_are_joined_and_left),
        cmocka_unit_test(a_device_has_a_name),
        cmocka_unit_test(errors_are_told_once),
        cmocka_unit_test(other_names_raise),
        cmocka_unit_test(a_closed_socket_says_so),
    };

    return cmocka_run_group_tests_name("script/lua_udp_options", tests, NULL,
                                       NULL);
}
