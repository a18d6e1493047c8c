/* plain.h -- which bytes stand for themselves in a line of a log: not quotes,
 * backslashes, control bytes and those over 0x7e, nor, in a text that is bare
 * (not between quotes), blanks and square brackets.
 *
 * Inline, for most of an access log is made of such texts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_PLAIN_H
#define OPS_PLAIN_H

#include "base/slice.h"

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline bool plain_is(char c, bool is_bare)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\' &&
           !(is_bare && (c == ' ' || c == '[' || c == ']'));
}

/* The same for eight bytes at once: each term has the top bit of the bytes that
 * are 0x80 and above, 0x7f, below the blank, or one of those to be escaped (and
 * maybe of one behind such a byte, which does not matter). */
static inline bool plain_are_8(uint64_t word, bool is_bare)
{
    static const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t bad = word | (word + ones) | (word - ones * ' ') |
                   ((word ^ ones * '"') - ones) | ((word ^ ones * '\\') - ones);

    if (is_bare)
        bad |= ((word ^ ones * ' ') - ones) | ((word ^ ones * '[') - ones) |
               ((word ^ ones * ']') - ones);
    return (bad & ones * 0x80) == 0;
}

/* The same for sixteen, which are copied when they are, else nothing is.  Two
 * halves: the second one may overlap the first. */
#ifdef __SSE2__
static inline bool plain_are_16(__m128i both, bool is_bare)
{
    __m128i bad; /* signed: 0x80 and above are below the blank */

    bad = _mm_cmplt_epi8(both, _mm_set1_epi8(is_bare ? ' ' + 1 : ' '));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(both, _mm_set1_epi8('"')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(both, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(both, _mm_set1_epi8(0x7f)));
    if (is_bare) {
        bad = _mm_or_si128(bad, _mm_cmpeq_epi8(both, _mm_set1_epi8('[')));
        bad = _mm_or_si128(bad, _mm_cmpeq_epi8(both, _mm_set1_epi8(']')));
    }
    return _mm_movemask_epi8(bad) == 0;
}

static inline bool plain_copy_16(char *to, const char *from, bool is_bare)
{
    __m128i all = _mm_loadu_si128((const void *)from);

    if (!plain_are_16(all, is_bare))
        return false;
    _mm_storeu_si128((void *)to, all);
    return true;
}

static inline bool plain_copy_halves(char *to, const char *from, size_t second,
                                     bool is_bare)
{
    __m128i a = _mm_loadl_epi64((const void *)from);
    __m128i b = _mm_loadl_epi64((const void *)(from + second));

    if (!plain_are_16(_mm_unpacklo_epi64(a, b), is_bare))
        return false;
    _mm_storel_epi64((void *)to, a);
    _mm_storel_epi64((void *)(to + second), b);
    return true;
}
#else
static inline bool plain_copy_halves(char *to, const char *from, size_t second,
                                     bool is_bare)
{
    uint64_t a, b;

    memcpy(&a, from, sizeof(a));
    memcpy(&b, from + second, sizeof(b));
    if (!plain_are_8(a, is_bare) || !plain_are_8(b, is_bare))
        return false;
    memcpy(to, &a, sizeof(a));
    memcpy(to + second, &b, sizeof(b));
    return true;
}

static inline bool plain_copy_16(char *to, const char *from, bool is_bare)
{
    return plain_copy_halves(to, from, 8, is_bare);
}
#endif

/* The same for two times four. */
static inline bool plain_copy_quarters(char *to, const char *from,
                                       size_t second, bool is_bare)
{
    uint32_t a, b;

    memcpy(&a, from, sizeof(a));
    memcpy(&b, from + second, sizeof(b));
    if (!plain_are_8((uint64_t)b << 32 | a, is_bare))
        return false;
    memcpy(to, &a, sizeof(a));
    memcpy(to + second, &b, sizeof(b));
    return true;
}

/* Copies up to three bytes, likewise. */
static inline bool plain_copy_few(char *to, struct slice text, bool is_bare)
{
    size_t middle = text.len / 2, last = text.len - 1;
    char a = text.data[0], b = text.data[middle], c = text.data[last];

    if (!plain_is(a, is_bare) || !plain_is(b, is_bare) || !plain_is(c, is_bare))
        return false;
    to[0] = a;
    to[middle] = b;
    to[last] = c;
    return true;
}

/* Copies a text that is not empty if all of it stands for itself; else returns
 * false, and some of it may have been copied. */
static inline bool plain_copy(char *to, struct slice text, bool is_bare)
{
    size_t n = 0, len = text.len;

    if (len < 4)
        return plain_copy_few(to, text, is_bare);
    if (len < 8)
        return plain_copy_quarters(to, text.data, len - 4, is_bare);
    if (len < 16)
        return plain_copy_halves(to, text.data, len - 8, is_bare);
    for (; len - n >= 16; n += 16)
        if (!plain_copy_16(to + n, text.data + n, is_bare))
            return false;
    return n == len ||
           plain_copy_halves(to + len - 16, text.data + len - 16, 8, is_bare);
}

#endif
