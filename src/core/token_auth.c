/* The token directory, the reading side: who a secret belongs to, what that key may do, and its
 * limits. See token_dir.h; what makes it safe to read beside changes is told in token_face.h. What
 * is given out of a face is copied into the request's memory: the face may be gone a moment later,
 * while a request can wait for long. Only entries (ids) stay as long as the directory.
 *
 * Limits are all-or-nothing. The hourly one is a single atomic word. A key with named limits has a
 * lock for their cells: under it every window is looked at first, then the hour is taken from, and
 * only then do all windows count the request, so a refused one has taken nothing anywhere and
 * nothing has to be put back. The lock is the key's own and covers some dozen instructions; keys
 * without named limits never touch it. */
#include <string.h>

#include "../base/clock.h"
#include "token_face.h"
#include "token_key.h"

/* ---- finding ---- */

/* Whole hashes are compared in constant time, though only their first 8 bytes led here. */
static bool face_has(const struct face *f, const unsigned char hash[SHA256_LEN], int64_t now_ms)
{
    if (f->is_deleted)
        return false;
    return crypt_equal(f->hash, hash, SHA256_LEN) ||
           (f->previous_until_ms > now_ms && crypt_equal(f->previous, hash, SHA256_LEN));
}

/* The calling thread's own way in; unlock it to leave. */
static pthread_mutex_t *gate_enter(struct token_dir *d)
{
    static atomic_uint threads;
    static _Thread_local unsigned mine; /* 0 = not yet */
    if (!mine)
        mine = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % GATES;
    pthread_mutex_t *gate = &d->gates[mine - 1].lock;
    pthread_mutex_lock(gate);
    return gate;
}

/* The caller is inside its gate. */
static struct entry *find_secret(struct token_dir *d, struct str secret, int64_t now_ms,
                                 const struct face **face)
{
    unsigned char hash[SHA256_LEN];
    if (!token_secret_is_formed(secret))
        return NULL;
    struct table *t = atomic_load_explicit(&d->by_hash, memory_order_acquire);
    crypt_sha256(secret, hash);
    uint64_t tag = tag_of(hash);
    for (size_t i = tag & t->mask;; i = (i + 1) & t->mask) {
        struct entry *en = atomic_load_explicit(&t->slots[i].entry, memory_order_acquire);
        if (!en)
            return NULL;
        if (t->slots[i].tag != tag)
            continue;
        *face = atomic_load_explicit(&en->face, memory_order_acquire);
        if (face_has(*face, hash, now_ms))
            return en;
    }
}

static enum err_code too_many_wrong(struct ctx *cx, int64_t now_ms)
{
    cx->retry_after_s = seconds_left(now_ms, MINUTE_MS);
    return ctx_fail_plain(cx, ERR_RATE_LIMITED);
}

static enum err_code wrong_token(struct ctx *cx, struct token_dir *d, const struct ip *ip,
                                 int64_t now_ms)
{
    if (!d->bad_per_minute || !wrong_note(d->wrong, ip, now_ms, d->bad_per_minute))
        return ctx_fail_plain(cx, ERR_INVALID_TOKEN);
    return too_many_wrong(cx, now_ms);
}

/* ---- limits ---- */

enum take { TAKE_NOTHING, TAKE_ONE };

static void hour_state(const struct face *f, int64_t used, int64_t now_ms, struct limit_state *l)
{
    l->limit = f->rate_limit;
    l->remaining = used < f->rate_limit ? f->rate_limit - used : 0;
    l->reset_s = seconds_left(now_ms, HOUR_MS);
    if (!l->remaining)
        l->violated |= LIMIT_HOUR;
}

static int64_t up_to_seconds(int64_t ms)
{
    return ms <= 1000 ? 1 : (ms + 999) / 1000;
}

/* What the window says now; it has been moved to now_ms. */
static void named_state(const struct face_rule *r, int64_t now_ms, struct limit_named *out)
{
    const struct window *w = &r->cell->w;
    int64_t window_ms = r->rule.window_ms, used = window_used(w, window_ms, now_ms);
    *out = (struct limit_named){ .name = r->rule.name, .limit = r->rule.requests };
    out->remaining = used < r->rule.requests ? r->rule.requests - used : 0;
    out->reset_s =
        up_to_seconds(out->remaining ? window_left_ms(w, window_ms, now_ms)
                                     : window_wait_ms(w, window_ms, r->rule.requests, now_ms));
}

