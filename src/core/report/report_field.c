/* The tables of reports: see report_field.h. */
#include "report_field.h"

#include <string.h>

#include "../../base/json.h"
#include "../caller.h"

#define SHOWN_MAX ((size_t)256 << 10)

const char *const report_type_words[] = { "text",    "text",    "id",    "time",
                                          "integer", "boolean", "number" };
const char *const report_op_words[] = { "eq", "ne",  "in",       "gt",      "gte",
                                        "lt", "lte", "contains", "is_null", NULL };
const char *const report_agg_words[] = {
    "count", "count_distinct", "sum", "avg", "min", "max", "p50", "p95", "p99", NULL
};

static const char *const statuses[] = {
    "open", "in_progress", "waiting", "resolved", "closed", NULL
};
static const char *const priorities[] = { "low", "medium", "high", "urgent", NULL };
static const char *const methods[] = { "GET",    "POST",    "PUT",  "PATCH",
                                       "DELETE", "OPTIONS", "HEAD", NULL };
static const char *const classes[] = { "2xx", "3xx", "4xx", "5xx", NULL };

#define KEY (RF_FILTER | RF_GROUP)
#define WHEN (RF_FILTER | RF_BUCKET)
#define SPAN (AGG(MIN) | AGG(MAX))
#define DISTINCT AGG(COUNT_DISTINCT)

static const struct report_field ticket_fields[] = {
    { "status", RT_WORD, "t.status", KEY, DISTINCT, statuses, "Status" },
    { "priority", RT_WORD, "t.priority", KEY, DISTINCT, priorities, "Priority" },
    { "category", RT_TEXT, "t.category", KEY, DISTINCT, NULL, "Category" },
    { "title", RT_TEXT, "t.title", RF_FILTER, 0, NULL, "Title" },
    { "integration_source", RT_TEXT, "t.integration_source", KEY, DISTINCT, NULL,
      "Name of the key or user that created it" },
    { "project_id", RT_ID, "t.project_id", KEY, DISTINCT, NULL, "Project" },
    { "assignee_id", RT_ID, "t.assignee_id", KEY, DISTINCT, NULL, "Agent who has it" },
    { "contact_id", RT_ID, "t.contact_id", KEY, DISTINCT, NULL, "Contact it is about" },
    { "token_id", RT_ID, "NULLIF(t.token_id, '')", KEY, DISTINCT, NULL, "API key that created it" },
    { "created_by_user", RT_ID, "t.created_by_user", KEY, DISTINCT, NULL, "User who created it" },
    { "created_at", RT_TIME, "t.created_ms", WHEN, SPAN, NULL, "When it was created" },
    { "updated_at", RT_TIME, "t.updated_ms", WHEN, SPAN, NULL, "When it last changed" },
    { "resolved_at", RT_TIME, "t.resolved_ms", WHEN, SPAN, NULL,
      "When it became resolved or closed; nothing while it is neither" },
    { "resolution_time", RT_INT, "((t.resolved_ms - t.created_ms) / 1000)", RF_FILTER,
      AGG(SUM) | AGG(AVG) | SPAN, NULL,
      "Seconds from creation to resolution; nothing while it is not resolved" },
};

static const struct report_field comment_fields[] = {
    { "ticket_id", RT_ID, "c.ticket_id", KEY, DISTINCT, NULL, "Ticket" },
    { "is_internal", RT_BOOL, "c.is_internal", KEY, 0, NULL, "Whether it is internal" },
    { "integration_source", RT_TEXT, "c.integration_source", KEY, DISTINCT, NULL,
      "Name of the key or user that wrote it" },
    { "token_id", RT_ID, "NULLIF(c.token_id, '')", KEY, DISTINCT, NULL, "API key that wrote it" },
    { "created_by_user", RT_ID, "c.created_by_user", KEY, DISTINCT, NULL, "User who wrote it" },
    { "created_at", RT_TIME, "c.created_ms", WHEN, SPAN, NULL, "When it was written" },
};

static const struct report_field contact_fields[] = {
    { "name", RT_TEXT, "c.name", RF_FILTER, 0, NULL, "Name" },
    { "company", RT_TEXT, "c.company", KEY, DISTINCT, NULL, "Company" },
    { "title", RT_TEXT, "c.title", KEY, DISTINCT, NULL, "Position or form of address" },
    { "created_by", RT_ID, "c.created_by", KEY, DISTINCT, NULL, "API key or user that created it" },
    { "created_at", RT_TIME, "c.created_ms", WHEN, SPAN, NULL, "When it was created" },
    { "updated_at", RT_TIME, "c.updated_ms", WHEN, SPAN, NULL, "When it last changed" },
};

/* The route of a rollup is "GET /v1/tickets"; neither database has a function for its first word
 * that the other has too. */
