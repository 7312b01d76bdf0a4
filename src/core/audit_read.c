/* The audit log, reading side: see audit.h. */
#include "audit.h"

#define AT(member) offsetof(struct audit_row, member)
#define COLUMNS                                                                                    \
    "seq, at_ms AS at, actor_kind, actor_id, actor_name, ip, agent AS user_agent, request_id, "    \
    "action, target_type, target_id, before_json AS before, after_json AS after, prev_hash, hash"

/* clang-format off */
static const struct field row_fields[] = {
    { .name = "seq", .type = F_INT, .offset = AT(seq),
      .doc = "Number of the row in its team: 1, 2, 3 … without gaps", .example = "17" },
    { .name = "at", .type = F_TIME, .offset = AT(at_ms), .doc = "When" },
    { .name = "actor_kind", .type = F_STR, .offset = AT(actor_kind),
      .doc = "key, user, or cli for the command line", .example = "\"user\"" },
    { .name = "actor_id", .type = F_STR, .offset = AT(actor_id),
      .doc = "Id of the key or user; empty for the command line" },
    { .name = "actor_name", .type = F_STR, .offset = AT(actor_name), .doc = "Its name at that time" },
    { .name = "ip", .type = F_STR, .offset = AT(ip),
      .doc = "Address of the client; empty for the command line", .example = "\"203.0.113.7\"" },
    { .name = "user_agent", .type = F_STR, .offset = AT(agent), .doc = "User-Agent of the client" },
    { .name = "request_id", .type = F_STR, .offset = AT(request_id), .flags = F_NULLABLE,
      .doc = "X-Request-Id of the call" },
    { .name = "action", .type = F_STR, .offset = AT(action),
      .doc = "What was done: noun.verb", .example = "\"api_key.create\"" },
    { .name = "target_type", .type = F_STR, .offset = AT(target_type),
      .doc = "Kind of the object", .example = "\"api_key\"" },
    { .name = "target_id", .type = F_STR, .offset = AT(target_id), .doc = "Id of the object" },
    { .name = "before", .type = F_OBJECT, .offset = AT(before), .flags = F_NULLABLE,
      .doc = "The object before, without secrets; null when it is new" },
    { .name = "after", .type = F_OBJECT, .offset = AT(after), .flags = F_NULLABLE,
      .doc = "The object after, without secrets; null when it is gone" },
    { .name = "prev_hash", .type = F_STR, .offset = AT(prev_hash),
      .doc = "hash of the row before; empty in the first" },
    { .name = "hash", .type = F_STR, .offset = AT(hash),
      .doc = "Hash over this row and prev_hash: version.key id.hex" },
};
const struct rec rec_audit =
    REC("AuditRow", struct audit_row, row_fields, "An administrative change.");

#define Q(member) offsetof(struct audit_query, member)
#define FILTER_ROWS                                                                               \
    { .name = "actor_id", .type = F_STR, .offset = Q(actor_id), .max = 64,                         \
      .doc = "Only changes by this key or user" },                                                 \
    { .name = "action", .type = F_STR, .offset = Q(action), .max = 64,                             \
      .doc = "Only this action; with a point at its end all that begin with it (api_key.)" },      \
    { .name = "target_type", .type = F_STR, .offset = Q(target_type), .max = 64,                   \
      .doc = "Only changes to objects of this kind" },                                             \
    { .name = "target_id", .type = F_STR, .offset = Q(target_id), .max = 200,                      \
      .doc = "Only changes to this object" },                                                      \
    { .name = "from", .type = F_TIME, .offset = Q(from), .doc = "At this time or later" },         \
    { .name = "to", .type = F_TIME, .offset = Q(to), .doc = "Before this time" }
static const char *const format_words[] = { "ndjson", "csv", NULL };
static const struct field query_fields[] = { FILTER_ROWS, LISTING_QUERY_ROWS(struct audit_query) };
static const struct field export_fields[] = {
    FILTER_ROWS,
    { .name = "format", .type = F_ENUM, .offset = Q(format), .words = format_words,
      .doc = "ndjson (default): a JSON object a line; csv: with a line of names first" },
};
/* clang-format on */
const struct rec rec_audit_query =
    REC("AuditQuery", struct audit_query, query_fields, "Filters of the audit log.");
const struct rec rec_audit_export =
    REC("AuditExport", struct audit_query, export_fields, "Filters of the audit log.");

static void filters(struct listing *l, const struct audit_query *in)
{
    if (REC_HAS(in, actor_id))
        listing_and(l, " AND actor_id = ", VT(in->actor_id), "");
    if (REC_HAS(in, action) && in->action.n && in->action.p[in->action.n - 1] == '.') {
        buf_printf(&l->sql, " AND substr(action, 1, %zu)", in->action.n);
        listing_and(l, " = ", VT(in->action), "");
    } else if (REC_HAS(in, action)) {
        listing_and(l, " AND action = ", VT(in->action), "");
    }
    if (REC_HAS(in, target_type))
        listing_and(l, " AND target_type = ", VT(in->target_type), "");
    if (REC_HAS(in, target_id))
        listing_and(l, " AND target_id = ", VT(in->target_id), "");
    if (REC_HAS(in, from))
        listing_and(l, " AND at_ms >= ", VI(in->from), "");
    if (REC_HAS(in, to))
        listing_and(l, " AND at_ms < ", VI(in->to), "");
}

enum err_code audit_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct audit_query *in, struct cursor_key key, struct page *out)
{
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    filters(&l, in);
    struct listing_from from = {
        .r = &rec_audit,
        .kind = "audit",
        .columns = COLUMNS,
        .table = "audit_log",
        .id = "seq",
        .is_down = true,
        .id_at = AT(seq),
        .id_is_int = true,
    };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code audit_each(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct audit_query *in,
                         enum err_code (*each)(struct ctx *cx, void *row, void *arg), void *arg)
{
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    filters(&l, in);
    struct str sql =
        str_printf(&cx->arena, "SELECT " COLUMNS " FROM audit_log" STR_FMT " ORDER BY seq",
                   STR_ARG(buf_view(&l.sql)));
    return db_each(cx, db, &rec_audit, str_cstr(&cx->arena, sql), (struct args){ l.args, l.n },
                   each, arg);
}
