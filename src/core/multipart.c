/* multipart.c -- see multipart.h for the contract.
 *
 * A boundary has no carriage return, so of the places where a delimiter may
 * begin in bytes that look like one up to their end there is never more than
 * the last.  That is all there is to remember between two pieces: how many
 * bytes of it were seen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/multipart.h"

#include "core/limits.h"
#include "core/mime.h"

#include <assert.h>

enum { PADDING_MAX = 128 }; /* blanks behind a boundary: nobody sends any */

static enum multipart_event fault(struct multipart *mp, const char *why)
{
    mp->state = MULTIPART_AT_FAULT;
    mp->why = why;
    return MULTIPART_BROKEN;
}

/* --- the boundary --------------------------------------------------------- */

bool multipart_is_form(struct slice content_type)
{
    return slice_equal_nocase(mime_kind(&content_type),
                              slice_of("multipart/form-data"));
}

static const char *set_boundary(struct multipart *mp,
                                const struct mime_param *param)
{
    char *boundary = mp->delimiter + 4;
    size_t len;

    if (param->value.len > MULTIPART_BOUNDARY_MAX)
        return "a boundary of more than 70 bytes";
    len = mime_param_decode(param, boundary);
    for (size_t i = 0; i < len; i++)
        if (boundary[i] < ' ' || boundary[i] > '~')
            return "a boundary that is not printable";
    if (len == 0 || boundary[len - 1] == ' ')
        return "a boundary that is empty or ends with a blank";
    memcpy(mp->delimiter, "\r\n--", 4);
    boundary[len] = '-'; /* see MULTIPART_AT_DASH */
    mp->delimiter_len = 4 + len;
    return NULL;
}

static const char *read_type(struct multipart *mp, struct slice type)
{
    struct mime_param param;
    enum mime_status status;
    const char *why;

    mime_kind(&type);
    while ((status = mime_param_next(&type, &param)) == MIME_PARAM) {
        if (!slice_equal_nocase(param.name, slice_of("boundary")))
            continue;
        if (mp->delimiter_len > 0)
            return "two boundaries";
        why = set_boundary(mp, &param);
        if (why != NULL)
            return why;
    }
    if (status == MIME_BROKEN)
        return "a Content-Type that cannot be read";
    return mp->delimiter_len > 0 ? NULL : "a Content-Type without a boundary";
}

/* The first boundary may stand at the very beginning, as if behind a CRLF. */
const char *multipart_init(struct multipart *mp, struct slice content_type)
{
    const char *why;

    *mp = (struct multipart){ .matched = 2, .not_data = 2 };
    buffer_init(&mp->head_bytes, 2 * (size_t)PART_HEAD_MAX);
    why = read_type(mp, content_type);
    if (why != NULL)
        fault(mp, why);
    return why;
}

void multipart_free(struct multipart *mp)
{
    buffer_free(&mp->head_bytes);
}

/* --- data ----------------------------------------------------------------- */

/* What looked like a delimiter is none: its first len bytes are data. */
static void hold(struct multipart *mp, size_t len)
{
    mp->held_at = mp->not_data;
    mp->held_len = mp->in_part ? len - mp->not_data : 0;
    mp->matched = mp->not_data = 0;
    mp->state = MULTIPART_AT_DATA;
}

/* How many bytes of in cannot be the beginning of a delimiter that goes on
 * behind them. */
static size_t before_tail(const struct multipart *mp, struct slice in)
{
    size_t most = mp->delimiter_len - 1;
    size_t start = in.len > most ? in.len - most : 0;
    const char *cr = memrchr(in.data + start, '\r', in.len - start);
    size_t at;

    if (cr == NULL)
        return in.len;
    at = (size_t)(cr - in.data);
    return memcmp(cr, mp->delimiter, in.len - at) == 0 ? at : in.len;
}

/* Goes on comparing with the delimiter; in is not empty. */
static void match(struct multipart *mp, struct slice in, size_t *used)
{
    size_t n = mp->delimiter_len - mp->matched;

    if (n > in.len)
        n = in.len;
    if (memcmp(in.data, mp->delimiter + mp->matched, n) != 0) {
        hold(mp, mp->matched);
        return;
    }
    mp->matched += n;
    *used += n;
    if (mp->matched == mp->delimiter_len)
        mp->state = MULTIPART_AT_BEHIND;
}

/* Looks for the delimiter; in is not empty. */
static void search(struct multipart *mp, struct slice in, size_t *used)
{
    const char *found =
        memmem(in.data, in.len, mp->delimiter, mp->delimiter_len);
    size_t before =
        found != NULL ? (size_t)(found - in.data) : before_tail(mp, in);

    if (before == 0)
        match(mp, in, used);
    else if (mp->in_part)
        mp->clear = before;
    else
        *used += before; /* of the preamble */
}

/* --- between two parts ---------------------------------------------------- */

static enum multipart_event leave_part(struct multipart *mp,
                                       enum multipart_state state)
{
    bool was_in_part = mp->in_part;

    mp->state = state;
    mp->in_part = false;
    mp->matched = mp->not_data = mp->padding = 0;
    buffer_reset(&mp->head_bytes, PART_HEAD_MAX);
    return was_in_part ? MULTIPART_PART_END : MULTIPART_MORE;
}

