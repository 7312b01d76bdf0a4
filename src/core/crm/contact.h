/* Contacts: the people that tickets are about. Owner of tables contact, contact_term,
 * contact_email, contact_phone, contact_tag.
 *
 * The row says everything; the side tables are made from it in the same unit and serve finding.
 * A merged contact keeps its row, which names the one that took it over (never another merged one);
 * reading it gives that one. All run inside a unit of work in the caller's scope; contacts belong to
 * the team, whichever key or user made them. A change writes its activity in the same unit. */
#ifndef TESSERA_CORE_CRM_CONTACT_H
#define TESSERA_CORE_CRM_CONTACT_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"
#include "contact_text.h"
#include "tag.h"

#define CONTACT_NAME_MAX 200 /* characters; also company and title */
#define CONTACT_QUERY_WORDS_MAX 8
#define CONTACT_MERGE_MAX 20

/* With prefix "" or "c." */
#define CONTACT_COLUMNS(c)                                                                         \
    c "id AS id, " c "name AS name, " c "company AS company, " c "title AS title, " c              \
      "emails AS emails, " c "phones AS phones, " c "tags AS tags, " c "terms AS terms, " c        \
      "metadata AS metadata, " c "version AS version, " c "created_by AS created_by, " c           \
      "created_ms AS created_at, " c "updated_ms AS updated_at"

struct contact {
    struct rec_bits bits;
    struct str id, name, company, title, emails, phones, tags, metadata, created_by;
    struct str terms; /* what contact_term has; not shown */
    int64_t version, created_ms, updated_ms;
};
extern const struct rec rec_contact;

struct contact_new {
    struct rec_bits bits;
    struct str name, company, title, emails, phones, tags, metadata;
};
extern const struct rec rec_contact_new;
extern const struct rec rec_contact_patch;

struct contact_merge {
    struct rec_bits bits;
    struct str from, fields; /* JSON: array of ids; object by rec_contact_patch */
};
extern const struct rec rec_contact_merge;

struct contact_query {
    struct rec_bits bits;
    struct str q, email, phone, company, tag, sort, cursor;
    int64_t created_after, created_before, updated_after, updated_before, limit;
};
extern const struct rec rec_contact_query;

struct versions;
/* INVALID_FIELD names emails, phones, tags. */
enum err_code contact_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct contact_new *in, struct contact *out);
/* Of a merged contact: the one that took it over. NOT_FOUND; INVALID_PARAMETER when id is no
 * UUID. */
enum err_code contact_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct contact *out);
/* For changing it: as contact_get, but a merged contact is CONFLICT and the version must be one of
 * those allowed: PRECONDITION_FAILED. */
enum err_code contact_get_live(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str id, const struct versions *allowed, struct contact *out);
/* Merge patch (RFC 7396, metadata at every depth). CONFLICT when it is merged or another request
 * changed it meanwhile; PRECONDITION_FAILED. */
enum err_code contact_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct contact_new *patch, const struct versions *allowed,
                             struct contact *out);
enum err_code contact_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed);
/* The contacts `from` go into this one: what it lacks is filled from them in their order, lists and
 * metadata are united, then `fields` is applied; tickets and watching move over. INVALID_FIELD names
 * from (the contact itself, unknown ids, too much together); CONFLICT when one is merged already. */
enum err_code contact_merge(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct contact_merge *in, const struct versions *allowed,
                            struct contact *out);
/* With q see contact_search.h. INVALID_PARAMETER names phone, cursor, or sort together with q. */
enum err_code contact_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct contact_query *in, struct cursor_key key, struct page *out);
/* For those who refer to a contact: INVALID_FIELD naming `field` when the team has no such. */
enum err_code contact_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str contact_id, const char *field);

/* ---- among the files of contacts */

struct contact_keys { /* of one contact, in all side tables */
    struct keyed emails, phones;
    struct tags tags;
    struct keys terms;
};
/* Puts the lists of c into their clean form and works out all keys and c->terms. INVALID_FIELD. */
enum err_code contact_clean(struct ctx *cx, struct contact *c, struct contact_keys *out);
/* The keys that the side tables have for a stored contact. */
enum err_code contact_keys_of(struct ctx *cx, const struct contact *c, struct contact_keys *out);
/* Why there is no live contact of this id: CONFLICT when it is merged, else NOT_FOUND, or
 * INVALID_FIELD that names `field` unless that is NULL. */
enum err_code contact_missing(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, const char *field);
/* The side tables from `old` to `now`; NULL = none. */
enum err_code contact_sides(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct contact_keys *old, const struct contact_keys *now);
/* Writes the row over; its version must be c->version. CONFLICT. */
enum err_code contact_store(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct contact *c, struct contact *out);
/* Copies what the patch gives; metadata is merged. */
enum err_code contact_apply(struct ctx *cx, const struct contact_new *patch, struct contact *c);
/* The fields that differ, as activity. */
struct activity_change;
size_t contact_diff(struct ctx *cx, const struct contact *old, const struct contact *now,
                    struct activity_change *out);

/* The filters of a list on table "contact c" except q; FILTERS_MAX arguments. Begins with team and
 * deleted_ms. */
void contact_filters(struct listing *l, struct ctx *cx, const struct caller *who,
                     const struct contact_query *in);

#endif
