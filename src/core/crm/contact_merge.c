/* Merging duplicates: see contact_merge in contact.h.
 *
 * All contacts that take part are taken first, in the order of their ids, by an UPDATE each: from
 * there on no other writer changes them, and two merges of the same contacts queue up instead of
 * waiting for each other. What was read before the take is not used. A contact merged earlier into
 * one of these is led on to the one that remains, so reading any of them is one step. */
#include "contact.h"

#include <stdlib.h>
#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../audit.h"
#include "../event.h"
#include "../ticket.h"
#include "contact_activity.h"
#include "metadata.h"

#define AUDIT_TEXT ((size_t)8 << 20)

struct merge {
    struct ctx *cx;
    struct db *db;
    const struct caller *who;
    struct str target_id;
    struct str ids[CONTACT_MERGE_MAX]; /* of the sources, in the order given */
    size_t n;
    struct contact target, source[CONTACT_MERGE_MAX];
    struct contact_keys target_keys, keys; /* of the target before and after */
};

/* ---- who takes part ---- */

static enum err_code read_ids(struct merge *m, const struct contact_merge *in)
{
    json_t *items = json_read(m->cx, in->from), *item;
    size_t i;
    if (!items)
        return m->cx->err;
    json_array_foreach(items, i, item) {
        struct str id = { json_string_value(item), json_string_length(item) };
        if (!uuid_is_valid(id))
            return ctx_fail_field(m->cx, ERR_INVALID_FIELD, STR("from"), "from must hold UUIDs");
        if (path_id(m->cx, "from", &id))
            return m->cx->err;
        if (str_eq(id, m->target_id))
            return ctx_fail_field(m->cx, ERR_INVALID_FIELD, STR("from"),
                                  "from must not hold the contact itself");
        bool is_known = false;
        for (size_t j = 0; j < m->n; j++)
            is_known |= str_eq(m->ids[j], id);
        if (!is_known)
            m->ids[m->n++] = id;
    }
    return ERR_NONE;
}

static enum err_code take(struct merge *m, struct str id, struct contact *out)
{
    enum err_code e = db_one(m->cx, m->db, &rec_contact,
                             "UPDATE contact SET version = version WHERE team_id = $1 AND "
                             "id = $2 AND deleted_ms IS NULL RETURNING " CONTACT_COLUMNS(""),
                             ARGS(VT(m->who->team_id), VT(id)), out);
    bool is_target = str_eq(id, m->target_id);
    return e == ERR_NOT_FOUND ? contact_missing(m->cx, m->db, m->who, id, is_target ? NULL : "from")
                              : e;
}

static int by_id(const void *a, const void *b)
{
    const struct str *x = *(struct str *const *)a, *y = *(struct str *const *)b;
    return memcmp(x->p, y->p, x->n);
}

static enum err_code take_all(struct merge *m)
{
    struct str *order[CONTACT_MERGE_MAX + 1];
    enum err_code e = ERR_NONE;
    for (size_t i = 0; i < m->n; i++)
        order[i] = &m->ids[i];
    order[m->n] = &m->target_id;
    qsort(order, m->n + 1, sizeof *order, by_id);
    for (size_t i = 0; !e && i <= m->n; i++)
        e = take(m, *order[i],
                 order[i] == &m->target_id ? &m->target : &m->source[order[i] - m->ids]);
    return e;
}

/* ---- what comes out ---- */

static enum err_code append_list(struct ctx *cx, struct str *to, struct str more)
{
    json_t *all = json_read(cx, *to), *items = json_read(cx, more);
    if (!all || !items)
        return cx->err;
    json_array_extend(all, items);
    *to = json_text(cx, all);
    return ERR_NONE;
}

