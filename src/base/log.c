/* log.c -- see log.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"

#include "base/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static struct {
    int fd;
    bool own; /* fd was opened here */
    bool to_syslog;
    struct sockaddr_un syslog; /* where to */
    enum log_level level;
    unsigned worker;
    unsigned long dropped;
    bool torn; /* the last entry was written in part */
} log_state = { .fd = STDERR_FILENO, .level = LOG_LEVEL_NOTICE };

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = { "error", LOG_ERR },
    [LOG_LEVEL_WARN] = { "warn", LOG_WARNING },
    [LOG_LEVEL_NOTICE] = { "notice", LOG_NOTICE },
    [LOG_LEVEL_INFO] = { "info", LOG_INFO },
    [LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* Why root did not open a file; "": errno says it. */
static char refusal[TRUST_WHY_MAX];

/* Root opens logs in folders of other users, and again whenever it is told. */
int log_open_file(const char *path)
{
    refusal[0] = '\0';
    if (geteuid() == 0)
        return trust_append(path, refusal, sizeof(refusal));
    return open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        0640);
}

const char *log_open_error(void)
{
    return errno == EPERM && refusal[0] != '\0' ? refusal : strerror(errno);
}

static void use(int fd, bool own, bool to_syslog)
{
    log_close();
    log_state.fd = fd;
    log_state.own = own;
    log_state.to_syslog = to_syslog;
    log_state.torn = false;
}

int log_open(const char *target)
{
    int fd;

    if (strcmp(target, "syslog") == 0)
        return log_open_syslog("/dev/log");
    if (strcmp(target, "-") == 0) {
        use(STDERR_FILENO, false, false);
        return 0;
    }
    fd = log_open_file(target);
    if (fd == -1)
        return -1;
    use(fd, true, false);
    return 0;
}

static int connect_to(const struct sockaddr_un *sun)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        saved;

    if (fd == -1)
        return -1;
    if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int log_open_syslog(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(sun.sun_path, path, strlen(path) + 1);
    fd = connect_to(&sun);
    if (fd == -1)
        return -1;
    use(fd, true, true);
    log_state.syslog = sun;
    return 0;
}

int log_fd(void)
{
    return log_state.own && !log_state.to_syslog ? log_state.fd : -1;
}

void log_use(int fd)
{
    use(fd, true, false);
}

void log_close(void)
{
    if (log_state.own)
        close(log_state.fd);
    log_state.fd = STDERR_FILENO;
    log_state.own = log_state.to_syslog = false;
}

