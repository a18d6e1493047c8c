/* embedded.h -- the pure-Lua half of the library, compiled into the program as
 * source text: it is found whatever the environment and the working directory
 * are.  The table is written by embed.cmake from lua/fcgi.
 * SPDX-License-Identifier: MIT */
#ifndef SCRIPT_EMBEDDED_H
#define SCRIPT_EMBEDDED_H

#include <stddef.h>

struct embedded_lua {
    const char *module; /* "fcgi.cookie", for package.preload */
    const char *file;   /* "fcgi/cookie.lua", for chunk names */
    const unsigned char *text;
    size_t len; /* a 0 byte follows that is not counted */
};

/* Ends with an entry whose module is NULL. */
extern const struct embedded_lua embedded_lua[];

#endif
