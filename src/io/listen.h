/* listen.h -- listening sockets: made here, or inherited.
 *
 * All are stream sockets, O_NONBLOCK and close-on-exec, and those for TCP have
 * TCP_NODELAY, which accepted connections inherit.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include "io/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listen_socket {
    int fd;
    bool is_tcp;
    unsigned char protocol; /* the owner's number for what is spoken there */
    char *name; /* for logs: 127.0.0.1:9000, unix:/run/app.sock, fd:3 (...) */

    /* Of a unix socket that we made: which file to remove, and who may. */
    char *path_to_unlink; /* or NULL */
    dev_t dev;
    ino_t ino;
    pid_t bound_by; /* 0: not bound */
};

/* Owns its sockets.  A struct of zeroes is an empty set. */
struct listen_set {
    struct listen_socket *items;
    size_t count;
};

/* The message is one line: "cannot listen on 127.0.0.1:9000: bind: Address
 * already in use".  A path in it is as the user wrote it: escape it in logs. */
struct listen_error {
    const char *failed; /* the call that failed */
    char message[ADDRESS_TEXT + 256];
};

/* Opens an address and adds its sockets to the set: one for each address that
 * the host has; for :PORT those of IPv4 and IPv6, as far as the machine has
 * both.  With port 0 all of them get the port that the kernel chose for the
 * first.  Returns 0, or -1 with errno set, *error filled and the set as it was.
 *
 * A unix socket that is there already is removed if nobody answers on it, else
 * errno is EADDRINUSE; a file that is no socket stays, and errno is EEXIST. The
 * new one has its mode, owner and group before anybody can connect.
 *
 * fd:N is taken over once it has proved to be a listening socket.  One of 0
 * to 2 is moved to a higher number, and /dev/null takes its place: the programs
 * that a script starts expect to be able to read it. */
int listen_open(const struct address *address, struct listen_set *set,
                struct listen_error *error);

/* What systemd said in the environment of the sockets that it passed. */
struct listen_passed {
    bool is_ours;     /* LISTEN_PID is this process */
    bool is_readable; /* LISTEN_FDS is a number that can be */
    int count;
};

/* Reads LISTEN_PID and LISTEN_FDS and removes them, and LISTEN_FDNAMES, from
 * the environment: to be called before anything can start a program. */
void listen_read_passed(struct listen_passed *passed);

/* Takes over the sockets that systemd passed to this process.  Returns their
 * number, or -1 as listen_open. */
int listen_from_systemd(const struct listen_passed *passed,
                        struct listen_set *set, struct listen_error *error);

/* Is fd a stream socket that listens?  errno says why not. */
bool listen_is_listening(int fd);

/* Takes over fd 0, as fd:0 does.  Returns 1; 0 if it is not a listening
 * socket; or -1 as listen_open. */
int listen_from_stdin(struct listen_set *set, struct listen_error *error);

/* Can other machines connect?  Then where is the first address at which they
 * can, as in logs. */
bool listen_is_public(const struct listen_set *set, char where[ADDRESS_TEXT]);

/* A line of the log for each. */
void listen_log(const struct listen_set *set);

/* Closes all sockets and empties the set.  The file of a unix socket goes too
 * if this process made it and nobody has replaced it.  errno survives. */
void listen_close(struct listen_set *set);

#endif
