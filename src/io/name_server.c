/* name_server.c -- see name_server.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/name_server.h"

#include "io/resolver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

enum { DNS_PORT = 53 };

static bool read_port(struct slice text, unsigned *port)
{
    unsigned long long number;

    if (!slice_to_number(text, 65535, &number) || number == 0)
        return false;
    *port = (unsigned)number;
    return true;
}

bool name_server_print(struct slice text, char out[NAME_SERVER_TEXT])
{
    const bool has_brackets = text.len > 0 && text.data[0] == '[';
    struct slice address, rest = text;
    struct resolve_answer answer;
    unsigned port = DNS_PORT;
    const char *end;

    slice_take(&rest, has_brackets);
    end = slice_find(rest, has_brackets ? ']' : ':');
    if (end == NULL)
        end = rest.data + rest.len;
    else if (!has_brackets &&
             memchr(end + 1, ':', (size_t)(rest.data + rest.len - end - 1)))
        end = rest.data + rest.len; /* IPv6 */
    address = slice_take(&rest, (size_t)(end - rest.data));
    if (has_brackets && slice_take(&rest, 1).len == 0)
        return false;
    if (slice_take(&rest, 1).len == 1 &&
        (rest.data[-1] != ':' || !read_port(rest, &port)))
        return false;
    if (!resolver_read_address(
            address, has_brackets ? RESOLVE_INET6 : RESOLVE_BOTH, &answer) ||
        answer.count == 0)
        return false;
    snprintf(out, NAME_SERVER_TEXT,
             answer.addresses[0].is_inet6 ? "[%.*s]:%u" : "%.*s:%u",
             (int)address.len, address.data, port);
    return true;
}

/* Takes the text before the next comma. */
static struct slice take_item(struct slice *list)
{
    const char *comma = slice_find(*list, ',');
    struct slice item = slice_take(
        list, comma == NULL ? list->len : (size_t)(comma - list->data));

    slice_take(list, 1);
    return item;
}

bool resolver_check_servers(const char *text)
{
    size_t len = strlen(text);
    struct slice rest = { text, len };
    char server[NAME_SERVER_TEXT];

    if (len == 0 || text[len - 1] == ',')
        return false;
    while (rest.len > 0)
        if (!name_server_print(take_item(&rest), server))
            return false;
    return true;
}

char *name_servers_join(char *const *lists, size_t count)
{
    size_t room = 1, len = 0;
    char *all;

    for (size_t i = 0; i < count; i++)
        for (struct slice rest = slice_of(lists[i]); rest.len > 0;
             take_item(&rest))
            room += NAME_SERVER_TEXT;
    all = malloc(room);
    if (all == NULL)
        return NULL;
    *all = '\0';
    for (size_t i = 0; i < count; i++) {
        struct slice rest = slice_of(lists[i]);

        while (rest.len > 0)
            if (name_server_print(take_item(&rest), all + len + (len > 0))) {
                if (len > 0)
                    all[len] = ',';
                len = strlen(all);
            }
    }
    return all;
}
