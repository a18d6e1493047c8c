/* list.h -- an intrusive, circular, doubly linked list.
 *
 * The link lives in the struct that is listed, so that putting something on a
 * list allocates nothing and taking it off needs no search.  A link that is on
 * no list points to itself: removing it twice is harmless.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

/* The struct of the given type in which *link is the named member. */
#define list_entry(link, type, member)                                         \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Makes an empty list, or a link that is on no list. */
static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

/* On a list: is it empty?  On a link: is it on no list? */
static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

/* Puts a link that is on no list at the end. */
static inline void list_append(struct list *list, struct list *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

/* Takes a link off the list that it is on, if it is on one. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* The same for a link that is not used again: it is left as it is. */
static inline void list_drop(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

/* Takes the first link off a list that is not empty. */
static inline struct list *list_take(struct list *list)
{
    struct list *first = list->next;

    list_remove(first);
    return first;
}

/* Moves everything on from to the end of to; from is empty then. */
static inline void list_move_all(struct list *from, struct list *to)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
