/* lua_metrics.c -- fcgi.counter and fcgi.gauge: numbers that all workers share,
 * on the status page beside ours.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_metrics.h"

#include "base/metrics.h"
#include "script/errors.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "fcgi_lua_"; /* ours */
enum { METRIC_MAGIC = 0x6d747263, LABELS_MAX = 8 };

/* More is no count any more, and a sum of a few of them would not be one. */
#define MOST_AT_ONCE 9007199254740992.0

/* The same number of all those that have its name. */
struct lua_metric {
    unsigned magic;
    struct metric *metric;
};

/* Upvalue 1 is the class: see lua_request.c. */
static struct metric *check_metric(lua_State *L)
{
    struct lua_metric *self = lua_touserdata(L, 1);

    if (self != NULL && lua_getmetatable(L, 1)) {
        bool is_ours = lua_rawequal(L, -1, lua_upvalueindex(1)) &&
                       lua_rawlen(L, 1) == sizeof(*self) &&
                       self->magic == METRIC_MAGIC;

        lua_pop(L, 1);
        if (is_ours)
            return self->metric;
    }
    return (void)errors_bad_self(L, "metric", "metric"), NULL; /* raises */
}

/* --- its methods ---------------------------------------------------------- */

/* Adds what is at index 2, or 1. */
static void add(lua_State *L, struct metric *metric)
{
    if (lua_isnoneornil(L, 2))
        metric_add_whole(metric, 1);
    else if (lua_isinteger(L, 2))
        metric_add_whole(metric, (int64_t)lua_tointeger(L, 2));
    else
        metric_add(metric, lua_tonumber(L, 2));
}

/* counter:inc([n]) */
static int l_counter_inc(lua_State *L)
{
    struct metric *metric = check_metric(L);
    lua_Number n = luaL_optnumber(L, 2, 1);

    luaL_argcheck(L, n >= 0 && n <= MOST_AT_ONCE, 2,
                  "a counter never goes back: a number from 0 to 2^53 is "
                  "needed");
    add(L, metric);
    return 0;
}

/* gauge:inc([n]) */
static int l_gauge_inc(lua_State *L)
{
    struct metric *metric = check_metric(L);

    luaL_argcheck(L, !isnan(luaL_optnumber(L, 2, 1)), 2, "not a number (nan)");
    add(L, metric);
    return 0;
}

/* gauge:set(value) */
static int l_gauge_set(lua_State *L)
{
    struct metric *metric = check_metric(L);
    lua_Number value = luaL_checknumber(L, 2);

    luaL_argcheck(L, !isnan(value), 2, "not a number (nan)");
    metric_set(metric, value);
    return 0;
}

static int l_tostring(lua_State *L)
{
    const struct metric *metric = check_metric(L);

    lua_pushfstring(
        L, metric->kind == METRIC_COUNTER ? "counter (%s)" : "gauge (%s)",
        metric->name);
    return 1;
}

/* --- making one ----------------------------------------------------------- */

/* Letters, digits and _, a digit not first; of a metric's name colons, too. */
static bool is_name(const char *name, size_t len, bool is_label)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        bool is_letter =
            (c < 0x80 && isalpha(c)) || c == '_' || (c == ':' && !is_label);

        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return len > 0;
}

static const char *check_name(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);

    luaL_argcheck(L, is_name(name, len, false), 1,
                  "not a metric's name: letters, digits, _ and :, and no digit "
                  "first");
    luaL_argcheck(L, len < METRIC_NAME_MAX, 1, "the name is too long");
    luaL_argcheck(L, strncmp(name, prefix, sizeof(prefix) - 1) != 0, 1,
                  "names that begin with fcgi_lua_ are the program's own");
    return name;
}

/* Is it UTF-8 without control characters? */
static bool is_text(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        unsigned char c = (unsigned char)text[at];
        size_t n = c < 0x80   ? 1
                   : c < 0xc2 ? 0
                   : c < 0xe0 ? 2
                   : c < 0xf0 ? 3
                              : 4;
        uint32_t code = n == 0 ? 0 : n == 1 ? c : c & (0x7fu >> n);

        if (n == 0 || c > 0xf4 || n > len - at || c < ' ' || c == 0x7f)
            return false;
        for (size_t i = 1; i < n; i++) {
            unsigned char next = (unsigned char)text[at + i];

            if ((next & 0xc0) != 0x80)
                return false;
            code = code << 6 | (next & 0x3f);
        }
        if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000) ||
            code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
            (code >= 0x80 && code < 0xa0))
            return false;
        at += n;
    }
    return true;
}

static const char *check_help(lua_State *L)
{
    size_t len;
    const char *help = luaL_optlstring(L, 2, "", &len);

    luaL_argcheck(L, is_text(help, len), 2,
                  "not UTF-8 without control characters");
    luaL_argcheck(L, len < METRIC_HELP_MAX, 2, "the help is too long");
    return help;
}

