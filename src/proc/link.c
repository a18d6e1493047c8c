/* link.c -- see link.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/link.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int link_pair(int fds[2])
{
    struct timeval patience = { .tv_sec = 1 };

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
        return -1;
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDTIMEO, &patience,
                   sizeof(patience));
    return 0;
}

static int send_message(int link, const struct link_message *message, int fd,
                        int flags)
{
    size_t len = offsetof(struct link_message, text) +
                 strnlen(message->text, LINK_TEXT_MAX - 1) + 1;
    struct iovec iov = { (void *)(size_t)message, len };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { .bytes = { 0 } };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (fd != -1) {
        struct cmsghdr *header;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    do
        n = sendmsg(link, &msg, MSG_NOSIGNAL | flags);
    while (n == -1 && errno == EINTR);
    return n == -1 ? -1 : 0;
}

int link_send(int link, const struct link_message *message, int fd)
{
    return send_message(link, message, fd, 0);
}

int link_offer(int link, const struct link_message *message, int fd)
{
    return send_message(link, message, fd, MSG_DONTWAIT);
}

int link_tell(int link, enum link_kind kind, const char *text)
{
    struct link_message message = { .kind = kind };

    snprintf(message.text, sizeof(message.text), "%s",
             text == NULL ? "" : text);
    return link_send(link, &message, -1);
}

int link_try(int link, enum link_kind kind)
{
    const struct link_message message = { .kind = kind };

    return send(link, &message, offsetof(struct link_message, text) + 1,
                MSG_NOSIGNAL | MSG_DONTWAIT) == -1
               ? -1
               : 0;
}

int link_receive(int link, struct link_message *message, int *fd)
{
    struct iovec iov = { message, sizeof(*message) };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *header;
    ssize_t n;

    *fd = -1;
    memset(message, 0, sizeof(*message));
    do
        n = recvmsg(link, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n == -1 && errno == EINTR);
    if (n == -1 && (errno == ECONNRESET || errno == EPIPE))
        return 0;
    if (n <= 0)
        return (int)n;
    header = CMSG_FIRSTHDR(&msg);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof(int));
    message->text[LINK_TEXT_MAX - 1] = '\0';
    return 1;
}
