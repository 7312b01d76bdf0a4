/* The audit log, writing side: see audit.h.
 *
 * A writer takes the team's head first (the upsert locks its row and gives the number and the hash
 * before it), writes the row, then puts the new hash into the head. So the rows of a team are in
 * one order however many writers there are. What is hashed is unambiguous: every column as its
 * length and its bytes, a missing one apart from an empty one.
 *
 * Any thread; audit_setup once before them. Reading is in audit_read.c, checking in
 * audit_verify.c. */
#include "audit.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/json.h"
#include "usage.h"

#define HASHED_MAX ((size_t)24 << 20)
#define JSON_MAX ((size_t)10 << 20)
#define KEY_ID_BYTES 4
#define MASK "***"

static unsigned char chain_key[SHA256_LEN];
static char key_id[2 * KEY_ID_BYTES + 1] = "-"; /* "-": no key */

void audit_setup(struct str key)
{
    unsigned char sum[SHA256_LEN];
    struct arena a;

    key_id[0] = '-';
    key_id[1] = '\0';
    if (!key.n)
        return;
    BUG_IF(key.n != sizeof chain_key);
    memcpy(chain_key, key.p, sizeof chain_key);
    crypt_sha256((struct str){ (const char *)chain_key, sizeof chain_key }, sum);
    arena_init(&a, 4096);
    memcpy(key_id, str_cstr(&a, hex_of(&a, sum, KEY_ID_BYTES)), sizeof key_id);
    arena_done(&a);
}

/* ---- hash ---- */

static void put_text(struct buf *b, struct str s)
{
    if (s.p)
        buf_printf(b, "%zu:", s.n);
    else
        buf_char(b, '-');
    buf_str(b, s);
    buf_char(b, ',');
}

static void put_int(struct buf *b, int64_t v)
{
    buf_char(b, 'i');
    buf_i64(b, v);
    buf_char(b, ',');
}

struct str audit_key_id(struct str hash)
{
    str_cut(&hash, '.');
    return str_cut(&hash, '.');
}

struct str audit_hash(struct arena *a, struct str team_id, const struct audit_row *row,
                      bool is_plain)
{
    unsigned char sum[SHA256_LEN];
    const struct str texts[] = { row->actor_kind, row->actor_id,    row->actor_name,
                                 row->ip,         row->agent,       row->request_id,
                                 row->action,     row->target_type, row->target_id,
                                 row->before,     row->after,       row->prev_hash };
    struct buf b;
    buf_init(&b, a, HASHED_MAX);
    put_text(&b, team_id);
    put_int(&b, row->seq);
    put_int(&b, row->at_ms);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_text(&b, texts[i]);
    is_plain |= *key_id == '-';
    if (is_plain)
        crypt_sha256(buf_view(&b), sum);
    else
        crypt_hmac256((struct str){ (const char *)chain_key, sizeof chain_key }, buf_view(&b), sum);
    return str_printf(a, "1.%s." STR_FMT, is_plain ? "-" : key_id,
                      STR_ARG(hex_of(a, sum, sizeof sum)));
}

/* ---- what was changed ---- */

/* Depth is bounded by JSON_DEPTH_MAX, beyond which nothing is read. */
static bool mask(json_t *v)
{
    const char *name;
    json_t *item;
    size_t i;
    bool has_masked = false;

    json_array_foreach(v, i, item)
        has_masked |= mask(item);
    json_object_foreach(v, name, item) {
        if (usage_is_sensitive(name)) {
            json_object_set_new(v, name, json_string(MASK));
            has_masked = true;
        } else {
            has_masked |= mask(item);
        }
    }
    return has_masked;
}

static struct str masked(struct ctx *cx, struct str text)
{
    if (!text.n || !strchr("{[", text.p[0]))
        return text;
    json_t *v = json_read(cx, text);
    if (!v)
        ctx_clear(cx);
    return v && mask(v) ? json_text(cx, v) : text;
}

static bool is_free_json(const struct field *f)
{
    return f->type == F_OBJECT || f->type == F_JSON || f->type == F_REC || f->type == F_RECS;
}

