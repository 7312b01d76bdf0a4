/* Making and changing webhooks: see webhook_admin.h. A change is one UPDATE … RETURNING guarded by
 * the version that was read. */
#include "webhook_admin.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "webhook_send.h"

/* ---- what a body may say ---- */

static bool is_type(struct str word)
{
    if (str_eq(word, STR("*")) || event_type_of(word) != EVENT_TYPES)
        return true;
    for (int i = 0; i < EVENT_TYPES; i++) {
        struct str noun = str_of(event_types[i].noun);
        if (word.n == noun.n + 2 && str_starts(word, noun) &&
            str_eq(str_sub(word, noun.n, 2), STR(".*")))
            return true;
    }
    return false;
}

static void check_events(struct ctx *cx, struct str text)
{
    const json_t *list = json_read(cx, text);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        struct str word = { json_string_value(item), json_string_length(item) };
        if (!is_type(word))
            ctx_fail_field(cx, ERR_INVALID_FIELD, str_printf(&cx->arena, "events[%zu]", i),
                           "events[%zu]: there is no type of event " STR_FMT, i,
                           STR_ARG(str_sub(word, 0, 100)));
    }
}

enum err_code webhook_check(struct ctx *cx, const struct webhook_new *in)
{
    struct webhook_filter filter;
    if (REC_HAS(in, events))
        check_events(cx, in->events);
    if (REC_HAS(in, filter))
        webhook_filter_parse(cx, in->filter, &filter);
    if (REC_HAS(in, headers))
        webhook_headers_check(cx, in->headers);
    webhook_secret_check(cx, in->secret, in->secret_kind, "secret_kind");
    return cx->err;
}

static struct str or_text(struct str s, struct str def)
{
    return s.p ? s : def;
}

/* No conditions are stored as none. */
static struct str conditions(struct str filter)
{
    return str_eq(filter, STR("[]")) ? STR_NONE : filter;
}

/* ---- making ---- */

static enum err_code check_room(struct ctx *cx, struct db *db, const struct caller *who)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM webhook WHERE team_id = $1 AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(who->team_id)), &n);
    if (!e && n.n >= WEBHOOKS_MAX)
        return fail(cx, CONFLICT, "A team has at most %d webhooks", WEBHOOKS_MAX);
    return e;
}

static enum err_code insert(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct webhook *w, struct webhook *out)
{
    struct str subject = caller_subject(who);
    return db_one(cx, db, &rec_webhook_row,
                  "INSERT INTO webhook (team_id, id, url, description, events, filter, headers, "
                  "header_names, payload, is_ordered, state, notice, version, created_by, "
                  "created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
                  "'enabled', 0, 1, $11, $12, $12) RETURNING " WEBHOOK_COLUMNS,
                  ARGS(VT(who->team_id), VT(w->id), VT(w->url), VT(w->description), VT(w->events),
                       VT(w->filter), VT(w->headers), VT(w->header_names), VT(w->payload),
                       VI(w->is_ordered), VT(subject.n ? subject : STR_NONE), VI(clock_ms())),
                  out);
}

/* The secret of its creation, to be shown once. */
static enum err_code first_secret(struct ctx *cx, struct db *db, const struct webhook_new *in,
                                  struct webhook *w)
{
    struct webhook_secret made;
    const struct webhook_secret_new ask = { .kind = in->secret_kind, .secret = in->secret };
    enum err_code e = webhook_secret_put(cx, db, w, &ask, &made);
    if (e)
        return e;
    w->secret = made.secret;
    w->public_key = made.public_key;
    if (made.secret.p)
        REC_SET(w, secret);
    if (made.public_key.p)
        REC_SET(w, public_key);
    return ERR_NONE;
}

enum err_code webhook_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct webhook_new *in, struct webhook *out)
{
    struct webhook w = { .team_id = who->team_id,
                         .id = uuid7(&cx->arena),
                         .url = in->url,
                         .description = in->description,
                         .events = in->events,
                         .filter = conditions(in->filter),
                         .header_names = STR("[]"),
                         .payload = or_text(in->payload, STR("full")),
                         .is_ordered = in->is_ordered };
    enum err_code e = check_room(cx, db, who);
    if (!e)
        e = webhook_headers_merge(cx, db, &w, in->headers, false);
    if (!e)
        e = insert(cx, db, who, &w, out);
    if (!e)
        e = first_secret(cx, db, in, out);
    if (!e)
        e = deliveries_look(cx, db, out->team_id, out->id); /* the engine hears of the first one */
    return e ? e : webhook_audit(cx, db, who, "webhook.create", NULL, out);
}

/* ---- changing ---- */