#define METHOD_SQL                                                                                 \
    "CASE WHEN u.route LIKE 'GET %' THEN 'GET' WHEN u.route LIKE 'POST %' THEN 'POST' "            \
    "WHEN u.route LIKE 'PUT %' THEN 'PUT' WHEN u.route LIKE 'PATCH %' THEN 'PATCH' "               \
    "WHEN u.route LIKE 'DELETE %' THEN 'DELETE' WHEN u.route LIKE 'OPTIONS %' THEN 'OPTIONS' "     \
    "WHEN u.route LIKE 'HEAD %' THEN 'HEAD' END"
#define CLASS_SQL                                                                                  \
    "CASE u.class WHEN 2 THEN '2xx' WHEN 3 THEN '3xx' WHEN 4 THEN '4xx' WHEN 429 THEN '4xx' "      \
    "ELSE '5xx' END"
static const struct report_field usage_fields[] = {
    { "key", RT_ID, "NULLIF(u.token_id, '')", KEY, DISTINCT, NULL,
      "API key; nothing: no valid one" },
    { "route", RT_TEXT, "u.route", KEY, DISTINCT, NULL,
      "Method and pattern of the route: GET /v1/tickets/{ticket_id}" },
    { "method", RT_WORD, METHOD_SQL, KEY, 0, methods, "HTTP method" },
    { "status_class", RT_WORD, CLASS_SQL, KEY, 0, classes, "Class of the answer's status" },
    { "response_time_us", RT_INT, "u.sum_us", RF_COUNTED,
      AGG(SUM) | AGG(AVG) | AGG(P50) | AGG(P95) | AGG(P99), NULL,
      "Microseconds until the answer was ready" },
    { "created_at", RT_TIME, "u.bucket_ms", RF_BUCKET, 0, NULL,
      "When the request arrived: to the minute for 6 days, to the hour for 89, then to the day "
      "(UTC)" },
};

#define SOURCE(kind, scope_name, table, count, fields)                                             \
    kind, SCOPE(scope_name), table, count, fields, sizeof(fields) / sizeof *(fields)
const struct report_source report_sources[REPORT_SOURCES] = {
    { "tickets", SOURCE(SOURCE_TICKETS, TICKETS_READ, "tickets t", "COUNT(*)", ticket_fields) },
    { "comments",
      SOURCE(SOURCE_COMMENTS, TICKETS_READ, "ticket_comments c", "COUNT(*)", comment_fields) },
    { "contacts", SOURCE(SOURCE_CONTACTS, CONTACTS_READ, "contact c", "COUNT(*)", contact_fields) },
    { "usage", SOURCE(SOURCE_USAGE, USAGE_READ, "usage_rollup u", "SUM(u.n)", usage_fields) },
};
const char *const report_source_words[] = { "tickets", "comments", "contacts", "usage", NULL };

#define EQ (RF_FILTER | RF_EQ_ONLY)
static const struct report_field log_fields[] = {
    { "key_id", RT_ID, NULL, EQ, 0, NULL, "API key" },
    { "route", RT_TEXT, NULL, EQ, 0, NULL, "Pattern of the route" },
    { "method", RT_WORD, NULL, EQ, 0, methods, "HTTP method" },
    { "status", RT_INT, NULL, EQ, 0, NULL, "Status of the answer", 100, 599 },
    { "status_class", RT_WORD, NULL, EQ, 0, classes, "Class of that status" },
    { "ip", RT_TEXT, NULL, EQ, 0, NULL, "Address of the client" },
    { "country", RT_TEXT, NULL, EQ, 0, NULL, "Country of that address" },
};
const struct report_source report_source_log = { "usage", SOURCE(SOURCE_USAGE, USAGE_READ, NULL,
                                                                 NULL, log_fields) };

const struct report_source *report_source_find(struct str name)
{
    for (size_t i = 0; i < REPORT_SOURCES; i++)
        if (str_eq(name, str_of(report_sources[i].name)))
            return &report_sources[i];
    return NULL;
}

const struct report_field *report_field_find(const struct report_source *s, struct str name)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eq(name, str_of(s->fields[i].name)))
            return &s->fields[i];
    return NULL;
}

unsigned report_field_ops(const struct report_field *f)
{
    const unsigned same = 1u << OP_EQ | 1u << OP_NE | 1u << OP_IN | 1u << OP_IS_NULL;
    const unsigned order = 1u << OP_GT | 1u << OP_GTE | 1u << OP_LT | 1u << OP_LTE;
    if (!(f->flags & RF_FILTER))
        return 0;
    if (f->flags & RF_EQ_ONLY)
        return 1u << OP_EQ;
    switch (f->type) {
    case RT_TEXT: return same | 1u << OP_CONTAINS;
    case RT_WORD:
    case RT_ID: return same;
    case RT_TIME: return order | 1u << OP_IS_NULL;
    case RT_INT: return same | order;
    case RT_BOOL: return 1u << OP_EQ | 1u << OP_NE;
    case RT_REAL: return 0;
    }
    return 0;
}

