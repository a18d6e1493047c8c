/* core_multipart_test.c -- bodies in parts, cut anywhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/limits.h"
#include "core/multipart.h"

#define TYPE "multipart/form-data; boundary=b"
#define A "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n"
#define F "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n"

static struct multipart mp;
static char heard[4096]; /* "<a>data</>...", then "." or "!why" */
static size_t heard_len;

static void hear(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    heard_len += (size_t)vsnprintf(heard + heard_len, sizeof(heard) - heard_len,
                                   format, args);
    va_end(args);
    assert_true(heard_len < sizeof(heard));
}

static void hear_part(void)
{
    hear("<%.*s>", (int)mp.head.name.len, mp.head.name.data);
}

/* Goes through bytes, step at a time; false: nothing more is wanted. */
static bool feed(struct slice bytes, size_t step)
{
    for (;;) {
        struct slice data = { NULL, 0 };
        size_t used;
        enum multipart_event event = multipart_next(&mp, bytes, &used, &data);

        slice_take(&bytes, used);
        switch (event) {
        case MULTIPART_MORE:
            assert_int_equal(bytes.len, 0);
            return true;
        case MULTIPART_PART:
            hear_part();
            break;
        case MULTIPART_DATA:
            data = slice_take(&data, step);
            assert_true(data.len > 0);
            hear("%.*s", (int)data.len, data.data);
            slice_take(&bytes, multipart_take(&mp, data.len));
            break;
        case MULTIPART_PART_END:
            hear("</>");
            break;
        case MULTIPART_END:
            hear(".");
            return false;
        case MULTIPART_BROKEN:
        case MULTIPART_NO_MEMORY:
            hear("!%s", mp.why);
            return false;
        }
    }
}

/* A body in two pieces, each in memory of its own and read in steps. */
static void play(const char *body, size_t first, size_t step)
{
    struct slice rest = slice_of(body);
    bool wants_more = true;

    heard_len = 0;
    heard[0] = '\0';
    assert_null(multipart_init(&mp, slice_of(TYPE)));
    for (int i = 0; i < 2 && wants_more; i++) {
        struct slice piece = slice_take(&rest, i == 0 ? first : rest.len);
        char *copy = malloc(piece.len + 1);

        assert_non_null(copy);
        memcpy(copy, piece.data, piece.len);
        wants_more = feed((struct slice){ copy, piece.len }, step);
        free(copy);
    }
    if (wants_more) {
        assert_int_equal(multipart_cut(&mp), MULTIPART_BROKEN);
        hear("!%s", mp.why);
    }
    multipart_free(&mp);
}

/* However a body is cut, and however much of it is taken at a time. */
static void assert_parts(const char *body, const char *expected)
{
    static const size_t steps[] = { 1, 2, 3, 100 };

    for (size_t first = 0; first <= strlen(body); first++)
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            play(body, first, steps[i]);
            if (strcmp(heard, expected) != 0)
                fail_msg("cut at %zu: %s", first, heard);
        }
}

static void parts_come_one_after_the_other(void **state)
{
    (void)state;
    assert_parts(A "one\r\n" F "two\r\nlines\r\n\r\n--b--\r\n",
                 "<a>one</><f>two\r\nlines\r\n</>.");
    assert_parts("--b--", ".");
    assert_parts(A "\r\n" A "\r\n--b--", "<a></><a></>.");
}

static void a_part_may_lack_its_empty_line(void **state)
{
    (void)state;
    assert_parts(A "--b--", "<a></>.");
    assert_parts(A A "x\r\n--b--", "<a></><a>x</>.");
    assert_parts(A "--bx\r\n--b--", "<a>--bx</>.");
    assert_parts(A "--c\r\n--b--", "<a>--c</>.");
}

static void what_begins_like_a_boundary_is_data(void **state)
{
    (void)state;
    assert_parts(A "\r\n--\r\n-\r\n\r\r\n--c\r\n--b--",
                 "<a>\r\n--\r\n-\r\n\r\r\n--c</>.");
    assert_parts(A "\r\n--bb\r\n--b-b\r\n--b-\r\n--b--",
                 "<a>\r\n--bb\r\n--b-b\r\n--b-</>.");
    assert_parts(A "x--b\r\n\n--b\r\n\r--b\r\n--b--",
                 "<a>x--b\r\n\n--b\r\n\r--b</>.");
    assert_parts(A "\r\r\r\r\n\r\n\r\n--b--", "<a>\r\r\r\r\n\r\n</>.");
}

