/* Lists: SQL composed from fixed fragments, keyset paging, signed cursors.
 *
 * A list is filters over one table (or join), an order by one integer column and the id, or by the
 * id alone (ids are UUIDv7, so that is the order of creation), and a page of it. The next page
 * starts strictly behind the last row, so inserts move nothing. A cursor is bound to the order and
 * the filters. Fragments are literals; whatever comes from outside is an argument.
 *
 *     struct listing l;
 *     listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
 *     if (REC_HAS(in, status))
 *         listing_words(&l, "status", in->status);
 *     e = listing_page(&l, db, &(struct listing_from){ … }, &(struct page_ask){ … }, out);
 *
 * One thread, inside a unit of work. */
#ifndef TESSERA_CORE_LISTING_H
#define TESSERA_CORE_LISTING_H

#include "../store/store.h"
#include "cursor.h"

#define LISTING_ARGS_MAX 48
#define LISTING_LIMIT_DEFAULT 50
#define LISTING_LIMIT_MAX 200

struct listing {
    struct ctx *cx;
    struct buf sql; /* " WHERE …" */
    struct val args[LISTING_ARGS_MAX];
    size_t n;
    uint64_t moving; /* bit i: args[i] is not what a cursor is bound to */
};

struct page {
    struct list rows;
    struct str next_cursor; /* STR_NONE at the end */
    int64_t total;          /* -1 = not asked */
};

struct listing_from {
    const struct rec *r;
    const char *kind;    /* of the cursor: "tickets:-created_at" */
    const char *columns; /* "id, name, created_ms AS created_at" */
    const char *table;   /* "tickets" or a join */
    const char *id;      /* "id", or qualified in a join */
    const char *by;      /* integer column that orders before the id, or NULL = by id alone */
    bool is_down;        /* greatest first */
    size_t id_at, by_at; /* offsets of both in r's struct (by_at unused without `by`) */
    bool id_is_int;      /* the id column and member are int64_t */
};
struct page_ask {
    struct str cursor;            /* STR_NONE = the first page */
    int64_t limit;                /* 0 = LISTING_LIMIT_DEFAULT */
    bool is_counted;              /* fill total */
    const struct cursor_key *key; /* signs the cursors */
};

/* Begins: first = " WHERE team_id = ". */
void listing_init(struct listing *l, struct ctx *cx, const char *first, struct val v);
/* Adds one argument and returns its number. */
int listing_bind(struct listing *l, struct val v);
/* The same for a value that differs from page to page, as the time of the question does. */
int listing_bind_moving(struct listing *l, struct val v);
/* before $n after: listing_and(l, " AND status = ", VT(s), ""). */
void listing_and(struct listing *l, const char *before, struct val v, const char *after);
/* " AND column IN (…)" over a comma list. */
void listing_words(struct listing *l, const char *column, struct str words);
/* %text% with %, _ and the escape \ taken literally: for LIKE … ESCAPE '\'. */
struct str listing_like(struct ctx *cx, struct str text);
/* Count when asked, check the cursor, read one page. INVALID_PARAMETER names cursor. */
enum err_code listing_page(struct listing *l, struct db *db, const struct listing_from *f,
                           const struct page_ask *ask, struct page *out);

/* limit and cursor of every list's query table: members of those names. */
/* clang-format off */
#define LISTING_QUERY_ROWS(type)                                                                   \
    { "limit", F_INT, offsetof(type, limit), 0, 1, LISTING_LIMIT_MAX, NULL,                        \
      "Rows a page (default 50)", NULL },                                                          \
    { "cursor", F_STR, offsetof(type, cursor), 0, 1, 512, NULL,                                    \
      "next_cursor of the page before", NULL }
/* clang-format on */
struct list_query { /* a list without filters */
    struct rec_bits bits;
    struct str cursor;
    int64_t limit;
};
extern const struct rec rec_list_query;

/* An id from a path: lower case in *id (RFC 9562 §4 reads either), or INVALID_PARAMETER that names
 * the parameter. */
enum err_code path_id(struct ctx *cx, const char *name, struct str *id);

struct page_sql {
    const struct rec *r;
    const char *sql; /* asks for limit + 1 rows */
    struct args args;
    int64_t limit;
};
/* The rows of one page: at most q->limit, fewer when their text is very large (about 2 MiB).
 * *has_more: others follow. */
enum err_code page_read(struct ctx *cx, struct db *db, const struct page_sql *q, struct list *out,
                        bool *has_more);

#endif
