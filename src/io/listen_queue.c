/* listen_queue.c -- see listen_queue.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/listen_queue.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* For a listening socket the kernel puts its queue into these two fields. */
static void look_at_tcp(int fd, struct listen_queue *queue)
{
    struct tcp_info info = { .tcpi_state = 0 };
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == -1)
        return;
    queue->waiting += info.tcpi_unacked;
    queue->most += info.tcpi_sacked;
}

struct question {
    struct nlmsghdr header;
    struct unix_diag_req ask;
};

static bool ask(int diag, ino_t inode)
{
    const struct question question = {
        .header = { .nlmsg_len = sizeof(question),
                    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = NLM_F_REQUEST },
        .ask = { .sdiag_family = AF_UNIX,
                 .udiag_states = UINT32_MAX,
                 .udiag_ino = (uint32_t)inode,
                 .udiag_show = UDIAG_SHOW_RQLEN,
                 .udiag_cookie = { UINT32_MAX, UINT32_MAX } },
    };

    return send(diag, &question, sizeof(question), 0) ==
           (ssize_t)sizeof(question);
}

/* The answer is there when send returns: the kernel makes it in the call. */
static void read_answer(int diag, struct listen_queue *queue)
{
    alignas(struct nlmsghdr) char bytes[512];
    const struct nlmsghdr *header = (const void *)bytes;
    const char *at, *end;
    ssize_t n = recv(diag, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < (ssize_t)(sizeof(*header) + sizeof(struct unix_diag_msg)) ||
        header->nlmsg_len > (size_t)n ||
        header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return;
    end = bytes + header->nlmsg_len;
    at = bytes + NLMSG_ALIGN(sizeof(*header)) +
         NLMSG_ALIGN(sizeof(struct unix_diag_msg));
    while (end - at >= (ptrdiff_t)sizeof(struct rtattr)) {
        struct rtattr attribute;
        struct unix_diag_rqlen lens;

        memcpy(&attribute, at, sizeof(attribute));
        if (attribute.rta_len < sizeof(attribute) ||
            attribute.rta_len > end - at)
            return;
        if (attribute.rta_type == UNIX_DIAG_RQLEN &&
            attribute.rta_len >= RTA_LENGTH(sizeof(lens))) {
            memcpy(&lens, at + RTA_LENGTH(0), sizeof(lens));
            queue->waiting += lens.udiag_rqueue;
            queue->most += lens.udiag_wqueue;
            return;
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
}

static void look_at_unix(int fd, int *diag, struct listen_queue *queue)
{
    struct stat st;

    if (*diag == -1)
        *diag =
            socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (*diag != -1 && fstat(fd, &st) == 0 && ask(*diag, st.st_ino))
        read_answer(*diag, queue);
}

struct listen_queue listen_queue(const struct listen_set *set)
{
    struct listen_queue queue = { 0, 0 };
    int diag = -1;

    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].is_tcp)
            look_at_tcp(set->items[i].fd, &queue);
        else
            look_at_unix(set->items[i].fd, &diag, &queue);
    if (diag != -1)
        close(diag);
    return queue;
}
