/* Search of contacts: see contact_search.h.
 *
 * contact_term has a row for each word of each contact. For a word of the query there are three
 * ways to get the contacts that have a word beginning with it, newest first:
 *   - few distinct words begin with it: the newest rows of each, which the primary key has in order,
 *     merged by the database (a stream);
 *   - many do, but few contacts have them: all rows, sorted here;
 *   - many do and many contacts have them (a letter, the start of every customer number): no list,
 *     the word is loose. Such words are dense, so walking the contacts finds them.
 * The lists are intersected; the candidates' rows are read in small groups, and each must hold every
 * word in its `terms` (and pass the other filters) to be shown; so a list may hold too much, but
 * nothing above its floor may be missing. First only the newest part of each list is read; when that
 * does not fill the page, more. Text of the query is only ever an argument, and words consist of
 * letters and digits: nothing of it is an expression. */
#include "contact_search.h"

#include <stdlib.h>
#include <string.h>

#define TERMS_MAX 16                       /* distinct words that one stream merges */
#define PROBE_MAX 4                        /* distinct words up to which candidates are probed */
#define GROUP 24                           /* candidates whose rows are read by one statement */
#define FIRST_MAX 240                      /* rows of contact_term that are read first, a word */
#define ENTRIES_MAX 4000                   /* then, over all words */
#define BLOCK 96                           /* candidates that are probed and read together */
#define ROWS_MAX 960                       /* candidates whose rows are looked at, each time */
#define WALK_MAX 8000                      /* contacts walked over when all words are loose */
#define PAGE_BYTES_MAX ((size_t)2 << 20)   /* metadata of one page */
#define PHONE_LIKE_MIN 5                   /* digits from which q is one phone number */
#define AFTER_ALL_IDS STR("g")             /* ids are hexadecimal */
#define AFTER_ALL_WORDS "\xF4\x8F\xBF\xBF" /* U+10FFFF is in no word */

struct ids {
    struct str *v; /* newest first, no id twice */
    size_t n;
    bool is_loose;    /* there is no list */
    struct str floor; /* ids below it were not read; STR_NONE: the list is whole */
};

struct search {
    struct ctx *cx;
    struct db *db;
    const struct caller *who;
    struct keys words;
    struct list terms[CONTACT_QUERY_WORDS_MAX]; /* distinct words that begin with each */
    struct str floors[CONTACT_QUERY_WORDS_MAX]; /* of the list of each */
    struct listing base;                        /* team, filters, words */
    struct str before;                          /* only ids below it */
    size_t wanted;                              /* rows: one more than the page has */
    struct contact *rows;
    size_t n_rows, bytes;
    bool is_cut;      /* the rows are so large that the page ends here */
    struct str floor; /* the search has looked at all from here up; STR_NONE: at everything */
};

/* ---- the words of q ---- */

/* A word that begins another one of the query says nothing. */
static bool says_nothing(const struct keys *all, size_t at)
{
    for (size_t i = 0; i < all->n; i++)
        if (i != at && str_starts(all->v[i], all->v[at]))
            return true;
    return false;
}

static void read_words(struct search *s, struct str q)
{
    struct str digits = phone_digits(s->cx, q);
    struct keys all = { .n = 0 };
    if (digits.n >= PHONE_LIKE_MIN || (digits.n && str_trim(q).p[0] == '+'))
        keys_add(&all, str_sub(digits, 0, WORD_MAX));
    else
        words_add(s->cx, q, &all);
    if (all.n > CONTACT_QUERY_WORDS_MAX)
        all.n = CONTACT_QUERY_WORDS_MAX;
    for (size_t i = 0; i < all.n; i++)
        if (!says_nothing(&all, i))
            s->words.v[s->words.n++] = all.v[i];
}

static void require_words(struct search *s)
{
    for (size_t i = 0; i < s->words.n; i++)
        listing_and(&s->base, " AND c.terms LIKE ",
                    VT(str_printf(&s->cx->arena, "%% " STR_FMT "%%", STR_ARG(s->words.v[i]))), "");
}

/* ---- the contacts of one word ---- */

static struct str range_end(struct search *s, struct str word)
{
    return str_printf(&s->cx->arena, STR_FMT AFTER_ALL_WORDS, STR_ARG(word));
}

/* Each look-up jumps behind the word before. */
static enum err_code find_terms(struct search *s, struct str word, struct list *out)
{
    return db_list(
        s->cx, s->db, &rec_text,
        "WITH RECURSIVE d(term) AS (SELECT (SELECT term FROM contact_term WHERE team_id = $1 AND "
        "term >= $2 AND term < $3 ORDER BY term LIMIT 1) "
        "UNION ALL SELECT (SELECT t.term FROM contact_term t WHERE t.team_id = $1 AND "
        "t.term > d.term AND t.term < $3 ORDER BY t.term LIMIT 1) FROM d WHERE d.term IS NOT NULL) "
        "SELECT term AS s FROM d WHERE term IS NOT NULL LIMIT $4",
        ARGS(VT(s->who->team_id), VT(word), VT(range_end(s, word)), VI(TERMS_MAX + 1)), out);
}

