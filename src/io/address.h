/* address.h -- where to listen, as users write it:
 *
 *   HOST:PORT  :PORT  [V6]:PORT  unix:/PATH[,mode=M][,owner=U][,group=G]  fd:N
 *
 * Nothing is looked up but users and groups: names of hosts wait until
 * listen_open.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_ADDRESS_H
#define IO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_FD };

enum {
    ADDRESS_HOST_MAX = 255, /* the longest name that DNS has */
    ADDRESS_USER_MAX = 63,
    ADDRESS_ERROR_TEXT = 128,
    /* "unix:", a path, and three attributes; or a host and a port */
    ADDRESS_TEXT = 320
};

struct address {
    enum address_kind kind;

    char host[ADDRESS_HOST_MAX + 1]; /* without brackets; "": every address */
    uint16_t port;                   /* 0: the kernel chooses one */

    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    bool has_mode, has_owner, has_group;
    mode_t mode;
    uid_t owner;
    gid_t group;
    char owner_name[ADDRESS_USER_MAX + 1]; /* as it was written */
    char group_name[ADDRESS_USER_MAX + 1];

    int fd;
};

/* Reads an address.  Returns false, after writing to message what is wrong as
 * the rest of a sentence that begins with the text ("has no port ..."); it
 * never repeats bytes of the text.  room: ADDRESS_ERROR_TEXT is enough. */
bool address_parse(const char *text, struct address *out, char *message,
                   size_t room);

/* Writes an address so that address_parse reads the same from it. */
void address_print(const struct address *address, char out[ADDRESS_TEXT]);

#endif
