/* socket_error.c -- see socket_error.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/socket_error.h"

#include <errno.h>
#include <string.h>

const char *socket_error(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "connection refused";
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case EBADF:
        return "closed";
    case ETIMEDOUT:
        return "timeout";
    case EADDRINUSE:
        return "address already in use";
    case EISCONN:
        return "already connected";
    case EACCES:
        return "permission denied";
    case ENOMEM:
        return "not enough memory";
    default:
        return strerror(error);
    }
}
