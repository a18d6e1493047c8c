/* address.c -- see address.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/address.h"

#include <arpa/inet.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

/* Where a complaint goes. */
struct complaint {
    char *text;
    size_t room;
};

static bool complain(struct complaint *to, const char *what)
{
    snprintf(to->text, to->room, "%s", what);
    return false;
}

/* Reads all of text, of len bytes, as a number of that base up to max. */
static bool read_number(const char *text, size_t len, unsigned base,
                        unsigned long max, unsigned long *number)
{
    unsigned long n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0'); /* wraps below '0' */

        if (digit >= base || n > (max - digit) / base)
            return false;
        n = n * base + digit;
    }
    *number = n;
    return len > 0;
}

static bool read_port(const char *text, struct address *out,
                      struct complaint *to)
{
    unsigned long port;

    if (*text == '\0')
        return complain(to, "has no port (try :9000)");
    if (!read_number(text, strlen(text), 10, UINT16_MAX, &port))
        return complain(to, "has a bad port (it must be 0 to 65535)");
    out->port = (uint16_t)port;
    return true;
}

/* [V6]:PORT; a zone as in fe80::1%eth0 is left to getaddrinfo. */
static bool read_brackets(const char *text, struct address *out,
                          struct complaint *to)
{
    const char *end = strchr(text, ']');
    struct in6_addr v6;
    size_t len;

    if (end == NULL)
        return complain(to, "has no ] behind its address");
    len = (size_t)(end - text - 1);
    if (len > ADDRESS_HOST_MAX)
        return complain(to, "is too long");
    memcpy(out->host, text + 1, len);
    out->host[strcspn(out->host, "%")] = '\0';
    if (inet_pton(AF_INET6, out->host, &v6) != 1)
        return complain(to, "has no IPv6 address in its brackets");
    memcpy(out->host, text + 1, len);
    if (end[1] != ':')
        return complain(to, end[1] == '\0' ? "has no port (try [::1]:9000)"
                                           : "has no : behind its ]");
    return read_port(end + 2, out, to);
}

static bool read_tcp(const char *text, struct address *out,
                     struct complaint *to)
{
    const char *colon = strrchr(text, ':');
    size_t len;

    out->kind = ADDRESS_TCP;
    if (*text == '[')
        return read_brackets(text, out, to);
    if (strstr(text, "://") != NULL)
        return complain(to, "is a URL (try its host and port: 127.0.0.1:8080)");
    if (strchr(text, '/') != NULL)
        return complain(to, "is not an address (a path needs unix: before it)");
    if (colon == NULL)
        return complain(to, text[strspn(text, "0123456789")] == '\0'
                                ? "has no colon before its port (try :9000)"
                                : "has no port (try :9000 or 127.0.0.1:9000)");
    if (strchr(text, ':') != colon)
        return complain(to, "has too many colons (try [::1]:9000, unix:/PATH)");
    len = (size_t)(colon - text);
    if (len > ADDRESS_HOST_MAX)
        return complain(to, "is too long");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return complain(to, "has a blank or control byte in its host");
    memcpy(out->host, text, len);
    return read_port(colon + 1, out, to);
}

