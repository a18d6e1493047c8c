/* program.c -- messages, options, the user: see program.h for the
 * contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

int program_fail(int exit_code, const char *format, ...)
{
    char line[SCRIPT_ERROR_MAX + 256], safe[sizeof(line)];
    va_list args;
    int n;
    size_t len = 0;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    for (char *at = line, *end; at < line + n; at = end + 1) { /* by lines */
        end = memchr(at, '\n', (size_t)(line + n - at));
        if (end == NULL)
            end = line + n;
        if (at > line && len < sizeof(safe))
            safe[len++] = '\n';
        len += log_escape((struct slice){ at, (size_t)(end - at) }, safe + len,
                          sizeof(safe) - len);
    }
    fprintf(stderr, "fcgi-lua: %.*s\n", (int)len, safe);
    if (!log_is_stderr())
        log_write(LOG_LEVEL_ERROR, "%.*s", n, line);
    return exit_code;
}

void program_warn(void *arg, const char *message)
{
    (void)arg;
    fprintf(stderr, "fcgi-lua: warning: %s\n", message);
}

/* Another program has become it already, and left its place to this one. */
static bool is_user_already(const struct program *program)
{
    return program->is_heir && geteuid() != 0;
}

int program_read_user(struct program *program)
{
    const struct options *options = &program->options;
    char why[ADDRESS_ERROR_TEXT];

    if (options->user == NULL || is_user_already(program))
        return EX_OK;
    if (!privileges_parse(options->user, &program->user, why, sizeof(why)))
        return program_fail(EX_CONFIG, "--user: \"%s\" %s", options->user, why);
    if (privileges_can_become(&program->user))
        return EX_OK;
    return program_fail(EX_NOPERM,
                        "--user: only root can become %s, and this is user %lu",
                        options->user, (unsigned long)geteuid());
}

int program_drop_privileges(const struct program *program, char *message)
{
    const char *name = program->options.user, *failed;
    const struct privileges *user = &program->user;
    int end_with_parent = 0;

    if (name == NULL || is_user_already(program))
        return EX_OK;
    prctl(PR_GET_PDEATHSIG, &end_with_parent); /* the kernel forgets it */
    if (privileges_drop(user, &failed) == -1) {
        int code = errno == EPERM ? EX_NOPERM : EX_OSERR;

        snprintf(message, LOAD_MESSAGE_MAX,
                 "--user: cannot become %.200s: %s: %s", name, failed,
                 strerror(errno));
        return code;
    }
    prctl(PR_SET_PDEATHSIG, end_with_parent);
    log_write(LOG_LEVEL_NOTICE, "serving as user %lu, group %lu (--user=%s)",
              (unsigned long)user->uid, (unsigned long)user->gid, name);
    return EX_OK;
}

int program_read_options(struct program *program, int argc, char **argv)
{
    struct option_error error;
    struct options *options = &program->options;

    if (options_init(options, &error) != OPTIONS_OK ||
        options_parse_args(options, argc, argv, &error) != OPTIONS_OK ||
        options_parse_environment(options, environ, program_warn, NULL,
                                  &error) != OPTIONS_OK)
        return program_fail(error.exit_code, "%s", error.message);
    return EX_OK;
}