static void keep_unique(struct search *s, const struct list *rows, struct ids *out)
{
    const struct rec_text *v = rows->v;
    out->v = ARENA_ARRAY(&s->cx->arena, struct str, rows->n + 1);
    for (size_t i = 0; i < rows->n; i++)
        if (!out->n || !str_eq(out->v[out->n - 1], v[i].s))
            out->v[out->n++] = v[i].s;
}

/* Each word's newest rows, then the newest of all. A limit for each word too: a planner that has no
 * idea how common the words are would sort all their rows. Statements for 1, 4 and 16 words, so that
 * few texts are prepared; '' is no word. */
static enum err_code load_stream(struct search *s, const struct list *terms, size_t max,
                                 struct ids *out)
{
    const struct rec_text *term = terms->v;
    size_t n = terms->n <= 1 ? 1 : terms->n <= 4 ? 4 : TERMS_MAX;
    struct list rows;
    struct buf b;
    if (n == TERMS_MAX && max > FIRST_MAX)
        max /= 4;
    struct val v[3 + TERMS_MAX] = { VT(s->who->team_id), VT(s->before), VI((int64_t)max) };
    buf_init(&b, &s->cx->arena, 8192);
    for (size_t i = 0; i < n; i++) {
        v[3 + i] = VT(i < terms->n ? term[i].s : STR(""));
        buf_printf(&b,
                   "%sSELECT s FROM (SELECT contact_id AS s FROM contact_term WHERE team_id = $1 "
                   "AND term = $%zu AND contact_id < $2 ORDER BY contact_id DESC LIMIT $3) t%zu",
                   i ? " UNION ALL " : "", 4 + i, i);
    }
    buf_lit(&b, " ORDER BY s DESC LIMIT $3");
    enum err_code e = db_list(s->cx, s->db, &rec_text, str_cstr(&s->cx->arena, buf_view(&b)),
                              (struct args){ v, 3 + n }, &rows);
    if (e)
        return e;
    keep_unique(s, &rows, out);
    if (rows.n == max)
        out->floor = out->v[out->n - 1];
    return ERR_NONE;
}

static int newest_first(const void *a, const void *b)
{
    const struct rec_text *x = a, *y = b;
    size_t n = x->s.n < y->s.n ? x->s.n : y->s.n;
    return memcmp(y->s.p, x->s.p, n);
}

static bool is_below(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.p, b.p, n);
    return order < 0 || (order == 0 && a.n < b.n);
}

static enum err_code load_range(struct search *s, struct str word, size_t max, struct ids *out)
{
    struct list rows;
    enum err_code e = db_list(
        s->cx, s->db, &rec_text,
        "SELECT contact_id AS s FROM contact_term WHERE team_id = $1 AND "
        "term >= $2 AND term < $3 LIMIT $4",
        ARGS(VT(s->who->team_id), VT(word), VT(range_end(s, word)), VI((int64_t)max + 1)), &rows);
    if (e)
        return e;
    out->is_loose = rows.n > max;
    if (out->is_loose)
        return ERR_NONE;
    qsort(rows.v, rows.n, sizeof(struct rec_text), newest_first);
    keep_unique(s, &rows, out);
    size_t skip = 0;
    while (skip < out->n && !is_below(out->v[skip], s->before))
        skip++;
    out->v += skip;
    out->n -= skip;
    return ERR_NONE;
}

/* At most max rows are read. */
static enum err_code load(struct search *s, size_t word, size_t max, struct ids *out)
{
    const struct list *terms = &s->terms[word];
    *out = (struct ids){ .n = 0 };
    return terms->n > TERMS_MAX ? load_range(s, s->words.v[word], max, out)
                                : load_stream(s, terms, max, out);
}

/* ---- together ---- */

/* Of a, which goes at least as deep as b, without what b would have if it were there. */
static void intersect(struct ids *a, const struct ids *b)
{
    size_t n = 0, j = 0;
    for (size_t i = 0; i < a->n; i++) {
        while (j < b->n && is_below(a->v[i], b->v[j]))
            j++;
        if ((j < b->n && str_eq(a->v[i], b->v[j])) || (b->floor.p && is_below(a->v[i], b->floor)))
            a->v[n++] = a->v[i];
    }
    a->n = n;
}

static bool is_deeper(const struct ids *a, const struct ids *b)
{
    return b->floor.p && (!a->floor.p || is_below(a->floor, b->floor));
}

