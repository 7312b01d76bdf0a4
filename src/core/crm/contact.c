/* Contacts: making, reading, changing, deleting; see contact.h. A change is one UPDATE … RETURNING
 * guarded by the version that was read. Merging, lists and search have files of their own. */
#include "contact.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../event.h"
#include "../ticket.h"
#include "contact_activity.h"
#include "metadata.h"

#define TERMS_TEXT_MAX ((size_t)KEYS_MAX * (WORD_MAX + 1) + 2)

static const struct side side_term = SIDE("contact_term", "term", "contact_id");
static const struct side side_email = SIDE("contact_email", "email", "contact_id");
static const struct side side_phone = SIDE("contact_phone", "phone", "contact_id");
static const struct side side_tag = SIDE("contact_tag", "tag", "contact_id");

/* ---- keys ---- */

static struct str terms_text(struct ctx *cx, const struct keys *k)
{
    struct buf b;
    buf_init(&b, &cx->arena, TERMS_TEXT_MAX);
    buf_char(&b, ' ');
    for (size_t i = 0; i < k->n; i++) {
        buf_str(&b, k->v[i]);
        buf_char(&b, ' ');
    }
    return buf_view(&b);
}

static void terms_of(struct ctx *cx, struct contact *c, struct contact_keys *k)
{
    k->terms.n = 0;
    words_add(cx, c->name, &k->terms);
    if (c->company.p)
        words_add(cx, c->company, &k->terms);
    for (size_t i = 0; i < k->phones.keys.n; i++)
        words_add(cx, k->phones.keys.v[i], &k->terms);
    for (size_t i = 0; i < k->emails.keys.n; i++)
        words_add(cx, k->emails.keys.v[i], &k->terms);
    c->terms = terms_text(cx, &k->terms);
}

enum err_code contact_clean(struct ctx *cx, struct contact *c, struct contact_keys *out)
{
    enum err_code e = emails_clean(cx, c->emails, &out->emails);
    if (!e)
        e = phones_clean(cx, c->phones, &out->phones);
    if (!e)
        e = tags_clean(cx, c->tags, &out->tags);
    if (e)
        return e;
    c->emails = out->emails.json;
    c->phones = out->phones.json;
    c->tags = out->tags.json;
    terms_of(cx, c, out);
    return ERR_NONE;
}

enum err_code contact_keys_of(struct ctx *cx, const struct contact *c, struct contact_keys *out)
{
    struct contact copy = *c;
    struct str rest = str_trim(c->terms);
    enum err_code e = contact_clean(cx, &copy, out);
    if (e)
        return e;
    out->terms.n = 0; /* what was stored, however words are cut today */
    while (rest.n)
        keys_add(&out->terms, str_cut(&rest, ' '));
    return ERR_NONE;
}

static void tag_keys(const struct contact_keys *k, struct keys *out)
{
    out->n = 0;
    for (size_t i = 0; k && i < k->tags.n; i++)
        keys_add(out, k->tags.folded[i]);
}

enum err_code contact_sides(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct contact_keys *old, const struct contact_keys *now)
{
    struct keys old_tags, now_tags;
    tag_keys(old, &old_tags);
    tag_keys(now, &now_tags);
    const struct side_change changes[] = {
        { &side_term, who->team_id, id, old ? &old->terms : NULL, now ? &now->terms : NULL },
        { &side_email, who->team_id, id, old ? &old->emails.keys : NULL,
          now ? &now->emails.keys : NULL },
        { &side_phone, who->team_id, id, old ? &old->phones.keys : NULL,
          now ? &now->phones.keys : NULL },
        { &side_tag, who->team_id, id, &old_tags, &now_tags },
    };
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < sizeof changes / sizeof *changes; i++)
        e = side_apply(cx, db, &changes[i]);
    return e;
}

/* ---- making ---- */

static struct str or_text(struct str s, struct str def)
{
    return s.p ? s : def;
}

static struct str company_key(struct ctx *cx, const struct contact *c)
{
    return c->company.p ? text_fold(cx, str_trim(c->company)) : STR_NONE;
}

static void mark_nulls(struct contact *c)
{
    c->bits.has = ~UINT64_C(0);
    if (!c->company.p)
        c->bits.has &= ~(UINT64_C(1) << (offsetof(struct contact, company) / 8));
    if (!c->title.p)
        c->bits.has &= ~(UINT64_C(1) << (offsetof(struct contact, title) / 8));
    if (!c->created_by.p)
        c->bits.has &= ~(UINT64_C(1) << (offsetof(struct contact, created_by) / 8));
}