/* ---- as a client sees them ---- */

struct field_shown {
    struct rec_bits bits;
    struct str name, type, description, words, operators, measures;
    int64_t is_group, is_bucket;
};
#define AT(member) offsetof(struct field_shown, member)
static const struct field field_shown_fields[] = {
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name of the field", "\"status\"" },
    { "type", F_STR, AT(type), 0, 0, 0, NULL, "text, id, time, integer or boolean", "\"text\"" },
    { "description", F_STR, AT(description), 0, 0, 0, NULL, "What it says", NULL },
    { "words", F_STRS, AT(words), F_NULLABLE, 0, 0, NULL, "All its values; null: any", NULL },
    { "operators", F_STRS, AT(operators), 0, 0, 0, NULL, "What a filter on it may do", NULL },
    { "measures", F_STRS, AT(measures), 0, 0, 0, NULL, "What may be measured of it", NULL },
    { "is_group", F_BOOL, AT(is_group), 0, 0, 0, NULL, "May stand in group_by", NULL },
    { "is_bucket", F_BOOL, AT(is_bucket), 0, 0, 0, NULL, "May be the field of bucket", NULL },
};
static const struct rec rec_field_shown =
    REC("ReportField", struct field_shown, field_shown_fields, "A field of a source.");

struct source_shown {
    struct rec_bits bits;
    struct str name, scope, fields;
};
#define SRC(member) offsetof(struct source_shown, member)
static const struct field source_shown_fields[] = {
    { "name", F_ENUM, SRC(name), 0, 0, 0, report_source_words, "Name of the source", NULL },
    { "scope", F_STR, SRC(scope), 0, 0, 0, NULL, "Scope that a report over it needs too",
      "\"tickets:read\"" },
    { "fields", F_RECS, SRC(fields), 0, 0, 0, NULL, "Its fields", NULL, &rec_field_shown },
};
static const struct rec rec_source_shown =
    REC("ReportSource", struct source_shown, source_shown_fields, "A source of reports.");

static const struct field fields_fields[] = {
    { "sources", F_RECS, offsetof(struct report_fields, sources), 0, 0, 0, NULL, "The sources",
      NULL, &rec_source_shown },
};
const struct rec rec_report_fields =
    REC("ReportFields", struct report_fields, fields_fields, "What reports may speak of.");

static struct str words_json(struct ctx *cx, const char *const *words, unsigned mask)
{
    struct buf b;
    buf_init(&b, &cx->arena, 4096);
    buf_char(&b, '[');
    for (size_t i = 0; words[i]; i++) {
        if (!(mask >> i & 1))
            continue;
        if (b.n > 1)
            buf_char(&b, ',');
        json_write_str(&b, str_of(words[i]));
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

static void show_field(struct ctx *cx, struct buf *b, const struct report_field *f)
{
    struct field_shown s = {
        .bits.has = ~UINT64_C(0),
        .name = str_of(f->name),
        .type = str_of(report_type_words[f->type]),
        .description = str_of(f->doc),
        .operators = words_json(cx, report_op_words, report_field_ops(f)),
        .measures = words_json(cx, report_agg_words, f->aggs),
        .is_group = (f->flags & RF_GROUP) != 0,
        .is_bucket = (f->flags & RF_BUCKET) != 0,
    };
    if (f->words)
        s.words = words_json(cx, f->words, ~0u);
    else
        s.bits.has &= ~(UINT64_C(1) << (AT(words) / 8));
    rec_encode(b, &rec_field_shown, &s);
}

static void show_source(struct ctx *cx, struct buf *b, const struct report_source *src)
{
    struct buf fields;
    buf_init(&fields, &cx->arena, SHOWN_MAX);
    buf_char(&fields, '[');
    for (size_t i = 0; i < src->n; i++) {
        if (i)
            buf_char(&fields, ',');
        show_field(cx, &fields, &src->fields[i]);
    }
    buf_char(&fields, ']');
    int bit = __builtin_ctzll(src->scope);
    struct source_shown s = { .bits.has = ~UINT64_C(0),
                              .name = str_of(src->name),
                              .scope = str_of(action_rows[bit].wire),
                              .fields = buf_view(&fields) };
    rec_encode(b, &rec_source_shown, &s);
}

void report_fields_show(struct ctx *cx, struct report_fields *out)
{
    struct buf b;
    buf_init(&b, &cx->arena, SHOWN_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < REPORT_SOURCES; i++) {
        if (i)
            buf_char(&b, ',');
        show_source(cx, &b, &report_sources[i]);
    }
    buf_char(&b, ']');
    *out = (struct report_fields){ .bits.has = ~UINT64_C(0), .sources = buf_view(&b) };
}
