/* oneshot.c -- see oneshot.h for the contract.
 *
 * Who runs a program from the shell waits for it, so writing may block. Reading
 * may not: the handler begins before its body has come.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/oneshot.h"

#include "base/log.h"
#include "core/params.h"
#include "fcgi/session.h"
#include "http/lone.h"
#include "io/loop_ev.h"
#include "proc/generation.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

struct oneshot {
    const struct options *options;
    struct loop *loop;
    struct service service;
    struct generation *generation;
    struct lone lone;
    struct ev_io input;         /* where stdin can be waited for */
    struct loop_job next_read;  /* where it can not: a file */
    struct chain out;           /* for stdout */
    struct ev_io output;        /* once that has no room */
    struct loop_job next_write; /* before */
    bool is_file;
    bool is_deaf;            /* nobody reads the answer */
    struct loop_job give_up; /* then */
    int status;              /* of the answer; 0: none yet */
    bool not_whole;          /* it broke off */
};

/* --- stdout --------------------------------------------------------------- */

static void give_up(struct loop_job *job)
{
    struct oneshot *oneshot = list_entry(job, struct oneshot, give_up);

    lone_abort(&oneshot->lone);
}

static void fail(struct oneshot *oneshot, const char *why)
{
    if (why != NULL)
        log_write(LOG_LEVEL_ERROR, "cannot write the answer: %s", why);
    oneshot->is_deaf = true;
    chain_free(&oneshot->out);
    loop_post(oneshot->loop, &oneshot->give_up);
}

/* Is there room for PIPE_BUF bytes, which a pipe takes whole or not at all?
 * stdout is not made non-blocking: the shell has it, too. */
static bool is_ready(void)
{
    struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };

    return poll(&room, 1, 0) == 1;
}

static void write_some(struct oneshot *oneshot)
{
    while (oneshot->out.len > 0 && is_ready()) {
        struct iovec iov;
        ssize_t n;

        chain_iovec(&oneshot->out, &iov, 1);
        n = write(STDOUT_FILENO, iov.iov_base,
                  iov.iov_len < PIPE_BUF ? iov.iov_len : PIPE_BUF);
        if (n == -1 && errno != EAGAIN && errno != EINTR) {
            fail(oneshot, errno == EPIPE ? NULL : strerror(errno));
            break;
        }
        if (n > 0)
            chain_drain(&oneshot->out, (size_t)n);
    }
    if (oneshot->out.len > 0)
        ev_io_start(oneshot->loop->ev, &oneshot->output);
    else
        ev_io_stop(oneshot->loop->ev, &oneshot->output);
}

static void on_output(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct oneshot *oneshot = watcher->data;

    (void)ev;
    (void)events;
    write_some(oneshot);
    lone_set_pending(&oneshot->lone, oneshot->out.len);
}

static void on_write(struct loop_job *job)
{
    struct oneshot *oneshot = list_entry(job, struct oneshot, next_write);

    write_some(oneshot);
    lone_set_pending(&oneshot->lone, oneshot->out.len);
}

static void put(struct oneshot *oneshot, struct slice bytes)
{
    if (oneshot->is_deaf)
        return;
    if (!chain_append(&oneshot->out, bytes)) {
        fail(oneshot, "out of memory");
        return;
    }
    lone_set_pending(&oneshot->lone, oneshot->out.len);
    loop_post(oneshot->loop, &oneshot->next_write);
}

/* Lines end as those of the system do, so that a shell can read them. */
static void on_head(void *arg, int status, struct slice reason,
                    struct slice lines)
{
    struct oneshot *oneshot = arg;
    char line[32];

    oneshot->status = status;
    snprintf(line, sizeof(line), "Status: %d%s", status,
             reason.len > 0 ? " " : "");
    put(oneshot, slice_of(line));
    put(oneshot, reason);
    put(oneshot, slice_of("\n"));
    while (lines.len > 0) {
        const char *end = slice_find(lines, '\r');

        put(oneshot, slice_take(&lines, (size_t)(end - lines.data)));
        put(oneshot, slice_of("\n"));
        slice_take(&lines, 2);
    }
}