static enum err_code unite(struct ctx *cx, struct contact *c, const struct contact *from)
{
    enum err_code e;
    if (!c->company.p)
        c->company = from->company;
    if (!c->title.p)
        c->title = from->title;
    e = append_list(cx, &c->emails, from->emails);
    if (!e)
        e = append_list(cx, &c->phones, from->phones);
    if (!e)
        e = append_list(cx, &c->tags, from->tags);
    return e ? e : metadata_fill(cx, from->metadata, "from", &c->metadata);
}

static enum err_code apply_fields(struct ctx *cx, const struct contact_merge *in, struct contact *c)
{
    struct contact_new patch;
    if (!REC_HAS(in, fields))
        return ERR_NONE;
    json_t *fields = json_read(cx, in->fields);
    if (!fields)
        return cx->err;
    enum err_code e = rec_decode(cx, &rec_contact_patch, fields, REC_PATCH | REC_REFUSE_UNKNOWN,
                                 STR("fields"), &patch);
    return e ? e : contact_apply(cx, &patch, c);
}

static enum err_code check_room(struct ctx *cx, const struct contact_keys *k)
{
    if (k->emails.keys.n > CONTACT_EMAILS_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("from"),
                              "from: together they have more than %d e-mail addresses; say in "
                              "fields which remain",
                              CONTACT_EMAILS_MAX);
    if (k->phones.keys.n > CONTACT_PHONES_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("from"),
                              "from: together they have more than %d phone numbers; say in fields "
                              "which remain",
                              CONTACT_PHONES_MAX);
    return ERR_NONE;
}

static enum err_code work_out(struct merge *m, const struct contact_merge *in, struct contact *c)
{
    enum err_code e = contact_keys_of(m->cx, &m->target, &m->target_keys);
    *c = m->target;
    for (size_t i = 0; !e && i < m->n; i++)
        e = unite(m->cx, c, &m->source[i]);
    if (!e)
        e = apply_fields(m->cx, in, c);
    if (!e)
        e = contact_clean(m->cx, c, &m->keys);
    return e ? e : check_room(m->cx, &m->keys);
}

/* ---- storing ---- */

/* What refers to the source refers to the target from now on: $1 team, $2 source, $3 target,
 * $4 now. */
static const struct move {
    size_t n_args;
    const char *sql;
} moves[] = {
    { 4, "UPDATE contact SET merged_into = $3, deleted_ms = $4, updated_ms = $4 WHERE "
         "team_id = $1 AND id = $2" },
    { 3, "UPDATE contact SET merged_into = $3 WHERE team_id = $1 AND merged_into = $2" },
    { 4, "UPDATE tickets SET contact_id = $3, updated_ms = $4, version = version + 1 WHERE "
         "team_id = $1 AND contact_id = $2" },
    { 3, "DELETE FROM ticket_watcher WHERE team_id = $1 AND id = $2 AND EXISTS (SELECT 1 FROM "
         "ticket_watcher w WHERE w.team_id = $1 AND w.ticket_id = ticket_watcher.ticket_id AND "
         "w.id = $3)" },
    { 3, "UPDATE ticket_watcher SET id = $3 WHERE team_id = $1 AND id = $2" },
};

static enum err_code move_one(struct merge *m, const struct contact *from, int64_t now)
{
    struct contact_keys keys;
    struct str to = str_printf(&m->cx->arena, "\"" STR_FMT "\"", STR_ARG(m->target_id));
    struct activity_change change = { "merged_into", STR_NONE, to };
    enum err_code e = contact_keys_of(m->cx, from, &keys);
    if (!e)
        e = contact_sides(m->cx, m->db, m->who, from->id, &keys, NULL);
    const struct val args[] = { VT(m->who->team_id), VT(from->id), VT(m->target_id), VI(now) };
    for (size_t i = 0; !e && i < sizeof moves / sizeof *moves; i++)
        e = db_run(m->cx, m->db, moves[i].sql, (struct args){ args, moves[i].n_args });
    return e ? e
             : contact_activity_write(
                   m->cx, m->db, m->who,
                   &(struct contact_event){ from->id, "merged_into", &change, 1 });
}

