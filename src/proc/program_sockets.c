/* program_sockets.c -- what is listened on: see program.h for the
 * contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"

#include <stdlib.h>
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

int program_open_sockets(struct program *program)
{
    struct listen_error error;
    int n;

    if (program->is_heir)
        return EX_OK; /* they are open already */
    if (program->options.listen.count > 0)
        return open_addresses(program);
    n = listen_from_systemd(&program->passed, &program->listening, &error);
    if (n == 0) {
        n = listen_from_stdin(&program->listening, &error);
        program->is_spawned = n > 0;
    }
    if (n == -1)
        return program_fail(EX_UNAVAILABLE, "%s", error.message);
    if (n > 0)
        return EX_OK;
    return program_fail(
        EX_USAGE,
        "nothing to listen on: fd 0 is not a listening socket and "
        "LISTEN_FDS is not set\nTry: fcgi-lua -l 127.0.0.1:9000 %s",
        program->options.script);
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
