/* form_rig.h -- requests with the body of a form, for tests of the room script.
 * Include it after cmocka.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef UNIT_FORM_RIG_H
#define UNIT_FORM_RIG_H

#include "script_rig.h"

static struct rig_request request;

#define FORM_A "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n"
#define FORM_F                                                                 \
    "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n"            \
    "Content-Type: text/csv\r\nX: y\r\n\r\n"

/* Two pieces of a body, cut within a part. */
static const char form_first[] = FORM_A "one\r\n" FORM_F "two\nli",
                  form_second[] = "nes\r\n--b--\r\n";

static inline void form_open(const char *statements)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
             "local path = '%s/saved'\n"
             "local function serve(req) %s end\n"
             "return { on_request = function(req)\n"
             "  return 200, nil, serve(req) or 'nothing'\n"
             "end }",
             rig.folder, statements);
    rig_unload();
    rig_open(source);
}

static inline bool form_begin(void)
{
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return false;
    rig_param(&request, "CONTENT_TYPE", "multipart/form-data; boundary=b");
    rig_ready(&request);
    rig_turns(1);
    return true;
}

static inline void form_piece(const char *text)
{
    if (request.req != NULL)
        rig_input(&request, text);
    rig_turns(2);
}

static inline void form_finish(void)
{
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
}

static inline void form_serve(void)
{
    assert_true(form_begin());
    form_piece(form_first);
    form_piece(form_second);
    form_finish();
}

#endif