/* The byte behind what may be a boundary. */
static enum multipart_event behind(struct multipart *mp, char c, size_t *used)
{
    switch (mp->state) {
    case MULTIPART_AT_BEHIND:
        if (c != '-' && c != '\r' && c != ' ' && c != '\t') {
            hold(mp, mp->delimiter_len);
            return MULTIPART_MORE;
        }
        mp->state = c == '-'    ? MULTIPART_AT_DASH
                    : c == '\r' ? MULTIPART_AT_NEWLINE
                                : MULTIPART_AT_PADDING;
        break;
    case MULTIPART_AT_DASH:
        if (c != '-') {
            hold(mp, mp->delimiter_len + 1);
            return MULTIPART_MORE;
        }
        ++*used;
        return leave_part(mp, MULTIPART_AT_END);
    case MULTIPART_AT_PADDING:
        if (c == '\r')
            mp->state = MULTIPART_AT_NEWLINE;
        else if ((c != ' ' && c != '\t') || ++mp->padding > PADDING_MAX)
            return fault(mp, "text behind a boundary");
        break;
    case MULTIPART_AT_NEWLINE:
        if (c != '\n')
            return fault(mp, "a boundary's line that does not end with CRLF");
        ++*used;
        return leave_part(mp, MULTIPART_AT_HEAD);
    case MULTIPART_AT_DATA:
    case MULTIPART_AT_HEAD:
    case MULTIPART_AT_END:
    case MULTIPART_AT_FAULT:
        assert(false);
        break;
    }
    ++*used;
    return MULTIPART_MORE;
}

/* Does the head in buf end here, behind a newline? */
static bool is_whole(const struct buffer *buf)
{
    return buf->len == 2 || (buf->len >= 4 && memcmp(buf->data + buf->len - 4,
                                                     "\r\n\r\n", 4) == 0);
}

static enum multipart_event begin_part(struct multipart *mp)
{
    bool no_memory;
    const char *why = part_head_read(&mp->head_bytes, &mp->head, &no_memory);

    if (why != NULL)
        return fault(mp, why);
    if (no_memory) {
        fault(mp, "no memory");
        return MULTIPART_NO_MEMORY;
    }
    mp->state = MULTIPART_AT_DATA;
    mp->in_part = true;
    mp->matched = mp->not_data = 2; /* the empty line may end the part, too */
    return MULTIPART_PART;
}

/* Takes a line of the head, or the beginning of one; in is not empty. */
static enum multipart_event add_to_head(struct multipart *mp, struct slice in,
                                        size_t *used)
{
    const char *newline = slice_find(in, '\n');
    struct buffer *buf = &mp->head_bytes;

    if (newline != NULL)
        in.len = (size_t)(newline + 1 - in.data);
    if (in.len > PART_HEAD_MAX - buf->len)
        return fault(mp, "the head of a part is over 16 KiB");
    if (buffer_append(buf, in) != BUFFER_OK) {
        fault(mp, "no memory");
        return MULTIPART_NO_MEMORY;
    }
    *used += in.len;
    if (newline == NULL)
        return MULTIPART_MORE;
    if (buf->len < 2 || buf->data[buf->len - 2] != '\r')
        return fault(mp, "a line that does not end with CRLF in the head of a "
                         "part");
    return is_whole(buf) ? begin_part(mp) : MULTIPART_MORE;
}

/* --- all of it ------------------------------------------------------------ */

/* One step; MULTIPART_MORE: another one, if there is input. */
static enum multipart_event step(struct multipart *mp, struct slice in,
                                 size_t *used)
{
    switch (mp->state) {
    case MULTIPART_AT_DATA:
        if (mp->matched > 0)
            match(mp, in, used);
        else
            search(mp, in, used);
        break;
    case MULTIPART_AT_BEHIND:
    case MULTIPART_AT_DASH:
    case MULTIPART_AT_PADDING:
    case MULTIPART_AT_NEWLINE:
        return behind(mp, *in.data, used);
    case MULTIPART_AT_HEAD:
        return add_to_head(mp, in, used);
    case MULTIPART_AT_END:
    case MULTIPART_AT_FAULT:
        assert(false);
        break;
    }
    return MULTIPART_MORE;
}

enum multipart_event multipart_next(struct multipart *mp, struct slice in,
                                    size_t *used, struct slice *data)
{
    enum multipart_event event = MULTIPART_MORE;

    *used = 0;
    while (event == MULTIPART_MORE) {
        struct slice rest = in;

        if (mp->state == MULTIPART_AT_END)
            return MULTIPART_END;
        if (mp->state == MULTIPART_AT_FAULT)
            return MULTIPART_BROKEN;
        if (mp->held_len > 0) {
            *data = (struct slice){ mp->delimiter + mp->held_at, mp->held_len };
            return MULTIPART_DATA;
        }
        slice_take(&rest, *used);
        if (mp->clear > 0) {
            assert(*used == 0 && rest.len > 0);
            *data = slice_take(&rest, mp->clear);
            return MULTIPART_DATA;
        }
        if (rest.len == 0)
            break;
        event = step(mp, rest, used);
    }
    return event;
}

size_t multipart_take(struct multipart *mp, size_t n)
{
    if (mp->held_len > 0) {
        assert(n <= mp->held_len);
        mp->held_at += n;
        mp->held_len -= n;
        return 0;
    }
    assert(n <= mp->clear);
    mp->clear -= n;
    return n;
}

enum multipart_event multipart_cut(struct multipart *mp)
{
    if (mp->state == MULTIPART_AT_FAULT)
        return MULTIPART_BROKEN;
    return fault(mp, mp->in_part || mp->state != MULTIPART_AT_DATA
                         ? "it ends within a part"
                         : "it has no boundary, or ends before the first");
}
