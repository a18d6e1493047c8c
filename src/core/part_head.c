/* part_head.c -- see part_head.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/part_head.h"

#include "core/head.h"
#include "core/limits.h"
#include "core/mime.h"

/* A line that begins with a blank goes on with the one before it (RFC 5322,
 * 2.2.3): then the newline between them is a blank, too. */
static const char *unfold(struct buffer *buf)
{
    for (size_t i = 0; i < buf->len; i++) {
        char *at = buf->data + i;

        if (*at == '\0')
            return "a NUL in the head of a part";
        if ((*at == '\r' && (i + 1 == buf->len || at[1] != '\n')) ||
            (*at == '\n' && (i == 0 || at[-1] != '\r')))
            return "a line that does not end with CRLF in the head of a part";
        if (*at == '\n' && i + 1 < buf->len && (at[1] == ' ' || at[1] == '\t'))
            at[-1] = at[0] = ' ';
    }
    return NULL;
}

bool part_head_next(struct slice *lines, struct slice *name,
                    struct slice *value)
{
    const char *newline = slice_find(*lines, '\n');
    struct slice rest = *lines, line; /* *lines changes if this is a header */
    const char *colon;

    if (newline == NULL)
        return false;
    line = slice_take(&rest, (size_t)(newline + 1 - rest.data));
    line.len -= 2; /* its CRLF */
    colon = slice_find(line, ':');
    if (colon == NULL)
        return false;
    *name = slice_take(&line, (size_t)(colon - line.data));
    slice_take(&line, 1);
    *value = slice_trim(line);
    *lines = rest;
    return true;
}

/* The last component: browsers send the path of a file in a folder that was
 * chosen, very old ones that of every file. */
static struct slice without_path(struct slice filename)
{
    size_t start = 0;

    for (size_t i = 0; i < filename.len; i++)
        if (filename.data[i] == '/' || filename.data[i] == '\\')
            start = i + 1;
    slice_take(&filename, start);
    if (slice_equal(filename, slice_of(".")) ||
        slice_equal(filename, slice_of("..")))
        filename.len = 0;
    return filename;
}

/* What browsers write for a quote, and, in names of fields, for a newline.  A
 * percent sign stays one otherwise: they do not escape that. */
static size_t decode_percents(char *text, size_t len, bool newlines)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        struct slice rest = { text + i, len - i };
        struct slice escape = slice_take(&rest, 3);
        char c = text[i];

        if (slice_equal(escape, slice_of("%22")))
            c = '"';
        else if (newlines && slice_equal_nocase(escape, slice_of("%0d")))
            c = '\r';
        else if (newlines && slice_equal_nocase(escape, slice_of("%0a")))
            c = '\n';
        if (c != text[i])
            i += 2;
        text[n++] = c;
    }
    return n;
}

/* Decodes a parameter behind the bytes of buf, where there is room for it. */
static struct slice decode(struct buffer *buf, const struct mime_param *param,
                           bool newlines)
{
    char *out = buf->data + buf->len;
    size_t len = mime_param_decode(param, out);

    len = decode_percents(out, len, newlines);
    buf->len += len;
    return (struct slice){ out, len };
}

static bool decode_extended(struct buffer *buf, const struct mime_param *param,
                            struct slice *value)
{
    char *out = buf->data + buf->len;
    size_t len;

    if (!mime_extended_decode(param->value, out, &len))
        return false;
    buf->len += len;
    *value = (struct slice){ out, len };
    return true;
}

static const char *read_disposition(struct buffer *buf, struct slice value,
                                    struct part_head *head)
{
    struct slice plain = { "", 0 }, extended = { "", 0 };
    bool has_name = false, has_plain = false, has_extended = false;
    bool is_extended = false; /* and can be read */
    struct mime_param param;
    enum mime_status status;

    if (!slice_equal_nocase(mime_kind(&value), slice_of("form-data")))
        return "the disposition of a part is not form-data";
    while ((status = mime_param_next(&value, &param)) == MIME_PARAM) {
        if (slice_equal_nocase(param.name, slice_of("name"))) {
            if (has_name)
                return "a part with two names";
            head->name = decode(buf, &param, true);
            has_name = true;
        } else if (slice_equal_nocase(param.name, slice_of("filename"))) {
            if (has_plain)
                return "a part with two file names";
            plain = decode(buf, &param, false);
            has_plain = true;
        } else if (slice_equal_nocase(param.name, slice_of("filename*"))) {
            if (has_extended)
                return "a part with two file names";
            is_extended = decode_extended(buf, &param, &extended);
            has_extended = true;
        }
    }
    if (status == MIME_BROKEN)
        return "a Content-Disposition that cannot be read";
    if (!has_name)
        return "a part without a name";
    if (has_extended && !is_extended && !has_plain)
        return "a file name that is not UTF-8";
    head->has_filename = has_plain || is_extended;
    head->filename = without_path(is_extended ? extended : plain);
    return NULL;
}

/* The lines are sound headers; finds the two that count. */
static const char *check_lines(struct slice lines, struct slice *disposition,
                               struct slice *type)
{
    bool has_disposition = false, has_type = false;
    struct slice rest = lines, name, value;
    unsigned count = 0;

    while (part_head_next(&rest, &name, &value)) {
        if (++count > PART_LINES_MAX)
            return "the head of a part has over 64 lines";
        if (!head_is_name(name))
            return "a header of a part whose name is none";
        if (slice_equal_nocase(name, slice_of("content-disposition"))) {
            if (has_disposition)
                return "a part with two Content-Dispositions";
            has_disposition = true;
            *disposition = value; /* names of files may have any bytes */
            continue;
        }
        if (!head_is_value(value))
            return "a control byte in the head of a part";
        if (slice_equal_nocase(name, slice_of("content-type"))) {
            if (has_type)
                return "a part with two Content-Types";
            has_type = true;
            *type = value;
        }
    }
    if (rest.len != 0)
        return "a line in the head of a part that is no header";
    return has_disposition ? NULL : "a part without Content-Disposition";
}

const char *part_head_read(struct buffer *buf, struct part_head *head,
                           bool *no_memory)
{
    struct slice disposition = { "", 0 };
    const char *why = unfold(buf);

    *head = (struct part_head){ .name = { "", 0 },
                                .filename = { "", 0 },
                                .type = { "", 0 } };
    *no_memory = false;
    if (why != NULL)
        return why;
    /* What is decoded is never longer than what it is decoded from. */
    if (buffer_reserve(buf, buf->len) != BUFFER_OK) {
        *no_memory = true;
        return NULL;
    }
    head->lines = buffer_slice(buf);
    head->lines.len -= 2; /* the empty line */
    why = check_lines(head->lines, &disposition, &head->type);
    return why != NULL ? why : read_disposition(buf, disposition, head);
}
