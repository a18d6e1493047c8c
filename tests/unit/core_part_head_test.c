/* core_part_head_test.c -- the head of a part, and what its names mean.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/limits.h"
#include "core/part_head.h"

enum { ROOM = 64 * 1024 };

static struct buffer buf;
static struct part_head head;
static bool no_memory;

static const char *read_bytes(struct slice bytes)
{
    buffer_free(&buf);
    buffer_init(&buf, ROOM);
    assert_int_equal(buffer_append(&buf, bytes), BUFFER_OK);
    return part_head_read(&buf, &head, &no_memory);
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&buf);
    return 0;
}

static void assert_slice(struct slice got, const char *expected)
{
    if (!slice_equal(got, slice_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)got.len, got.data, expected);
}

static void there_is_an_end_to_lines(void **state)
{
    char text[1024] = "Content-Disposition: form-data; name=a\r\n";

    (void)state;
    for (unsigned i = 1; i < PART_LINES_MAX; i++)
        strcat(text, "x:\r\n");
    strcat(text, "\r\n");
    assert_null(read_bytes(slice_of(text)));
    strcpy(text + strlen(text) - 2, "x:\r\n\r\n");
    assert_string_equal(read_bytes(slice_of(text)),
                        "the head of a part has over 64 lines");
}

/* A head with these parameters of its disposition. */
static const char *read_disposition(const char *params)
{
    char text[1024];

    snprintf(text, sizeof(text), "Content-Disposition: form-data%s\r\n\r\n",
             params);
    return read_bytes(slice_of(text));
}

static void assert_names(const char *params, const char *name,
                         const char *filename)
{
    assert_null(read_disposition(params));
    assert_slice(head.name, name);
    assert_int_equal(head.has_filename, filename != NULL);
    assert_slice(head.filename, filename != NULL ? filename : "");
}

static void a_file_has_a_name_and_a_type(void **state)
{
    struct slice rest, name, value;

    (void)state;
    assert_null(read_bytes(
        slice_of("content-DISPOSITION:Form-Data; name=\"a\"; filename=\"b\"\r\n"
                 "Content-Type: image/png \r\nX:\r\n\r\n")));
    assert_slice(head.name, "a");
    assert_true(head.has_filename);
    assert_slice(head.filename, "b");
    assert_slice(head.type, "image/png");
    rest = head.lines;
    assert_true(part_head_next(&rest, &name, &value));
    assert_slice(name, "content-DISPOSITION");
    assert_slice(value, "Form-Data; name=\"a\"; filename=\"b\"");
    assert_true(part_head_next(&rest, &name, &value));
    assert_slice(name, "Content-Type");
    assert_slice(value, "image/png");
    assert_true(part_head_next(&rest, &name, &value));
    assert_slice(name, "X");
    assert_slice(value, "");
    assert_false(part_head_next(&rest, &name, &value));
    assert_int_equal(rest.len, 0);
}

static void a_field_has_no_file_name(void **state)
{
    (void)state;
    assert_names("; name=a", "a", NULL);
    assert_int_equal(head.type.len, 0);
    assert_names("; name=\"\"", "", NULL);
    assert_names("; name=a; filename=\"\"", "a", "");
}

static void names_are_unescaped(void **state)
{
    (void)state;
    assert_names("; name=\"a%22%0d%0Ab%41%\"; filename=\"c%22%0d%0A%2\"",
                 "a\"\r\nb%41%", "c\"%0d%0A%2");
    assert_names("; name=\"a\\\"b\\\\c\"; filename=\"d\\\"e\"", "a\"b\\c",
                 "d\"e");
}

static void file_names_are_no_paths(void **state)
{
    (void)state;
    assert_names("; name=a; filename=\"/etc/passwd\"", "a", "passwd");
    assert_names("; name=a; filename=\"C:\\a\\b.txt\"", "a", "b.txt");
    assert_names("; name=a; filename=\"a/b\\c/d\"", "a", "d");
    assert_names("; name=a; filename=\"a\\b/\"", "a", "");
    assert_names("; name=a; filename=\".\"", "a", "");
    assert_names("; name=a; filename=\"..\"", "a", "");
    assert_names("; name=a; filename=\"x/..\"", "a", "");
    assert_names("; name=a; filename=\"...\"", "a", "...");
    assert_names("; name=a; filename*=utf-8''..%2f..%5c..", "a", "");
}

static void extended_file_names_come_first(void **state)
{
    (void)state;
    assert_names("; name=a; filename*=utf-8''%c3%a4", "a", "ä");
    assert_names("; name=a; filename=x; filename*=utf-8''y", "a", "y");
    assert_names("; filename*=utf-8''y; filename=x; name=a", "a", "y");
    assert_names("; name=a; filename=x; filename*=latin1''y", "a", "x");
    assert_string_equal(read_disposition("; name=a; filename*=latin1''y"),
                        "a file name that is not UTF-8");
}

