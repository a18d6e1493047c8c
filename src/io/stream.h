/* stream.h -- a stream of bytes that this process opened: a TCP or unix socket,
 * or a pipe.
 *
 * Nothing waits here.  A call does what the kernel grants at once, and says
 * STREAM_WAIT for the rest: news of that comes through the owner's ops, in the
 * hear phase of the loop.  Whoever waits keeps the time.
 *
 *     CLOSED -- connect --> CONNECTING -- news --> OPEN -- close --> CLOSED
 *        `------------ adopt ------------------------^
 *
 * What arrives is received at once into the stream's buffer: by a watcher that
 * is registered with the kernel once, and stopped while STREAM_HIGH bytes lie
 * there that nobody wants.  So an exchange with a server is one send, one wait
 * for events and one recv.  A stream whose buffer is empty has none.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "base/slice.h"
#include "io/endpoint.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;
struct streams;

enum stream_side { STREAM_IN, STREAM_OUT };

enum stream_result {
    STREAM_DONE,
    STREAM_WAIT,  /* not yet: news come */
    STREAM_END,   /* the peer sends no more, or the stream is closed */
    STREAM_FAILED /* stream_error says why */
};

/* Whose stream it is. */
struct stream_ops {
    /* What STREAM_WAIT was said of may be done now, or has failed: ask again.
     * Called in the hear phase, or while another waiter reads; it may close the
     * stream, but not delete it. */
    void (*news)(void *owner, enum stream_side side);
    /* Does somebody still wait for them?  Who gave up need not tell. */
    bool (*is_awaited)(void *owner, enum stream_side side);
};

/* --- all streams of a loop ------------------------------------------------ */

/* What they share: memory.  The loop must outlive it.  NULL when there is no
 * memory. */
struct streams *streams_new(struct loop *loop);

/* All streams must have been deleted.  NULL is accepted. */
void streams_del(struct streams *streams);

/* --- one stream ----------------------------------------------------------- */

/* A closed stream; NULL when there is no memory. */
struct stream *stream_new(struct streams *streams);

/* Closes it first.  NULL is accepted. */
void stream_del(struct stream *stream);

/* From now on news go there. */
void stream_set_owner(struct stream *stream, const struct stream_ops *ops,
                      void *owner);

/* Makes the socket of a closed stream for a family, AF_INET, AF_INET6 or
 * AF_UNIX, so that options can be set and it can be bound; stream_connect does
 * it otherwise.  Returns 0, or -1 with errno. */
int stream_open(struct stream *stream, int family);

/* Begins to connect a stream that is closed or was only opened (with that
 * family).  One attempt: on STREAM_WAIT stream_connected says more after news
 * of STREAM_OUT.  A unix socket whose queue is full is tried again and again.
 * After STREAM_FAILED the stream is closed. */
enum stream_result stream_connect(struct stream *stream,
                                  const struct endpoint *to);

/* Whether that has ended; STREAM_END: the stream was closed meanwhile. */
enum stream_result stream_connected(struct stream *stream);

/* Directions of a descriptor. */
enum { STREAM_READS = 1, STREAM_WRITES = 2 };

/* Makes a stream of a connected socket or a pipe; directions that it does not
 * have give STREAM_END.  The stream must be closed.  The fd, which becomes
 * non-blocking and close-on-exec, is the stream's from here on.  Returns 0, or
 * -1 with errno, and the fd is still the caller's. */
int stream_adopt(struct stream *stream, int fd, unsigned directions);

/* Lets go of the descriptor, which is the caller's then, open as it is; -1 if
 * the stream is closed.  What was received and not consumed is lost. */
int stream_release(struct stream *stream);

/* Closes the descriptor.  What was received can still be consumed; reading more
 * gives STREAM_END.  The owner gets no news of it. */
void stream_close(struct stream *stream);

/* Ends one or both directions, as shutdown(2) does.  A pipe is closed.  Returns
 * 0, or -1 with errno. */
int stream_shutdown(struct stream *stream, int how);

/* -1 when it is closed. */
int stream_fd(const struct stream *stream);

bool stream_is_connecting(const struct stream *stream);

/* The errno of what failed last. */
int stream_error(const struct stream *stream);

/* --- reading -------------------------------------------------------------- */

/* What was received and not consumed; valid until the next call for the stream,
 * but for stream_consume of a part of it, which takes that off the front. */
struct slice stream_input(const struct stream *stream);
void stream_consume(struct stream *stream, size_t n);

/* Wants that many bytes in the buffer: STREAM_DONE as soon as they are there.
 * The kernel is asked only if it may have more than it gave before: the watcher
 * has taken the rest.  On STREAM_WAIT news of STREAM_IN come when they are
 * there, or none come any more.  STREAM_END and STREAM_FAILED are said when
 * fewer are there, and then for ever. */
enum stream_result stream_read(struct stream *stream, size_t want);

/* Receives what the kernel has, up to want bytes in the buffer, without waiting
 * for the next turn: for who does not wait at all, and before giving up. */
void stream_poll(struct stream *stream, size_t want);

/* Adds bytes to the buffer as if they had been received, as a layer between (of
 * encryption) does.  Returns false when there is no memory. */
bool stream_feed(struct stream *stream, struct slice bytes);

/* --- writing -------------------------------------------------------------- */

enum { STREAM_PIECES = 64 };

/* Gives the kernel as much of the bytes as it takes, of at most STREAM_PIECES
 * pieces.  *taken bytes went, whatever is returned; nothing is kept.  On
 * STREAM_WAIT news of STREAM_OUT come when it takes more. */
enum stream_result stream_write(struct stream *stream,
                                const struct slice *pieces, size_t count,
                                size_t *taken);

/* --- listening ------------------------------------------------------------ */

/* Binds a stream that is closed or was only opened.  Returns 0, or -1 with
 * errno. */
int stream_bind(struct stream *stream, const struct endpoint *to);

/* Makes a stream that is bound a listener.  Returns 0, or -1 with errno. */
int stream_listen(struct stream *stream, int backlog);

/* Takes the next connection, as a stream that is closed.  On STREAM_WAIT news
 * of STREAM_IN come when there is one. */
enum stream_result stream_accept(struct stream *listener, struct stream *out);

/* --- for a layer between -------------------------------------------------- */

/* A raw stream receives nothing by itself: somebody else reads and writes the
 * descriptor, stream_feed brings what comes of it, and stream_read says
 * STREAM_END for what is not in the buffer. */
void stream_set_raw(struct stream *stream, bool is_raw);

/* So is a listener. */
bool stream_is_raw(const struct stream *stream);

/* News of that side come when the descriptor is ready for it; of STREAM_IN only
 * if the stream is raw. */
void stream_await(struct stream *stream, enum stream_side side);

/* --- figures -------------------------------------------------------------- */

struct stream_stats {
    uint64_t received, sent;  /* bytes */
    double opened;            /* on the loop's clock, s */
    double last_in, last_out; /* when bytes moved last; or opened */
};

struct stream_stats *stream_stats(struct stream *stream);

#endif
