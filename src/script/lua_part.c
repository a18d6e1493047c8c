/* lua_part.c -- a part of a form as a script sees it: its fields, and ways to
 * take its contents.
 *
 * A part is a handle for a reader at a place that it may have left.  Each
 * function is its own continuation, called again when the request has news.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_part.h"

#include "core/limits.h"
#include "script/errors.h"
#include "script/wait.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define PART_CLASS "fcgi.part"

enum {
    PART_MAGIC = 0x70617275,
    LINE_MAX_DEFAULT = 1024 * 1024,
    TEXT_KEPT = 64 * 1024 /* of the text's memory, from read to read */
};

/* The user values of a part. */
enum { PART_READER = 1, PART_FIELDS = 2 };

/* What a script holds of a part. */
struct part {
    unsigned magic;
    uint64_t number;
    struct reader *reader; /* PART_READER keeps it */
};

/* Its address names the class in the registry. */
static const char part_class;

/* --- reading -------------------------------------------------------------- */

static struct part *check_part(lua_State *L)
{
    struct part *part = lua_touserdata(L, 1);

    if (part != NULL && lua_getmetatable(L, 1)) {
        bool ours = lua_rawequal(L, -1, lua_upvalueindex(1)) &&
                    lua_rawlen(L, 1) == sizeof(*part) &&
                    part->magic == PART_MAGIC;
        lua_pop(L, 1);
        if (ours)
            return part;
    }
    return (void)errors_bad_self(L, PART_CLASS, "part"), NULL; /* raises */
}

/* The reader of the part at index 1, which must be the one that it is at. */
static struct reader *check_reading(lua_State *L)
{
    struct part *part = check_part(L);

    if (part->number != part->reader->number)
        return (void)luaL_error(L, "the part is over: req:parts has gone on"),
               NULL;
    if (part->reader->is_saving)
        return (void)luaL_error(L, "the part is being saved"), NULL;
    return part->reader;
}

/* Pushes up to max bytes of the text and takes them from it. */
static int push_text(lua_State *L, struct reader *reader, size_t max)
{
    struct slice rest = buffer_slice(&reader->text), part;

    part = slice_take(&rest, max);
    lua_pushlstring(L, part.data, part.len);
    if (rest.len > 0)
        memmove(reader->text.data, rest.data, rest.len);
    reader->text.len = rest.len;
    if (rest.len == 0)
        buffer_reset(&reader->text, TEXT_KEPT);
    return 1;
}

/* part:read(n), n at index 2: what there is. */
static int read_some_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = check_reading(L);
    lua_Integer max = lua_tointeger(L, 2);
    struct slice data;

    (void)status;
    (void)ctx;
    if (reader->trouble[0] != '\0')
        return reader_push_why(L, reader->trouble);
    if (reader->text.len > 0) /* of a line, or a read, that was cancelled */
        return push_text(L, reader, (size_t)max);
    if (reader->has_ended)
        return luaL_pushfail(L), 1;
    switch (reader_look(reader, &data)) {
    case LOOK_DATA:
        data = slice_take(&data, (size_t)max);
        lua_pushlstring(L, data.data, data.len);
        reader_take(reader, data.len); /* only now: the push may raise */
        reader->was_read = true;
        return 1;
    case LOOK_WAIT:
        return reader_wait(L, reader, read_some_k);
    case LOOK_NOTHING:
        return reader_push_why(L, reader->why);
    case LOOK_MEMORY:
        return reader_no_memory(L);
    case LOOK_PART: /* a part ends before the next one begins */
    case LOOK_ENDED:
    case LOOK_OVER:
        break;
    }
    luaL_pushfail(L);
    return 1;
}

/* Adds data to the text, of which there is to be no more than max. */
static bool add_text(lua_State *L, struct reader *reader, struct slice data,
                     size_t max)
{
    if (data.len > max || reader->text.len > max - data.len) {
        buffer_free(&reader->text);
        snprintf(reader->trouble, READER_TROUBLE_MAX, "too large");
        return false;
    }
    if (buffer_append(&reader->text, data) != BUFFER_OK)
        return reader_no_memory(L), false;
    reader_take(reader, data.len);
    reader->was_read = true;
    return true;
}

/* part:read(): all the rest, of the most bytes that are at index 2.  What is
 * empty is "" the first time. */
static int read_all_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = check_reading(L);
    size_t max = (size_t)lua_tointeger(L, 2);
    struct slice data;

    (void)status;
    (void)ctx;
    for (;;) {
        if (reader->trouble[0] != '\0')
            return reader_push_why(L, reader->trouble);
        if (reader->has_ended) {
            if (reader->was_read && reader->text.len == 0)
                return luaL_pushfail(L), 1;
            reader->was_read = true;
            return push_text(L, reader, SIZE_MAX);
        }
        switch (reader_look(reader, &data)) {
        case LOOK_DATA:
            add_text(L, reader, data, max);
            break;
        case LOOK_WAIT:
            return reader_wait(L, reader, read_all_k);
        case LOOK_NOTHING:
            return reader_push_why(L, reader->why);
        case LOOK_MEMORY:
            return reader_no_memory(L);
        case LOOK_PART:
        case LOOK_ENDED:
        case LOOK_OVER:
            break;
        }
    }
}

