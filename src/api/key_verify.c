/* POST /v1/api-keys/verify: is this key good? For gateways that guard something else with our keys.
 *
 * Answered on the event thread from the directory in memory. The key is found by its SHA-256 and
 * compared in constant time; what is wrong with it is told only to its own team. */
#include "../base/json.h"
#include "../core/token_key.h"
#include "routes.h"

#define ENDPOINT "(verify)"

/* ---- tables ---- */

struct verify_body {
    struct rec_bits bits;
    struct str key, scopes, ip;
    int64_t consume;
};
#define IN(member) offsetof(struct verify_body, member)
static const struct field body_fields[] = {
    { "key", F_STR, IN(key), F_REQUIRED, 1, 200, NULL, "The secret as it was presented", NULL },
    { "scopes", F_STRS, IN(scopes), 0, 0, SCOPE_BITS, NULL, "Scopes that the key must have",
      "[\"tickets:read\"]" },
    { "ip", F_STR, IN(ip), F_NULLABLE, 1, 64, NULL,
      "Where it was used from; needed for keys with allowed_ips", "\"192.0.2.1\"" },
    { "consume", F_BOOL, IN(consume), 0, 0, 0, NULL,
      "Take one request from the key's limits (default true)", NULL },
};
static const struct rec rec_verify_body =
    REC("ApiKeyVerify", struct verify_body, body_fields, "A key to verify.");

static const char *const verdicts[] = {
    [VERDICT_VALID] = "valid",          [VERDICT_UNKNOWN] = "unknown",
    [VERDICT_DISABLED] = "disabled",    [VERDICT_EXPIRED] = "expired",
    [VERDICT_SCOPE] = "scope_missing",  [VERDICT_ADDRESS] = "address_not_allowed",
    [VERDICT_LIMITED] = "rate_limited", [VERDICT_LIMITED + 1] = NULL,
};
static const int
    verdict_status[] = { /* in the usage log */
                         [VERDICT_VALID] = 200, [VERDICT_DISABLED] = 401, [VERDICT_EXPIRED] = 401,
                         [VERDICT_SCOPE] = 403, [VERDICT_ADDRESS] = 403,  [VERDICT_LIMITED] = 429
    };

struct verify_limit {
    struct rec_bits bits;
    struct str name;
    int64_t limit, remaining, reset_s;
};
#define ONE(member) offsetof(struct verify_limit, member)
static const struct field limit_fields[] = {
    { "name", F_STR, ONE(name), 0, 0, 0, NULL, "\"hour\" or the name of the limit", "\"hour\"" },
    { "limit", F_INT, ONE(limit), 0, 0, 0, NULL, "Requests in its window", "1000" },
    { "remaining", F_INT, ONE(remaining), 0, 0, 0, NULL, "How many are left", "999" },
    { "reset_s", F_INT, ONE(reset_s), 0, 0, 0, NULL,
      "Seconds until the window ends; when nothing is left, until one more fits", "1800" },
};
static const struct rec rec_verify_limit =
    REC("ApiKeyLimitState", struct verify_limit, limit_fields, "What a limit of a key has left.");

struct verify_reply {
    struct rec_bits bits;
    struct str code, key_id, name, scopes, limits, metadata;
    int64_t valid, remaining, expires_at;
};
#define OUT(member) offsetof(struct verify_reply, member)
static const struct field reply_fields[] = {
    { "valid", F_BOOL, OUT(valid), 0, 0, 0, NULL, "May the request pass?", NULL },
    { "code", F_ENUM, OUT(code), 0, 0, 0, verdicts, "Why not", NULL },
    { "key_id", F_UUID, OUT(key_id), F_NULLABLE, 0, 0, NULL,
      "The key; null when it is unknown, and so are the fields that follow", NULL },
    { "name", F_STR, OUT(name), F_NULLABLE, 0, 0, NULL, "Its name", "\"CRM\"" },
    { "scopes", F_STRS, OUT(scopes), F_NULLABLE, 0, 0, scope_words, "What it may do", NULL },
    { "remaining", F_INT, OUT(remaining), F_NULLABLE, 0, 0, NULL,
      "Requests left before any of its limits refuses", "42" },
    { "limits", F_RECS, OUT(limits), F_NULLABLE, 0, WINDOW_RULES_MAX + 1, NULL,
      "All its limits, the hourly one first", NULL, &rec_verify_limit },
    { "expires_at", F_TIME, OUT(expires_at), F_NULLABLE, 0, 0, NULL,
      "When it stops working; null = never", NULL },
    { "metadata", F_OBJECT, OUT(metadata), F_NULLABLE, 0, 0, NULL, "Its metadata", NULL },
};
static const struct rec rec_verify_reply =
    REC("ApiKeyVerdict", struct verify_reply, reply_fields, "What is to be said about a key.");

/* ---- handler ---- */