static void on_body(void *arg, struct slice bytes)
{
    put(arg, bytes);
}

static void on_ended(void *arg, bool not_whole)
{
    struct oneshot *oneshot = arg;

    oneshot->not_whole = not_whole;
}

/* --- stdin ---------------------------------------------------------------- */

/* Returns whether more may come. */
static bool read_some(struct oneshot *oneshot)
{
    static char bytes[BLOCK_SIZE];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n > 0 && lone_input(&oneshot->lone, (struct slice){ bytes, (size_t)n }))
        return true;
    if (n == 0) {
        lone_input_end(&oneshot->lone);
        return false;
    }
    log_write(LOG_LEVEL_ERROR, "cannot read the body from stdin: %s",
              n == -1 ? strerror(errno) : "out of memory");
    oneshot->not_whole = true;
    lone_abort(&oneshot->lone);
    return false;
}

static void read_on(struct oneshot *oneshot)
{
    if (!lone_wants_input(&oneshot->lone))
        ev_io_stop(oneshot->loop->ev, &oneshot->input);
    else if (oneshot->is_file)
        loop_post(oneshot->loop, &oneshot->next_read);
    else
        ev_io_start(oneshot->loop->ev, &oneshot->input);
}

static void on_input(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct oneshot *oneshot = watcher->data;

    (void)ev;
    (void)events;
    if (read_some(oneshot))
        read_on(oneshot);
    else
        ev_io_stop(oneshot->loop->ev, &oneshot->input);
}

static void on_next_read(struct loop_job *job)
{
    struct oneshot *oneshot = list_entry(job, struct oneshot, next_read);

    if (read_some(oneshot))
        read_on(oneshot);
}

static void on_taken(void *arg)
{
    read_on(arg);
}

/* --- the request ---------------------------------------------------------- */

static bool is_method(struct slice method, const char *const *names)
{
    for (; *names != NULL; names++)
        if (slice_equal(method, slice_of(*names)))
            return true;
    return false;
}

/* "POST /path": a URL has no blanks.  Methods without a body leave stdin to
 * whoever else reads it. */
static void read_call(struct oneshot *oneshot, struct lone_call *call)
{
    static const char *const bodiless[] = { "GET",     "HEAD",  "DELETE",
                                            "OPTIONS", "TRACE", NULL };
    struct slice rest = slice_trim(slice_of(oneshot->options->request));
    const char *blank = slice_find(rest, ' ');
    struct stat about;
    off_t at;

    if (blank != NULL) {
        call->method = slice_take(&rest, (size_t)(blank - rest.data));
        rest = slice_trim(rest);
    }
    call->target = rest;
    call->has_body = call->method.len > 0 && !is_method(call->method, bodiless);
    if (!call->has_body || fstat(STDIN_FILENO, &about) == -1 ||
        !S_ISREG(about.st_mode))
        return;
    oneshot->is_file = true;
    at = lseek(STDIN_FILENO, 0, SEEK_CUR);
    call->has_length = at >= 0 && at <= about.st_size;
    if (call->has_length)
        call->length = (uint64_t)(about.st_size - at);
}

/* What CGI has for what a request from the shell cannot say else.  Programs
 * take HTTP_PROXY for a setting of their own. */
static bool is_param(struct slice name)
{
    static const char *const names[] = { "AUTH_TYPE",   "CONTENT_TYPE",
                                         "HTTPS",       "REMOTE_ADDR",
                                         "REMOTE_PORT", "REMOTE_USER",
                                         NULL };
    static const char header[] = "HTTP_";

    if (slice_equal(name, slice_of("HTTP_PROXY")))
        return false;
    return is_method(name, names) ||
           slice_equal((struct slice){ name.data, name.len < 5 ? name.len : 5 },
                       slice_of(header));
}