/* part:read([n]) -> bytes | nil at the end | nil, why */
static int l_read(lua_State *L)
{
    check_reading(L);
    if (!lua_isnoneornil(L, 2)) {
        luaL_argcheck(L, luaL_checkinteger(L, 2) > 0, 2, "must be positive");
        lua_settop(L, 2);
        return read_some_k(L, LUA_OK, 0);
    }
    lua_settop(L, 1);
    lua_pushinteger(L, BODY_DEFAULT_MAX);
    return read_all_k(L, LUA_OK, 0);
}

/* The most bytes of a line are at index 2. */
static int read_line_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = check_reading(L);
    size_t max = (size_t)lua_tointeger(L, 2);
    const char *newline = NULL;
    struct slice data;

    (void)status;
    (void)ctx;
    while (reader->trouble[0] == '\0' && !reader->has_ended &&
           newline == NULL && reader->text.len < max) {
        switch (reader_look(reader, &data)) {
        case LOOK_DATA:
            data = slice_take(&data, max - reader->text.len);
            newline = slice_find(data, '\n');
            if (newline != NULL)
                data.len = (size_t)(newline + 1 - data.data);
            if (newline != NULL && reader->text.len == 0) { /* mostly */
                lua_pushlstring(L, data.data, data.len);
                reader_take(reader, data.len);
                reader->was_read = true;
                return 1;
            }
            add_text(L, reader, data, max);
            break;
        case LOOK_WAIT:
            return reader_wait(L, reader, read_line_k);
        case LOOK_NOTHING:
            return reader_push_why(L, reader->why);
        case LOOK_MEMORY:
            return reader_no_memory(L);
        case LOOK_PART:
        case LOOK_ENDED:
        case LOOK_OVER:
            break;
        }
    }
    if (reader->trouble[0] != '\0')
        return reader_push_why(L, reader->trouble);
    if (reader->text.len == 0)
        return luaL_pushfail(L), 1;
    return push_text(L, reader, SIZE_MAX);
}

/* part:read_line([max]) -> a line with its newline, or max bytes of it */
static int l_read_line(lua_State *L)
{
    lua_Integer max = luaL_optinteger(L, 2, LINE_MAX_DEFAULT);
    struct reader *reader = check_reading(L);
    struct slice text = buffer_slice(&reader->text), line = { "", 0 };
    const char *newline;

    luaL_argcheck(L, max > 0, 2, "must be positive");
    if (text.len > 0)
        line = slice_take(&text, (size_t)max);
    newline = slice_find(line, '\n'); /* of a read that was cancelled */
    if (newline != NULL || text.len > 0)
        return push_text(L, reader,
                         newline != NULL ? (size_t)(newline + 1 - line.data)
                                         : line.len);
    lua_settop(L, 1);
    lua_pushinteger(L, max);
    return read_line_k(L, LUA_OK, 0);
}

/* --- saving --------------------------------------------------------------- */

/* What the system says, as the fixed texts of this library are written. */
static int save_failed(lua_State *L, struct reader *reader)
{
    char *text = reader->trouble;

    snprintf(text, READER_TROUBLE_MAX, "%s", strerror(errno));
    if (islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return reader_push_why(L, text);
}

/* The reader is at index 3, to be closed when this ends, however it does. */
static int save_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = lua_touserdata(L, 3);
    struct slice data;

    (void)status;
    (void)ctx;
    while (!reader->has_ended) {
        if (reader_is_turn_over(L, reader))
            return task_sleep(L, 0, save_k);
        switch (reader_look(reader, &data)) {
        case LOOK_DATA:
            if (savefile_write(&reader->file, data) == -1)
                return save_failed(L, reader);
            reader_take(reader, data.len);
            break;
        case LOOK_WAIT:
            return reader_wait(L, reader, save_k);
        case LOOK_NOTHING:
            snprintf(reader->trouble, READER_TROUBLE_MAX, "%s", reader->why);
            return reader_push_why(L, reader->why);
        case LOOK_MEMORY:
            return reader_no_memory(L);
        case LOOK_PART:
        case LOOK_ENDED:
        case LOOK_OVER:
            break;
        }
    }
    if (savefile_keep(&reader->file) == -1)
        return save_failed(L, reader);
    lua_pushinteger(L, (lua_Integer)reader->received);
    return 1;
}

