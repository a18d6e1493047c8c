/* record.h -- FastCGI records (FastCGI 1.0, 3.3) to and from bytes: a pure
 * codec.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FCGI_RECORD_H
#define FCGI_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum {
    FCGI_VERSION_1 = 1,
    FCGI_HEADER_LEN = 8,
    FCGI_BEGIN_LEN = 8,
    FCGI_CONTENT_MAX = 65535,
    FCGI_FLAG_KEEP_CONN = 1
};

/* Spec 8. */
enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST = 2,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDIN = 5,
    FCGI_STDOUT = 6,
    FCGI_STDERR = 7,
    FCGI_DATA = 8,
    FCGI_GET_VALUES = 9,
    FCGI_GET_VALUES_RESULT = 10,
    FCGI_UNKNOWN_TYPE = 11
};

/* Spec 5.5. */
enum fcgi_protocol_status {
    FCGI_REQUEST_COMPLETE = 0,
    FCGI_CANT_MPX_CONN = 1,
    FCGI_OVERLOADED = 2,
    FCGI_UNKNOWN_ROLE = 3
};

struct fcgi_header {
    uint8_t version, type;
    uint16_t id;     /* 0: a management record */
    uint16_t length; /* of the content */
    uint8_t padding;
};

/*  0        1        2        3        4        5        6        7
 * | version| type   | id              | contentLength   | padding| reserved |
 */
static inline struct fcgi_header fcgi_header_decode(const char *bytes)
{
    const uint8_t *b = (const uint8_t *)bytes;

    return (struct fcgi_header){
        .version = b[0],
        .type = b[1],
        .id = (uint16_t)(b[2] << 8 | b[3]),
        .length = (uint16_t)(b[4] << 8 | b[5]),
        .padding = b[6],
    };
}

/* Writes the eight bytes of a header without padding. */
static inline void fcgi_header_encode(char *out, enum fcgi_type type,
                                      uint16_t id, size_t length)
{
    out[0] = FCGI_VERSION_1;
    out[1] = (char)type;
    out[2] = (char)(id >> 8);
    out[3] = (char)id;
    out[4] = (char)(length >> 8);
    out[5] = (char)length;
    out[6] = 0;
    out[7] = 0;
}

/* Changes the length in a header that was written before. */
static inline void fcgi_header_set_length(char *header, size_t length)
{
    header[4] = (char)(length >> 8);
    header[5] = (char)length;
}

/*  0        1        2        3        4        5 .. 7
 * | role            | flags  | reserved                 |   spec 5.1 */
static inline unsigned fcgi_begin_role(const char *body)
{
    return (unsigned)(uint8_t)body[0] << 8 | (uint8_t)body[1];
}

static inline unsigned fcgi_begin_flags(const char *body)
{
    return (uint8_t)body[2];
}

/*  0 .. 3                    4                5 .. 7
 * | appStatus, big-endian   | protocolStatus | reserved |   spec 5.5 */
static inline void fcgi_end_encode(char *out, uint32_t app_status,
                                   enum fcgi_protocol_status status)
{
    out[0] = (char)(app_status >> 24);
    out[1] = (char)(app_status >> 16);
    out[2] = (char)(app_status >> 8);
    out[3] = (char)app_status;
    out[4] = (char)status;
    out[5] = out[6] = out[7] = 0;
}

#endif