static void preamble_and_epilogue_are_thrown_away(void **state)
{
    (void)state;
    assert_parts("hello\r\n--bb\r\n\r\n" A "x\r\n--b--more\r\n--b\r\n",
                 "<a>x</>.");
    assert_parts("\r\n--b--", ".");
}

static void blanks_may_stand_behind_a_boundary(void **state)
{
    (void)state;
    assert_parts("--b \t\r\nContent-Disposition: form-data; name=a\r\n\r\nx"
                 "\r\n--b--",
                 "<a>x</>.");
    assert_parts("--b \t\n", "!text behind a boundary");
    assert_parts("--b x\r\n", "!text behind a boundary");
    assert_parts("--b\rx", "!a boundary's line that does not end with CRLF");
    assert_parts(A "x\r\n--b -", "<a>x!text behind a boundary");
}

static void a_body_that_ends_early_is_broken(void **state)
{
    (void)state;
    assert_parts("", "!it has no boundary, or ends before the first");
    assert_parts("a=b", "!it has no boundary, or ends before the first");
    assert_parts("--b", "!it ends within a part");
    assert_parts("--b-", "!it ends within a part");
    assert_parts(A, "<a>!it ends within a part");
    assert_parts(A "x\r\n--b", "<a>x!it ends within a part");
    assert_parts(A "x\r\n--", "<a>x!it ends within a part");
    assert_parts(A "x\r\n--b\r\n", "<a>x</>!it ends within a part");
    assert_parts(A "x\r\n--b\r\nX", "<a>x</>!it ends within a part");
}

static void a_broken_head_is_a_fault(void **state)
{
    (void)state;
    assert_parts("--b\r\n\r\n", "!a part without Content-Disposition");
    assert_parts("--b\r\nX: y\n\r\n",
                 "!a line that does not end with CRLF in the head of a part");
    assert_parts("--b\r\n\n",
                 "!a line that does not end with CRLF in the head of a part");
}

static void a_fault_stays(void **state)
{
    struct slice data;
    size_t used;

    (void)state;
    play("--b x", 100, 100);
    assert_int_equal(multipart_next(&mp, slice_of(A), &used, &data),
                     MULTIPART_BROKEN);
    assert_int_equal(used, 0);
    assert_int_equal(multipart_cut(&mp), MULTIPART_BROKEN);
    assert_string_equal(mp.why, "text behind a boundary");
}

static void the_end_stays(void **state)
{
    struct slice data;
    size_t used;

    (void)state;
    play("--b--", 100, 100);
    assert_int_equal(multipart_next(&mp, slice_of(A), &used, &data),
                     MULTIPART_END);
    assert_int_equal(used, 0);
}

static void data_are_shown_where_they_lie(void **state)
{
    static const char body[] = A "0123456789";
    struct slice in = slice_of(body), data;
    size_t used;

    (void)state;
    assert_null(multipart_init(&mp, slice_of(TYPE)));
    assert_int_equal(multipart_next(&mp, in, &used, &data), MULTIPART_PART);
    slice_take(&in, used);
    for (int i = 0; i < 2; i++) { /* again, until they are taken */
        assert_int_equal(multipart_next(&mp, in, &used, &data), MULTIPART_DATA);
        assert_int_equal(used, 0);
        assert_ptr_equal(data.data, in.data);
        assert_int_equal(data.len, 10);
    }
    assert_int_equal(multipart_take(&mp, 3), 3);
    slice_take(&in, 3);
    assert_int_equal(multipart_next(&mp, in, &used, &data), MULTIPART_DATA);
    assert_ptr_equal(data.data, body + sizeof(body) - 1 - 7);
    assert_int_equal(data.len, 7);
    multipart_free(&mp);
}