static bool read_params(struct buffer *params)
{
    for (char **at = environ; *at != NULL; at++) {
        struct slice value = slice_of(*at), name;
        const char *equals = slice_find(value, '=');

        if (equals == NULL)
            continue;
        name = slice_take(&value, (size_t)(equals - value.data));
        slice_take(&value, 1);
        if (is_param(name) && params_append(params, name, value) != BUFFER_OK)
            return false;
    }
    return true;
}

static int begin(struct oneshot *oneshot)
{
    static const struct lone_ops ops = { on_head, on_body, on_ended, on_taken };
    struct lone_call call = { .has_body = false };
    struct buffer params;
    const char *why = "the parameters are too large";

    buffer_init(&params, oneshot->options->max_params);
    read_call(oneshot, &call);
    if (read_params(&params)) {
        call.params = buffer_slice(&params);
        why =
            lone_begin(&oneshot->lone, &oneshot->service, &call, &ops, oneshot);
    }
    buffer_free(&params);
    if (why == NULL) {
        if (call.has_body)
            read_on(oneshot);
        return EX_OK;
    }
    log_write(LOG_LEVEL_ERROR, "--request=%s: %s", oneshot->options->request,
              why);
    return EX_USAGE;
}

/* --- from beginning to end ------------------------------------------------ */

static int run(struct oneshot *oneshot)
{
    struct generation *generation = oneshot->generation;
    int status;

    while (!generation->hook_has_ended)
        loop_turn(oneshot->loop, true);
    if (!generation->hook_went_well) {
        log_write(LOG_LEVEL_ERROR, "on_worker failed: nothing is served");
        return EX_CONFIG;
    }
    script_serve(generation->script);
    status = begin(oneshot);
    while (oneshot->lone.req != NULL || oneshot->out.len > 0)
        loop_turn(oneshot->loop, true);
    ev_io_stop(oneshot->loop->ev, &oneshot->input);
    generation_retire(generation, "stop", oneshot->options->grace);
    while (!generation_step(generation))
        loop_turn(oneshot->loop, true);
    if (status != EX_OK)
        return status;
    return oneshot->not_whole || oneshot->is_deaf || oneshot->status >= 400;
}

int oneshot_run(const struct options *options, struct script *script)
{
    const struct script_worker who = { .id = 1, .count = 1, .generation = 1 };
    struct oneshot oneshot = { .options = options };
    struct limits limits;
    int status = EX_OSERR;

    generation_limits(options, &limits);
    oneshot.loop = loop_new();
    oneshot.generation = generation_new(options, script, &who);
    if (oneshot.loop == NULL || oneshot.generation == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot make an event loop: %s",
                  strerror(errno));
        script_del(script);
        free(oneshot.generation);
        loop_del(oneshot.loop);
        return EX_OSERR;
    }
    service_init(&oneshot.service, &limits, loop_clock(oneshot.loop),
                 options->tmpdir, fcgi_stream_size());
    loop_job_init(&oneshot.next_read, on_next_read);
    loop_job_init(&oneshot.next_write, on_write);
    loop_job_init(&oneshot.give_up, give_up);
    chain_init(&oneshot.out, &oneshot.service.chunks);
    ev_io_init(&oneshot.output, on_output, STDOUT_FILENO, EV_WRITE);
    oneshot.output.data = &oneshot;
    ev_io_init(&oneshot.input, on_input, STDIN_FILENO, EV_READ);
    oneshot.input.data = &oneshot;
    if (generation_start(oneshot.generation, oneshot.loop, &oneshot.service) ==
        0)
        status = run(&oneshot);
    else
        log_write(LOG_LEVEL_ERROR, "cannot start the script: %s",
                  strerror(errno));
    generation_del(oneshot.generation);
    chain_free(&oneshot.out);
    service_free(&oneshot.service);
    ev_io_stop(oneshot.loop->ev, &oneshot.output);
    loop_unpost(&oneshot.next_read);
    loop_unpost(&oneshot.next_write);
    loop_unpost(&oneshot.give_up);
    loop_del(oneshot.loop);
    return status;
}
