/* error_page.c -- see error_page.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/error_page.h"

#include "core/params.h"
#include "script/compat.h"
#include "script/dev.h"
#include "version.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_MAX = 1 << 20,
    VALUE_MAX = 2000, /* bytes shown of a parameter */
    PLACES_MAX = 16,  /* of source */
    LINES_AROUND = 4, /* of source, before and after */
    LINE_SHOWN = 200, /* bytes of one */
};

/* The policy below names this text by its SHA-256: a test compares them. */
#define STYLE                                                                  \
    ":root{color-scheme:light dark}"                                           \
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;"                  \
    "margin:2em auto;padding:0 1em}"                                           \
    "h1{font-size:1.1em;color:#d9363e}"                                        \
    "h2{font-size:1em;margin-top:2em;border-bottom:1px solid #8886}"           \
    "pre,code,td,th{font:13px/1.5 ui-monospace,monospace}"                     \
    "pre{overflow-x:auto;margin:.3em 0 .8em;padding:.5em;"                     \
    "border:1px solid #8884;border-radius:4px}"                                \
    "pre.message{font-size:15px;white-space:pre-wrap;"                         \
    "border-left:4px solid #d9363e}"                                           \
    "pre b{display:inline-block;min-width:100%;background:#e5393533}"          \
    "table{border-collapse:collapse;width:100%}"                               \
    "th,td{text-align:left;vertical-align:top;padding:.15em .8em .15em 0;"     \
    "border-bottom:1px solid #8883;overflow-wrap:anywhere}"                    \
    "th{font-weight:normal;opacity:.75;width:16em}"                            \
    "footer{margin-top:2em;opacity:.7;font-size:13px}"
#define STYLE_HASH "01Tv/EOid5vJY4BRP6IJ0TsIA4B8hgvm46OA/GOUqKw="

static const char policy[] =
    "Content-Security-Policy: default-src 'none'; style-src 'sha256-" STYLE_HASH
    "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

struct page {
    struct buffer *out;
    const struct list *files;
    bool is_html;
    bool is_lost; /* there was no memory for a part of it */
    unsigned places;
    struct {
        const struct dev_file *file;
        unsigned long line;
    } shown[PLACES_MAX];
};

/* --- text ----------------------------------------------------------------- */

static void add(struct page *page, struct slice bytes)
{
    if (buffer_append(page->out, bytes) == BUFFER_NO_MEMORY)
        page->is_lost = true; /* one that is full is cut */
}

static void put(struct page *page, const char *text)
{
    add(page, slice_of(text));
}

/* Markup, or what stands for it in plain text. */
static void mark(struct page *page, const char *html, const char *plain)
{
    put(page, page->is_html ? html : plain);
}

static void put_byte(struct page *page, unsigned char c)
{
    char hex[8], plain[2] = { (char)c, '\0' };

    switch (c) {
    case '&':
        mark(page, "&amp;", "&");
        return;
    case '<':
        mark(page, "&lt;", "<");
        return;
    case '>':
        mark(page, "&gt;", ">");
        return;
    case '"':
        mark(page, "&quot;", "\"");
        return;
    case '\t':
    case '\n':
        put(page, plain);
        return;
    default:
        break;
    }
    if (c >= 0x20 && c != 0x7f) {
        put(page, plain);
        return;
    }
    snprintf(hex, sizeof(hex), "\\x%02x", c); /* terminals read text, too */
    put(page, hex);
}

static void put_text(struct page *page, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        put_byte(page, (unsigned char)text.data[i]);
}

/* Takes a line off the front, without its newline. */
static struct slice take_line(struct slice *text)
{
    const char *newline = slice_find(*text, '\n');
    struct slice line = slice_take(
        text, newline == NULL ? text->len : (size_t)(newline - text->data));

    slice_take(text, 1);
    return line;
}

/* --- source --------------------------------------------------------------- */

/* Does text begin with the name that Lua gives to that file in messages, and a
 * line number?  See luaO_chunkid: long names lose their beginning. */
static bool is_place(struct slice text, const char *path, unsigned long *line)
{
    char name[LUA_IDSIZE];
    size_t len = strlen(path);
    unsigned long long number;
    struct slice digits = { NULL, 0 };

    if (len < LUA_IDSIZE)
        snprintf(name, sizeof(name), "%s", path);
    else
        snprintf(name, sizeof(name), "...%s", path + len - (LUA_IDSIZE - 4));
    len = strlen(name);
    if (text.len <= len || memcmp(text.data, name, len) != 0 ||
        text.data[len] != ':')
        return false;
    slice_take(&text, len + 1);
    digits.data = text.data;
    while (digits.len < text.len &&
           isdigit((unsigned char)text.data[digits.len]))
        digits.len++;
    if (!slice_to_number(digits, 100000000, &number))
        return false;
    *line = (unsigned long)number;
    return true;
}

static FILE *open_source(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    FILE *file = NULL;

    if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        file = fdopen(fd, "r");
    if (file == NULL && fd != -1)
        close(fd);
    return file;
}

static void put_source_line(struct page *page, unsigned long number, bool is_it,
                            struct slice text)
{
    char label[32];

    snprintf(label, sizeof(label), "%c %5lu  ", is_it ? '>' : ' ', number);
    mark(page, is_it ? "<b>" : "", "    ");
    put_text(page, slice_of(label));
    put_text(page, slice_take(&text, LINE_SHOWN));
    if (text.len > 0)
        put(page, "...");
    mark(page, is_it ? "</b>\n" : "\n", "\n");
}

static void put_source(struct page *page, const char *path, unsigned long line)
{
    FILE *file = open_source(path);
    char piece[LINE_SHOWN + 64];
    unsigned long number = 1;
    bool begins = true, is_open = false;

    if (file == NULL)
        return;
    while (number <= line + LINES_AROUND &&
           fgets(piece, sizeof(piece), file) != NULL) {
        struct slice text = slice_of(piece);
        bool ends = text.len > 0 && text.data[text.len - 1] == '\n';

        if (ends)
            text.len--;
        if (begins && number + LINES_AROUND >= line) {
            if (!is_open)
                mark(page, "<pre>", "");
            is_open = true;
            put_source_line(page, number, number == line, text);
        }
        begins = ends;
        if (ends)
            number++;
    }
    if (is_open)
        mark(page, "</pre>\n", "");
    fclose(file);
}

/* The source around the place that a line of text begins with, once. */
static void put_place(struct page *page, struct slice text)
{
    unsigned long line;

    while (text.len > 0 && isspace((unsigned char)*text.data))
        slice_take(&text, 1);
    for (struct list *link = page->files->next; link != page->files;
         link = link->next) {
        const struct dev_file *file = list_entry(link, struct dev_file, link);

        if (!is_place(text, file->path, &line))
            continue;
        for (unsigned i = 0; i < page->places; i++)
            if (page->shown[i].file == file && page->shown[i].line == line)
                return;
        if (page->places == PLACES_MAX)
            return;
        page->shown[page->places].file = file;
        page->shown[page->places++].line = line;
        put_source(page, file->path, line);
        return;
    }
}

/* --- the parts ------------------------------------------------------------ */

static void put_message(struct page *page, const struct error_page *error)
{
    struct slice rest = error->text;

    mark(page, "<pre class=\"message\">", "");
    put_text(page, rest);
    mark(page, "</pre>\n", "\n");
    while (rest.len > 0)
        put_place(page, take_line(&rest));
}

static void put_trace(struct page *page, struct slice trace)
{
    if (trace.len == 0)
        return;
    mark(page, "<h2>Traceback</h2>\n", "\nTraceback\n\n");
    take_line(&trace); /* "stack traceback:" */
    while (trace.len > 0) {
        struct slice line = take_line(&trace);

        mark(page, "<code>", "");
        put_text(page, page->is_html ? slice_trim(line) : line);
        mark(page, "</code><br>\n", "\n");
        put_place(page, line);
    }
}

static bool has_nocase(struct slice text, const char *part)
{
    size_t len = strlen(part);

    for (; text.len >= len; slice_take(&text, 1))
        if (slice_equal_nocase((struct slice){ text.data, len },
                               (struct slice){ part, len }))
            return true;
    return false;
}

/* What nobody should read over a shoulder, or in a page that was saved. */
static bool is_secret(struct slice name)
{
    static const char *const parts[] = {
        "AUTHORIZATION", "PHP_AUTH", "COOKIE", "PASSW",   "PASSPHRASE",
        "PWD",           "SECRET",   "TOKEN",  "API_KEY", "APIKEY",
        "CREDENTIAL",    "SESSION",  "PRIVATE"
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (has_nocase(name, parts[i]))
            return true;
    return false;
}

static void put_cut(struct page *page, struct slice value)
{
    put_text(page, slice_take(&value, VALUE_MAX));
    if (value.len > 0)
        put(page, "...");
}

/* A value as it is, but for NAME=secret within a query. */
static void put_value(struct page *page, struct slice value)
{
    struct slice rest = value, name = { value.data, 0 };

    if (value.len > VALUE_MAX || slice_find(value, '=') == NULL) {
        struct slice all = value;

        if (value.len > VALUE_MAX && slice_find(value, '=') != NULL &&
            is_secret(value)) {
            put(page, "(not shown)");
            return;
        }
        put_cut(page, all);
        return;
    }
    while (rest.len > 0) {
        struct slice byte = slice_take(&rest, 1);

        put_text(page, byte);
        if (*byte.data == '=' && is_secret(name)) {
            size_t len = 0;

            while (len < rest.len && strchr("&; \t#", rest.data[len]) == NULL)
                len++;
            slice_take(&rest, len);
            put(page, "(not shown)");
        }
        name.len++;
        if (strchr("&;? \t", *byte.data) != NULL)
            name = (struct slice){ rest.data, 0 };
    }
}

static void put_row(struct page *page, struct slice name, struct slice value,
                    bool secret)
{
    mark(page, "<tr><th>", "  ");
    put_cut(page, name);
    mark(page, "</th><td>", " = ");
    if (secret)
        put(page, "(not shown)");
    else
        put_value(page, value);
    mark(page, "</td></tr>\n", "\n");
}

static bool is_header(struct slice name)
{
    return name.len > 5 && memcmp(name.data, "HTTP_", 5) == 0;
}

/* HTTP_USER_AGENT as the client wrote it, more or less. */
static struct slice header_name(struct slice name, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 5; i < name.len && n < room; i++) {
        bool begins = i == 5 || name.data[i - 1] == '_';
        int c = (unsigned char)name.data[i];

        out[n++] = c == '_' ? '-' : (char)(begins ? toupper(c) : tolower(c));
    }
    return (struct slice){ out, n };
}

static void put_params(struct page *page, const struct request *req,
                       bool headers)
{
    struct slice rest = buffer_slice(&req->params), name, value;

    mark(page,
         headers ? "<h2>Headers</h2>\n<table>\n"
                 : "<h2>Parameters</h2>\n<table>\n",
         headers ? "\nHeaders\n\n" : "\nParameters\n\n");
    while (params_next(&rest, &name, &value) == PARAMS_PAIR) {
        char text[256];

        if (is_header(name) == headers)
            put_row(page,
                    headers ? header_name(name, text, sizeof(text)) : name,
                    value, is_secret(name));
    }
    mark(page, "</table>\n", "");
}

static void put_request(struct page *page, const struct request *req)
{
    char buffer[REQUEST_ID_MAX];
    struct slice method = slice_of("GET"), uri = slice_of("-");

    request_param(req, slice_of("REQUEST_METHOD"), &method);
    request_param(req, slice_of("REQUEST_URI"), &uri);
    mark(page, "<h2>Request</h2>\n<table>\n", "\nRequest\n\n");
    put_row(page, slice_of("method"), method, false);
    put_row(page, slice_of("uri"), uri, false);
    put_row(page, slice_of("id"), request_id(req, buffer), false);
    mark(page, "</table>\n", "");
    put_params(page, req, true);
    put_params(page, req, false);
}

/* --- the whole ------------------------------------------------------------ */

/* Browsers ask for text/html by name; what takes just anything is a program
 * whose user would rather read text. */
static bool wants_html(const struct request *req)
{
    struct slice accept, part;

    if (!request_param(req, slice_of("HTTP_ACCEPT"), &accept))
        return false;
    while (accept.len > 0) {
        const char *comma = slice_find(accept, ',');
        const char *semicolon;
        struct slice type;

        part =
            slice_take(&accept, comma == NULL ? accept.len
                                              : (size_t)(comma - accept.data));
        slice_take(&accept, 1);
        semicolon = slice_find(part, ';');
        type = slice_trim(slice_take(
            &part,
            semicolon == NULL ? part.len : (size_t)(semicolon - part.data)));
        if (slice_equal_nocase(type, slice_of("text/html")) ||
            slice_equal_nocase(type, slice_of("application/xhtml+xml")) ||
            slice_equal_nocase(type, slice_of("text/*")))
            return !has_nocase(part, "q=0") || has_nocase(part, "q=0.");
    }
    return false;
}

void error_page_init(struct buffer *lines, struct buffer *body)
{
    buffer_init(lines, PAGE_MAX);
    buffer_init(body, PAGE_MAX);
}

bool error_page_make(const struct error_page *error, const struct request *req,
                     const struct list *files, struct buffer *lines,
                     struct buffer *body)
{
    struct page page = { .out = body,
                         .files = files,
                         .is_html = wants_html(req) };

    mark(&page,
         "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width\">\n"
         "<title>500 ",
         "500 ");
    put(&page, error->title);
    mark(&page, "</title>\n<style>" STYLE "</style>\n</head><body>\n<h1>",
         "\n\n");
    if (page.is_html) {
        put(&page, error->title);
        put(&page, "</h1>\n");
    }
    put_message(&page, error);
    put_trace(&page, error->trace);
    put_request(&page, req);
    mark(&page, "<footer>", "\n");
    put(&page, "fcgi-lua " FCGI_LUA_VERSION ", " LUA_RELEASE
               ".  This is shown because of --dev; without it a client sees "
               "only \"500 Internal Server Error\".");
    mark(&page, "</footer>\n</body></html>\n", "\n");
    page.out = lines;
    mark(&page, "Content-Type: text/html; charset=utf-8\r\n",
         "Content-Type: text/plain; charset=utf-8\r\n");
    put(&page, policy);
    put(&page, "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
               "Referrer-Policy: no-referrer\r\n");
    return !page.is_lost;
}