static enum err_code read_scopes(struct ctx *cx, struct str json, uint64_t *need)
{
    json_t *list = json.p ? json_read(cx, json) : NULL, *item;
    size_t i;
    *need = 0;
    json_array_foreach(list, i, item) {
        struct str word = { json_string_value(item), json_string_length(item) };
        uint64_t one = scope_parse(word);
        if (!one)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("scopes"),
                                  "scopes: unknown scope \"" STR_FMT "\"",
                                  STR_ARG(str_sub(word, 0, 100)));
        *need |= one;
    }
    return ERR_NONE;
}

static enum err_code read_query(struct ctx *cx, const struct req *rq, struct verify_query *q)
{
    const struct verify_body *in = rq->body;
    *q = (struct verify_query){ .team_id = rq->caller.team_id,
                                .asker = caller_subject(&rq->caller),
                                .secret = in->key,
                                .is_counted = !REC_HAS(in, consume) || in->consume };
    q->has_ip = in->ip.p != NULL;
    if (q->has_ip && !ip_parse(in->ip, &q->ip))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("ip"), "ip is not an address");
    return read_scopes(cx, in->scopes, &q->need);
}

static void put_limit(struct buf *b, struct str name, int64_t limit, int64_t remaining,
                      int64_t reset_s)
{
    struct verify_limit one = { .bits.has = ~UINT64_C(0),
                                .name = name,
                                .limit = limit,
                                .remaining = remaining,
                                .reset_s = reset_s };
    if (b->n > 1)
        buf_char(b, ',');
    rec_encode(b, &rec_verify_limit, &one);
}

static int64_t put_limits(struct buf *b, const struct limit_state *l)
{
    int64_t least = l->remaining;
    buf_char(b, '[');
    put_limit(b, STR("hour"), l->limit, l->remaining, l->reset_s);
    for (size_t i = 0; i < l->n_named; i++) {
        const struct limit_named *n = &l->named[i];
        put_limit(b, n->name, n->limit, n->remaining, n->reset_s);
        if (n->remaining < least)
            least = n->remaining;
    }
    buf_char(b, ']');
    return least;
}

static void put_answer(struct ctx *cx, struct reply *rp, const struct verify_answer *a)
{
    struct verify_reply out = { .valid = a->verdict == VERDICT_VALID,
                                .code = str_of(verdicts[a->verdict]) };
    struct buf limits;
    REC_SET(&out, valid);
    REC_SET(&out, code);
    if (a->verdict != VERDICT_UNKNOWN) {
        buf_init(&limits, &cx->arena, 4096);
        out.bits.has = ~UINT64_C(0);
        out.key_id = a->token_id;
        out.name = a->name;
        out.scopes = scopes_json(&cx->arena, a->scopes);
        out.metadata = a->metadata;
        out.remaining = put_limits(&limits, &a->limit);
        out.limits = buf_view(&limits);
        out.expires_at = a->expires_ms;
    }
    if (a->expires_ms == INT64_MAX)
        out.bits.has &= ~(UINT64_C(1) << (OUT(expires_at) / 8));
    rec_encode(&rp->body, &rec_verify_reply, &out);
}

/* The verified key was used, so its own usage says so. */
static void note_use(const struct req *rq, const struct verify_answer *a)
{
    const struct verify_body *in = rq->body;
    int status = verdict_status[a->verdict];
    usage_note(
        rq->app->usage,
        &(struct usage_event){ .at_ms = clock_ms(),
                               .status = status,
                               .method = "POST",
                               .endpoint = ENDPOINT,
                               .team_id = a->team_id,
                               .token_id = a->token_id,
                               .ip = in->ip.p ? in->ip : STR(""),
                               .agent = STR(""),
                               .error = status == 200 ? STR_NONE : str_of(verdicts[a->verdict]) });
}

static enum err_code verify(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct verify_query q;
    struct verify_answer a;
    (void)db;
    enum err_code e = read_query(cx, rq, &q);
    if (!e)
        e = token_dir_verify(cx, rq->app->tokens, &q, &a);
    if (e)
        return e;
    if (q.is_counted && a.verdict != VERDICT_UNKNOWN)
        note_use(rq, &a);
    put_answer(cx, rp, &a);
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/api-keys/verify",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_NO_IDEM,
      .run = RUN_NOW,
      .status = 200,
      .body = &rec_verify_body,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_verify_reply,
      .handler = verify,
      .id = "verifyApiKey",
      .tag = "API keys",
      .summary = "Verify an API key",
      .doc = "For gateways: always 200 when the question is well-formed; valid says whether the "
             "request may pass. A valid key is taken from its limits like any request (consume "
             "false only looks), a refused one is not. Keys of other teams are unknown. Many "
             "unknown keys in a minute are answered 429." },
};
const struct route_table routes_key_verify = { routes, sizeof routes / sizeof *routes };