/* *has_loose: a word had no list. */
static enum err_code find_candidates(struct search *s, size_t max, struct ids *all, bool *has_loose)
{
    struct ids one;
    *all = (struct ids){ .is_loose = true };
    *has_loose = false;
    for (size_t i = 0; i < s->words.n; i++) {
        enum err_code e = load(s, i, max, &one);
        if (e)
            return e;
        s->floors[i] = one.floor;
        *has_loose |= one.is_loose;
        if (one.is_loose)
            continue;
        if (all->is_loose) {
            *all = one;
        } else if (is_deeper(&one, all)) {
            intersect(&one, all);
            *all = one;
        } else {
            intersect(all, &one);
        }
    }
    return ERR_NONE;
}

/* ---- probing ---- */

/* Marks those of a group that have one of the words. */
static enum err_code probe_group(struct search *s, const struct list *terms, const struct str *ids,
                                 size_t n, bool *has)
{
    const struct rec_text *term = terms->v, *row;
    struct val v[1 + PROBE_MAX + GROUP] = { VT(s->who->team_id) };
    struct list rows;
    for (size_t i = 0; i < PROBE_MAX; i++)
        v[1 + i] = VT(i < terms->n ? term[i].s : STR(""));
    for (size_t i = 0; i < GROUP; i++)
        v[1 + PROBE_MAX + i] = VT(ids[i < n ? i : n - 1]);
    enum err_code e =
        db_list(s->cx, s->db, &rec_text,
                "SELECT contact_id AS s FROM contact_term WHERE team_id = $1 AND "
                "term IN ($2, $3, $4, $5) AND contact_id IN ($6, $7, $8, $9, $10, $11, $12, $13, "
                "$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)",
                (struct args){ v, 1 + PROBE_MAX + GROUP }, &rows);
    if (e)
        return e;
    row = rows.v;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < rows.n && !has[i]; j++)
            has[i] = str_eq(ids[i], row[j].s);
    return ERR_NONE;
}

/* Candidates below the floor of a word's list may lack the word; asking contact_term costs a third
 * of reading their rows, and stays within the pages of that word. */
static enum err_code probe(struct search *s, size_t word, struct ids *all)
{
    size_t n = 0;
    enum err_code e = ERR_NONE;
    while (n < all->n && !is_below(all->v[n], s->floors[word]))
        n++;
    for (size_t i = n; !e && i < all->n; i += GROUP) {
        bool has[GROUP] = { false };
        size_t count = all->n - i < GROUP ? all->n - i : GROUP;
        e = probe_group(s, &s->terms[word], all->v + i, count, has);
        for (size_t j = 0; !e && j < count; j++)
            if (has[j])
                all->v[n++] = all->v[i + j];
    }
    if (!e)
        all->n = n;
    return e;
}

static enum err_code probe_all(struct search *s, struct ids *all)
{
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && s->words.n > 1 && i < s->words.n; i++)
        if (s->floors[i].p && s->terms[i].n <= PROBE_MAX)
            e = probe(s, i, all);
    return e;
}

/* ---- rows ---- */

/* As many rows as the page still lacks; fewer when their text is very large. */
static enum err_code read_rows(struct search *s, struct listing *l)
{
    int64_t lacking = (int64_t)(s->wanted - s->n_rows);
    struct list found;
    struct str sql = str_printf(&s->cx->arena,
                                "SELECT " CONTACT_COLUMNS("c.") " FROM contact c" STR_FMT
                                                                " ORDER BY c.id DESC LIMIT $%d",
                                STR_ARG(buf_view(&l->sql)), listing_bind(l, VI(lacking)));
    enum err_code e = page_read(
        s->cx, s->db, &(struct page_sql){ &rec_contact, sql.p, { l->args, l->n }, lacking }, &found,
        &s->is_cut);
    if (e)
        return e;
    for (size_t i = 0; i < found.n; i++) {
        s->rows[s->n_rows] = ((const struct contact *)found.v)[i];
        s->bytes += s->rows[s->n_rows++].metadata.n;
    }
    s->is_cut |= s->bytes > PAGE_BYTES_MAX;
    return ERR_NONE;
}

/* The base again, to be added to. */
static void base_copy(const struct search *s, struct listing *l)
{
    *l = s->base;
    buf_init(&l->sql, &s->cx->arena, s->base.sql.max);
    buf_str(&l->sql, buf_view(&s->base.sql));
}

/* A group that is not full repeats its last id. */
static enum err_code read_group(struct search *s, const struct str *ids, size_t n)
{
    struct listing l;
    base_copy(s, &l);
    for (size_t i = 0; i < GROUP; i++)
        listing_and(&l, i ? ", " : " AND c.id IN (", VT(ids[i < n ? i : n - 1]), "");
    buf_char(&l.sql, ')');
    return read_rows(s, &l);
}

