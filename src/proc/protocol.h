/* protocol.h -- what is spoken on the sockets of an application: the numbers
 * of listen_socket.protocol.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_PROTOCOL_H
#define PROC_PROTOCOL_H

enum { PROTOCOL_FASTCGI, PROTOCOL_HTTP, PROTOCOLS };

#endif
