/* Faces of the token directory: the picture of one token's row that a request is judged by. See
 * token_face.h for how they are read and freed.
 *
 * A face is first put together in scratch memory (token_dir.parse) and then packed into one block,
 * so that freeing it is one free. A list that cannot be read (a row that an older or a newer
 * version wrote) matches nothing, and says so in the log. All functions run under token_dir.lock.
 * Leaves out: entries and tables (token_dir.c, token_table.c). */
#include "token_face.h"

#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

static void warn_list(const struct token *row, const char *list)
{
    log_warn(NULL, "token.bad_list", KVS("token_id", row->id), KVC("list", list));
}

/* ---- cells ---- */

/* The cell of a rule, first in the list now. */
static struct window_cell *cell_of(struct token_dir *d, struct windows *ws,
                                   const struct window_rule *rule)
{
    struct window_cell **at = &ws->cells, *c;
    while ((c = *at) && !(c->window_ms == rule->window_ms && str_eq(str_of(c->name), rule->name)))
        at = &c->next;
    if (c) {
        *at = c->next;
    } else {
        c = calloc(1, sizeof *c);
        BUG_IF(!c || rule->name.n > WINDOW_NAME_MAX);
        memcpy(c->name, rule->name.p, rule->name.n);
        c->window_ms = rule->window_ms;
        d->has_new_cells = true;
    }
    c->next = ws->cells;
    return ws->cells = c;
}

static void face_limits(struct token_dir *d, const struct token *row, struct windows **ws,
                        struct face *f)
{
    struct window_rules rules = { .n = 0 };
    struct window_bad bad;
    if (!window_rules_parse(&d->parse, row->limits, &rules, &bad))
        warn_list(row, "limits");
    if (rules.n && !*ws) {
        *ws = ARENA_NEW(&d->arena, struct windows);
        pthread_mutex_init(&(*ws)->lock, NULL);
    }
    f->windows = *ws;
    f->n_rules = rules.n;
    f->rules = ARENA_ARRAY(&d->parse.arena, struct face_rule, rules.n);
    for (size_t i = 0; i < rules.n; i++)
        f->rules[i] = (struct face_rule){ rules.v[i], cell_of(d, *ws, &rules.v[i]) };
}

void cells_free(struct window_cell *c)
{
    while (c) {
        struct window_cell *next = c->next;
        free(c);
        c = next;
    }
}

/* ---- faces ---- */

/* draft-ietf-httpapi-ratelimit-headers, section 3. It counts in whole seconds. */
static struct str policy_text(struct token_dir *d, const struct face *f)
{
    struct buf b;
    buf_init(&b, &d->parse.arena, 1024);
    buf_printf(&b, "\"hour\";q=%lld;w=3600", (long long)f->rate_limit);
    for (size_t i = 0; i < f->n_rules; i++) {
        const struct window_rule *r = &f->rules[i].rule;
        buf_printf(&b, ", \"" STR_FMT "\";q=%lld;w=%lld", STR_ARG(r->name), (long long)r->requests,
                   (long long)((r->window_ms + 999) / 1000));
    }
    return buf_view(&b);
}

struct pack {
    char *mem; /* NULL: only count */
    size_t n;
};

static void *pack_bytes(struct pack *p, const void *from, size_t n)
{
    void *to = p->mem ? p->mem + p->n : NULL;
    if (to && n)
        memcpy(to, from, n);
    p->n += (n + 15) / 16 * 16;
    return to;
}

static struct str pack_str(struct pack *p, struct str s)
{
    return s.p ? (struct str){ pack_bytes(p, s.p, s.n), s.n } : STR_NONE;
}

