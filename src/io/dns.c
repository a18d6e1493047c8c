/* dns.c -- see dns.h for the contract: c-ares in the loop.
 *
 * c-ares says which of its sockets are to be watched, and before it closes one,
 * so libev may watch them.  Nothing is deleted while c-ares is on the stack.
 *
 * SPDX-License-Identifier: MIT
 */
#define CARES_NO_DEPRECATED /* what newer ones replace still works */
#include "io/dns.h"

#include "io/loop_ev.h"

#include <ares.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* c-ares has two for each name server, UDP and TCP.  A query on one that is not
 * watched runs into its time limit. */
enum { SOCKETS_MAX = 32 };

struct watched {
    struct ev_io watcher;
    struct dns *dns; /* NULL: free */
};

struct dns {
    struct list link; /* among those that are retired */
    struct loop *loop;
    ares_channel ares;
    struct loop_timer timer;
    struct watched sockets[SOCKETS_MAX];
    unsigned open;  /* questions */
    unsigned depth; /* of calls into c-ares */
    bool is_retired;
};

/* --- sockets and time ----------------------------------------------------- */

static void on_time(struct loop_timer *timer);

/* c-ares has been left. */
static void settle(struct dns *dns)
{
    struct timeval time;

    if (--dns->depth > 0)
        return;
    if (dns->is_retired && dns->open == 0) {
        dns_del(dns);
        return;
    }
    if (ares_timeout(dns->ares, NULL, &time) == NULL)
        loop_timer_stop(&dns->timer);
    else
        loop_timer_start(dns->loop, &dns->timer,
                         (double)time.tv_sec + (double)time.tv_usec * 1e-6,
                         on_time);
}

static void on_time(struct loop_timer *timer)
{
    struct dns *dns = list_entry(timer, struct dns, timer);

    dns->depth++;
    ares_process_fd(dns->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(dns);
}

static void on_socket(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct dns *dns = ((struct watched *)(void *)watcher)->dns;
    int fd = watcher->fd;

    (void)ev;
    dns->depth++;
    ares_process_fd(dns->ares, (events & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    settle(dns);
}

static struct watched *find_socket(struct dns *dns, int fd)
{
    struct watched *unused = NULL;

    for (int i = 0; i < SOCKETS_MAX; i++) {
        struct watched *watched = &dns->sockets[i];

        if (watched->dns == NULL)
            unused = watched;
        else if (watched->watcher.fd == fd)
            return watched;
    }
    return unused;
}

/* c-ares wants to hear of a socket, or of none of its events any more. */
static void on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *dns = arg;
    struct watched *watched = find_socket(dns, fd);
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

    if (watched == NULL)
        return;
    if (watched->dns != NULL)
        ev_io_stop(dns->loop->ev, &watched->watcher);
    watched->dns = NULL;
    if (events == 0)
        return;
    ev_io_init(&watched->watcher, on_socket, fd, events);
    watched->dns = dns;
    ev_io_start(dns->loop->ev, &watched->watcher);
}

/* --- answers -------------------------------------------------------------- */

static enum resolve_status status_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return RESOLVE_OK;
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
        return RESOLVE_NOT_FOUND;
    case ARES_ETIMEOUT:
        return RESOLVE_TIMEOUT;
    case ARES_ENOMEM:
        return RESOLVE_NO_MEMORY;
    default:
        return RESOLVE_FAILED;
    }
}

static bool read_address(const struct sockaddr *from,
                         struct resolve_address *address)
{
    const void *any = from; /* c-ares aligns it */

    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *inet = any;

        address->is_inet6 = 0;
        memcpy(address->bytes, &inet->sin_addr, sizeof(inet->sin_addr));
        return true;
    }
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *inet6 = any;

        address->is_inet6 = 1;
        memcpy(address->bytes, &inet6->sin6_addr, sizeof(inet6->sin6_addr));
        return true;
    }
    return false;
}

static unsigned lower_of(unsigned ttl, int other)
{
    if (other < 0)
        return 0;
    return (unsigned)other < ttl ? (unsigned)other : ttl;
}

/* Returns how long it holds. */
static unsigned read_answer(const struct ares_addrinfo *info,
                            struct resolve_answer *answer)
{
    const struct ares_addrinfo_node *node = info->nodes;
    unsigned ttl = RESOLVE_TTL_MAX;