static enum err_code insert(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct contact *c)
{
    return db_run(
        cx, db,
        "INSERT INTO contact (team_id, id, name, company, company_key, title, emails, phones, "
        "tags, terms, metadata, version, created_by, created_ms, updated_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $13, $13)",
        ARGS(VT(who->team_id), VT(c->id), VT(c->name), VT(c->company), VT(company_key(cx, c)),
             VT(c->title), VT(c->emails), VT(c->phones), VT(c->tags), VT(c->terms), VT(c->metadata),
             VT(c->created_by), VI(c->created_ms)));
}

static enum err_code emit(struct ctx *cx, struct db *db, const struct caller *who,
                          enum event_type type, const struct contact *old,
                          const struct contact *now)
{
    struct event_new ev = { type, now->id, .rec = &rec_contact, .obj = now };
    if (old)
        ev.previous = event_previous(cx, &rec_contact, old, now);
    return event_emit(cx, db, who, &ev);
}

enum err_code contact_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct contact_new *in, struct contact *out)
{
    struct contact_keys keys;
    struct str subject = caller_subject(who);
    struct contact c = {
        .id = uuid7(&cx->arena),
        .name = in->name,
        .company = in->company,
        .title = in->title,
        .emails = or_text(in->emails, STR("[]")),
        .phones = or_text(in->phones, STR("[]")),
        .tags = or_text(in->tags, STR("[]")),
        .metadata = or_text(in->metadata, STR("{}")),
        .created_by = subject.n ? subject : STR_NONE,
        .version = 1,
        .created_ms = clock_ms(),
    };
    enum err_code e = contact_clean(cx, &c, &keys);
    if (e)
        return e;
    c.updated_ms = c.created_ms;
    mark_nulls(&c);
    e = insert(cx, db, who, &c);
    if (!e)
        e = contact_sides(cx, db, who, c.id, NULL, &keys);
    if (!e)
        e = contact_activity_write(cx, db, who,
                                   &(struct contact_event){ c.id, "created", NULL, 0 });
    if (!e)
        e = emit(cx, db, who, EVENT_CONTACT_CREATED, NULL, &c);
    if (!e)
        *out = c;
    return e;
}

/* ---- reading ---- */

static enum err_code find(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct contact *out)
{
    return db_one(cx, db, &rec_contact,
                  "SELECT " CONTACT_COLUMNS("") " FROM contact WHERE team_id = $1 AND id = $2 AND "
                                                "deleted_ms IS NULL",
                  ARGS(VT(who->team_id), VT(id)), out);
}

enum err_code contact_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct contact *out)
{
    enum err_code e = path_id(cx, "contact_id", &id);
    if (!e)
        e = find(cx, db, who, id, out);
    if (e != ERR_NOT_FOUND)
        return e;
    e = db_one(cx, db, &rec_contact,
               "SELECT " CONTACT_COLUMNS("c.") " FROM contact m JOIN contact c ON "
                                               "c.team_id = m.team_id AND c.id = m.merged_into "
                                               "WHERE m.team_id = $1 AND m.id = $2 AND "
                                               "c.deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Contact not found") : e;
}

enum err_code contact_missing(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, const char *field)
{
    struct rec_text into;
    enum err_code e = db_one(cx, db, &rec_text,
                             "SELECT merged_into AS s FROM contact WHERE team_id = $1 AND id = $2 "
                             "AND merged_into IS NOT NULL",
                             ARGS(VT(who->team_id), VT(id)), &into);
    if (e == ERR_NOT_FOUND && field)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                              "%s must name contacts of this team", field);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Contact not found");
    return e ? e
             : fail(cx, CONFLICT, "The contact " STR_FMT " was merged into " STR_FMT, STR_ARG(id),
                    STR_ARG(into.s));
}

static enum err_code check_version(struct ctx *cx, const struct contact *c,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == c->version;
    return is_fine ? ERR_NONE
                   : fail(cx, PRECONDITION_FAILED, "The contact is at version %lld now",
                          (long long)c->version);
}

enum err_code contact_get_live(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str id, const struct versions *allowed, struct contact *out)
{
    enum err_code e = path_id(cx, "contact_id", &id);
    if (!e)
        e = find(cx, db, who, id, out);
    if (e == ERR_NOT_FOUND)
        return contact_missing(cx, db, who, id, NULL);
    return e ? e : check_version(cx, out, allowed);
}

enum err_code contact_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str contact_id, const char *field)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM contact WHERE team_id = $1 AND id = $2 AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(team_id), VT(contact_id)), &n);
    return e == ERR_NOT_FOUND ? ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                                               "%s must be a contact of this team", field)
                              : e;
}

/* ---- changing ---- */

struct member {
    const char *name;
    unsigned at, in_at; /* in struct contact, in struct contact_new */
    bool is_json;
};
#define MEMBER(name, is_json)                                                                      \
    {                                                                                              \
#name, offsetof(struct contact, name), offsetof(struct contact_new, name), is_json         \
    }
