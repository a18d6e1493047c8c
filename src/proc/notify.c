/* notify.c -- see notify.h for the contract.
 *
 * The protocol is a few lines of text, documented to be used without
 * libsystemd: sd_notify(3), sd_watchdog_enabled(3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/notify.h"

#include "base/log.h"
#include "proc/options_value.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_MAX = 256,  /* bytes of a line for people */
    WAIT_SECONDS = 1,  /* for room in a queue that is full */
    USEC_MAX = INT_MAX /* half an hour and more: libev's timers take it */
};

/* --- what the environment says -------------------------------------------- */

/* Takes a variable out of the environment.  Returns a copy, or NULL. */
static char *take_variable(const char *name)
{
    const char *value = getenv(name);
    char *copy = value == NULL ? NULL : strdup(value);

    unsetenv(name);
    return copy;
}

/* A path, or '@' and a name that is in no file system.  Returns the length of
 * the address; 0: it is none. */
static socklen_t read_address(const char *text, struct sockaddr_un *sun)
{
    size_t len = strlen(text);

    *sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if ((text[0] != '/' && text[0] != '@') || len < 2 ||
        len >= sizeof(sun->sun_path))
        return 0;
    memcpy(sun->sun_path, text, len + 1);
    if (text[0] == '@')
        sun->sun_path[0] = '\0';
    else
        len++; /* a path ends with its NUL */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int open_socket(const char *address)
{
    const struct timeval wait = { .tv_sec = WAIT_SECONDS };
    struct sockaddr_un sun;
    socklen_t len = read_address(address, &sun);
    int fd, saved;

    errno = EINVAL;
    if (len == 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0 &&
        connect(fd, (const struct sockaddr *)&sun, len) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Seconds between two signs of life: twice in the time that systemd waits.  0:
 * it does not wait for us. */
static double read_watchdog(const struct notify *notify)
{
    unsigned long long usec, pid;

    if (notify->watchdog_usec == NULL)
        return 0;
    if (notify->watchdog_pid != NULL &&
        (value_count(notify->watchdog_pid, 1, INT_MAX, &pid) != VALUE_OK ||
         (pid_t)pid != getpid()))
        return 0;
    if (value_count(notify->watchdog_usec, 1, ULLONG_MAX, &usec) != VALUE_OK) {
        log_write(LOG_LEVEL_WARN,
                  "WATCHDOG_USEC=%s is not a number of "
                  "microseconds",
                  notify->watchdog_usec);
        return 0;
    }
    return (double)(usec < USEC_MAX ? usec : USEC_MAX) / 2e6;
}

static void take_variables(struct notify *notify)
{
    *notify = (struct notify)NOTIFY_NOBODY;
    notify->socket = take_variable("NOTIFY_SOCKET");
    notify->watchdog_usec = take_variable("WATCHDOG_USEC");
    notify->watchdog_pid = take_variable("WATCHDOG_PID");
}

void notify_open(struct notify *notify)
{
    take_variables(notify);
    if (notify->socket == NULL)
        return;
    notify->fd = open_socket(notify->socket);
    if (notify->fd == -1)
        log_write(LOG_LEVEL_WARN, "NOTIFY_SOCKET=%s cannot be used: %s",
                  notify->socket, strerror(errno));
    else
        notify->watchdog = read_watchdog(notify);
}

void notify_use(struct notify *notify, int fd)
{
    take_variables(notify);
    notify->fd = fd;
    notify->watchdog = read_watchdog(notify);
}

void notify_close(struct notify *notify)
{
    if (notify->fd != -1)
        close(notify->fd);
    free(notify->socket);
    free(notify->watchdog_usec);
    free(notify->watchdog_pid);
    *notify = (struct notify)NOTIFY_NOBODY;
}

/* --- messages ------------------------------------------------------------- */

/* flags: MSG_DONTWAIT for what is of no use later. */
static void tell(struct notify *notify, const char *text, int flags)
{
    ssize_t n;

    if (notify->fd == -1)
        return;
    do
        n = send(notify->fd, text, strlen(text), MSG_NOSIGNAL | flags);
    while (n == -1 && errno == EINTR);
    if (n != -1 || notify->has_failed)
        return;
    notify->has_failed = true;
    log_write(LOG_LEVEL_WARN, "systemd cannot be told \"%.*s\": %s",
              (int)strcspn(text, "\n"), text, strerror(errno));
}

/* Adds a status in one line: a second one could say anything. */
static void tell_with(struct notify *notify, const char *state,
                      const char *status)
{
    char text[64 + STATUS_MAX];
    size_t n;

    if (status == NULL) {
        tell(notify, state, 0);
        return;
    }
    n = (size_t)snprintf(text, sizeof(text) - 1, "%sSTATUS=", state);
    n += log_escape(slice_of(status), text + n, sizeof(text) - 1 - n);
    text[n] = '\0';
    tell(notify, text, 0);
}

void notify_ready(struct notify *notify, const char *status)
{
    tell_with(notify, "READY=1\n", status);
}

/* systemd compares the time with that of its own request to reload. */
void notify_reloading(struct notify *notify)
{
    char text[64];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\n",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell(notify, text, 0);
}

void notify_stopping(struct notify *notify, const char *status)
{
    tell_with(notify, "STOPPING=1\n", status);
}

void notify_status(struct notify *notify, const char *status)
{
    tell_with(notify, "", status);
}

void notify_watchdog(struct notify *notify)
{
    tell(notify, "WATCHDOG=1\n", MSG_DONTWAIT);
}