/* The tickets are the team's, whichever key made them. */
static enum err_code move_all(struct merge *m)
{
    enum err_code e = ERR_NONE;
    int64_t now = clock_ms();
    db_scope(m->db, m->who->team_id, STR(""));
    for (size_t i = 0; !e && i < m->n; i++)
        e = move_one(m, &m->source[i], now);
    caller_scope(m->db, m->who);
    return e;
}

/* ---- telling ---- */

static enum err_code tell(struct merge *m, const struct contact *now)
{
    struct activity_change changes[ACTIVITY_CHANGES_MAX];
    struct buf b;
    buf_init(&b, &m->cx->arena, 4096);
    for (size_t i = 0; i < m->n; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", i ? "," : "[", STR_ARG(m->ids[i]));
    buf_char(&b, ']');
    changes[0] = (struct activity_change){ "merged_from", STR_NONE, buf_view(&b) };
    size_t n = 1 + contact_diff(m->cx, &m->target, now, changes + 1);
    return contact_activity_write(m->cx, m->db, m->who,
                                  &(struct contact_event){ m->target_id, "merged", changes, n });
}

/* `previous` has what changed and, always, who was merged. */
static enum err_code emit(struct merge *m, const struct contact *now)
{
    struct str was = event_previous(m->cx, &rec_contact, &m->target, now);
    struct buf b;
    buf_init(&b, &m->cx->arena, EVENT_DATA_MAX);
    buf_lit(&b, "{\"merged_from\":[");
    for (size_t i = 0; i < m->n; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", i ? "," : "", STR_ARG(m->ids[i]));
    buf_lit(&b, was.p ? "]," : "]}");
    if (was.p)
        buf_str(&b, str_sub(was, 1, was.n - 1));
    BUG_IF(b.over);
    return event_emit(m->cx, m->db, m->who,
                      &(struct event_new){ EVENT_CONTACT_MERGED, now->id, .rec = &rec_contact,
                                           .obj = now, .previous = buf_view(&b) });
}

static enum err_code audit(struct merge *m, const struct contact *now)
{
    struct buf b;
    buf_init(&b, &m->cx->arena, AUDIT_TEXT);
    buf_lit(&b, "{\"contact\":");
    buf_str(&b, audit_json(m->cx, &rec_contact, &m->target));
    for (size_t i = 0; i < m->n; i++) {
        buf_lit(&b, i ? "," : ",\"from\":[");
        buf_str(&b, audit_json(m->cx, &rec_contact, &m->source[i]));
    }
    buf_lit(&b, "]}");
    BUG_IF(b.over);
    return audit_write(m->cx, m->db, m->who,
                       &(struct audit_entry){ "contact.merge", "contact", m->target_id,
                                              buf_view(&b), audit_json(m->cx, &rec_contact, now) });
}

enum err_code contact_merge(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct contact_merge *in, const struct versions *allowed,
                            struct contact *out)
{
    struct merge *m = ARENA_NEW(&cx->arena, struct merge);
    struct contact now, seen;
    enum err_code e = contact_get_live(cx, db, who, id, allowed, &seen);
    if (e)
        return e;
    *m = (struct merge){ .cx = cx, .db = db, .who = who, .target_id = seen.id };
    e = read_ids(m, in);
    if (!e)
        e = take_all(m);
    if (!e && m->target.version != seen.version)
        e = fail(cx, CONFLICT, "The contact was changed by another request; read it again");
    if (!e)
        e = work_out(m, in, &now);
    if (!e)
        e = contact_store(cx, db, who, &now, out);
    if (!e)
        e = contact_sides(cx, db, who, now.id, &m->target_keys, &m->keys);
    if (!e)
        e = move_all(m);
    if (!e)
        e = tell(m, out);
    if (!e)
        e = emit(m, out);
    return e ? e : audit(m, out);
}