/* part:save(path) -> bytes | nil, why */
static int l_save(lua_State *L)
{
    struct reader *reader = check_reading(L);
    size_t len;
    const char *path = luaL_checklstring(L, 2, &len);

    luaL_argcheck(L, strlen(path) == len, 2, "a path with a NUL");
    if (reader->was_read)
        return luaL_error(L, "the part was read or saved before: a file would "
                             "lack what was taken");
    if (reader->trouble[0] != '\0')
        return reader_push_why(L, reader->trouble);
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, PART_READER);
    lua_toclose(L, 3);
    reader->is_saving = true;
    if (savefile_open(&reader->file, path) == -1) {
        save_failed(L, reader);
        reader->trouble[0] = '\0'; /* nothing is lost */
        return 2;
    }
    reader->was_read = true;
    return save_k(L, LUA_OK, 0);
}

int lua_part_read_all(lua_State *L)
{
    check_reading(L);
    luaL_checkinteger(L, 2);
    lua_settop(L, 2);
    return read_all_k(L, LUA_OK, 0);
}

/* --- making one ----------------------------------------------------------- */

/* Pushes a table of the headers of a part, with keys in lower case. */
static void push_headers(lua_State *L, struct slice lines)
{
    struct slice name, value;

    lua_newtable(L);
    while (part_head_next(&lines, &name, &value)) {
        luaL_Buffer key;
        char *room = luaL_buffinitsize(L, &key, name.len);

        for (size_t i = 0; i < name.len; i++)
            room[i] = (char)tolower((unsigned char)name.data[i]);
        luaL_pushresultsize(&key, name.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.data, value.len);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, value.data, value.len);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

/* Without a type a part is text (RFC 7578, 4.4). */
static void push_fields(lua_State *L, const struct part_head *head)
{
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, head->name.data, head->name.len);
    lua_setfield(L, -2, "name");
    if (head->has_filename) {
        lua_pushlstring(L, head->filename.data, head->filename.len);
        lua_setfield(L, -2, "filename");
    }
    if (head->type.len > 0)
        lua_pushlstring(L, head->type.data, head->type.len);
    else
        lua_pushliteral(L, "text/plain");
    lua_setfield(L, -2, "type");
    push_headers(L, head->lines);
    lua_setfield(L, -2, "headers");
}

int lua_part_push(lua_State *L, struct reader *reader)
{
    struct part *part = lua_newuserdatauv(L, sizeof(*part), 2);

    *part = (struct part){ .number = reader->number, .reader = reader };
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, PART_READER);
    push_fields(L, &reader->mp.head);
    lua_setiuservalue(L, -2, PART_FIELDS);
    part->magic = PART_MAGIC;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &part_class);
    lua_setmetatable(L, -2);
    reader->is_due = false; /* only now: the pushes may raise */
    return 1;
}

/* --- the class ------------------------------------------------------------ */

/* Pushes what is not the same all the time, or nil. */
static int push_received(lua_State *L, const struct part *part)
{
    if (part->number == part->reader->number)
        lua_pushinteger(L, (lua_Integer)part->reader->received);
    else
        luaL_pushfail(L);
    return 1;
}

/* Upvalue 2: the methods. */
static int part_index(lua_State *L)
{
    const struct part *part;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
        return 1;
    part = check_part(L);
    if (lua_type(L, 2) == LUA_TSTRING &&
        strcmp(lua_tostring(L, 2), "received") == 0)
        return push_received(L, part);
    lua_getiuservalue(L, 1, PART_FIELDS);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int part_newindex(lua_State *L)
{
    return luaL_error(L, "a part's fields cannot be set");
}

static int part_tostring(lua_State *L)
{
    check_part(L);
    lua_getiuservalue(L, 1, PART_FIELDS);
    lua_pushliteral(L, PART_CLASS ": ");
    lua_getfield(L, -2, "name");
    lua_concat(L, 2);
    return 1;
}

void lua_part_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "read", l_read },
        { "read_line", l_read_line },
        { "save", l_save },
        { NULL, NULL },
    };
    int class;

    lua_newtable(L);
    class = lua_gettop(L);
    lua_pushliteral(L, PART_CLASS);
    lua_setfield(L, class, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, class, "__metatable");
    lua_pushcfunction(L, part_newindex);
    lua_setfield(L, class, "__newindex");
    lua_pushvalue(L, class);
    lua_pushcclosure(L, part_tostring, 1);
    lua_setfield(L, class, "__tostring");
    lua_pushvalue(L, class);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &part_class);

    lua_newtable(L);
    lua_pushvalue(L, class);
    luaL_setfuncs(L, functions, 1);
    lua_pushvalue(L, class);
    lua_pushvalue(L, class + 1);
    lua_pushcclosure(L, part_index, 2);
    lua_setfield(L, class, "__index");
}
