/* program_sockets.c -- what is listened on: see program.h for the
 * contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"
#include "http/session.h"
#include "proc/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static int open_addresses(struct program *program)
{
    const struct string_list *list = &program->options.listen;
    struct listen_error error;

    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        char why[ADDRESS_ERROR_TEXT];

        if (!address_parse(list->items[i], &address, why, sizeof(why)))
            return program_fail(EX_CONFIG, "--listen: \"%s\" %s",
                                list->items[i], why);
        if (listen_open(&address, &program->listening, &error) == -1)
            return program_fail(EX_UNAVAILABLE, "%s", error.message);
        if (address.kind == ADDRESS_TCP && address.host[0] == '\0' &&
            !program->peers.is_restricted)
            log_write(LOG_LEVEL_NOTICE,
                      "%s: whoever reaches this port can make requests with "
                      "any parameters; FCGI_WEB_SERVER_ADDRS restricts it",
                      list->items[i]);
    }
    return EX_OK;
}

/* Who knows no web server in between sees what the log says of it. */
static bool name_http_socket(struct listen_socket *sock)
{
    char *name;
    int n = asprintf(&name, "%s%s", sock->is_tcp ? "http://" : "HTTP, ",
                     sock->name);

    if (n == -1)
        return false;
    free(sock->name);
    sock->name = name;
    sock->protocol = PROTOCOL_HTTP;
    return true;
}

/* No host: this machine alone, unlike with --listen. */
static int open_http_address(struct program *program, struct address *address)
{
    struct listen_set *set = &program->listening;
    size_t before = set->count;
    struct listen_set added;
    struct listen_error error;
    char where[ADDRESS_TEXT];

    if (address->kind == ADDRESS_TCP && address->host[0] == '\0')
        strcpy(address->host, "127.0.0.1");
    if (listen_open(address, set, &error) == -1)
        return program_fail(EX_UNAVAILABLE, "--http: %s", error.message);
    added = (struct listen_set){ set->items + before, set->count - before };
    if (!program->options.http_public && listen_is_public(&added, where))
        return program_fail(EX_USAGE,
                            "--http: other machines can reach %s: it is for "
                            "development; --http-public allows it",
                            where);
    for (size_t i = 0; i < added.count; i++) {
        if (!name_http_socket(&added.items[i]))
            return program_fail(EX_OSERR, "out of memory");
        log_write(LOG_LEVEL_NOTICE,
                  "%s: for development: in production a web server belongs in "
                  "front",
                  added.items[i].name);
    }
    return EX_OK;
}

static int open_http_addresses(struct program *program)
{
    const struct string_list *list = &program->options.http;

    if (list->count > 0 && http_library() == NULL)
        return program_fail(EX_USAGE,
                            "--http: this program is built without HTTP");
    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        char why[ADDRESS_ERROR_TEXT];
        int status;

        if (!address_parse(list->items[i], &address, why, sizeof(why)))
            return program_fail(EX_CONFIG, "--http: \"%s\" %s", list->items[i],
                                why);
        status = open_http_address(program, &address);
        if (status != EX_OK)
            return status;
    }
    return EX_OK;
}

int program_open_status_sockets(struct program *program)
{
    const struct string_list *list = &program->options.status_listen;
    struct listen_error error;

    if (program->is_heir)
        return EX_OK; /* it has those of the program before */
    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        char why[ADDRESS_ERROR_TEXT];

        if (!address_parse(list->items[i], &address, why, sizeof(why)))
            return program_fail(EX_CONFIG, "--status-listen: \"%s\" %s",
                                list->items[i], why);
        if (listen_open(&address, &program->status_listening, &error) == -1)
            return program_fail(EX_UNAVAILABLE, "--status-listen: %s",
                                error.message);
    }
    return EX_OK;
}

/* Is the first argument of the script more likely an option of ours? */
static bool has_late_option(const struct options *options)
{
    return options->nargs > 0 && options->args[0][0] == '-';
}

/* Sockets that somebody else has made for us. */
static int take_passed_sockets(struct program *program)
{
    struct listen_error error;
    int n;

    n = listen_from_systemd(&program->passed, &program->listening, &error);
    if (n == 0) {
        n = listen_from_stdin(&program->listening, &error);
        program->is_spawned = n > 0;
    }
    if (n == -1)
        return program_fail(EX_UNAVAILABLE, "%s", error.message);
    if (n > 0 || program->options.http.count > 0)
        return EX_OK;
    return program_fail(
        EX_USAGE,
        "nothing to listen on: fd 0 is not a listening socket and "
        "LISTEN_FDS is not set\n"
        "Try: fcgi-lua --http=:8080 %s    (for a browser)\n"
        "     fcgi-lua -l 127.0.0.1:9000 %s    (for a web server)%s",
        program->options.script, program->options.script,
        has_late_option(&program->options)
            ? "\nOptions stand before the script; what follows "
              "it is for the script itself."
            : "");
}

int program_open_sockets(struct program *program)
{
    int status;

    if (program->is_heir)
        return EX_OK; /* they are open already */
    status = program->options.listen.count > 0 ? open_addresses(program)
                                               : take_passed_sockets(program);
    return status == EX_OK ? open_http_addresses(program) : status;
}

int program_read_peers(struct program *program)
{
    struct slice junk = { "", 0 };

    switch (
        peers_parse(&program->peers, getenv("FCGI_WEB_SERVER_ADDRS"), &junk)) {
    case PEERS_OK:
        return EX_OK;
    case PEERS_NO_MEMORY:
        return program_fail(EX_OSERR, "out of memory");
    case PEERS_BAD:
        break;
    }
    return program_fail(EX_CONFIG,
                        "FCGI_WEB_SERVER_ADDRS: \"%.*s\" is not an IP address",
                        (int)junk.len, junk.data);
}
