/* resolver.c -- see resolver.h for the contract: what is remembered, who waits
 * for what, and which look-ups are under way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/resolver.h"

#include "io/dns.h"
#include "io/name_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUCKETS = 256,
    NAME_MAX_LEN = 253, /* RFC 1035, 2.3.4, as text without its last dot */
    LABEL_MAX_LEN = 63
};

/* Seconds between two looks at the files. */
static const double look_seconds = 1;

/* Lives while a look-up begins: its answer may come at once. */
struct start {
    bool is_over;
    struct resolve_answer *answer; /* for who asks; or NULL */
};

/* A name that somebody asks for, or whose addresses are remembered. */
struct lookup {
    struct resolver *resolver;
    struct list bucket; /* alone: it is forgotten as soon as it is answered */
    struct list place;  /* in queue or answered; alone: it is being asked */
    struct list waits;
    struct question question;
    enum resolve_family family;
    struct start *start; /* or NULL */
    bool is_answered;
    double expires;
    enum resolve_status status;
    unsigned count;
    struct resolve_address *addresses;
    char name[NAME_MAX_LEN + 2];
};

/* How a file was when it was looked at. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct resolver {
    struct loop *loop;
    char *servers; /* as dns_new takes them; NULL: those of resolv.conf */
    const struct resolver_config *config;
    struct stamp resolv_conf_stamp, hosts_stamp;
    double next_look;
    struct dns *dns;     /* NULL: none yet */
    struct list retired; /* struct dns */
    struct list buckets[BUCKETS];
    struct list answered; /* the one that was used last at the end */
    struct list queue;    /* those that wait for their turn */
    unsigned remembered, asked;
    bool is_asking_next, is_ending;
};

/* --- addresses and names -------------------------------------------------- */

