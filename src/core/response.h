/* response.h -- the answer to a request: a head, a body, an end.
 *
 * The head is written by the gateway (when the script set a status or a
 * header) or by the script (then the first bytes are the head, as in CGI).
 * Either way it leaves checked, in one piece, with what body there is by then;
 * and an answer without one becomes a 500.
 *
 *     NEW -- set_* --> NEW (built) --.
 *      |                              +--> BODY --> ENDED
 *      `--- write ---> HEAD ---------'
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_RESPONSE_H
#define CORE_RESPONSE_H

#include "base/buffer.h"
#include "base/shared_fd.h"

#include <stdint.h>
#include <sys/types.h>

struct request;

enum response_state {
    RESPONSE_NEW,  /* nothing was written */
    RESPONSE_HEAD, /* the script is writing its head */
    RESPONSE_BODY, /* the head has gone */
    RESPONSE_ENDED
};

struct response {
    enum response_state state;
    int status;         /* as set, then as sent; 0: none yet */
    bool is_built;      /* the gateway writes the head */
    bool admits;        /* an authorizer's answer that lets the client in */
    bool drops_body;    /* HEAD, 204, 304 */
    bool is_head_sent;  /* status is what was sent */
    struct buffer head; /* bytes from the script, or lines that were set */
    struct buffer reason;
    struct buffer sent_head; /* if the service keeps heads */
    uint64_t body_bytes;     /* sent */
    size_t dropped;          /* bytes, since the writer last paused */
};

enum response_result {
    RESPONSE_OK,
    RESPONSE_WAIT,     /* over the mark: wait for news of the request */
    RESPONSE_LATE,     /* the head has gone, or was begun by a write */
    RESPONSE_FULL,     /* the head passes RESPONSE_HEAD_MAX */
    RESPONSE_ABORTED,  /* the client has gone */
    RESPONSE_FINISHED, /* the answer is complete */
    RESPONSE_NO_MEMORY
};

void response_init(struct response *response);
void response_free(struct response *response);

/* Sets the status of a head that the gateway writes: 200 to 599; an empty
 * reason means the standard one.  The reason has no control bytes. */
enum response_result response_set_status(struct request *req, int status,
                                         struct slice reason);

/* Adds a header to it; name is a token, value has no control bytes. */
enum response_result response_add_header(struct request *req, struct slice name,
                                         struct slice value);

/* Makes the head, an authorizer's, say that the client may come in: a status
 * below 300 that was not given by this is answered with 500, one that was not
 * set at all is 403.  RESPONSE_LATE: also when another status than 200 was
 * set. */
enum response_result response_admit(struct request *req);

/* Removes all headers of that name from it. */
enum response_result response_remove_header(struct request *req,
                                            struct slice name);

/* Was a header of that name set? */
bool response_has_header(const struct request *req, struct slice name);

/* Takes bytes off the front of *bytes, as many as the peer's turn allows.
 * RESPONSE_OK: all of them were taken. */
enum response_result response_write(struct request *req, struct slice *bytes);

/* Can bytes of a file follow without being read?  The head is one that the
 * gateway writes, or has gone. */
bool response_takes_files(const struct request *req);

/* Takes up to *n bytes of a file, from offset on, likewise; *n are those that
 * were not taken.  Only where response_takes_files. */
enum response_result response_write_file(struct request *req,
                                         struct shared_fd *file, off_t offset,
                                         size_t *n);

/* Bytes for the web server's error log. */
enum response_result response_write_err(struct request *req,
                                        struct slice bytes);

/* RESPONSE_OK once the kernel has taken all that was written; sends a head
 * that the gateway writes. */
enum response_result response_flush(struct request *req);

/* Has anything of the answer been sent, or begun? */
static inline bool response_is_begun(const struct response *response)
{
    return response->state >= RESPONSE_BODY;
}

/* Forgets a head that has not gone, whoever was writing it. */
void response_reset(struct request *req);

/* Ends the answer.  An answer without a complete head becomes a 500. */
void response_finish(struct request *req, uint32_t app_status);

/* Ends the answer with one that the gateway has made, if nothing was sent yet:
 * fields are header lines that end with CRLF; status and length are added.  All
 * of it is queued at once, so the body is one whose size we know. */
void response_answer(struct request *req, int status, struct slice fields,
                     struct slice body);

/* Ends the answer with the gateway's own text for status, if nothing was sent
 * yet; else ends it with app status 1. */
void response_fail(struct request *req, int status);

/* The same with another text: fields as for response_answer, at most 800
 * bytes. */
void response_fail_with(struct request *req, int status, struct slice fields,
                        struct slice body);

#endif
