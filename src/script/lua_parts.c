/* lua_parts.c -- the parts of a multipart/form-data body as they come: nothing
 * is kept of them but what a script asks for.
 *
 *     body --> multipart_next --> part:read, read_line --> Lua
 *                            `--> part:save --> a file
 *
 * One object, the reader, goes through a body and belongs to its request; the
 * parts that it gives to the script are handles, of which the last one counts.
 * Each function is its own continuation, called again when the request has
 * news.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_parts.h"

#include "base/savefile.h"
#include "core/limits.h"
#include "core/multipart.h"
#include "script/errors.h"
#include "script/lua_request.h"
#include "script/refusal.h"
#include "script/wait.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define PART_CLASS "fcgi.part"
#define READER_CLASS "fcgi.parts"

enum {
    READER_MAGIC = 0x70617274,
    PART_MAGIC = 0x70617275,
    LINE_MAX_DEFAULT = 1024 * 1024,
    TEXT_KEPT = 64 * 1024, /* of the text's memory, from part to part */
    TROUBLE_MAX = 80
};

/* The user values of a reader and of a part. */
enum { READER_REQUEST = 1 };
enum { PART_READER = 1, PART_FIELDS = 2 };

struct reader {
    unsigned magic;
    struct lua_request *handle; /* READER_REQUEST keeps it */
    struct multipart mp;
    uint64_t taken, limit; /* bytes of the body */
    size_t turn;           /* ... since others had a turn */
    const char *why;       /* see LOOK_NOTHING */

    uint64_t number;   /* of the part that is read, from 1 */
    uint64_t received; /* bytes of it that were taken */
    bool is_due;       /* it has begun, and the script has not got it */
    bool has_ended;    /* all of it was taken */
    bool was_read;     /* some of it was, or it was saved */
    bool is_saving;
    struct buffer text;        /* what a line, or all of it, has so far */
    char trouble[TROUBLE_MAX]; /* why the rest is of no use; "": it is */
    struct savefile file;
};

/* What a script holds of a part. */
struct part {
    unsigned magic;
    uint64_t number;
    struct reader *reader; /* PART_READER keeps it */
};

/* The addresses of these name the classes in the registry. */
static const char reader_class, part_class;

/* --- looking at what there is --------------------------------------------- */

enum look {
    LOOK_DATA,
    LOOK_PART,    /* a part has begun */
    LOOK_ENDED,   /* a part has */
    LOOK_OVER,    /* all of them have */
    LOOK_WAIT,    /* for news of the request */
    LOOK_NOTHING, /* and there will be nothing; ->why says why */
    LOOK_MEMORY   /* there is none */
};

/* What a body stands for whose reader wants more, and there is nothing. */
static enum look look_at_end(struct reader *reader, enum request_status status)
{
    if (status == REQUEST_WAIT) {
        reader->turn = 0;
        return LOOK_WAIT;
    }
    if (status == REQUEST_EOF) {
        multipart_cut(&reader->mp);
        reader->why = "bad multipart";
    } else {
        reader->why = lua_request_reason(status);
    }
    return LOOK_NOTHING;
}

static void forget(struct reader *reader, size_t n)
{
    struct request *req = reader->handle->req;

    if (n == 0)
        return;
    request_consume(req, &req->body, n);
    reader->taken += n;
    reader->turn += n;
}

static enum look look(struct reader *reader, struct slice *data)
{
    struct request *req = reader->handle->req;

    if (req == NULL) {
        reader->why = reader->handle->was_aborted ? "aborted" : "finished";
        return LOOK_NOTHING;
    }
    for (;;) {
        struct slice in = { "", 0 };
        enum request_status status =
            request_peek(req, &req->body, SIZE_MAX, &in);
        enum multipart_event event;
        size_t used;

        event = multipart_next(&reader->mp, in, &used, data);
        forget(reader, used);
        if (reader->taken > reader->limit) {
            reader->why = "too large";
            return LOOK_NOTHING;
        }
        switch (event) {
        case MULTIPART_MORE:
            if (status != REQUEST_DATA)
                return look_at_end(reader, status);
            break;
        case MULTIPART_PART:
            return LOOK_PART;
        case MULTIPART_DATA:
            return LOOK_DATA;
        case MULTIPART_PART_END:
            reader->has_ended = true;
            return LOOK_ENDED;
        case MULTIPART_END:
            return LOOK_OVER;
        case MULTIPART_BROKEN:
            reader->why = "bad multipart";
            return LOOK_NOTHING;
        case MULTIPART_NO_MEMORY:
            return LOOK_MEMORY;
        }
    }
}

