/* file_floor.c -- the least that a FastCGI responder needs for sending a file:
 * it reads a piece behind the head of a record and sends both.  What
 * req:send_file spends above it is the price of events, Lua and HTTP.
 *
 * It serves one client at a time and blocks, so no event is ever waited for;
 * of a request it wants to know the end.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <unistd.h>

enum { PIECE = RECORD_MAX - RECORD_MAX % 8 };

static bool receive(int fd, uint8_t *at, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, at, n);

        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* Until the empty record that ends STDIN.  False: the client has gone. */
static bool read_request(int fd, unsigned *id)
{
    static uint8_t content[RECORD_MAX + 255];
    uint8_t head[RECORD_HEAD];

    do {
        if (!receive(fd, head, sizeof(head)) ||
            !receive(fd, content, record_length(head) + head[6]))
            return false;
    } while (head[1] != RECORD_STDIN || record_length(head) > 0);
    *id = record_id(head);
    return true;
}

static bool send_all(int fd, const uint8_t *at, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);

        if (sent == -1)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Content and the head in front of it, for which there is room. */
static bool send_record(int fd, unsigned id, uint8_t *bytes, size_t n)
{
    record_head(bytes, RECORD_STDOUT, id, n, 0);
    return send_all(fd, bytes, RECORD_HEAD + n);
}

/* The head, the file, and the end of both. */
static bool send_answer(int fd, unsigned id, int file)
{
    static uint8_t bytes[RECORD_HEAD + PIECE];
    uint8_t end[RECORD_HEAD + RECORD_BODY] = { 0 };
    off_t offset = 0;
    ssize_t n;

    memcpy(bytes + RECORD_HEAD, ANSWER_HEAD, strlen(ANSWER_HEAD));
    if (!send_record(fd, id, bytes, strlen(ANSWER_HEAD)))
        return false;
    while ((n = pread(file, bytes + RECORD_HEAD, PIECE, offset)) > 0) {
        if (!send_record(fd, id, bytes, (size_t)n))
            return false;
        offset += n;
    }
    if (n == -1)
        die("pread");
    record_head(end, RECORD_END, id, RECORD_BODY, 0);
    return send_record(fd, id, bytes, 0) && send_all(fd, end, sizeof(end));
}

int main(int argc, char **argv)
{
    union address addr;
    socklen_t len;
    unsigned id;
    int listener, file;

    if (argc != 3) {
        fprintf(stderr, "Usage: %s FILE /SOCKET|HOST:PORT\n", argv[0]);
        return 2;
    }
    file = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (file == -1)
        die(argv[1]);
    len = address_parse(argv[2], &addr);
    listener = socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener == -1 || bind(listener, &addr.any, len) != 0 ||
        listen(listener, 16) != 0)
        die("listen");
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd == -1)
            die("accept4");
        if (read_request(fd, &id))
            send_answer(fd, id, file);
        close(fd);
    }
}