static void heads_have_a_limit(void **state)
{
    static char body[2 * PART_HEAD_MAX];
    struct slice in, data;
    const char tail[] = "\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    size_t used, start;

    (void)state;
    for (size_t len = PART_HEAD_MAX - 1; len <= PART_HEAD_MAX + 1; len++) {
        memset(body, 'x', sizeof(body));
        start = (size_t)snprintf(body, sizeof(body), "--b\r\nX:");
        body[start] = ' ';
        memcpy(body + start - 2 + len - (sizeof(tail) - 1), tail,
               sizeof(tail) - 1);
        in = (struct slice){ body, start - 2 + len };
        assert_null(multipart_init(&mp, slice_of(TYPE)));
        assert_int_equal(multipart_next(&mp, in, &used, &data),
                         len <= PART_HEAD_MAX ? MULTIPART_PART
                                              : MULTIPART_BROKEN);
        assert_true(mp.head_bytes.cap <= 4 * (size_t)PART_HEAD_MAX);
        multipart_free(&mp);
    }
    assert_string_equal(mp.why, "the head of a part is over 16 KiB");
}

static void types_have_a_boundary(void **state)
{
    static const struct {
        const char *type, *delimiter, *why;
    } cases[] = {
        { "Multipart/Form-Data;BOUNDARY=\"a b\"", "\r\n--a b", NULL },
        { "multipart/form-data; x=y; boundary=----a; z=\"\"", "\r\n------a",
          NULL },
        { "multipart/form-data; boundary=\"a\\\"b\"", "\r\n--a\"b", NULL },
        { "multipart/form-data", NULL, "a Content-Type without a boundary" },
        { "multipart/form-data; boundary", NULL,
          "a Content-Type that cannot be read" },
        { "multipart/form-data; boundary=", NULL,
          "a boundary that is empty or ends with a blank" },
        { "multipart/form-data; boundary=\"a \"", NULL,
          "a boundary that is empty or ends with a blank" },
        { "multipart/form-data; boundary=a\tb", NULL,
          "a boundary that is not printable" },
        { "multipart/form-data; boundary=a; boundary=a", NULL,
          "two boundaries" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice type = slice_of(cases[i].type);
        const char *why = multipart_init(&mp, type);

        assert_true(multipart_is_form(type));
        if (cases[i].why == NULL) {
            assert_null(why);
            assert_int_equal(mp.delimiter_len, strlen(cases[i].delimiter));
            assert_memory_equal(mp.delimiter, cases[i].delimiter,
                                mp.delimiter_len);
        } else {
            assert_string_equal(why, cases[i].why);
        }
        multipart_free(&mp);
    }
    assert_false(multipart_is_form(slice_of("")));
    assert_false(multipart_is_form(slice_of("multipart/mixed; boundary=a")));
    assert_false(multipart_is_form(slice_of("multipart/form-data2")));
}

static void boundaries_have_a_limit(void **state)
{
    char type[128];

    (void)state;
    for (int len = 69; len <= 71; len++) {
        snprintf(type, sizeof(type), "multipart/form-data; boundary=%0*d", len,
                 0);
        if (len <= MULTIPART_BOUNDARY_MAX)
            assert_null(multipart_init(&mp, slice_of(type)));
        else
            assert_string_equal(multipart_init(&mp, slice_of(type)),
                                "a boundary of more than 70 bytes");
        multipart_free(&mp);
    }
}

static void parse(void *arg)
{
    (void)arg;
    heard_len = 0;
    assert_null(multipart_init(&mp, slice_of(TYPE)));
    feed(slice_of(A "one\r\n" F "two\r\n--b--"), 100);
    if (strcmp(heard, "<a>one</><f>two</>.") != 0)
        assert_non_null(strstr(heard, "!no memory"));
    multipart_free(&mp);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_each_fails(parse, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_one_after_the_other),
        cmocka_unit_test(a_part_may_lack_its_empty_line),
        cmocka_unit_test(what_begins_like_a_boundary_is_data),
        cmocka_unit_test(preamble_and_epilogue_are_thrown_away),
        cmocka_unit_test(blanks_may_stand_behind_a_boundary),
        cmocka_unit_test(a_body_that_ends_early_is_broken),
        cmocka_unit_test(a_broken_head_is_a_fault),
        cmocka_unit_test(a_fault_stays),
        cmocka_unit_test(the_end_stays),
        cmocka_unit_test(data_are_shown_where_they_lie),
        cmocka_unit_test(heads_have_a_limit),
        cmocka_unit_test(types_have_a_boundary),
        cmocka_unit_test(boundaries_have_a_limit),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
