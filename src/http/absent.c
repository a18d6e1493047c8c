/* absent.c -- in a program that is built without llhttp: see session.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/session.h"

#include <stddef.h>

struct wire *http_session_open(struct service *service)
{
    (void)service;
    return NULL;
}

const char *http_library(void)
{
    return NULL;
}
