/* mime_fuzz.c -- a header with parameters, and each value decoded in every way
 * that there is.
 *
 * Whatever the bytes: parameters lie within them and behind one another, and
 * what is decoded has room in the bytes that it comes from.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/mime.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Room for n bytes and not one more, so that a sanitizer sees any other. */
static char *room_for(size_t n)
{
    char *room = malloc(n > 0 ? n : 1);

    check(room != NULL);
    return room;
}

static void check_extended(struct slice value)
{
    char *room = room_for(value.len);
    size_t len = SIZE_MAX;

    if (mime_extended_decode(value, room, &len)) {
        check(len <= value.len);
        for (size_t i = 0; i < len; i++)
            check((uint8_t)room[i] >= ' ' && room[i] != 0x7f);
    }
    free(room);
}

/* What stands for itself stays, and nothing else is longer than it was. */
static void check_form(struct slice text)
{
    char *room = room_for(text.len);
    size_t len = mime_form_decode(text, room), at = 0;

    check(len <= text.len);
    for (size_t i = 0; i < len; i++, at++) {
        check(at < text.len);
        if (text.data[at] == '+')
            check(room[i] == ' ');
        else if (text.data[at] != '%')
            check(room[i] == text.data[at]);
        else if (room[i] != '%' ||
                 (text.len - at > 2 && text.data[at + 1] == '2' &&
                  text.data[at + 2] == '5'))
            at += 2;
    }
    check(at == text.len);
    free(room);
}

static void check_param(struct slice in, const struct mime_param *param)
{
    char *room = room_for(param->value.len);

    check(param->name.len > 0);
    check(param->name.data >= in.data &&
          param->name.data + param->name.len <= in.data + in.len);
    check(param->value.data >= param->name.data + param->name.len &&
          param->value.data + param->value.len <= in.data + in.len);
    check(mime_param_decode(param, room) <= param->value.len);
    free(room);
    check_extended(param->value);
    check_form(param->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = { (const char *)data, size }, rest = in;
    struct mime_param param;
    struct slice kind;

    check_extended(in);
    check_form(in);
    kind = mime_kind(&rest);
    check(kind.len <= in.len && slice_find(kind, ';') == NULL);
    while (rest.len > 0) {
        size_t before = rest.len;

        if (mime_param_next(&rest, &param) != MIME_PARAM)
            break;
        check(rest.len < before);
        check_param(in, &param);
    }
    return 0;
}
