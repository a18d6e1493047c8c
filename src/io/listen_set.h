/* listen_set.h -- filling a set of sockets: private to the listen*.c files.
 *
 * A socket is put into its set first, closed and nameless, and made there: so
 * whatever fails, cutting the set back to its old length cleans up.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_LISTEN_SET_H
#define IO_LISTEN_SET_H

#include "io/listen.h"

#include <sys/socket.h>

/* Adds an empty socket; valid until the next one is added.  NULL: no memory. */
struct listen_socket *listen_set_add(struct listen_set *set);

/* Closes the sockets behind the first count.  errno survives. */
void listen_set_cut(struct listen_set *set, size_t count);

/* Takes over a descriptor; on failure it stays the caller's.  Otherwise as
 * listen_open. */
int listen_inherit(int fd, struct listen_set *set, struct listen_error *error);

/* Writes 127.0.0.1:9000, [::1]:9000 or unix:/path. */
void listen_print_sockaddr(const struct sockaddr *sa, socklen_t len,
                           char out[ADDRESS_TEXT]);

/* Writes the address that a socket is bound to. */
void listen_print_bound(int fd, char out[ADDRESS_TEXT]);

/* Switches an option on.  Returns what setsockopt does. */
int listen_set_option(int fd, int level, int option);

/* Says that failed did not work on the address called name, with the reason
 * that errno has.  Returns -1; errno survives. */
int listen_fail(struct listen_error *error, const char *failed,
                const char *name);

/* The same where strerror would not explain it. */
int listen_fail_because(struct listen_error *error, const char *failed,
                        const char *name, const char *why);

#endif
