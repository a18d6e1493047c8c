/* values.h -- the answer to GET_VALUES (FastCGI 1.0, 4.1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FCGI_VALUES_H
#define FCGI_VALUES_H

#include "base/slice.h"
#include "core/limits.h"

enum { FCGI_VALUES_MAX = 128 }; /* all three pairs, with room to spare */

/* Writes the known ones of the names asked for, each once, as pairs into out
 * of FCGI_VALUES_MAX bytes; returns their length.  Unknown names are left out,
 * and what follows a broken pair. */
size_t fcgi_values_answer(struct slice asked, const struct limits *limits,
                          char *out);

#endif