static bool copy_text(struct slice text, char *out, size_t room)
{
    if (text.len >= room || memchr(text.data, '\0', text.len) != NULL)
        return false;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

bool resolver_read_address(struct slice name, enum resolve_family family,
                           struct resolve_answer *answer)
{
    struct resolve_address *address = &answer->addresses[0];
    char text[INET6_ADDRSTRLEN];

    answer->count = 0;
    answer->status = RESOLVE_NOT_FOUND;
    if (!copy_text(name, text, sizeof(text)))
        return false;
    if (inet_pton(AF_INET, text, address->bytes) == 1)
        address->is_inet6 = 0;
    else if (inet_pton(AF_INET6, text, address->bytes) == 1)
        address->is_inet6 = 1;
    else
        return false;
    if (family == RESOLVE_BOTH ||
        (family == RESOLVE_INET6) == (address->is_inet6 != 0)) {
        answer->count = 1;
        answer->status = RESOLVE_OK;
    }
    return true;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Copies what can be a name of a host, in small letters; underscores are in use
 * though no host should have one. */
static bool read_name(struct slice name, char out[NAME_MAX_LEN + 2])
{
    size_t label = 0;

    if (!copy_text(name, out, NAME_MAX_LEN + 2) ||
        name.len - (name.len > 0 && out[name.len - 1] == '.') > NAME_MAX_LEN)
        return false;
    for (char *c = out; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
        if (*c == '.' && label > 0)
            label = 0;
        else if (is_letter_or_digit(*c) || *c == '-' || *c == '_')
            label++;
        else
            return false;
        if (label > LABEL_MAX_LEN)
            return false;
    }
    return name.len > 0;
}

/* Is the name this machine's own, localhost or any below it?  It is looked up
 * nowhere (RFC 6761, 6.3): what answers c-ares gives, and which memory it loses
 * with them, depends on its version and on the hosts file. */
static bool is_localhost(const char *name)
{
    static const struct slice own = { "localhost", sizeof("localhost") - 1 };
    struct slice last = slice_of(name);

    if (last.len > 0 && last.data[last.len - 1] == '.')
        last.len--;
    if (last.len > own.len && last.data[last.len - own.len - 1] == '.')
        slice_take(&last, last.len - own.len);
    return slice_equal(last, own);
}

/* IPv4 first: whoever listens for this machine alone does so there. */
static void answer_localhost(enum resolve_family family,
                             struct resolve_answer *answer)
{
    static const struct resolve_address loopback[] = {
        { 0, { 127, 0, 0, 1 } },
        { 1, { [15] = 1 } },
    };

    answer->status = RESOLVE_OK;
    answer->count = 0;
    if (family != RESOLVE_INET6)
        answer->addresses[answer->count++] = loopback[0];
    if (family != RESOLVE_INET)
        answer->addresses[answer->count++] = loopback[1];
}

/* --- what is remembered --------------------------------------------------- */

static struct list *bucket_of(struct resolver *resolver, const char *name,
                              enum resolve_family family)
{
    unsigned hash = 2166136261U + (unsigned)family;

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619U;
    return &resolver->buckets[hash % BUCKETS];
}

static struct lookup *find(struct resolver *resolver, const char *name,
                           enum resolve_family family)
{
    struct list *bucket = bucket_of(resolver, name, family);

    for (struct list *link = bucket->next; link != bucket; link = link->next) {
        struct lookup *lookup = list_entry(link, struct lookup, bucket);

        if (lookup->family == family && strcmp(lookup->name, name) == 0)
            return lookup;
    }
    return NULL;
}

static void lookup_del(struct lookup *lookup)
{
    if (lookup->is_answered)
        lookup->resolver->remembered--;
    list_remove(&lookup->bucket);
    list_remove(&lookup->place);
    free(lookup->addresses);
    free(lookup);
}

/* Those who wait get their answer, but nobody gets it later. */
static void forget_all(struct resolver *resolver)
{
    for (int i = 0; i < BUCKETS; i++) {
        struct list *bucket = &resolver->buckets[i];

        while (!list_is_empty(bucket)) {
            struct lookup *lookup =
                list_entry(bucket->next, struct lookup, bucket);

            if (lookup->is_answered)
                lookup_del(lookup);
            else
                list_remove(&lookup->bucket);
        }
    }
}

/* Keeps an answer, in place of the one that was used longest ago if there are
 * many.  Without memory it is not kept. */
static void remember(struct lookup *lookup, const struct resolve_answer *answer,
                     unsigned ttl)
{
    struct resolver *resolver = lookup->resolver;
    size_t size = answer->count * sizeof(*lookup->addresses);

    if (size > 0) {
        lookup->addresses = malloc(size);
        if (lookup->addresses == NULL) {
            lookup_del(lookup);
            return;
        }
        memcpy(lookup->addresses, answer->addresses, size);
    }
    lookup->status = answer->status;
    lookup->count = answer->count;
    lookup->expires = *loop_clock(resolver->loop) + ttl;
    lookup->is_answered = true;
    list_append(&resolver->answered, &lookup->place);
    if (++resolver->remembered > RESOLVE_CACHE_MAX)
        lookup_del(list_entry(resolver->answered.next, struct lookup, place));
}

/* Fills *answer if the lookup has one that still holds. */
static bool recall(struct lookup *lookup, struct resolve_answer *answer)
{
    struct resolver *resolver = lookup->resolver;

    if (!lookup->is_answered)
        return false;
    list_remove(&lookup->place);
    list_append(&resolver->answered, &lookup->place);
    answer->status = lookup->status;
    answer->count = lookup->count;
    if (lookup->count > 0)
        memcpy(answer->addresses, lookup->addresses,
               lookup->count * sizeof(*lookup->addresses));
    return true;
}

/* --- files ---------------------------------------------------------------- */

/* Notes how the file is; has it changed? */
static bool look_at(const char *path, struct stamp *stamp)
{
    struct stamp before = *stamp;
    struct stat st;

    if (stat(path, &st) == -1)
        st = (struct stat){ .st_size = -1 }; /* it is not there, or may be */
    *stamp = (struct stamp){ .device = st.st_dev,
                             .inode = st.st_ino,
                             .size = st.st_size,
                             .modified = st.st_mtim,
                             .changed = st.st_ctim };
    return before.device != stamp->device || before.inode != stamp->inode ||
           before.size != stamp->size ||
           before.modified.tv_sec != stamp->modified.tv_sec ||
           before.modified.tv_nsec != stamp->modified.tv_nsec ||
           before.changed.tv_sec != stamp->changed.tv_sec ||
           before.changed.tv_nsec != stamp->changed.tv_nsec;
}

static void look_at_files(struct resolver *resolver)
{
    const char *resolv_conf = resolver->config->resolv_conf;
    const char *hosts = getenv("CARES_HOSTS"); /* c-ares reads that instead */
    double now = *loop_clock(resolver->loop);
    bool is_other, has_changed;

    if (now < resolver->next_look)
        return;
    resolver->next_look = now + look_seconds;
    if (resolv_conf == NULL)
        resolv_conf = "/etc/resolv.conf";
    if (hosts == NULL)
        hosts = "/etc/hosts";
    is_other = look_at(resolv_conf, &resolver->resolv_conf_stamp);
    has_changed = look_at(hosts, &resolver->hosts_stamp);
    if (is_other && resolver->dns != NULL) {
        dns_retire(resolver->dns, &resolver->retired);
        resolver->dns = NULL;
    }
    if (is_other || has_changed)
        forget_all(resolver);
}

/* --- asking --------------------------------------------------------------- */

static void tell(struct lookup *lookup, const struct resolve_answer *answer)
{
    while (!list_is_empty(&lookup->waits)) {
        struct resolve_wait *wait =
            list_entry(list_take(&lookup->waits), struct resolve_wait, link);

        wait->lookup = NULL;
        if (!lookup->resolver->is_ending)
            wait->on_end(wait, answer);
    }
}

static void ask_next(struct resolver *resolver);

static void answered(struct question *question,
                     const struct resolve_answer *answer, unsigned ttl)
{
    struct lookup *lookup = list_entry(question, struct lookup, question);
    struct resolver *resolver = lookup->resolver;
    struct start *start = lookup->start;

    resolver->asked--;
    tell(lookup, answer);
    if (start != NULL) { /* nobody else was asked: so the hosts file says it */
        start->is_over = true;
        if (start->answer != NULL)
            *start->answer = *answer;
        lookup->start = NULL;
        if (answer->status == RESOLVE_OK)
            ttl = RESOLVE_TTL_HOSTS;
    }
    if (ttl == 0 || list_is_empty(&lookup->bucket))
        lookup_del(lookup);
    else
        remember(lookup, answer, ttl);
    ask_next(resolver);
}

/* Asks for a name that has its turn.  The answer may come at once, and then the
 * lookup may be gone: returns whether it did. */
static bool ask(struct lookup *lookup, struct resolve_answer *answer)
{
    static const struct resolve_answer failed = { .status = RESOLVE_FAILED };
    struct resolver *resolver = lookup->resolver;
    struct start start = { false, answer };

    resolver->asked++;
    lookup->start = &start;
    if (resolver->dns == NULL)
        resolver->dns = dns_new(resolver->loop, resolver->servers,
                                resolver->config->resolv_conf);
    if (resolver->dns == NULL)
        answered(&lookup->question, &failed, 0);
    else
        dns_ask(resolver->dns, &lookup->question, lookup->name, lookup->family);
    if (!start.is_over)
        lookup->start = NULL;
    return start.is_over;
}

/* Those that wait for their turn, unless nobody waits for them any more. */
static void ask_next(struct resolver *resolver)
{
    if (resolver->is_asking_next)
        return; /* an answer that came at once: the loop goes on below */
    resolver->is_asking_next = true;
    while (resolver->asked < RESOLVE_AT_ONCE &&
           !list_is_empty(&resolver->queue)) {
        struct lookup *lookup =
            list_entry(list_take(&resolver->queue), struct lookup, place);

        if (list_is_empty(&lookup->waits))
            lookup_del(lookup);
        else
            ask(lookup, NULL);
    }
    resolver->is_asking_next = false;
}

static struct lookup *lookup_new(struct resolver *resolver, const char *name,
                                 enum resolve_family family)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));

    if (lookup == NULL)
        return NULL;
    lookup->resolver = resolver;
    lookup->family = family;
    lookup->question.answered = answered;
    strcpy(lookup->name, name);
    list_init(&lookup->bucket);
    list_init(&lookup->place);
    list_init(&lookup->waits);
    list_append(bucket_of(resolver, name, family), &lookup->bucket);
    return lookup;
}