static void take(struct reader *reader, size_t n)
{
    reader->received += n;
    forget(reader, multipart_take(&reader->mp, n));
}

/* Have others waited for long enough? */
static bool is_turn_over(lua_State *L, struct reader *reader)
{
    if (reader->turn < PARTS_TURN)
        return false;
    reader->turn = 0;
    return task_can_wait(L);
}

static int wait_for_news(lua_State *L, struct reader *reader, lua_KFunction k)
{
    return task_wait_request(L, reader->handle->req, 0, k);
}

static int no_memory(lua_State *L)
{
    return luaL_error(L, "not enough memory");
}

/* --- a part --------------------------------------------------------------- */

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

static int push_why(lua_State *L, const char *why)
{
    luaL_pushfail(L);
    lua_pushstring(L, why);
    return 2;
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
        return push_why(L, reader->trouble);
    if (reader->text.len > 0) /* of a line, or a read, that was cancelled */
        return push_text(L, reader, (size_t)max);
    if (reader->has_ended)
        return luaL_pushfail(L), 1;
    switch (look(reader, &data)) {
    case LOOK_DATA:
        data = slice_take(&data, (size_t)max);
        lua_pushlstring(L, data.data, data.len);
        take(reader, data.len); /* only now: the push may raise */
        reader->was_read = true;
        return 1;
    case LOOK_WAIT:
        return wait_for_news(L, reader, read_some_k);
    case LOOK_NOTHING:
        return push_why(L, reader->why);
    case LOOK_MEMORY:
        return no_memory(L);
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
        snprintf(reader->trouble, TROUBLE_MAX, "too large");
        return false;
    }
    if (buffer_append(&reader->text, data) != BUFFER_OK)
        return no_memory(L), false;
    take(reader, data.len);
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
            return push_why(L, reader->trouble);
        if (reader->has_ended) {
            if (reader->was_read && reader->text.len == 0)
                return luaL_pushfail(L), 1;
            reader->was_read = true;
            return push_text(L, reader, SIZE_MAX);
        }
        switch (look(reader, &data)) {
        case LOOK_DATA:
            add_text(L, reader, data, max);
            break;
        case LOOK_WAIT:
            return wait_for_news(L, reader, read_all_k);
        case LOOK_NOTHING:
            return push_why(L, reader->why);
        case LOOK_MEMORY:
            return no_memory(L);
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
        switch (look(reader, &data)) {
        case LOOK_DATA:
            data = slice_take(&data, max - reader->text.len);
            newline = slice_find(data, '\n');
            if (newline != NULL)
                data.len = (size_t)(newline + 1 - data.data);
            if (newline != NULL && reader->text.len == 0) { /* mostly */
                lua_pushlstring(L, data.data, data.len);
                take(reader, data.len);
                reader->was_read = true;
                return 1;
            }
            add_text(L, reader, data, max);
            break;
        case LOOK_WAIT:
            return wait_for_news(L, reader, read_line_k);
        case LOOK_NOTHING:
            return push_why(L, reader->why);
        case LOOK_MEMORY:
            return no_memory(L);
        case LOOK_PART:
        case LOOK_ENDED:
        case LOOK_OVER:
            break;
        }
    }
    if (reader->trouble[0] != '\0')
        return push_why(L, reader->trouble);
    if (reader->text.len == 0)
        return luaL_pushfail(L), 1;
    return push_text(L, reader, SIZE_MAX);
}

/* part:read_line([max]) -> a line with its newline, or max bytes of it */
static int l_read_line(lua_State *L)
{
    lua_Integer max = luaL_optinteger(L, 2, LINE_MAX_DEFAULT);

    check_reading(L);
    luaL_argcheck(L, max > 0, 2, "must be positive");
    lua_settop(L, 1);
    lua_pushinteger(L, max);
    return read_line_k(L, LUA_OK, 0);
}