static void folded_lines_are_one(void **state)
{
    (void)state;
    assert_null(read_bytes(slice_of("Content-Disposition: form-data;\r\n"
                                    "\tname=a;\r\n filename=b\r\n\r\n")));
    assert_slice(head.name, "a");
    assert_slice(head.filename, "b");
}

static void what_is_wrong_is_told(void **state)
{
#define GOOD "Content-Disposition: form-data; name=a\r\n"
    static const struct {
        const char *head, *why;
    } cases[] = {
        { "\r\n", "a part without Content-Disposition" },
        { "X: y\r\n\r\n", "a part without Content-Disposition" },
        { GOOD "x\r\n\r\n", "a line in the head of a part that is no header" },
        { "x\r\n" GOOD "\r\n",
          "a line in the head of a part that is no header" },
        { GOOD " : x\r\n\r\n", NULL }, /* it goes on with the line before */
        { " X: y\r\n" GOOD "\r\n", "a header of a part whose name is none" },
        { GOOD ": y\r\n\r\n", "a header of a part whose name is none" },
        { GOOD "X Y: z\r\n\r\n", "a header of a part whose name is none" },
        { GOOD "X: \x7f\r\n\r\n", "a control byte in the head of a part" },
        { GOOD GOOD "\r\n", "a part with two Content-Dispositions" },
        { GOOD "Content-Type: a\r\ncontent-type: b\r\n\r\n",
          "a part with two Content-Types" },
        { GOOD "X: a\rb\r\n\r\n",
          "a line that does not end with CRLF in the head of a part" },
        { GOOD "X: a\nY: b\r\n\r\n",
          "a line that does not end with CRLF in the head of a part" },
        { "\n" GOOD "\r\n",
          "a line that does not end with CRLF in the head of a part" },
        { GOOD "\r",
          "a line that does not end with CRLF in the head of a part" },
        { "Content-Disposition: file; name=a\r\n\r\n",
          "the disposition of a part is not form-data" },
        { "Content-Disposition:\r\n\r\n",
          "the disposition of a part is not form-data" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = read_bytes(slice_of(cases[i].head));

        if (cases[i].why == NULL)
            assert_null(why);
        else
            assert_string_equal(why, cases[i].why);
    }
    assert_string_equal(
        read_bytes((struct slice){ GOOD "X: \0\r\n\r\n", sizeof(GOOD) + 7 }),
        "a NUL in the head of a part");
    assert_string_equal(read_disposition(""), "a part without a name");
    assert_string_equal(read_disposition("; filename=a"),
                        "a part without a name");
    assert_string_equal(read_disposition("; name=a; name=a"),
                        "a part with two names");
    assert_string_equal(read_disposition("; name=a; filename=b; filename=b"),
                        "a part with two file names");
    assert_string_equal(
        read_disposition("; name=a; filename*=utf-8''b; filename*=utf-8''b"),
        "a part with two file names");
    assert_string_equal(read_disposition("; name=\"a"),
                        "a Content-Disposition that cannot be read");
#undef GOOD
}

static void decoded_names_lie_behind_the_head(void **state)
{
    char text[ROOM / 4];
    const char start[] = "Content-Disposition: form-data; name=\"";

    (void)state;
    memset(text, 'n', sizeof(text));
    memcpy(text, start, sizeof(start) - 1);
    memcpy(text + sizeof(text) - 5, "\"\r\n\r\n", 5);
    assert_null(read_bytes((struct slice){ text, sizeof(text) }));
    assert_int_equal(head.name.len, sizeof(text) - 5 - (sizeof(start) - 1));
    assert_true(buf.len <= 2 * sizeof(text));
}

static void no_memory_is_no_fault(void **state)
{
    static const char text[] = "Content-Disposition: form-data; name=a\r\n\r\n";

    (void)state;
    buffer_free(&buf);
    buffer_init(&buf, ROOM);
    assert_int_equal(buffer_append(&buf, slice_of(text)), BUFFER_OK);
    buf.cap = buf.len; /* so that it must grow */
    alloc_fail_at(1);
    assert_null(part_head_read(&buf, &head, &no_memory));
    alloc_fail_at(0);
    assert_true(no_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_an_end_to_lines),
        cmocka_unit_test_teardown(a_file_has_a_name_and_a_type, tear_down),
        cmocka_unit_test_teardown(a_field_has_no_file_name, tear_down),
        cmocka_unit_test_teardown(names_are_unescaped, tear_down),
        cmocka_unit_test_teardown(file_names_are_no_paths, tear_down),
        cmocka_unit_test_teardown(extended_file_names_come_first, tear_down),
        cmocka_unit_test_teardown(folded_lines_are_one, tear_down),
        cmocka_unit_test_teardown(what_is_wrong_is_told, tear_down),
        cmocka_unit_test_teardown(decoded_names_lie_behind_the_head, tear_down),
        cmocka_unit_test_teardown(no_memory_is_no_fault, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
