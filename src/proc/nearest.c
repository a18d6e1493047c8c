/* nearest.c -- see nearest.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/nearest.h"

#include <string.h>

enum { NAME_MAX_COMPARED = 63 };

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    if (c == '_')
        return '-';
    return c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Three rows of the usual table: a swap looks back two. */
size_t nearest_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2], *spare;
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t a_end = least(a_len, NAME_MAX_COMPARED);
    size_t b_end = least(b_len, NAME_MAX_COMPARED);

    for (size_t j = 0; j <= b_end; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_end; i++) {
        spare = before;
        before = above;
        above = row;
        row = spare;
        row[0] = i;
        for (size_t j = 1; j <= b_end; j++) {
            char x = fold(a[i - 1]), y = fold(b[j - 1]);

            row[j] = least(above[j], row[j - 1]) + 1;
            row[j] = least(row[j], above[j - 1] + (x == y ? 0 : 1));
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y)
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b_end] + (a_len - a_end) + (b_len - b_end);
}