/* The windows' lock is held. */
static bool windows_are_open(const struct face *f, int64_t now_ms)
{
    bool is_open = true;
    for (size_t i = 0; i < f->n_rules; i++) {
        const struct face_rule *r = &f->rules[i];
        struct window *w = &r->cell->w;
        window_move(w, r->rule.window_ms, now_ms);
        is_open &= window_used(w, r->rule.window_ms, now_ms) < r->rule.requests;
    }
    return is_open;
}

static bool hour_try(struct entry *en, const struct face *f, enum take take, int64_t now_ms,
                     int64_t *used)
{
    if (take == TAKE_ONE)
        return hour_take(&en->used, now_ms, f->rate_limit, used);
    *used = hour_used(&en->used, now_ms);
    return *used < f->rate_limit;
}

/* Take one request from every limit, or nothing when any is spent (false). *out is the state after
 * it. TAKE_NOTHING: would it be granted? */
static bool limits_take(struct entry *en, const struct face *f, enum take take, int64_t now_ms,
                        struct limit_state *out)
{
    int64_t used;
    if (!f->n_rules) {
        bool is_granted = hour_try(en, f, take, now_ms, &used);
        hour_state(f, used, now_ms, out);
        return is_granted;
    }
    pthread_mutex_lock(&f->windows->lock);
    bool is_open = windows_are_open(f, now_ms);
    bool is_granted = hour_try(en, f, is_open ? take : TAKE_NOTHING, now_ms, &used) && is_open;
    out->n_named = f->n_rules;
    for (size_t i = 0; i < f->n_rules; i++) {
        if (is_granted && take == TAKE_ONE)
            f->rules[i].cell->w.running++;
        named_state(&f->rules[i], now_ms, &out->named[i]);
        if (!out->named[i].remaining)
            out->violated |= LIMIT_NAMED(i);
    }
    pthread_mutex_unlock(&f->windows->lock);
    hour_state(f, used, now_ms, out);
    return is_granted;
}

/* What limits_take left pointing into the face. */
static void limits_keep(struct arena *a, const struct face *f, struct limit_state *l)
{
    l->policy = (struct str){ str_cstr(a, f->policy), f->policy.n };
    for (size_t i = 0; i < l->n_named; i++)
        l->named[i].name = str_dup(a, l->named[i].name);
}

/* The longest of the waits that are needed. */
static int64_t limits_wait_s(const struct limit_state *l)
{
    int64_t wait = l->violated & LIMIT_HOUR ? l->reset_s : 1;
    for (size_t i = 0; i < l->n_named; i++)
        if ((l->violated & LIMIT_NAMED(i)) && l->named[i].reset_s > wait)
            wait = l->named[i].reset_s;
    return wait;
}

/* ---- authentication ---- */

static enum err_code lacks_scope(struct ctx *cx, uint64_t missing)
{
    struct buf b;
    buf_init(&b, &cx->arena, 512);
    for (int i = 0; i < ACTION_BITS; i++)
        if (missing >> i & 1) {
            buf_lit(&b, b.n ? ", " : "");
            buf_lit(&b, action_rows[i].wire);
        }
    if (missing >> SCOPE_BITS)
        return fail(cx, INSUFFICIENT_SCOPE,
                    "The token lacks the scope admin:full (for " STR_FMT ")",
                    STR_ARG(buf_view(&b)));
    return fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope%s " STR_FMT,
                missing & (missing - 1) ? "s" : "", STR_ARG(buf_view(&b)));
}

/* After the limit was taken from, so that a refused call is counted like any other. */
static enum err_code face_allows(struct ctx *cx, const struct face *f, const struct auth_query *q)
{
    if (f->has_endpoints &&
        !allowed_endpoints_match(f->endpoints, str_of(q->method), str_of(q->route_path), q->path))
        return ctx_fail_plain(cx, ERR_FORBIDDEN_ENDPOINT);
    if (!scope_granted(f->scopes, q->need))
        return lacks_scope(cx, q->need & ~f->scopes);
    return ERR_NONE;
}