/* --- saving --------------------------------------------------------------- */

/* What the system says, as the fixed texts of this library are written. */
static int save_failed(lua_State *L, struct reader *reader)
{
    char *text = reader->trouble;

    snprintf(text, TROUBLE_MAX, "%s", strerror(errno));
    if (islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return push_why(L, text);
}

/* The reader is at index 3, to be closed when this ends, however it does. */
static int save_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = lua_touserdata(L, 3);
    struct slice data;

    (void)status;
    (void)ctx;
    while (!reader->has_ended) {
        if (is_turn_over(L, reader))
            return task_sleep(L, 0, save_k);
        switch (look(reader, &data)) {
        case LOOK_DATA:
            if (savefile_write(&reader->file, data) == -1)
                return save_failed(L, reader);
            take(reader, data.len);
            break;
        case LOOK_WAIT:
            return wait_for_news(L, reader, save_k);
        case LOOK_NOTHING:
            snprintf(reader->trouble, TROUBLE_MAX, "%s", reader->why);
            return push_why(L, reader->why);
        case LOOK_MEMORY:
            return no_memory(L);
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
        return push_why(L, reader->trouble);
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

/* A save has ended, perhaps by a cancellation: a file that was not kept is
 * gone, and what would be left of the part is no use to anybody. */
static int reader_close(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);

    savefile_drop(&reader->file);
    if (reader->received > 0 && !reader->has_ended &&
        reader->trouble[0] == '\0')
        snprintf(reader->trouble, TROUBLE_MAX, "cancelled");
    reader->is_saving = false;
    return 0;
}

/* --- from part to part ---------------------------------------------------- */

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

/* Pushes the part that the reader, at index 1, is at. */
static int push_part(lua_State *L, struct reader *reader)
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

static void begin_part(struct reader *reader)
{
    reader->number++;
    reader->received = 0;
    reader->is_due = true;
    reader->has_ended = reader->was_read = false;
    reader->trouble[0] = '\0';
    buffer_reset(&reader->text, TEXT_KEPT);
}

/* There are no more parts, and that is a fault. */
static int refuse(lua_State *L, struct reader *reader)
{
    char text[160];

    if (strcmp(reader->why, "bad multipart") == 0) {
        snprintf(text, sizeof(text), "bad multipart: %s", reader->mp.why);
        refusal_push(L, 400, text);
    } else {
        refusal_push(L, strcmp(reader->why, "too large") == 0 ? 413 : 400,
                     reader->why);
    }
    return lua_error(L);
}

/* Skips what is left of a part and gives the next one.  The reader is at index
 * 1; at 2, whether a fault is raised. */
static int next_k(lua_State *L, int status, lua_KContext ctx)
{
    struct reader *reader = lua_touserdata(L, 1);
    struct slice data;

    (void)status;
    (void)ctx;
    if (reader->is_saving)
        return luaL_error(L, "a part is being saved by another task");
    for (;;) {
        if (reader->is_due)
            return push_part(L, reader);
        if (is_turn_over(L, reader))
            return task_sleep(L, 0, next_k);
        switch (look(reader, &data)) {
        case LOOK_DATA:
            take(reader, data.len);
            reader->was_read = true;
            break;
        case LOOK_PART:
            begin_part(reader);
            break;
        case LOOK_ENDED:
            break;
        case LOOK_OVER:
            luaL_pushfail(L);
            return 1;
        case LOOK_WAIT:
            return wait_for_news(L, reader, next_k);
        case LOOK_NOTHING:
            return lua_toboolean(L, 2) ? refuse(L, reader)
                                       : push_why(L, reader->why);
        case LOOK_MEMORY:
            return no_memory(L);
        }
    }
}

/* What req:parts gives; upvalue 1 is the reader. */
static int l_iterate(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushboolean(L, 1);
    return next_k(L, LUA_OK, 0);
}

/* --- the reader ----------------------------------------------------------- */

static int reader_gc(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);

    multipart_free(&reader->mp);
    buffer_free(&reader->text);
    savefile_drop(&reader->file);
    return 0;
}

static struct slice content_type(const struct request *req)
{
    struct slice type = { "", 0 };

    request_param(req, slice_of("CONTENT_TYPE"), &type);
    return type;
}

/* Pushes a reader for the body of the request at index 1; returns what is wrong
 * with its type, or NULL. */
static const char *push_reader(lua_State *L, struct lua_request *handle,
                               uint64_t limit)
{
    struct reader *reader = lua_newuserdatauv(L, sizeof(*reader), 1);

    *reader = (struct reader){ .magic = READER_MAGIC,
                               .handle = handle,
                               .limit = limit };
    buffer_init(&reader->text, SIZE_MAX);
    savefile_init(&reader->file);
    multipart_init(&reader->mp, (struct slice){ "", 0 });
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, READER_REQUEST);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &reader_class);
    lua_setmetatable(L, -2);
    return multipart_init(&reader->mp, content_type(handle->req));
}