    for (const struct ares_addrinfo_cname *cname = info->cnames; cname != NULL;
         cname = cname->next)
        ttl = lower_of(ttl, cname->ttl);
    for (; node != NULL && answer->count < RESOLVE_ADDRESSES_MAX;
         node = node->ai_next) {
        ttl = lower_of(ttl, node->ai_ttl);
        if (read_address(node->ai_addr, &answer->addresses[answer->count]))
            answer->count++;
    }
    return ttl;
}

static void on_answer(void *arg, int status, int timeouts,
                      struct ares_addrinfo *info)
{
    struct question *question = arg;
    struct resolve_answer answer;
    unsigned ttl = 0;

    (void)timeouts;
    question->dns->open--;
    answer.status = status_of(status);
    answer.count = 0;
    if (answer.status == RESOLVE_NOT_FOUND)
        ttl = RESOLVE_TTL_NEGATIVE;
    if (answer.status == RESOLVE_OK) {
        ttl = read_answer(info, &answer);
        if (answer.count == 0)
            answer.status = RESOLVE_NOT_FOUND;
    }
    if (info != NULL)
        ares_freeaddrinfo(info);
    question->answered(question, &answer, ttl);
}

void dns_ask(struct dns *dns, struct question *question, const char *name,
             enum resolve_family family)
{
    static const int families[] = { [RESOLVE_BOTH] = AF_UNSPEC,
                                    [RESOLVE_INET] = AF_INET,
                                    [RESOLVE_INET6] = AF_INET6 };
    const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_ENVHOSTS,
        .ai_family = families[family],
        .ai_socktype = SOCK_STREAM,
    };

    question->dns = dns;
    dns->open++;
    dns->depth++;
    ares_getaddrinfo(dns->ares, name, NULL, &hints, on_answer, question);
    settle(dns);
}

/* --- making and deleting -------------------------------------------------- */

static int open_ares(struct dns *dns, const char *servers,
                     const char *resolv_conf)
{
    char lookups[] = "fb"; /* files, then name servers, as everywhere */
    char *path = (char *)(size_t)(const void *)resolv_conf;
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES,
        .timeout = RESOLVE_TRY_MS,
        .tries = RESOLVE_TRIES,
        .lookups = lookups,
        .sock_state_cb = on_state,
        .sock_state_cb_data = dns,
        .resolvconf_path = path,
    };
    int set = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
              ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
    int status;

    if (path != NULL)
        set |= ARES_OPT_RESOLVCONF;
    status = ares_init_options(&dns->ares, &options, set);
    if (status != ARES_SUCCESS)
        return status;
    if (servers != NULL)
        status = ares_set_servers_ports_csv(dns->ares, servers);
    if (status != ARES_SUCCESS)
        ares_destroy(dns->ares);
    return status;
}

struct dns *dns_new(struct loop *loop, const char *servers,
                    const char *resolv_conf)
{
    struct dns *dns = calloc(1, sizeof(*dns));

    if (dns == NULL)
        return NULL;
    dns->loop = loop;
    list_init(&dns->link);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(dns);
        return NULL;
    }
    if (open_ares(dns, servers, resolv_conf) != ARES_SUCCESS) {
        ares_library_cleanup();
        free(dns);
        return NULL;
    }
    return dns;
}

void dns_del(struct dns *dns)
{
    if (dns == NULL)
        return;
    dns->is_retired = false; /* answers come from here: see settle */
    list_remove(&dns->link);
    loop_timer_stop(&dns->timer);
    ares_destroy(dns->ares); /* answers what is open, closes sockets */
    ares_library_cleanup();
    free(dns);
}

void dns_retire(struct dns *dns, struct list *retired)
{
    dns->is_retired = true;
    list_append(retired, &dns->link);
    dns->depth++;
    settle(dns);
}

void dns_del_retired(struct list *retired)
{
    while (!list_is_empty(retired))
        dns_del(list_entry(retired->next, struct dns, link));
}

const char *resolver_library(void)
{
    static char text[48];

    snprintf(text, sizeof(text), "c-ares %s", ares_version(NULL));
    return text;
}
