/* options_table.h -- what each option is: private to the options_*.c files.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_OPTIONS_TABLE_H
#define PROC_OPTIONS_TABLE_H

#include "proc/options.h"

/* What a value looks like and which type its field has. */
enum option_kind {
    KIND_FLAG,    /* no value; bool */
    KIND_TEXT,    /* char * */
    KIND_FORMAT,  /* of the access log; char * */
    KIND_PATH,    /* of a URL; char * */
    KIND_VERSION, /* one of choices; char * */
    KIND_LEVEL,   /* one of choices; its index as int */
    KIND_SWITCH,  /* the first or the second of choices; bool */
    KIND_LIST,    /* struct string_list */
    KIND_CHUNK,   /* struct string_list, never cut at blanks */
    KIND_LISTEN,  /* struct string_list of addresses */
    KIND_SERVERS, /* struct string_list of "ADDR[,ADDR]" */
    KIND_USER,    /* USER[:GROUP]; char * */
    KIND_PORT,    /* a port, kept as an address in listen */
    KIND_SIZE,    /* size_t */
    KIND_SPOOL,   /* uint64_t */
    KIND_COUNT,   /* unsigned */
    KIND_WORKERS, /* unsigned */
    KIND_TIME     /* double */
};

/* Which sources may set it. */
enum option_reach {
    REACH_ALL,
    REACH_BEFORE_SCRIPT, /* needed before the script is loaded */
    REACH_COMMAND_LINE
};

enum option_group {
    GROUP_LISTEN,
    GROUP_PROCESSES,
    GROUP_LIMITS,
    GROUP_DEVELOPMENT,
    GROUP_LOGS,
    GROUP_LUA,
    GROUP_COUNT
};

struct option_spec {
    const char *name; /* as on the command line, without its dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    enum option_reach reach;
    enum option_group group;
    size_t offset;        /* of the field in struct options */
    const char *fallback; /* the default, written as a user would; or NULL */
    const char *note;     /* follows the default in the help; or NULL */
    const char *choices;  /* "a|b|c" for the kinds that have them */
    unsigned long long min, max; /* bytes, a count, or seconds */
    const char *argument;        /* what the help calls the value */
    const char *help;
};

extern const struct option_spec options_table[];
extern const size_t options_table_count;

/* The option of that long name, '_' and '-' being the same, or NULL. */
const struct option_spec *options_find(const char *name);

/* The option of that letter, or NULL. */
const struct option_spec *options_find_letter(char letter);

/* The option that source may set and whose name is the nearest to name. */
const struct option_spec *options_find_nearest(const char *name,
                                               enum option_source source);

/* May a value from source be given to it? */
bool options_may_set(const struct option_spec *spec, enum option_source source);

/* The field of an option.  The caller casts it to the kind's type. */
static inline void *options_field(struct options *options,
                                  const struct option_spec *spec)
{
    return (char *)options + spec->offset;
}

/* The source that an option shares with all that fill the same field. */
size_t options_source_index(const struct option_spec *spec);

/* Sets an option to the value in text.  Messages begin with label, as in
 * "--max-body"; otherwise as options_set. */
enum options_status options_set_spec(struct options *options,
                                     const struct option_spec *spec,
                                     const char *label, const char *text,
                                     enum option_source source,
                                     struct option_error *error);

/* Fills *error with a formatted line and returns status. */
enum options_status options_fail(struct option_error *error,
                                 enum options_status status, int exit_code,
                                 const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