struct str audit_json(struct ctx *cx, const struct rec *r, const void *obj)
{
    struct buf b;
    if (!obj)
        return STR_NONE;
    char *copy = arena_alloc(&cx->arena, r->size);
    memcpy(copy, obj, r->size);
    for (size_t i = 0; i < r->n; i++) {
        struct str s;
        if (!is_free_json(&r->fields[i]) || (r->fields[i].flags & F_SECRET))
            continue;
        memcpy(&s, copy + r->fields[i].offset, sizeof s);
        s = masked(cx, s);
        memcpy(copy + r->fields[i].offset, &s, sizeof s);
    }
    buf_init(&b, &cx->arena, JSON_MAX);
    rec_encode(&b, r, copy);
    return buf_view(&b);
}

/* ---- writing ---- */

/* Names and user agents come from outside: cut, and what is not UTF-8 (PostgreSQL refuses it) or
 * NUL shown as '?'. */
static struct str clean(struct ctx *cx, struct str s)
{
    size_t n = s.n;
    if (n > AUDIT_TEXT_MAX)
        for (n = AUDIT_TEXT_MAX; n > 0 && (s.p[n] & 0xC0) == 0x80;)
            n--;
    s.n = n;
    if (!s.p || (str_is_utf8(s) && !memchr(s.p, 0, s.n)))
        return s.p ? s : STR("");
    char *p = str_cstr(&cx->arena, s);
    for (size_t i = 0; i < s.n; i++)
        if ((p[i] & 0x80) || !p[i])
            p[i] = '?';
    return (struct str){ p, s.n };
}

struct head { /* the number of the new row and the hash before it */
    struct rec_bits bits;
    int64_t seq;
    struct str hash;
};
static const struct field head_fields[] = {
    { .name = "seq", .type = F_INT, .offset = offsetof(struct head, seq) },
    { .name = "hash", .type = F_STR, .offset = offsetof(struct head, hash) },
};
static const struct rec rec_head = REC("AuditHead", struct head, head_fields, "The newest row.");

static const char SQL_NEXT[] =
    "INSERT INTO audit_head (team_id, seq, hash) VALUES ($1, 1, '') "
    "ON CONFLICT (team_id) DO UPDATE SET seq = audit_head.seq + 1 RETURNING seq, hash";
static const char SQL_ADD[] =
    "INSERT INTO audit_log (team_id, seq, at_ms, actor_kind, actor_id, actor_name, ip, agent, "
    "request_id, action, target_type, target_id, before_json, after_json, prev_hash, hash) VALUES "
    "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
static const char SQL_HEAD[] = "UPDATE audit_head SET hash = $2 WHERE team_id = $1";

static struct audit_row row_of(struct ctx *cx, const struct caller *who,
                               const struct audit_entry *entry)
{
    return (struct audit_row){
        .at_ms = clock_ms(),
        .actor_kind = str_of(caller_kind(who)),
        .actor_id = caller_subject(who),
        .actor_name = clean(cx, caller_name(who)),
        .ip = who->ip.p ? who->ip : STR(""),
        .agent = clean(cx, who->agent),
        .request_id = cx->request_id,
        .action = str_of(entry->action),
        .target_type = str_of(entry->target_type),
        .target_id = entry->target_id.p ? entry->target_id : STR(""),
        .before = entry->before,
        .after = entry->after,
    };
}

enum err_code audit_write(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct audit_entry *entry)
{
    struct audit_row r = row_of(cx, who, entry);
    struct head head;
    enum err_code e = db_one(cx, db, &rec_head, SQL_NEXT, ARGS(VT(who->team_id)), &head);
    if (e)
        return e;
    if (*key_id == '-' && head.hash.n && !str_eq(audit_key_id(head.hash), STR("-")))
        return fail(cx, UNAVAILABLE, "The audit log is keyed: set master_key as it was before");
    r.seq = head.seq;
    r.prev_hash = head.hash;
    r.hash = audit_hash(&cx->arena, who->team_id, &r, false);
    e = db_run(cx, db, SQL_ADD,
               ARGS(VT(who->team_id), VI(r.seq), VI(r.at_ms), VT(r.actor_kind), VT(r.actor_id),
                    VT(r.actor_name), VT(r.ip), VT(r.agent), VT(r.request_id), VT(r.action),
                    VT(r.target_type), VT(r.target_id), VT(r.before), VT(r.after), VT(r.prev_hash),
                    VT(r.hash)));
    return e ? e : db_run(cx, db, SQL_HEAD, ARGS(VT(who->team_id), VT(r.hash)));
}