/* Copies what `from` points to behind it, and lets `f`, its copy, point there. */
static void pack_face(struct pack *p, const struct face *from, struct face *f)
{
    struct endpoint *es;
    f->name = pack_str(p, from->name);
    f->metadata = pack_str(p, from->metadata);
    f->policy = pack_str(p, from->policy);
    f->ips.v = pack_bytes(p, from->ips.v, from->ips.n * sizeof *from->ips.v);
    f->endpoints.v = es =
        pack_bytes(p, from->endpoints.v, from->endpoints.n * sizeof *from->endpoints.v);
    for (size_t i = 0; i < from->endpoints.n; i++) {
        struct endpoint e = from->endpoints.v[i];
        e.method = pack_str(p, e.method);
        e.path = pack_str(p, e.path);
        if (es)
            es[i] = e;
    }
    f->rules = pack_bytes(p, from->rules, from->n_rules * sizeof *from->rules);
    for (size_t i = 0; f->rules && i < from->n_rules; i++)
        f->rules[i].rule.name = str_of(from->rules[i].cell->name);
}

static struct face *packed(const struct face *draft)
{
    struct pack p = { .mem = NULL };
    struct face scratch;
    pack_bytes(&p, draft, sizeof *draft);
    pack_face(&p, draft, &scratch);
    p = (struct pack){ .mem = malloc(p.n) };
    BUG_IF(!p.mem);
    struct face *f = pack_bytes(&p, draft, sizeof *draft);
    pack_face(&p, draft, f);
    return f;
}

struct face *face_new(struct token_dir *d, const struct token *row, struct windows **ws)
{
    struct arena *a = &d->parse.arena;
    struct face f = { .rate_limit = row->rate_limit, .name = row->name, .metadata = row->metadata };
    struct str bad;
    bool ok = hex_parse(row->token_hash, f.hash, sizeof f.hash);
    if (REC_HAS(row, previous_hash) && REC_HAS(row, previous_until_ms) &&
        hex_parse(row->previous_hash, f.previous, sizeof f.previous))
        f.previous_until_ms = row->previous_until_ms;
    f.expires_ms = REC_HAS(row, expires_ms) ? row->expires_ms : INT64_MAX;
    f.scopes = scopes_of_json(row->scopes);
    f.has_ips = row->allowed_ips.p != NULL;
    f.has_endpoints = row->allowed_endpoints.p != NULL;
    f.is_active = ok && str_eq(row->status, STR("active"));
    f.is_deleted = str_eq(row->status, STR("deleted"));
    if (f.has_ips && !allowed_ips_parse(&d->parse, a, row->allowed_ips, &f.ips, &bad))
        warn_list(row, "allowed_ips");
    if (f.has_endpoints &&
        !allowed_endpoints_parse(&d->parse, a, row->allowed_endpoints, &f.endpoints, &bad))
        warn_list(row, "allowed_endpoints");
    face_limits(d, row, ws, &f);
    f.policy = policy_text(d, &f);
    struct face *made = packed(&f);
    ctx_retry(&d->parse);
    return made;
}

/* ---- old things ---- */

void face_retire(struct token_dir *d, struct face *old, struct windows *ws)
{
    struct window_cell **at = ws ? &ws->cells : NULL, *c;
    if (!old)
        return;
    old->next_old = d->old_faces;
    d->old_faces = old;
    for (size_t n = 0; at && *at && n < WINDOW_CELLS_MAX; n++)
        at = &(*at)->next;
    while (at && (c = *at)) {
        *at = c->next;
        c->next = d->old_cells;
        d->old_cells = c;
    }
}

void old_free(struct token_dir *d)
{
    struct table *t = atomic_load_explicit(&d->by_hash, memory_order_relaxed);
    if (!d->old_faces && !t->older)
        return;
    for (int i = 0; i < GATES; i++) {
        pthread_mutex_lock(&d->gates[i].lock);
        pthread_mutex_unlock(&d->gates[i].lock);
    }
    table_free(t->older);
    t->older = NULL;
    while (d->old_faces) {
        struct face *f = d->old_faces;
        d->old_faces = f->next_old;
        free(f);
    }
    cells_free(d->old_cells);
    d->old_cells = NULL;
}
