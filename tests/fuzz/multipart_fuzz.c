/* multipart_fuzz.c -- the body of a form, and the Content-Type that came with
 * it.
 *
 * The first byte says how the body is cut, the first line is the Content-Type.
 * However the body is cut and taken, the parts are the same; no data hold what
 * would have been a boundary; a file name is never a path.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "core/multipart.h"

#include <stdint.h>
#include <stdlib.h>

enum { INPUT_MAX = 48 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* What came of a body, in a row; a NUL byte ends each thing. */
struct record {
    struct buffer all;
    struct buffer part; /* "\r\n" and the data of the one that is read */
    const char *why;
    enum multipart_event end;
};

static void add(struct buffer *buf, struct slice bytes)
{
    check(buffer_append(buf, bytes) == BUFFER_OK);
}

static void add_text(struct record *record, struct slice bytes)
{
    add(&record->all, bytes);
    add(&record->all, (struct slice){ "", 1 });
}

static void check_filename(struct slice name)
{
    check(slice_find(name, '/') == NULL && slice_find(name, '\\') == NULL);
    check(slice_find(name, '\n') == NULL && slice_find(name, '\0') == NULL);
    check(!slice_equal(name, slice_of(".")));
    check(!slice_equal(name, slice_of("..")));
}

static void add_head(struct record *record, const struct part_head *head)
{
    struct slice rest = head->lines, name, value;

    check_filename(head->filename);
    check(head->has_filename || head->filename.len == 0);
    check(head->name.len <= PART_HEAD_MAX && head->lines.len <= PART_HEAD_MAX);
    add_text(record, head->name);
    add_text(record, head->filename);
    add_text(record, head->type);
    while (part_head_next(&rest, &name, &value)) {
        add_text(record, name);
        add_text(record, value);
    }
    check(rest.len == 0);
    add(&record->part, slice_of("\r\n"));
}

/* What stood in the data of a part cannot have been a boundary. */
static void check_part(struct record *record, const struct multipart *mp)
{
    struct slice rest = buffer_slice(&record->part);
    const char *at;

    while ((at = memmem(rest.data, rest.len, mp->delimiter,
                        mp->delimiter_len)) != NULL) {
        slice_take(&rest, (size_t)(at - rest.data) + mp->delimiter_len);
        check(rest.len == 0 ||
              (*rest.data != '\r' && *rest.data != ' ' && *rest.data != '\t'));
        check(rest.len < 2 || memcmp(rest.data, "--", 2) != 0);
    }
    rest = buffer_slice(&record->part);
    check(rest.len >= 2);
    slice_take(&rest, 2);
    add_text(record, rest);
    record->part.len = 0;
}

/* Gives the parser what is there until it wants more.  Returns whether it
 * does; bytes are those that it has not used. */
static bool feed(struct multipart *mp, struct record *record,
                 struct slice *bytes, size_t step)
{
    for (;;) {
        struct slice data = { NULL, 0 };
        size_t used;

        record->end = multipart_next(mp, *bytes, &used, &data);
        check(used <= bytes->len);
        switch (record->end) {
        case MULTIPART_MORE:
            check(used == bytes->len);
            slice_take(bytes, used);
            return true;
        case MULTIPART_PART:
            add_head(record, &mp->head);
            break;
        case MULTIPART_DATA:
            check(data.len > 0);
            check(used == 0 || data.data < bytes->data ||
                  data.data >= bytes->data + bytes->len);
            slice_take(bytes, used);
            data = slice_take(&data, step);
            add(&record->part, data);
            used = multipart_take(mp, data.len);
            break;
        case MULTIPART_PART_END:
            check_part(record, mp);
            break;
        case MULTIPART_END:
            return false;
        case MULTIPART_BROKEN:
        case MULTIPART_NO_MEMORY:
            record->why = mp->why;
            return false;
        }
        slice_take(bytes, used);
    }
}

/* Plays a body in pieces of that size, each in memory of its own, so that a
 * sanitizer sees each byte that is read outside of it. */
static void play(struct record *record, struct slice type, struct slice body,
                 size_t step)
{
    struct multipart mp;
    bool wants_more = true;

    *record = (struct record){ .end = MULTIPART_MORE };
    buffer_init(&record->all, SIZE_MAX);
    buffer_init(&record->part, SIZE_MAX);
    record->why = multipart_init(&mp, type);
    if (record->why != NULL)
        record->end = MULTIPART_BROKEN;
    while (record->why == NULL && body.len > 0 && wants_more) {
        struct slice piece = slice_take(&body, step);
        char *copy = malloc(piece.len);
        struct slice rest = { copy, piece.len };

        check(copy != NULL);
        memcpy(copy, piece.data, piece.len);
        wants_more = feed(&mp, record, &rest, step);
        free(copy);
    }
    if (record->why == NULL && wants_more) {
        record->end = multipart_cut(&mp);
        record->why = mp.why;
    }
    check((record->end == MULTIPART_BROKEN) == (record->why != NULL));
    check(mp.head_bytes.cap <= 4 * (size_t)PART_HEAD_MAX);
    multipart_free(&mp);
}

static void forget(struct record *record)
{
    buffer_free(&record->all);
    buffer_free(&record->part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = { (const char *)data, size }, cut, type;
    struct record whole, pieces;
    const char *newline;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    cut = slice_take(&in, 1);
    newline = slice_find(in, '\n');
    type =
        slice_take(&in, newline != NULL ? (size_t)(newline - in.data) : in.len);
    slice_take(&in, 1);
    play(&whole, type, in, size);
    play(&pieces, type, in, 1 + (uint8_t)*cut.data % 100);
    check(whole.end == pieces.end && whole.why == pieces.why);
    check(slice_equal(buffer_slice(&whole.all), buffer_slice(&pieces.all)));
    check(slice_equal(buffer_slice(&whole.part), buffer_slice(&pieces.part)));
    forget(&whole);
    forget(&pieces);
    return 0;
}
