/* libfcgi_hello.c -- the hello handler on the reference library, as its users
 * write it: one process that serves one connection after the other.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"

#include <fcgiapp.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static char buffer[64 * 1024];

static void serve(FCGX_Request *req, const char *body, size_t size)
{
    const char *uri = FCGX_GetParam("REQUEST_URI", req->envp);

    while (FCGX_GetStr(buffer, sizeof(buffer), req->in) > 0)
        continue;
    FCGX_PutS(ANSWER_HEAD, req->out);
    if (size > 0) {
        FCGX_PutStr(body, (int)size, req->out);
        return;
    }
    FCGX_PutS("Hello ", req->out);
    FCGX_PutS(uri != NULL ? uri : "", req->out);
    FCGX_PutS("\n", req->out);
}

int main(int argc, char **argv)
{
    FCGX_Request req;
    size_t size = 0;
    char *body;
    int opt, fd;

    while ((opt = getopt(argc, argv, "o:")) == 'o')
        size = (size_t)must_number(optarg);
    if (opt != -1 || optind + 1 != argc) {
        fprintf(stderr, "Usage: %s [-o BODY_BYTES] /SOCKET\n", argv[0]);
        return 2;
    }
    body = must_alloc(NULL, size + 1);
    memset(body, 'x', size);
    if (FCGX_Init() != 0)
        die("FCGX_Init");
    fd = FCGX_OpenSocket(argv[optind], BACKLOG);
    if (fd == -1 || FCGX_InitRequest(&req, fd, 0) != 0)
        die("FCGX_OpenSocket");
    while (FCGX_Accept_r(&req) == 0) {
        serve(&req, body, size);
        FCGX_Finish_r(&req);
    }
    free(body);
    return 0;
}
