/* parts_reader.c -- see parts_reader.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/parts_reader.h"

#include "core/limits.h"
#include "script/wait.h"

#include <stdio.h>

#define READER_CLASS "fcgi.parts"

enum {
    READER_MAGIC = 0x70617274,
    TEXT_KEPT = 64 * 1024 /* of the text's memory, from part to part */
};

/* The user value: the handle of the request. */
enum { READER_REQUEST = 1 };

/* Its address names the class in the registry. */
static const char reader_class;

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

enum look reader_look(struct reader *reader, struct slice *data)
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

void reader_take(struct reader *reader, size_t n)
{
    reader->received += n;
    forget(reader, multipart_take(&reader->mp, n));
}

bool reader_is_turn_over(lua_State *L, struct reader *reader)
{
    if (reader->turn < PARTS_TURN)
        return false;
    reader->turn = 0;
    return task_can_wait(L);
}

int reader_wait(lua_State *L, struct reader *reader, lua_KFunction k)
{
    return task_wait_request(L, reader->handle->req, 0, k);
}

int reader_no_memory(lua_State *L)
{
    return luaL_error(L, "not enough memory");
}

int reader_push_why(lua_State *L, const char *why)
{
    luaL_pushfail(L);
    lua_pushstring(L, why);
    return 2;
}

void reader_begin_part(struct reader *reader)
{
    reader->number++;
    reader->received = 0;
    reader->is_due = true;
    reader->has_ended = reader->was_read = false;
    reader->trouble[0] = '\0';
    buffer_reset(&reader->text, TEXT_KEPT);
}

/* --- the reader ----------------------------------------------------------- */

/* The reader at index 1, or NULL: debug gives these functions to scripts. */
static struct reader *reader_at(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);

    if (reader == NULL || lua_rawlen(L, 1) != sizeof(*reader) ||
        reader->magic != READER_MAGIC)
        return NULL;
    return reader;
}

static int reader_gc(lua_State *L)
{
    struct reader *reader = reader_at(L);

    if (reader == NULL)
        return 0;
    multipart_free(&reader->mp);
    buffer_free(&reader->text);
    savefile_drop(&reader->file);
    return 0;
}

struct slice reader_content_type(const struct request *req)
{
    struct slice type = { "", 0 };

    request_param(req, slice_of("CONTENT_TYPE"), &type);
    return type;
}

const char *reader_push(lua_State *L, struct lua_request *handle,
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
    return multipart_init(&reader->mp, reader_content_type(handle->req));
}

struct reader *reader_check(lua_State *L)
{
    struct reader *reader = reader_at(L);

    if (reader == NULL)
        return (void)luaL_typeerror(L, 1, READER_CLASS), NULL;
    return reader;
}

/* A save has ended, perhaps by a cancellation: a file that was not kept is
 * gone, and what would be left of the part is no use to anybody. */
static int reader_close(lua_State *L)
{
    struct reader *reader = reader_at(L);

    if (reader == NULL)
        return 0;
    savefile_drop(&reader->file);
    if (reader->received > 0 && !reader->has_ended &&
        reader->trouble[0] == '\0')
        snprintf(reader->trouble, READER_TROUBLE_MAX, "cancelled");
    reader->is_saving = false;
    return 0;
}

void reader_open(lua_State *L)
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