bool log_is_stderr(void)
{
    return !log_state.own;
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

bool log_is_on(enum log_level level)
{
    return level <= log_state.level;
}

void log_set_worker(unsigned id)
{
    log_state.worker = id;
}

/* Terminals also obey the controls from U+0080 to U+009F, as UTF-8 or as single
 * bytes. */
static bool is_plain(struct slice in, size_t i)
{
    unsigned char c = (unsigned char)in.data[i];
    unsigned char before = i > 0 ? (unsigned char)in.data[i - 1] : 0;

    if (c < 0x80)
        return (c >= 0x20 && c != 0x7f) || c == '\t';
    if (c == 0xc2)
        return i + 1 == in.len ||
               ((unsigned char)in.data[i + 1] & 0xe0) != 0x80;
    return (c & 0xe0) != 0x80 || (before >= 0x80 && before != 0xc2);
}

size_t log_escape(struct slice in, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.data[i];

        if (is_plain(in, i)) {
            if (size - n < 1)
                break;
            out[n++] = (char)c;
        } else {
            if (size - n < 4)
                break;
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    return n;
}

/* systemd's journal names its stream in the environment; its lines carry a
 * priority and no time. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return stream != NULL && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
           fstat(fd, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* The front of the first line of an entry, or of those below it.  The journal
 * takes each for an entry of its own, so each has the priority. */
static size_t put_prefix(enum log_level level, bool first, char *out,
                         size_t size)
{
    char id[16] = "";
    char when[40] = "";
    struct timespec now;
    struct tm tm;
    int n;

    if (log_state.worker > 0)
        snprintf(id, sizeof(id), "/%u", log_state.worker);
    if (!log_state.own && is_journal(log_state.fd)) {
        snprintf(when, sizeof(when), "<%d>", levels[level].priority);
    } else if (!log_state.to_syslog && first) {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        n = (int)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(when + n, sizeof(when) - (size_t)n, ".%03ldZ ",
                 now.tv_nsec / 1000000);
    }
    if (first)
        n = snprintf(out, size, "%s%s [%ld%s] ", when, levels[level].name,
                     (long)getpid(), id);
    else
        n = snprintf(out, size, "%s    ", when);
    return n < 0 ? 0 : (size_t)n;
}

/* Pipes and terminals may block, and O_NONBLOCK on an inherited one would be
 * everybody's.  A pipe that polls as writable takes PIPE_BUF bytes at once. */
static bool write_piece(const char *data, size_t len)
{
    struct pollfd pollfd = { .fd = log_state.fd, .events = POLLOUT };
    ssize_t n;

    if (poll(&pollfd, 1, 0) == 0)
        return false;
    do
        n = write(log_state.fd, data, len);
    while (n == -1 && errno == EINTR);
    if (n > 0)
        log_state.torn = data[n - 1] != '\n';
    return n == (ssize_t)len;
}

/* One datagram a line.  A daemon that was started anew has a new socket. */
static bool send_line(enum log_level level, struct slice line)
{
    char head[64], name[32];
    time_t now = time(NULL);
    struct tm tm;
    struct iovec parts[2] = { { .iov_base = head } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t n = -1;

    localtime_r(&now, &tm);
    if (strftime(name, sizeof(name), "%b %e %H:%M:%S", &tm) == 0)
        name[0] = '\0';
    parts[0].iov_len = (size_t)snprintf(
        head, sizeof(head),
        "<%d>%s fcgi-lua[%ld]: ", LOG_DAEMON | levels[level].priority, name,
        (long)getpid());
    parts[1].iov_base = (void *)(size_t)(const void *)line.data;
    parts[1].iov_len = line.len;
    for (int attempt = 0; attempt < 2; attempt++) {
        int fd;

        do
            n = sendmsg(log_state.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n == -1 && errno == EINTR);
        if (n >= 0 || (errno != ECONNREFUSED && errno != ECONNRESET &&
                       errno != ENOTCONN && errno != EPIPE))
            break;
        fd = connect_to(&log_state.syslog);
        if (fd == -1)
            break;
        close(log_state.fd);
        log_state.fd = fd;
    }
    return n >= 0;
}

static bool write_lines(enum log_level level, struct slice entry)
{
    while (entry.len > 0) {
        const char *end = slice_find(entry, '\n');
        size_t len = end == NULL ? entry.len : (size_t)(end - entry.data);

        if (!send_line(level, slice_take(&entry, len)))
            return false;
        slice_take(&entry, 1);
    }
    return true;
}

static bool write_out(enum log_level level, const char *data, size_t len)
{
    if (log_state.to_syslog)
        return write_lines(level, (struct slice){ data, len });
    if (log_state.torn && !write_piece("\n", 1))
        return false;
    while (len > 0) {
        size_t part = len < PIPE_BUF ? len : PIPE_BUF;

        if (!write_piece(data, part))
            return false;
        data += part;
        len -= part;
    }
    return true;
}

/* Tells how many entries were lost since one could be written. */
static bool tell_of_dropped(void)
{
    char note[160];
    size_t n;

    if (log_state.dropped == 0)
        return true;
    n = put_prefix(LOG_LEVEL_WARN, true, note, sizeof(note));
    n += (size_t)snprintf(note + n, sizeof(note) - n,
                          "%lu log lines could not be written\n",
                          log_state.dropped);
    if (!write_out(LOG_LEVEL_WARN, note, n))
        return false;
    log_state.dropped = 0;
    return true;
}

static void write_entry(enum log_level level, const char *entry, size_t len)
{
    int saved = errno;

    if (!tell_of_dropped() || !write_out(level, entry, len))
        log_state.dropped++;
    errno = saved;
}

void log_text(enum log_level level, struct slice line, struct slice detail)
{
    char entry[LOG_ENTRY_MAX], indent[16];
    size_t size = sizeof(entry) - 2; /* a newline always fits */
    size_t n, indent_len;

    if (!log_is_on(level))
        return;
    n = put_prefix(level, true, entry, sizeof(entry));
    indent_len = put_prefix(level, false, indent, sizeof(indent));
    n += log_escape(line, entry + n, size - n);
    while (detail.len > 0 && size - n > indent_len + 4) {
        const char *end = slice_find(detail, '\n');
        size_t len = end == NULL ? detail.len : (size_t)(end - detail.data);

        entry[n++] = '\n';
        memcpy(entry + n, indent, indent_len);
        n += indent_len;
        n += log_escape(slice_take(&detail, len), entry + n, size - n);
        slice_take(&detail, 1);
    }
    entry[n++] = '\n';
    write_entry(level, entry, n);
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[4096];
    va_list args;
    int n;

    if (!log_is_on(level))
        return;
    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    log_text(level, (struct slice){ line, (size_t)n }, (struct slice){ 0 });
}

void log_last_words(const char *text, size_t len)
{
    ssize_t n = write(log_state.fd, text, len);

    (void)n; /* there is nobody left to tell */
}