struct label {
    const char *name;
    const char *value; /* of a string that is on the stack */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name,
                  ((const struct label *)b)->name);
}

/* Reads the table at index 3; its values as strings stay on the stack. */
static int read_labels(lua_State *L, struct label labels[LABELS_MAX])
{
    int n = 0;

    luaL_checkstack(L, LABELS_MAX + 4, "labels");
    lua_pushnil(L);
    while (lua_next(L, 3)) {
        size_t len, value_len;
        const char *name;

        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 3,
                      "a label's name is not a string");
        name = lua_tolstring(L, -2, &len);
        luaL_argcheck(
            L, is_name(name, len, true) && strncmp(name, "__", 2) != 0, 3,
            "not a label's name: letters, digits and _, no digit "
            "first, and not two _");
        luaL_argcheck(
            L, lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER,
            3, "a label's value is neither a string nor a number");
        luaL_argcheck(L, n < LABELS_MAX, 3, "there are too many labels");
        labels[n].value = lua_tolstring(L, -1, &value_len);
        luaL_argcheck(L, is_text(labels[n].value, value_len), 3,
                      "a label's value is not UTF-8 without control "
                      "characters");
        labels[n++].name = name;
        lua_insert(L, -2); /* the value stays, below the key */
    }
    qsort(labels, (size_t)n, sizeof(labels[0]), by_name);
    return n;
}

static bool put(char *out, size_t *len, char c)
{
    if (*len + 1 >= METRIC_LABELS_MAX)
        return false;
    out[(*len)++] = c;
    return true;
}

static bool put_label(char *out, size_t *len, const struct label *label)
{
    bool fits = *len == 0 || put(out, len, ',');

    for (const char *c = label->name; *c != '\0'; c++)
        fits = fits && put(out, len, *c);
    fits = fits && put(out, len, '=') && put(out, len, '"');
    for (const char *c = label->value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fits = fits && put(out, len, '\\');
        fits = fits && put(out, len, *c);
    }
    return fits && put(out, len, '"');
}

/* In their order, so that who gives the same ones means the same metric. */
static void check_labels(lua_State *L, char out[METRIC_LABELS_MAX])
{
    struct label labels[LABELS_MAX];
    size_t len = 0;
    int n;

    out[0] = '\0';
    if (lua_isnoneornil(L, 3))
        return;
    luaL_checktype(L, 3, LUA_TTABLE);
    n = read_labels(L, labels);
    for (int i = 0; i < n; i++)
        luaL_argcheck(L, put_label(out, &len, &labels[i]), 3,
                      "the labels are too long");
    out[len] = '\0';
}

static int open_metric(lua_State *L, enum metric_kind kind)
{
    const char *name = check_name(L), *help = check_help(L);
    char labels[METRIC_LABELS_MAX];
    struct lua_metric *self;
    struct metric *metric = NULL;

    lua_settop(L, 3);
    check_labels(L, labels);
    self = lua_newuserdatauv(L, sizeof(*self), 0);
    switch (metrics_open(metrics_shared(), kind, name, help, labels, &metric)) {
    case METRICS_OK:
        break;
    case METRICS_FULL:
        return luaL_error(L,
                          "there are %d metrics already, and no more can be "
                          "made: a label whose values are countless?",
                          METRICS_MAX);
    case METRICS_CLASH:
        return luaL_error(L, "'%s' is too much like the %s '%s'", name,
                          metric->kind == METRIC_COUNTER ? "counter" : "gauge",
                          metric->name);
    case METRICS_BUSY:
        return luaL_error(L, "the table of metrics is locked by a process "
                             "that does not go on");
    }
    *self = (struct lua_metric){ .magic = METRIC_MAGIC, .metric = metric };
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return 1;
}

/* fcgi.counter(name[, help[, labels]]) -> counter; upvalue 1: the class */
static int l_counter(lua_State *L)
{
    return open_metric(L, METRIC_COUNTER);
}

/* fcgi.gauge(name[, help[, labels]]) -> gauge; upvalue 1: the class */
static int l_gauge(lua_State *L)
{
    return open_metric(L, METRIC_GAUGE);
}

/* --- the classes ---------------------------------------------------------- */

/* Adds to the module on top of the stack the function that makes them. */
static void make_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction make)
{
    static const luaL_Reg metamethods[] = {
        { "__tostring", l_tostring },
        { NULL, NULL },
    };

    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, metamethods, 1);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcclosure(L, make, 1);
    lua_setfield(L, -2, name);
}

void lua_metrics_open(lua_State *L)
{
    static const luaL_Reg counter[] = {
        { "inc", l_counter_inc },
        { NULL, NULL },
    };
    static const luaL_Reg gauge[] = {
        { "inc", l_gauge_inc },
        { "set", l_gauge_set },
        { NULL, NULL },
    };

    make_class(L, "counter", counter, l_counter);
    make_class(L, "gauge", gauge, l_gauge);
}
