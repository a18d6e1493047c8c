/* access_fuzz.c -- what clients choose, in lines of the access log.
 *
 * The first byte says which format, the rest are parameters in FastCGI's
 * coding.  Whatever they are, a line is one line of printable ASCII, has as
 * many fields as ever, and the last one says what the client has sent.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../unit/fake_exchange.h"
#include "../unit/fake_service.h"
#include "core/params.h"
#include "ops/access_format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_service fake;
static struct fake_exchange peer;
static char line[ACCESS_LINE_MAX];

static void check(bool holds)
{
    if (!holds)
        abort();
}

static unsigned count(struct slice text, char c)
{
    unsigned n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == c ? 1 : 0;
    return n;
}

/* Takes an escape off the front, behind its backslash. */
static char take_escape(struct slice *in, bool is_json)
{
    struct slice code;
    char text[3] = "", c;

    check(in->len > 0);
    c = *slice_take(in, 1).data;
    if (c == '"' || c == '\\' || c == '/') {
        check(is_json);
        return c;
    }
    if (is_json && strchr("bfnrt", c) != NULL)
        return "\b\f\n\r\t"[strchr("bfnrt", c) - "bfnrt"];
    check(c == (is_json ? 'u' : 'x'));
    if (is_json)
        check(slice_equal(slice_take(in, 2), slice_of("00")));
    code = slice_take(in, 2);
    check(code.len == 2 && strspn(code.data, "0123456789abcdefABCDEF") >= 2);
    memcpy(text, code.data, 2);
    return (char)strtoul(text, NULL, 16);
}

/* The field between quotes at the end of text means value, or its beginning. */
static void check_field(struct slice text, struct slice value, bool is_json)
{
    size_t n = text.len, is_cut = text.len >= ACCESS_FIELD_MAX - 8;

    if (value.len == 0 && slice_equal(text, slice_of("-")))
        return;
    check(n <= ACCESS_FIELD_MAX + 8);
    while (text.len > 0) {
        char c = *slice_take(&text, 1).data;

        if (c == '\\')
            c = take_escape(&text, is_json);
        if (value.len == 0 || *slice_take(&value, 1).data != c) {
            check(is_cut);
            return;
        }
    }
    check(value.len == 0 || is_cut);
}

/* Between the last two quotes that are not escaped. */
static struct slice last_field(struct slice text)
{
    size_t end, start;

    for (end = text.len; text.data[end - 1] != '"'; end--)
        check(end > 1);
    for (start = --end; start > 0; start--)
        if (text.data[start - 1] == '"' &&
            (start < 2 || text.data[start - 2] != '\\'))
            break;
    check(start > 0);
    return (struct slice){ text.data + start, end - start };
}

/* Takes a character off the front; false: it is none in UTF-8. */
static bool take_character(struct slice *in)
{
    uint8_t first = (uint8_t)*slice_take(in, 1).data;
    size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : 0;

    if (more == 0)
        return first < 0x80;
    for (; more > 0; more--)
        if (in->len == 0 || ((uint8_t)*slice_take(in, 1).data & 0xc0) != 0x80)
            return false;
    return true;
}

static void check_line(struct slice text, unsigned format, struct slice agent)
{
    check(text.len > 0 && text.data[text.len - 1] == '\n');
    text.len--;
    for (size_t i = 0; i < text.len; i++)
        check((text.data[i] >= ' ' && text.data[i] <= '~') ||
              (format == 1 && (text.data[i] & 0x80) != 0));
    for (struct slice rest = text; rest.len > 0;)
        check(take_character(&rest));
    if (format == 0) {
        check(count(text, '"') == 6 && count(text, '[') >= 1);
        check_field(last_field(text), agent, false);
    } else if (format == 1) {
        check(text.data[0] == '{' && text.data[text.len - 1] == '}');
        for (size_t i = 0; i < agent.len; i++)
            if (agent.data[i] == '"' || (agent.data[i] & 0x80) != 0)
                return; /* how these are written is JSON's business */
        check_field(last_field(text), agent, true);
    } else {
        check(count(text, ' ') == 3 && count(text, '"') == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = { "combined", "json",
                                           "%R %m %Q%q %{HTTP_USER_AGENT}e" };
    struct slice in = { (const char *)data + 1, size - 1 }, name, value;
    struct slice agent = { "", 0 };
    struct access_entry entry = {
        .ended = 1795403920.5, .duration = 1.25, .worker = 2, .name = "app.lua"
    };
    struct access_format *format = NULL;
    char error[128];

    if (size < 1)
        return 0;
    fake_service_init(&fake, 64);
    fake_exchange_init(&peer, &fake.service, REQUEST_RESPONDER);
    check(peer.req != NULL);
    while (params_next(&in, &name, &value) == PARAMS_PAIR)
        if (params_append(&peer.req->params, name, value) != BUFFER_OK)
            break;
    request_param(peer.req, slice_of("HTTP_USER_AGENT"), &agent);
    entry.req = peer.req;
    check(access_format_new(formats[data[0] % 3], &format, error,
                            sizeof(error)) == ACCESS_FORMAT_OK);
    for (unsigned i = 0; i < 2; i++) { /* the second time some is remembered */
        struct slice text = { line, access_format_write(format, &entry, line) };

        check(text.len <= ACCESS_LINE_MAX);
        check_line(text, data[0] % 3, agent);
    }
    access_format_del(format);
    fake_exchange_free(&peer);
    fake_service_free(&fake);
    return 0;
}
