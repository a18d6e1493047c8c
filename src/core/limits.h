/* limits.h -- every maximum of the gateway, each with its reason.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_LIMITS_H
#define CORE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Fixed: nobody gains by tuning these. */
enum {
    /* Of a body, in memory: a few socket buffers, so that a handler that
     * reads is never short, while a thousand idle uploads stay affordable. */
    BODY_WINDOW = 256 * 1024,
    /* The same while a handler waits for all of it: it will be in memory
     * anyway, so small bodies skip the disk. */
    BODY_WINDOW_ALL = 1024 * 1024,
    /* Pieces below this are copied, so that little bytes do not hold a large
     * block: at worst a body costs four times its window. */
    BODY_COPY_BELOW = 16 * 1024,
    /* Without --max-body, what req:body() takes unless told otherwise. */
    BODY_DEFAULT_MAX = 16 * 1024 * 1024,
    /* The head of one part of a form: browsers send 200 bytes. */
    PART_HEAD_MAX = 16 * 1024,
    /* Lines of it: three have a meaning (RFC 7578, 4.8), and each one costs far
     * more than its bytes. */
    PART_LINES_MAX = 64,
    /* Bytes of a form that are gone through before others have a turn, when
     * all of it has come: a few milliseconds of work. */
    PARTS_TURN = 256 * 1024,

    /* One FastCGI record holds it with the first bytes of the body; web
     * servers take far less (frontends differ: 4 KiB to 128 KiB). */
    RESPONSE_HEAD_MAX = 64 * 1024 - 512,
    RESPONSE_REASON_MAX = 128,

    /* Output of a connection: above HIGH writers wait, below LOW they go on,
     * above STOP nothing more is read.  STOP is the higher: requests must be
     * heard (their aborts too) while others write. */
    OUTPUT_HIGH = 128 * 1024,
    OUTPUT_LOW = 64 * 1024,
    OUTPUT_STOP = 512 * 1024,
    /* What one write may queue before the next request has its turn. */
    OUTPUT_TURN = 64 * 1024,

    /* Parameters are dropped above --max-params and answered with 431; above
     * this many times of it the peer means harm. */
    PARAMS_ABUSE = 16,
    /* Parameter memory that a pooled request keeps for the next one. */
    PARAMS_KEEP = 4096,

    /* Requests that are read although --max-reqs is reached, because they may
     * be for the status page: more of them at once are no monitoring. */
    PAGES_AT_ONCE = 16,

    /* A request's head in HTTP, from its first byte to its empty line, and how
     * many fields it may have: browsers send 30, proxies add ten. */
    HTTP_HEAD_MAX = 64 * 1024,
    HTTP_FIELDS_MAX = 200,

    /* What a script's socket has received and nobody asked for: beyond HIGH it
     * is left in the kernel.  BLOCK is what a buffer begins with, as most
     * answers of databases fit in; READ what one recv asks for, at first. */
    STREAM_HIGH = 64 * 1024,
    STREAM_BLOCK = 16 * 1024,
    STREAM_READ = 4 * 1024,
    /* What one receive of a script may gather, if --memory-limit leaves it so
     * much.  A line, or what ends with a pattern, is less: who sends this
     * much without an end means harm, or sends something else. */
    RECEIVE_MAX = 1024 * 1024 * 1024,
    RECEIVE_LINE_MAX = 16 * 1024 * 1024,
    /* Connections that may wait for a script's accept; LuaSocket's 32 are
     * gone in no time. */
    LISTEN_BACKLOG = 128,
    /* Connections that may lie in a pool, and for how many seconds, if the
     * script does not say: what OpenResty has. */
    POOL_SIZE = 30,
    POOL_IDLE = 60,
    /* Seconds that OpenResty lets a connect, a send or a receive take. */
    NGX_TIMEOUT = 60,

    /* Names that the resolver remembers: more than a script talks to, and some
     * hundred KiB.  Who resolves more of them looks some up again. */
    RESOLVE_CACHE_MAX = 1024,
    /* Look-ups under way; others wait for their turn, so that the answers fit
     * into the buffer of one socket. */
    RESOLVE_AT_ONCE = 256,
    /* Addresses of one name: what fits into an answer over UDP and more than
     * anybody tries in turn. */
    RESOLVE_ADDRESSES_MAX = 64,
    /* s that an answer is remembered at most, whatever its TTL: so long a slip
     * in somebody's zone lasts here.  For what is not found an answer names no
     * time, and names are tried before they are there.  What the hosts file
     * says holds until the file changes; but who knows of all files? */
    RESOLVE_TTL_MAX = 3600,
    RESOLVE_TTL_NEGATIVE = 5,
    RESOLVE_TTL_HOSTS = 60,
    /* ms until the next name server is asked, which doubles each time round,
     * and how often each is; s that a look-up lasts at most.  A lost packet
     * costs 2 s, a dead server among others no more, and who waits for a page
     * does not wait longer. */
    RESOLVE_TRY_MS = 2000,
    RESOLVE_TRIES = 3,
    RESOLVE_SECONDS_MAX = 30,

    /* What fcgi.run collects of each output unless it is told otherwise: as
     * much as of a body. */
    RUN_OUTPUT_MAX = 16 * 1024 * 1024,

    /* Bytes of one fcgi.random: keys and tokens need few, and the kernel takes
     * some milliseconds for this many, while all other requests wait. */
    RANDOM_MAX = 1024 * 1024
};

/* From the command line, or for tests. */
struct limits {
    size_t max_params;     /* bytes of one request's parameters */
    uint64_t max_body;     /* bytes of one request's body; 0: no maximum */
    uint64_t max_spool;    /* bytes of all bodies on disk */
    unsigned max_conns;    /* connections open at once */
    unsigned max_reqs;     /* requests begun at once, of all connections */
    double header_timeout; /* s from the first byte to the end of PARAMS */
    double idle_timeout;   /* s that a kept connection may be silent */
    double write_timeout;  /* s without the peer taking a byte */
    double linger_timeout; /* s of reading on after an early answer */
    uint64_t linger_bytes; /* bytes, likewise */
};

/* The defaults of the command line, and what it does not name. */
static inline struct limits limits_default(void)
{
    return (struct limits){
        .max_params = 1024 * 1024,
        .max_spool = 1024ull * 1024 * 1024,
        .max_conns = 1024,
        .max_reqs = 1024,
        .header_timeout = 10,
        .idle_timeout = 300,  /* longer than web servers keep theirs */
        .write_timeout = 120, /* a paused download behind a web server */
        .linger_timeout = 30,
        .linger_bytes = 256ull * 1024 * 1024,
    };
}

#endif
