/* script_parts_reader_test.c -- going through a body, with turns for others.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "form_rig.h"

#include "core/limits.h"

static void the_rest_is_read_while_a_handler_waits(void **state)
{
    unsigned before;

    (void)state;
    form_open("for part in req:parts() do end return 'ok'");
    assert_true(form_begin());
    before = request.consumed;
    form_piece("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n");
    form_piece("some data");
    assert_true(request.consumed > before);
    assert_int_equal(body_available(&request.req->body), 0);
    form_piece("\r\n--b--");
    form_finish();
    assert_string_equal(request.body.data, "ok");
}

/* All of it has come, and yet others are not kept waiting. */
static void others_have_turns(void **state)
{
    static char data[BLOCK_SIZE];
    struct block *block;
    size_t size = 0;

    (void)state;
    form_open("local turns = 0\n"
              "fcgi.spawn(function()\n"
              "  while true do fcgi.sleep(0) turns = turns + 1 end\n"
              "end)\n"
              "req.ctx.go = true\n"
              "fcgi.sleep(0.01)\n"
              "local before = turns\n"
              "for part in req:parts() do end\n"
              "return tostring(turns - before)");
    assert_true(form_begin());
    block = block_new(&rig.service.blocks);
    memset(data, 'x', sizeof(data));
    memcpy(data, FORM_A, sizeof(FORM_A) - 1);
    while (size < 4 * (size_t)PARTS_TURN) {
        memcpy(block->data, data, sizeof(data));
        request_input(request.req, &request.req->body, block,
                      (struct slice){ block->data, sizeof(data) }, true);
        memset(data, 'x', sizeof(data));
        size += sizeof(data);
    }
    block_unref(block);
    form_piece("\r\n--b--");
    form_finish();
    assert_true(atoi(request.body.data) >= 3);
}

static void a_request_that_is_over_is_told(void **state)
{
    (void)state;
    form_open("fcgi.spawn(function()\n"
              "  local next_part = req:parts()\n"
              "  local part = next_part()\n"
              "  fcgi.sleep(0.05)\n"
              "  print(part:read(), pcall(next_part))\n"
              "end):detach()\n"
              "fcgi.sleep(0) fcgi.sleep(0)\n"
              "return 'ok'");
    assert_true(form_begin());
    form_piece(form_first);
    form_finish();
    assert_string_equal(request.body.data, "ok");
    rig_assert_logged("nil\tfalse\tfinished");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(the_rest_is_read_while_a_handler_waits),
        SCRIPT_TEST(others_have_turns),
        SCRIPT_TEST(a_request_that_is_over_is_told),
    };

    return cmocka_run_group_tests_name("script/parts_reader", tests, NULL,
                                       NULL);
}