/* token_dir_auth, inside the gate. */
static enum err_code auth(struct ctx *cx, struct token_dir *d, const struct auth_query *q,
                          struct caller *who, struct limit_state *limit)
{
    int64_t now = clock_ms();
    const struct face *f = NULL;
    struct entry *en = find_secret(d, q->secret, now, &f);
    if (!en)
        return wrong_token(cx, d, &q->ip, now);
    *who = (struct caller){ .team_id = en->team_id,
                            .token_id = en->id,
                            .token_name = str_dup(&cx->arena, f->name),
                            .scopes = f->scopes };
    if (!f->is_active || f->expires_ms <= now)
        return ctx_fail_plain(cx, ERR_INVALID_TOKEN);
    bool is_allowed = !f->has_ips || cidrs_match(f->ips, &q->ip);
    enum take take = is_allowed && q->is_counted ? TAKE_ONE : TAKE_NOTHING;
    bool is_granted = limits_take(en, f, take, now, limit);
    limits_keep(&cx->arena, f, limit);
    if (!is_allowed)
        return ctx_fail_plain(cx, ERR_FORBIDDEN_ADDRESS);
    if (take == TAKE_ONE && !is_granted) {
        cx->retry_after_s = limits_wait_s(limit);
        return ctx_fail_plain(cx, ERR_RATE_LIMITED);
    }
    return face_allows(cx, f, q);
}

enum err_code token_dir_auth(struct ctx *cx, struct token_dir *d, const struct auth_query *q,
                             struct caller *who, struct limit_state *limit)
{
    *who = (struct caller){ 0 };
    *limit = (struct limit_state){ 0 };
    pthread_mutex_t *gate = gate_enter(d);
    enum err_code e = auth(cx, d, q, who, limit);
    pthread_mutex_unlock(gate);
    return e;
}

/* ---- verification for others ---- */

static enum token_verdict judge(struct entry *en, const struct face *f,
                                const struct verify_query *q, int64_t now_ms,
                                struct limit_state *limit)
{
    enum token_verdict v = VERDICT_VALID;
    if (!f->is_active)
        v = VERDICT_DISABLED;
    else if (f->expires_ms <= now_ms)
        v = VERDICT_EXPIRED;
    else if (f->has_ips && !(q->has_ip && cidrs_match(f->ips, &q->ip)))
        v = VERDICT_ADDRESS;
    else if (!scope_granted(f->scopes, q->need))
        v = VERDICT_SCOPE;
    bool takes = v == VERDICT_VALID && q->is_counted;
    bool is_granted = limits_take(en, f, takes ? TAKE_ONE : TAKE_NOTHING, now_ms, limit);
    return v == VERDICT_VALID && !is_granted ? VERDICT_LIMITED : v;
}

/* token_dir_verify, inside the gate. */
static enum err_code verify(struct ctx *cx, struct token_dir *d, const struct verify_query *q,
                            struct verify_answer *out)
{
    int64_t now = clock_ms();
    const struct face *f = NULL;
    struct entry *en = find_secret(d, q->secret, now, &f);
    if (!en || !str_eq(en->team_id, q->team_id)) {
        if (d->bad_per_minute && wrong_note_id(d->wrong_verify, q->asker, now, d->bad_per_minute))
            return too_many_wrong(cx, now);
        return ERR_NONE;
    }
    out->token_id = en->id;
    out->team_id = en->team_id;
    out->name = str_dup(&cx->arena, f->name);
    out->metadata = str_dup(&cx->arena, f->metadata);
    out->scopes = f->scopes;
    out->expires_ms = f->expires_ms;
    out->verdict = judge(en, f, q, now, &out->limit);
    limits_keep(&cx->arena, f, &out->limit);
    return ERR_NONE;
}

enum err_code token_dir_verify(struct ctx *cx, struct token_dir *d, const struct verify_query *q,
                               struct verify_answer *out)
{
    *out = (struct verify_answer){ .verdict = VERDICT_UNKNOWN };
    pthread_mutex_t *gate = gate_enter(d);
    enum err_code e = verify(cx, d, q, out);
    pthread_mutex_unlock(gate);
    return e;
}