static struct reader *check_reader(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);

    if (reader == NULL || lua_rawlen(L, 1) != sizeof(*reader) ||
        reader->magic != READER_MAGIC)
        return (void)luaL_typeerror(L, 1, READER_CLASS), NULL;
    return reader;
}

/* req:parts() -> an iterator */
int lua_parts_iterate(lua_State *L)
{
    struct lua_request *handle = lua_request_check(L);
    char text[160];
    const char *why;

    lua_settop(L, 1);
    if (handle->req == NULL) {
        refusal_push(L, 400, handle->was_aborted ? "aborted" : "finished");
        return lua_error(L);
    }
    if (handle->use == BODY_PARTS)
        return luaL_error(L, "the body is already being taken by req:parts, "
                             "which is called once");
    if (!multipart_is_form(content_type(handle->req))) {
        refusal_push(L, 415,
                     "bad multipart: the body is not "
                     "multipart/form-data");
        return lua_error(L);
    }
    lua_request_use_body(L, BODY_PARTS);
    why = push_reader(L, handle, UINT64_MAX);
    if (why != NULL) {
        snprintf(text, sizeof(text), "bad multipart: %s", why);
        refusal_push(L, 400, text);
        return lua_error(L);
    }
    lua_pushcclosure(L, l_iterate, 1);
    return 1;
}

/* --- for lua/fcgi/form.lua ------------------------------------------------ */

/* open_parts(req, max): a reader; nil, "bad multipart".  The body was taken by
 * use_form. */
static int l_open_parts(lua_State *L)
{
    struct lua_request *handle = lua_request_check(L);
    lua_Integer max = luaL_checkinteger(L, 2);

    lua_settop(L, 1);
    if (handle->req == NULL)
        return lua_request_over(L);
    if (push_reader(L, handle, (uint64_t)max) != NULL)
        return push_why(L, "bad multipart");
    return 1;
}

/* next_part(reader) -> part | nil | nil, why */
static int l_next_part(lua_State *L)
{
    check_reader(L);
    lua_settop(L, 1);
    lua_pushboolean(L, 0);
    return next_k(L, LUA_OK, 0);
}

/* read_part(part, max): all of it, "" when it is empty; nil, "too large". */
static int l_read_part(lua_State *L)
{
    check_reading(L);
    luaL_checkinteger(L, 2);
    lua_settop(L, 2);
    return read_all_k(L, LUA_OK, 0);
}

/* --- the classes ---------------------------------------------------------- */

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

static void open_reader(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        { "__gc", reader_gc },
        { "__close", reader_close },
        { NULL, NULL },
    };

    lua_newtable(L);
    luaL_setfuncs(L, metamethods, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &reader_class);
}

/* Leaves the class on the stack, and its methods above it. */
static void open_part(lua_State *L)
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

void lua_parts_open(lua_State *L, int request_class)
{
    open_reader(L);
    lua_newtable(L);
    lua_pushvalue(L, request_class);
    lua_pushcclosure(L, l_open_parts, 1);
    lua_setfield(L, -2, "open_parts");
    lua_pushcfunction(L, l_next_part);
    lua_setfield(L, -2, "next_part");
    open_part(L); /* class, methods */
    lua_setfield(L, -3, "methods");
    lua_pushcclosure(L, l_read_part, 1);
    lua_setfield(L, -2, "read_part");
}
