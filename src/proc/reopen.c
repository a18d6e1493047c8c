/* reopen.c -- see reopen.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/reopen.h"

#include "base/log.h"

bool reopen_errors(const char *target)
{
    if (log_open(target) == 0)
        return true;
    log_write(LOG_LEVEL_ERROR,
              "cannot reopen the log %s: %s; the old one stays in use", target,
              log_open_error());
    return false;
}

bool reopen_access(struct access_log *log, const char *target)
{
    if (access_log_reopen(log, target) == 0)
        return true;
    log_write(LOG_LEVEL_ERROR,
              "cannot reopen the access log %s: %s; the old one stays in use",
              target, log_open_error());
    return false;
}

void reopen_take(const struct link_message *message, int fd,
                 struct access_log *access_log)
{
    if (message->value == LINK_LOG_ERRORS) {
        if (fd != -1)
            log_use(fd);
        else
            reopen_errors(message->text); /* "-" or syslog: anybody can */
    } else if (access_log != NULL) {
        if (fd != -1)
            access_log_use(access_log, fd);
        else
            reopen_access(access_log, message->text);
    }
}
