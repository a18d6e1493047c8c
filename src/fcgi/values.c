/* values.c -- see values.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/values.h"

#include "core/params.h"

#include <stdio.h>

enum { VALUES = 3 };

size_t fcgi_values_answer(struct slice asked, const struct limits *limits,
                          char *out)
{
    static const char *const names[VALUES] = { "FCGI_MAX_CONNS",
                                               "FCGI_MAX_REQS",
                                               "FCGI_MPXS_CONNS" };
    const unsigned values[VALUES] = { limits->max_conns, limits->max_reqs, 1 };
    bool told[VALUES] = { false };
    struct slice name, value;
    size_t n = 0;

    while (params_next(&asked, &name, &value) == PARAMS_PAIR) {
        for (size_t i = 0; i < VALUES; i++) {
            char digits[16];
            int len;

            if (told[i] || !slice_equal(name, slice_of(names[i])))
                continue;
            told[i] = true;
            len = snprintf(digits, sizeof(digits), "%u", values[i]);
            out[n++] = (char)name.len;
            out[n++] = (char)len;
            memcpy(out + n, name.data, name.len);
            n += name.len;
            memcpy(out + n, digits, (size_t)len);
            n += (size_t)len;
        }
    }
    return n;
}