/* Copies a value of len bytes that should name a user or a group. */
static bool copy_name(char out[ADDRESS_USER_MAX + 1], const char *text,
                      size_t len)
{
    if (len == 0 || len > ADDRESS_USER_MAX)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

/* A number is taken as it is: a container may not know the user's name. */
static bool read_owner(const char *text, size_t len, struct address *out,
                       struct complaint *to)
{
    const struct passwd *user;
    unsigned long id;

    if (!copy_name(out->owner_name, text, len))
        return complain(to, "has an unknown owner");
    if (!read_number(text, len, 10, UINT_MAX - 1, &id)) {
        user = getpwnam(out->owner_name);
        if (user == NULL)
            return complain(to, "has an unknown owner");
        id = user->pw_uid;
    }
    out->owner = (uid_t)id;
    out->has_owner = true;
    return true;
}

static bool read_group(const char *text, size_t len, struct address *out,
                       struct complaint *to)
{
    const struct group *group;
    unsigned long id;

    if (!copy_name(out->group_name, text, len))
        return complain(to, "has an unknown group");
    if (!read_number(text, len, 10, UINT_MAX - 1, &id)) {
        group = getgrnam(out->group_name);
        if (group == NULL)
            return complain(to, "has an unknown group");
        id = group->gr_gid;
    }
    out->group = (gid_t)id;
    out->has_group = true;
    return true;
}

static bool read_mode(const char *text, size_t len, struct address *out,
                      struct complaint *to)
{
    unsigned long mode;

    if (!read_number(text, len, 8, 0777, &mode))
        return complain(to, "has a bad mode (it must be octal, try mode=0660)");
    out->mode = (mode_t)mode;
    out->has_mode = true;
    return true;
}

/* One attribute, of len bytes, as in mode=0660. */
static bool read_attribute(const char *text, size_t len, struct address *out,
                           struct complaint *to)
{
    static const struct {
        const char *name;
        bool (*read)(const char *text, size_t len, struct address *out,
                     struct complaint *to);
    } known[] = {
        { "mode=", read_mode },
        { "owner=", read_owner },
        { "group=", read_group },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t name = strlen(known[i].name);

        if (len >= name && memcmp(text, known[i].name, name) == 0)
            return known[i].read(text + name, len - name, out, to);
    }
    return complain(to,
                    "has an unknown attribute (known: mode=, owner=, group=)");
}

static bool read_unix(const char *text, struct address *out,
                      struct complaint *to)
{
    size_t len = strcspn(text, ",");

    out->kind = ADDRESS_UNIX;
    if (*text != '/')
        return complain(to, "has no absolute path (try unix:/run/app.sock)");
    if (len >= sizeof(out->path))
        return complain(to, "has a path that is too long for a unix socket"
                            " (at most 107 bytes)");
    memcpy(out->path, text, len);
    for (text += len; *text == ','; text += len) {
        text++;
        len = strcspn(text, ",");
        if (!read_attribute(text, len, out, to))
            return false;
    }
    return true;
}

static bool read_fd(const char *text, struct address *out, struct complaint *to)
{
    unsigned long fd;

    out->kind = ADDRESS_FD;
    if (!read_number(text, strlen(text), 10, INT_MAX, &fd))
        return complain(to, "has no descriptor number (try fd:0)");
    out->fd = (int)fd;
    return true;
}

bool address_parse(const char *text, struct address *out, char *message,
                   size_t room)
{
    struct complaint to = { message, room };

    *out = (struct address){ .kind = ADDRESS_TCP, .fd = -1 };
    if (*text == '\0')
        return complain(&to, "is empty");
    if (strncmp(text, "unix:", 5) == 0)
        return read_unix(text + 5, out, &to);
    if (strncmp(text, "fd:", 3) == 0)
        return read_fd(text + 3, out, &to);
    return read_tcp(text, out, &to);
}

void address_print(const struct address *address, char out[ADDRESS_TEXT])
{
    const char *host = address->host;
    char mode[16] = "";

    switch (address->kind) {
    case ADDRESS_TCP:
        snprintf(out, ADDRESS_TEXT,
                 strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
                 (unsigned)address->port);
        break;
    case ADDRESS_UNIX:
        if (address->has_mode)
            snprintf(mode, sizeof(mode), ",mode=%04o", (unsigned)address->mode);
        snprintf(out, ADDRESS_TEXT, "unix:%s%s%s%s%s%s", address->path, mode,
                 address->has_owner ? ",owner=" : "",
                 address->has_owner ? address->owner_name : "",
                 address->has_group ? ",group=" : "",
                 address->has_group ? address->group_name : "");
        break;
    case ADDRESS_FD:
        snprintf(out, ADDRESS_TEXT, "fd:%d", address->fd);
        break;
    }
}