static bool is_full(const struct search *s)
{
    return s->n_rows == s->wanted || s->is_cut;
}

static enum err_code read_block(struct search *s, struct ids *block)
{
    enum err_code e = probe_all(s, block);
    for (size_t i = 0; !e && i < block->n && !is_full(s); i += GROUP)
        e = read_group(s, block->v + i, block->n - i < GROUP ? block->n - i : GROUP);
    return e;
}

static enum err_code read_candidates(struct search *s, const struct ids *all)
{
    enum err_code e = ERR_NONE;
    size_t i;
    for (i = 0; !e && i < all->n && i < ROWS_MAX && !is_full(s); i += BLOCK) {
        struct ids block = { .v = all->v + i, .n = all->n - i < BLOCK ? all->n - i : BLOCK };
        s->floor = block.v[block.n - 1];
        e = read_block(s, &block);
    }
    if (i >= all->n && !is_full(s))
        s->floor = all->floor;
    return e;
}

static enum err_code walk(struct search *s)
{
    struct listing l;
    struct rec_text floor;
    enum err_code e = db_one(s->cx, s->db, &rec_text,
                             "SELECT id AS s FROM contact WHERE team_id = $1 AND id < $2 "
                             "ORDER BY id DESC LIMIT 1 OFFSET $3",
                             ARGS(VT(s->who->team_id), VT(s->before), VI(WALK_MAX - 1)), &floor);
    if (e && e != ERR_NOT_FOUND)
        return e;
    base_copy(s, &l);
    listing_and(&l, " AND c.id < ", VT(s->before), "");
    if (!e) {
        s->floor = floor.s;
        listing_and(&l, " AND c.id >= ", VT(floor.s), "");
    }
    return read_rows(s, &l);
}

/* ---- the page ---- */

/* Binds the cursor to the words and filters. */
static struct str filter_text(struct search *s)
{
    struct buf b;
    buf_init(&b, &s->cx->arena, 16384);
    buf_str(&b, buf_view(&s->base.sql));
    for (size_t i = 0; i < s->base.n; i++) {
        buf_char(&b, '\n');
        if (s->base.args[i].kind == VAL_INT)
            buf_i64(&b, s->base.args[i].i);
        else
            buf_str(&b, s->base.args[i].s);
    }
    return buf_view(&b);
}

/* In the first turn a word without a list may get one in the second, so rows are read only when the
 * others leave few candidates. */
static enum err_code run(struct search *s)
{
    const size_t max[] = { FIRST_MAX, ENTRIES_MAX / s->words.n };
    struct ids all;
    bool has_loose;
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < s->words.n; i++)
        e = find_terms(s, s->words.v[i], &s->terms[i]);
    for (size_t turn = 0; !e && turn < 2; turn++) {
        e = find_candidates(s, max[turn], &all, &has_loose);
        if (e || (turn == 0 && has_loose && (all.is_loose || all.floor.p)))
            continue;
        if (all.is_loose)
            return walk(s);
        s->floor = STR_NONE;
        e = read_candidates(s, &all);
        if (e || is_full(s) || !s->floor.p)
            break;
        s->before = s->floor;
    }
    return e;
}

enum err_code contact_search(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct contact_query *in, struct cursor_key key,
                             struct page *out)
{
    size_t limit = (size_t)(in->limit ? in->limit : LISTING_LIMIT_DEFAULT);
    struct search *s = ARENA_NEW(&cx->arena, struct search);
    struct cursor at = { .kind = STR("contacts:q") };
    enum err_code e = ERR_NONE;
    *out = (struct page){ .total = -1 };
    s->cx = cx, s->db = db, s->who = who;
    s->before = AFTER_ALL_IDS;
    s->wanted = limit + 1;
    s->rows = ARENA_ARRAY(&cx->arena, struct contact, s->wanted);
    read_words(s, in->q);
    contact_filters(&s->base, cx, who, in);
    require_words(s);
    at.filter = filter_text(s);
    if (in->cursor.p)
        e = cursor_parse(cx, &key, in->cursor, &at);
    if (e || !s->words.n)
        return e;
    if (in->cursor.p)
        s->before = at.id;
    e = run(s);
    if (e)
        return e;
    out->rows = (struct list){ s->rows, s->n_rows < limit ? s->n_rows : limit };
    if (s->n_rows > limit)
        at.id = s->rows[limit - 1].id;
    else
        at.id = s->is_cut ? s->rows[s->n_rows - 1].id : s->floor;
    if (at.id.p)
        out->next_cursor = cursor_print(cx, &key, &at);
    return ERR_NONE;
}