static enum err_code get_at(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed, struct webhook *out)
{
    enum err_code e = webhook_get(cx, db, who, id, out);
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !e && !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == out->version;
    if (e || is_fine)
        return e;
    return fail(cx, PRECONDITION_FAILED, "The webhook is at version %lld now",
                (long long)out->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The webhook was changed by another request; read it again");
}

static enum err_code apply(struct ctx *cx, struct db *db, const struct webhook_new *patch,
                           struct webhook *w)
{
    if (REC_HAS(patch, url))
        w->url = patch->url;
    if (REC_HAS(patch, description) || REC_IS_NULL(patch, description))
        w->description = patch->description;
    if (REC_HAS(patch, events))
        w->events = patch->events;
    if (REC_HAS(patch, filter) || REC_IS_NULL(patch, filter))
        w->filter = conditions(patch->filter);
    if (REC_HAS(patch, payload))
        w->payload = patch->payload;
    if (REC_HAS(patch, is_ordered))
        w->is_ordered = patch->is_ordered;
    return webhook_headers_merge(cx, db, w, REC_HAS(patch, headers) ? patch->headers : STR_NONE,
                                 REC_IS_NULL(patch, headers));
}

enum err_code webhook_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct webhook_new *patch, const struct versions *allowed,
                             struct webhook *out)
{
    struct webhook was, w;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    w = was;
    if (!e)
        e = apply(cx, db, patch, &w);
    if (e)
        return e;
    e = db_one(cx, db, &rec_webhook_row,
               "UPDATE webhook SET url = $3, description = $4, events = $5, filter = $6, "
               "headers = $7, header_names = $8, payload = $9, is_ordered = $10, "
               "version = version + 1, updated_ms = $11 WHERE team_id = $1 AND id = $2 AND "
               "version = $12 AND deleted_ms IS NULL RETURNING " WEBHOOK_COLUMNS,
               ARGS(VT(who->team_id), VT(w.id), VT(w.url), VT(w.description), VT(w.events),
                    VT(w.filter), VT(w.headers), VT(w.header_names), VT(w.payload),
                    VI(w.is_ordered), VI(clock_ms()), VI(was.version)),
               out);
    if (e)
        return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
    return webhook_audit(cx, db, who, "webhook.update", &was, out);
}

static enum err_code enable(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct webhook *was, struct webhook *out)
{
    enum err_code e =
        db_one(cx, db, &rec_webhook_row,
               "UPDATE webhook SET state = 'enabled', disabled_reason = NULL, failing_ms = NULL, "
               "notice = 0, version = version + 1, updated_ms = $3 WHERE team_id = $1 AND "
               "id = $2 AND version = $4 AND deleted_ms IS NULL RETURNING " WEBHOOK_COLUMNS,
               ARGS(VT(who->team_id), VT(was->id), VI(clock_ms()), VI(was->version)), out);
    if (e)
        return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
    e = deliveries_look(cx, db, was->team_id, was->id);
    return e ? e : webhook_audit(cx, db, who, "webhook.enable", was, out);
}

enum err_code webhook_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str id, bool is_enabled, struct webhook *out)
{
    struct webhook was;
    enum err_code e = webhook_get(cx, db, who, id, &was);
    if (e)
        return e;
    if (str_eq(was.state, STR("enabled")) == is_enabled) {
        *out = was;
        return ERR_NONE;
    }
    if (is_enabled)
        return enable(cx, db, who, &was, out);
    e = webhook_disable(cx, db, who, id, "manual");
    return e ? e : webhook_get(cx, db, who, id, out);
}

enum err_code webhook_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed)
{
    struct webhook was;
    struct rec_num n;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE webhook SET deleted_ms = $3, updated_ms = $3, headers = NULL, "
               "version = version + 1 WHERE team_id = $1 AND id = $2 AND version = $4 AND "
               "deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was.id), VI(clock_ms()), VI(was.version)), &n);
    if (e)
        return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
    e = db_run(cx, db, "DELETE FROM webhook_secret WHERE team_id = $1 AND webhook_id = $2",
               ARGS(VT(who->team_id), VT(was.id)));
    if (!e)
        e = deliveries_look(cx, db, was.team_id, was.id);
    return e ? e : webhook_audit(cx, db, who, "webhook.delete", &was, NULL);
}

/* ---- list ---- */

enum err_code webhook_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct webhook_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_webhook_row,
                                              .kind = "webhooks",
                                              .columns = WEBHOOK_COLUMNS,
                                              .table = "webhook",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = offsetof(struct webhook, id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    buf_lit(&l.sql, " AND deleted_ms IS NULL");
    if (REC_HAS(in, state))
        listing_words(&l, "state", in->state);
    if (REC_HAS(in, q)) {
        int n = listing_bind(&l, VT(listing_like(cx, in->q)));
        buf_printf(&l.sql,
                   " AND (lower(url) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\' OR "
                   "lower(description) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\')",
                   n, n);
    }
    return listing_page(&l, db, &from, &ask, out);
}
