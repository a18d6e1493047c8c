/* send.c -- see send.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/send.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IOVECS = 64,
    COPY_SIZE = 16 * 1024 /* of a file that the kernel does not send */
};

/* Not every file system lets the kernel send its files. */
static ssize_t copy_file(int fd, int file, off_t offset, size_t n)
{
    char bytes[COPY_SIZE];
    ssize_t got =
        pread(file, bytes, n < sizeof(bytes) ? n : sizeof(bytes), offset);

    return got <= 0 ? got : send(fd, bytes, (size_t)got, MSG_NOSIGNAL);
}

/* A client that has gone is no news; a file that fails is. */
static void tell_of_file(int file, off_t offset)
{
    int saved = errno;
    char byte;

    if (pread(file, &byte, 1, offset) == -1)
        log_write(LOG_LEVEL_WARN,
                  "a file cannot be read: %s; its connection is closed",
                  strerror(errno));
    errno = saved;
}

/* A file that is shorter than it was cannot give what has been promised. */
static ssize_t send_file(int fd, int file, off_t offset, size_t n)
{
    off_t at = offset;
    ssize_t sent = sendfile(fd, file, &at, n);

    if (sent == -1 && (errno == EINVAL || errno == ENOSYS))
        sent = copy_file(fd, file, offset, n);
    if (sent == -1 && errno != EAGAIN && errno != EINTR)
        tell_of_file(file, offset);
    if (sent == 0) {
        log_write(LOG_LEVEL_WARN, "a file became shorter while it was sent: "
                                  "its connection is closed");
        errno = EIO;
        return -1;
    }
    return sent;
}

ssize_t send_front(int fd, const struct chain *out, size_t *asked)
{
    struct iovec iov[IOVECS];
    struct msghdr msg = { .msg_iov = iov };
    off_t offset;
    int file = chain_file(out, &offset, asked), flags = MSG_NOSIGNAL;

    if (file != -1)
        return send_file(fd, file, offset, *asked);
    *asked = 0;
    msg.msg_iovlen = chain_iovec(out, iov, IOVECS);
    for (size_t i = 0; i < msg.msg_iovlen; i++)
        *asked += iov[i].iov_len;
    if (*asked < out->len)
        flags |= MSG_MORE;
    if (msg.msg_iovlen == 1)
        return send(fd, iov[0].iov_base, *asked, flags);
    return sendmsg(fd, &msg, flags);
}
