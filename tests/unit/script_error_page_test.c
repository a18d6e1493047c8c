/* script_error_page_test.c -- pages, in HTML and in plain text.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/dev.h"
#include "script/error_page.h"
#include "script_rig.h"

static struct rig_request request;
static struct dev *dev;
static struct buffer lines, body;

static int set_up(void **state)
{
    int result = rig_set_up(state);

    dev = dev_new();
    rig_open("function on_request() end");
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return -1;
    error_page_init(&lines, &body);
    return dev == NULL ? -1 : result;
}

static int tear_down(void **state)
{
    rig_detach(&request);
    dev_del(dev);
    buffer_free(&lines);
    buffer_free(&body);
    return rig_tear_down(state);
}

static bool make(const char *text, const char *trace)
{
    const struct error_page page = { "A title", slice_of(text),
                                     slice_of(trace) };

    buffer_free(&lines);
    buffer_free(&body);
    if (!error_page_make(&page, request.req, &dev->files, &lines, &body))
        return false;
    return buffer_append(&body, (struct slice){ "", 1 }) == BUFFER_OK &&
           buffer_append(&lines, (struct slice){ "", 1 }) == BUFFER_OK;
}

static void assert_has(const char *part)
{
    assert_contains(body.data, part);
}

static void text_has_no_markup_and_no_control_bytes(void **state)
{
    (void)state;
    rig_param(&request, "HTTP_X", "<&\"> \x1b\x7f\t");
    assert_true(make("a <b> & \"c\"\n\x01", ""));
    assert_has("500 A title\n\na <b> & \"c\"\n\\x01\n");
    assert_has("  X = <&\"> \\x1b\\x7f\t\n");
    assert_lacks(body.data, "&lt;");
    assert_contains(lines.data, "Content-Type: text/plain; charset=utf-8\r\n");
    rig_param(&request, "HTTP_ACCEPT", "text/html");
    assert_true(make("a <b> & \"c\"\n\x01", ""));
    assert_has("a &lt;b&gt; &amp; &quot;c&quot;\n\\x01</pre>");
    assert_has("<tr><th>X</th><td>&lt;&amp;&quot;&gt; \\x1b\\x7f\t</td></tr>");
}

static void places_are_shown_once_and_only_of_known_files(void **state)
{
    char trace[1024];

    (void)state;
    rig_write_file(rig.path, "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
    dev_add_file(dev, rig.path);
    dev_add_file(dev, rig.path);
    dev_add_file(dev, "/missing.lua");
    dev_add_file(dev, rig.folder);
    snprintf(trace, sizeof(trace),
             "stack traceback:\n\t[C]: in ?\n\t%s:2: in one\n\t%s:7: in two\n"
             "\t%s:99: in three\n\t%s: in four\n\t/missing.lua:1: x\n\t%s:1: x",
             rig.path, rig.path, rig.path, rig.path, rig.folder);
    assert_true(make("/etc/passwd:1: not ours", trace));
    assert_has("    >     2  two\n");
    assert_has("    >     7  seven\n");
    assert_lacks(body.data, "root:");
    assert_lacks(body.data, ">     1  ");
    snprintf(trace, sizeof(trace), "stack traceback:\n\t%s:2: again", rig.path);
    assert_true(make(trace + strlen("stack traceback:\n\t"), trace));
    assert_ptr_equal(
        strstr(strstr(body.data, ">     2  two") + 1, ">     2  two"), NULL);
}

static void long_lines_and_values_are_cut(void **state)
{
    static char text[9000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    rig_write_file(rig.path, text);
    dev_add_file(dev, rig.path);
    rig_param(&request, "LONG", text);
    text[2500] = '=';
    rig_param(&request, "QUERY", text);
    memcpy(text, "password=", 9);
    rig_param(&request, "SECRET_QUERY_LONG", "x");
    rig_param(&request, "QUERY2", text);
    snprintf(text, sizeof(text), "%s:1: long", rig.path);
    assert_true(make(text, ""));
    assert_true(body.len < 9000);
    assert_has("xxx...\n");
    assert_has("QUERY2 = (not shown)\n");
}

static void very_many_parameters_are_cut(void **state)
{
    char name[32], value[1500];

    (void)state;
    memset(value, '\x01', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof(name), "P%d", i);
        rig_param(&request, name, value);
    }
    make("text", "");
    assert_true(body.len <= 1 << 20);
}

static void make_page(void *arg)
{
    (void)arg;
    if (!make("text", "stack traceback:\n\tline"))
        return;
    assert_has("text");
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    rig_param(&request, "HTTP_ACCEPT", "text/html");
    alloc_each_fails(make_page, NULL);
}

#define PAGE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGE_TEST(text_has_no_markup_and_no_control_bytes),
        PAGE_TEST(places_are_shown_once_and_only_of_known_files),
        PAGE_TEST(long_lines_and_values_are_cut),
        PAGE_TEST(very_many_parameters_are_cut),
        PAGE_TEST(each_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("script/error_page", tests, NULL, NULL);
}
