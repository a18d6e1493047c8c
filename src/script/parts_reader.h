/* parts_reader.h -- private to this room: going through a multipart body, for
 * lua_part.c and lua_parts.c.
 *
 * One reader goes through a body and belongs to its request.  Parts are numbers
 * to it, of which the last one counts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_PARTS_READER_H
#define SCRIPT_PARTS_READER_H

#include "base/savefile.h"
#include "core/multipart.h"
#include "script/lua_request.h"

enum { READER_TROUBLE_MAX = 80 };

struct reader {
    unsigned magic;
    struct lua_request *handle; /* its user value */
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
    struct buffer text; /* what a line, or all of it, has so far */
    char trouble[READER_TROUBLE_MAX]; /* why the rest is of no use; "": it is */
    struct savefile file;
};

enum look {
    LOOK_DATA,
    LOOK_PART,    /* a part has begun */
    LOOK_ENDED,   /* a part has */
    LOOK_OVER,    /* all of them have */
    LOOK_WAIT,    /* for news of the request */
    LOOK_NOTHING, /* and there will be nothing; ->why says why */
    LOOK_MEMORY   /* there is none */
};

/* Makes the class; once for each state. */
void reader_open(lua_State *L);

/* Pushes a reader for at most limit bytes of the body of the request at index
 * 1, which has not ended; returns what is wrong with its type, or NULL.
 * Closing a reader (lua_toclose) ends a save. */
const char *reader_push(lua_State *L, struct lua_request *handle,
                        uint64_t limit);

/* The reader at index 1; raises if it is none. */
struct reader *reader_check(lua_State *L);

/* What comes next.  With LOOK_DATA these are *data, until they are taken; a
 * part that ends has ->has_ended. */
enum look reader_look(struct reader *reader, struct slice *data);
void reader_take(struct reader *reader, size_t n);

/* After LOOK_PART: it is the one that is read now. */
void reader_begin_part(struct reader *reader);

/* Has it gone on for so long that others should have a turn? */
bool reader_is_turn_over(lua_State *L, struct reader *reader);

/* Waits for news after LOOK_WAIT; k goes on. */
int reader_wait(lua_State *L, struct reader *reader, lua_KFunction k);

/* Raises after LOOK_MEMORY. */
int reader_no_memory(lua_State *L);

/* Pushes nil and why; returns 2. */
int reader_push_why(lua_State *L, const char *why);

struct slice reader_content_type(const struct request *req);

#endif
