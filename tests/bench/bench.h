/* bench.h -- what floor, libfcgi_hello and load must agree upon: the record
 * layout of FastCGI, the answer of the hello handler, and how an address is
 * written.  The gateway's own codec is not used on purpose: a benchmark that
 * shares code with what it judges shares its errors.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum record_type {
    RECORD_BEGIN = 1,
    RECORD_ABORT = 2,
    RECORD_END = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6,
    RECORD_STDERR = 7
};

enum {
    RECORD_HEAD = 8,      /* version, type, id, length, padding, reserved */
    RECORD_BODY = 8,      /* the body of BEGIN_REQUEST and END_REQUEST */
    RECORD_MAX = 65535,   /* the content of one record */
    BEGIN_KEEP_CONN = 1,  /* flags of BEGIN_REQUEST */
    END_CANT_MPX_CONN = 1 /* protocol status of END_REQUEST */
};

/* Every side answers ANSWER_HEAD "Hello " URI "\n"; the floor knows the URI,
 * the others read it from the parameter REQUEST_URI. */
#define ANSWER_HEAD "Content-Type: text/plain\r\n\r\n"
#define ANSWER_URI "/shop/items?page=3&sort=price&order=asc"
#define ANSWER_BODY "Hello " ANSWER_URI "\n"

static inline size_t record_length(const uint8_t *head)
{
    return (size_t)head[4] << 8 | head[5];
}

static inline unsigned record_id(const uint8_t *head)
{
    return (unsigned)head[2] << 8 | head[3];
}

/* Writes the eight bytes of a record's head; returns where they end. */
static inline uint8_t *record_head(uint8_t *at, enum record_type type,
                                   unsigned id, size_t len, size_t padding)
{
    at[0] = 1;
    at[1] = (uint8_t)type;
    at[2] = (uint8_t)(id >> 8);
    at[3] = (uint8_t)id;
    at[4] = (uint8_t)(len >> 8);
    at[5] = (uint8_t)len;
    at[6] = (uint8_t)padding;
    at[7] = 0;
    return at + RECORD_HEAD;
}

/* Ends the program: nothing here is worth going on without. */
static inline _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline void *must_alloc(void *old, size_t size)
{
    void *block = realloc(old, size);

    if (block == NULL)
        die("realloc");
    return block;
}

/* A number from the command line; anything else ends the program. */
static inline double must_number(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0)) {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return value;
}

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
};

/* "/PATH" is a unix socket, "A.B.C.D:PORT" a TCP one.  Returns its length. */
static inline socklen_t address_parse(const char *text, union address *addr)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN];

    *addr = (union address){ .any = { .sa_family = AF_UNSPEC } };
    if (strchr(text, '/') != NULL && strlen(text) < sizeof(addr->un.sun_path)) {
        addr->un = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(addr->un.sun_path, text, strlen(text) + 1);
        return sizeof(addr->un);
    }
    if (colon != NULL && (size_t)(colon - text) < sizeof(host)) {
        memcpy(host, text, (size_t)(colon - text));
        host[colon - text] = '\0';
        addr->in = (struct sockaddr_in){ .sin_family = AF_INET };
        addr->in.sin_port = htons((uint16_t)must_number(colon + 1));
        if (inet_pton(AF_INET, host, &addr->in.sin_addr) == 1)
            return sizeof(addr->in);
    }
    fprintf(stderr, "not an address: %s\n", text);
    exit(2);
}

#endif
