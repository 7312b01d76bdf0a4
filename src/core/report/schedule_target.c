/* Targets of schedules: see schedule_target.h. */
#include "schedule_target.h"

#include "../../base/json.h"
#include "../crm/contact_text.h"
#include "../people/user.h"
#include "../subject.h"

static const char *const types[] = { "email", "webhook", NULL };

#define AT(member) offsetof(struct target, member)
static const struct field target_fields[] = {
    { "type", F_ENUM, AT(type), 0, 0, 0, types, "How it goes there", NULL },
    { "address", F_STR, AT(address), F_NULLABLE, 0, 0, NULL, "E-mail address", NULL },
    { "webhook_id", F_UUID, AT(webhook_id), F_NULLABLE, 0, 0, NULL, "The webhook", NULL },
    { "outside", F_BOOL, AT(is_outside), 0, 0, 0, NULL,
      "The address was that of nobody in the team when the schedule was saved", NULL },
};
const struct rec rec_target =
    REC("ReportTarget", struct target, target_fields, "Where a scheduled report goes.");
static const struct field new_fields[] = {
    { "type", F_ENUM, AT(type), F_REQUIRED, 0, 0, types, "How it goes there", "\"email\"" },
    { "address", F_STR, AT(address), F_NULLABLE, 1, USER_EMAIL_MAX, NULL,
      "E-mail address: for email", "\"zoe@acme.example\"" },
    { "webhook_id", F_UUID, AT(webhook_id), F_NULLABLE, 0, 0, NULL,
      "A webhook of the team that gets report.finished: for webhook", NULL },
};
const struct rec rec_target_new =
    REC("ReportTargetNew", struct target, new_fields, "Where a scheduled report shall go.");

/* ---- reading and printing ---- */

void targets_read(struct ctx *cx, struct str json, struct targets *out)
{
    json_t *list = json_read(cx, json);
    out->n = 0;
    for (size_t i = 0; i < json_array_size(list) && out->n < TARGETS_MAX; i++)
        rec_decode(cx, &rec_target, json_array_get(list, i), REC_IGNORE_UNKNOWN, STR_NONE,
                   &out->v[out->n++]);
}

void targets_of_mails(struct ctx *cx, struct str json, struct targets *out)
{
    json_t *list = json_read(cx, json);
    out->n = 0;
    for (size_t i = 0; i < json_array_size(list) && out->n < TARGETS_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        struct target *t = &out->v[out->n++];
        *t = (struct target){ .type = STR("email"), .is_outside = true };
        t->address = (struct str){ json_string_value(v), json_string_length(v) };
        REC_SET(t, type);
        REC_SET(t, address);
        REC_SET(t, is_outside);
    }
}

void targets_put_mails(struct ctx *cx, struct str json, struct targets *t)
{
    struct targets *was = ARENA_NEW(&cx->arena, struct targets);
    *was = *t;
    targets_of_mails(cx, json, t);
    for (size_t i = 0; i < was->n && t->n < TARGETS_MAX; i++)
        if (was->v[i].webhook_id.p)
            t->v[t->n++] = was->v[i];
}