static const struct member members[] = {
    MEMBER(name, false),  MEMBER(company, false), MEMBER(title, false),   MEMBER(emails, true),
    MEMBER(phones, true), MEMBER(tags, true),     MEMBER(metadata, true),
};
#define N_MEMBERS (sizeof members / sizeof *members)

static struct str *text_at(const void *obj, unsigned at)
{
    return (struct str *)(void *)((char *)(uintptr_t)obj + at);
}

enum err_code contact_apply(struct ctx *cx, const struct contact_new *patch, struct contact *c)
{
    struct str metadata = c->metadata;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const struct member *m = &members[i];
        if (rec_bit(&patch->bits.has, m->in_at))
            *text_at(c, m->at) = *text_at(patch, m->in_at);
        else if (rec_bit(&patch->bits.nul, m->in_at))
            *text_at(c, m->at) = m->is_json ? STR("[]") : STR_NONE;
    }
    c->metadata = metadata;
    return metadata_merge(cx, REC_HAS(patch, metadata) ? patch->metadata : STR_NONE,
                          REC_IS_NULL(patch, metadata), &c->metadata);
}

size_t contact_diff(struct ctx *cx, const struct contact *old, const struct contact *now,
                    struct activity_change *out)
{
    size_t n = 0;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const struct member *m = &members[i];
        struct str from = *text_at(old, m->at), to = *text_at(now, m->at);
        if (!from.p == !to.p && str_eq(from, to))
            continue;
        out[n++] = (struct activity_change){
            m->name, m->is_json ? activity_json(cx, from) : activity_text(cx, from),
            m->is_json ? activity_json(cx, to) : activity_text(cx, to)
        };
    }
    return n;
}

enum err_code contact_store(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct contact *c, struct contact *out)
{
    int64_t now = clock_ms();
    enum err_code e = db_one(
        cx, db, &rec_contact,
        "UPDATE contact SET name = $3, company = $4, company_key = $5, title = $6, emails = $7, "
        "phones = $8, tags = $9, terms = $10, metadata = $11, version = version + 1, "
        "updated_ms = $12 WHERE team_id = $1 AND id = $2 AND version = $13 AND deleted_ms IS NULL "
        "RETURNING " CONTACT_COLUMNS(""),
        ARGS(VT(who->team_id), VT(c->id), VT(c->name), VT(c->company), VT(company_key(cx, c)),
             VT(c->title), VT(c->emails), VT(c->phones), VT(c->tags), VT(c->terms), VT(c->metadata),
             VI(now > c->updated_ms ? now : c->updated_ms), VI(c->version)),
        out);
    return e == ERR_NOT_FOUND
               ? fail(cx, CONFLICT, "The contact was changed by another request; read it again")
               : e;
}

enum err_code contact_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct contact_new *patch, const struct versions *allowed,
                             struct contact *out)
{
    struct activity_change changes[N_MEMBERS];
    struct contact_keys old_keys, keys;
    struct contact old, c;
    enum err_code e = contact_get_live(cx, db, who, id, allowed, &old);
    if (e)
        return e;
    c = old;
    e = contact_apply(cx, patch, &c);
    if (!e)
        e = contact_clean(cx, &c, &keys);
    if (!e)
        e = contact_keys_of(cx, &old, &old_keys);
    if (!e)
        e = contact_store(cx, db, who, &c, out);
    if (!e)
        e = contact_sides(cx, db, who, c.id, &old_keys, &keys);
    if (e)
        return e;
    size_t n = contact_diff(cx, &old, &c, changes);
    if (n)
        e = contact_activity_write(cx, db, who,
                                   &(struct contact_event){ c.id, "updated", changes, n });
    return e || !n ? e : emit(cx, db, who, EVENT_CONTACT_UPDATED, &old, out);
}

enum err_code contact_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed)
{
    struct contact_keys keys;
    struct contact c;
    struct rec_num gone;
    enum err_code e = contact_get_live(cx, db, who, id, allowed, &c);
    if (!e)
        e = contact_keys_of(cx, &c, &keys);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE contact SET deleted_ms = $3, updated_ms = $3, version = version + 1 WHERE "
               "team_id = $1 AND id = $2 AND version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(c.id), VI(clock_ms()), VI(c.version)), &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The contact was changed by another request; read it again");
    if (!e)
        e = contact_sides(cx, db, who, c.id, &keys, NULL);
    if (!e)
        e = contact_activity_write(cx, db, who,
                                   &(struct contact_event){ c.id, "deleted", NULL, 0 });
    return e ? e : emit(cx, db, who, EVENT_CONTACT_DELETED, NULL, &c);
}