/* The one that is remembered, or under way, or NULL. */
static struct lookup *find_fresh(struct resolver *resolver, const char *name,
                                 enum resolve_family family)
{
    struct lookup *lookup = find(resolver, name, family);

    if (lookup != NULL && lookup->is_answered &&
        lookup->expires <= *loop_clock(resolver->loop)) {
        lookup_del(lookup);
        return NULL;
    }
    return lookup;
}

enum resolve_status resolver_ask(struct resolver *resolver, struct slice name,
                                 enum resolve_family family,
                                 struct resolve_wait *wait,
                                 struct resolve_answer *answer)
{
    char key[NAME_MAX_LEN + 2];
    struct lookup *lookup;

    wait->lookup = NULL;
    if (resolver_read_address(name, family, answer) || !read_name(name, key))
        return answer->status; /* of what is no name it is RESOLVE_NOT_FOUND */
    if (is_localhost(key)) {
        answer_localhost(family, answer);
        return RESOLVE_OK;
    }
    look_at_files(resolver);
    lookup = find_fresh(resolver, key, family);
    if (lookup != NULL && recall(lookup, answer))
        return answer->status;
    if (lookup == NULL) {
        lookup = lookup_new(resolver, key, family);
        if (lookup == NULL)
            return answer->status = RESOLVE_NO_MEMORY;
        if (resolver->asked >= RESOLVE_AT_ONCE)
            list_append(&resolver->queue, &lookup->place);
        else if (ask(lookup, answer))
            return answer->status;
    }
    wait->lookup = lookup;
    list_append(&lookup->waits, &wait->link);
    return RESOLVE_LATER;
}

void resolver_stop(struct resolve_wait *wait)
{
    if (wait->lookup == NULL)
        return;
    wait->lookup = NULL;
    list_remove(&wait->link);
}

/* --- resolvers ------------------------------------------------------------ */

struct resolver *resolver_new(struct loop *loop,
                              const struct resolver_config *config)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));

    if (resolver == NULL)
        return NULL;
    resolver->loop = loop;
    resolver->config = config;
    list_init(&resolver->retired);
    list_init(&resolver->answered);
    list_init(&resolver->queue);
    for (int i = 0; i < BUCKETS; i++)
        list_init(&resolver->buckets[i]);
    if (config->server_count > 0) {
        resolver->servers =
            name_servers_join(config->servers, config->server_count);
        if (resolver->servers == NULL) {
            free(resolver);
            return NULL;
        }
    }
    return resolver;
}

void resolver_del(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->is_ending = true;
    while (!list_is_empty(&resolver->queue)) {
        struct lookup *lookup =
            list_entry(resolver->queue.next, struct lookup, place);

        tell(lookup, NULL);
        lookup_del(lookup);
    }
    dns_del(resolver->dns);
    dns_del_retired(&resolver->retired);
    forget_all(resolver);
    free(resolver->servers);
    free(resolver);
}