struct str targets_json(struct ctx *cx, const struct targets *t)
{
    struct buf b;
    buf_init(&b, &cx->arena, TARGETS_MAX * 1024);
    buf_char(&b, '[');
    for (size_t i = 0; i < t->n; i++) {
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, &rec_target, &t->v[i]);
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

struct str targets_mails_json(struct ctx *cx, const struct targets *t)
{
    struct buf b;
    buf_init(&b, &cx->arena, TARGETS_MAX * 1024);
    buf_char(&b, '[');
    for (size_t i = 0; i < t->n; i++) {
        if (!t->v[i].address.p)
            continue;
        if (b.n > 1)
            buf_char(&b, ',');
        json_write_str(&b, t->v[i].address);
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

/* ---- rules ---- */

struct check {
    struct ctx *cx;
    struct db *db;
    const struct caller *who;
    const char *list;
};

/* "deliveries[2].address", "recipients[2]" */
static struct str place(const struct check *c, size_t i, const char *member)
{
    if (str_eq(str_of(c->list), STR("recipients")))
        return str_printf(&c->cx->arena, "%s[%zu]", c->list, i);
    return str_printf(&c->cx->arena, "%s[%zu].%s", c->list, i, member);
}

static void missing(const struct check *c, size_t i, const char *member)
{
    struct str where = place(c, i, member);
    ctx_fail_field(c->cx, ERR_MISSING_FIELD, where, STR_FMT " is required", STR_ARG(where));
}

static void wrong(const struct check *c, size_t i, const char *member, const char *what)
{
    struct str where = place(c, i, member);
    ctx_fail_field(c->cx, ERR_INVALID_FIELD, where, STR_FMT " %s", STR_ARG(where), what);
}

static enum err_code check_mail(const struct check *c, struct target *t, size_t i)
{
    bool is_member = false;
    if (t->webhook_id.p)
        wrong(c, i, "webhook_id", "is not for email");
    if (!t->address.p) {
        missing(c, i, "address");
        return ERR_NONE;
    }
    if (t->address.n > USER_EMAIL_MAX || !str_is_utf8(t->address) || !email_is_fine(t->address)) {
        wrong(c, i, "address", "must be an e-mail address");
        return ERR_NONE;
    }
    t->address = user_email_key(&c->cx->arena, t->address);
    enum err_code e = subject_is_member(c->cx, c->db, c->who->team_id, t->address, &is_member);
    if (!e && !is_member && !scope_granted(c->who->scopes, SCOPE(TEAM_MANAGE)))
        wrong(c, i, "address", "is of nobody in the team; only an admin may send reports there");
    t->is_outside = !is_member;
    REC_SET(t, is_outside);
    return e;
}

struct hook {
    struct rec_bits bits;
    struct str events, state;
};
static const struct field hook_fields[] = {
    { .name = "events", .type = F_STR, .offset = offsetof(struct hook, events) },
    { .name = "state", .type = F_STR, .offset = offsetof(struct hook, state) },
};
static const struct rec rec_hook = REC("TargetHook", struct hook, hook_fields, "A webhook.");

enum err_code target_webhook_is_fine(struct ctx *cx, struct db *db, struct str team_id,
                                     struct str id, bool *out, const char **why)
{
    static const char *const words[] = { "*", "report.*", "report.finished" };
    struct hook h;
    enum err_code e = db_one(cx, db, &rec_hook,
                             "SELECT events, state FROM webhook WHERE team_id = $1 AND id = $2 AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(team_id), VT(id)), &h);
    bool is_subscribed = false, is_enabled = !e && str_eq(h.state, STR("enabled"));
    json_t *list = e ? NULL : json_read(cx, h.events);
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t k = 0; k < sizeof words / sizeof *words; k++)
            is_subscribed |=
                str_eq(str_of(json_string_value(json_array_get(list, i))), str_of(words[k]));
    *out = is_enabled && is_subscribed;
    *why = e             ? "names no webhook of the team"
           : !is_enabled ? "names a webhook that is disabled"
                         : "names a webhook that is not subscribed to report.finished";
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

static enum err_code check_webhook(const struct check *c, struct target *t, size_t i)
{
    bool is_fine = false;
    const char *why = NULL;
    if (t->address.p)
        wrong(c, i, "address", "is not for webhook");
    t->is_outside = false;
    REC_SET(t, is_outside);
    if (!t->webhook_id.p) {
        missing(c, i, "webhook_id");
        return ERR_NONE;
    }
    enum err_code e =
        target_webhook_is_fine(c->cx, c->db, c->who->team_id, t->webhook_id, &is_fine, &why);
    if (!e && !is_fine)
        wrong(c, i, "webhook_id", why);
    return e;
}

struct str target_name(const struct target *t)
{
    return t->webhook_id.p ? t->webhook_id : t->address;
}

static bool is_same(const struct target *a, const struct target *b)
{
    return str_eq(a->type, b->type) && str_eq(target_name(a), target_name(b));
}

enum err_code targets_check(struct ctx *cx, struct db *db, const struct caller *who,
                            const char *list, struct targets *t)
{
    struct check c = { cx, db, who, list };
    size_t n = 0, mails = 0;
    enum err_code e = ERR_NONE;
    if (!t->n)
        return ctx_fail_field(cx, ERR_MISSING_FIELD, str_of(list), "%s must name a target", list);
    for (size_t i = 0; !e && i < t->n; i++) {
        bool is_mail = str_eq(t->v[i].type, STR("email"));
        e = is_mail ? check_mail(&c, &t->v[i], i) : check_webhook(&c, &t->v[i], i);
        size_t same = 0;
        while (same < n && !is_same(&t->v[same], &t->v[i]))
            same++;
        t->v[same] = t->v[i];
        mails += same == n && is_mail;
        n += same == n;
    }
    t->n = n;
    if (!e && (mails > TARGET_MAILS_MAX || n - mails > TARGET_WEBHOOKS_MAX))
        e = ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(list),
                           "%s may name at most %d addresses and %d webhooks", list,
                           TARGET_MAILS_MAX, TARGET_WEBHOOKS_MAX);
    return e ? e : cx->err;
}
