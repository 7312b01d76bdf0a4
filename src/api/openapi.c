/* OpenAPI 3.1 from the tables: see openapi.h.
 *
 * The text is first composed compactly, then read back and printed indented, which also proves that
 * it is valid JSON. Every operation lists the errors that its row makes possible, so that a client
 * generator sees them all. */
#include "openapi.h"

#include <stdlib.h>
#include <string.h>

#include "../base/json.h"

#define DOC_DESCRIPTION                                                                            \
    "One self-hosted server that gives a product its integration layer. Authenticate with "        \
    "`Authorization: Bearer stk_…`; every answer "                                               \
    "to a valid token carries `RateLimit` and `RateLimit-Policy`."

#define RECS_MAX 512 /* field tables over all routes */

static void put_str(struct buf *b, const char *key, const char *text)
{
    json_write_str(b, str_of(key));
    buf_char(b, ':');
    json_write_str(b, str_of(text));
}

/* ---- schemas ---- */

static bool rec_is_listed(const struct rec *const *recs, size_t n, const struct rec *r)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(recs[i]->name, r->name))
            return true;
    return false;
}

static void put_schema(struct buf *b, const struct rec *r, bool is_reply, unsigned mode)
{
    buf_char(b, ',');
    json_write_str(b, str_of(r->name));
    buf_char(b, ':');
    if (is_reply)
        rec_schema_reply(b, r);
    else
        rec_schema_body(b, r, mode);
}

#define ERROR_SCHEMAS                                                                              \
    "\"IntegrationError\":{\"type\":\"object\",\"required\":[\"error\",\"message\"],"              \
    "\"additionalProperties\":false,\"properties\":{"                                              \
    "\"error\":{\"type\":\"string\",\"description\":\"Error "                                      \
    "code\"},\"message\":{\"type\":\"string\"},\"details\":{\"type\":\"string\"}}},"               \
    "\"FieldError\":{\"type\":\"object\",\"required\":[\"field\",\"code\",\"message\"],"           \
    "\"additionalProperties\":false,\"properties\":{"                                              \
    "\"field\":{\"type\":\"string\"},\"code\":{\"type\":\"string\"},\"message\":{\"type\":"        \
    "\"string\"}}},"                                                                               \
    "\"ItemError\":{\"type\":\"object\",\"required\":[\"code\",\"message\",\"errors\"],"           \
    "\"additionalProperties\":false,\"properties\":{"                                              \
    "\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"},\"errors\":{\"type\":"       \
    "\"array\",\"items\":{\"$ref\":\"#/components/schemas/FieldError\"}}}},"                       \
    "\"Problem\":{\"type\":\"object\",\"description\":\"RFC 9457 problem "                         \
    "details\",\"required\":[\"type\",\"title\",\"status\",\"detail\",\"code\","                   \
    "\"request_id\",\"errors\"],\"additionalProperties\":false,\"properties\":{\"type\":{"         \
    "\"type\":\"string\"},\"title\":{\"type\":\"string\"},"                                        \
    "\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":\"string\"},\"code\":{\"type\":"       \
    "\"string\"},\"request_id\":{\"type\":\"string\"},"                                            \
    "\"violated-policies\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"                  \
    "\"errors\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/FieldError\"}}}}"

static void put_schemas(struct buf *b)
{
    const struct rec *done[RECS_MAX];
    size_t n = 0;
    buf_lit(b, "\"schemas\":{" ERROR_SCHEMAS);
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++) {
            const struct route *r = &(*t)->rows[i];
            BUG_IF(n + 2 > sizeof done / sizeof *done);
            if (r->reply && !rec_is_listed(done, n, r->reply)) {
                put_schema(b, r->reply, true, 0);
                done[n++] = r->reply;
            }
            if (r->body && !rec_is_listed(done, n, r->body)) {
                put_schema(b, r->body, false, r->body_mode);
                done[n++] = r->body;
            }
        }
    buf_char(b, '}');
}

/* ---- parameters and bodies ---- */

/* Path parameters named …_id are UUIDs. */
static bool name_is_id(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && !strcmp(name + n - 3, "_id");
}

static void put_parameter(struct buf *b, const char *name, const char *in, bool is_required,
                          const char *doc, const struct field *f)
{
    if (b->p[b->n - 1] != '[')
        buf_char(b, ',');
    buf_char(b, '{');
    put_str(b, "name", name);
    buf_char(b, ',');
    put_str(b, "in", in);
    buf_printf(b, ",\"required\":%s,", is_required ? "true" : "false");
    put_str(b, "description", doc);
    if (f && f->type == F_ENUMS)
        buf_lit(b, ",\"style\":\"form\",\"explode\":false");
    buf_lit(b, ",\"schema\":");
    if (f)
        field_schema(b, f, false);
    else
        buf_lit(b, !strcmp(in, "path") && name_is_id(name)
                       ? "{\"type\":\"string\",\"format\":\"uuid\"}"
                       : "{\"type\":\"string\"}");
    buf_char(b, '}');
}

static void put_path_parameters(struct buf *b, const struct route *r)
{
    struct str rest = str_of(r->path);
    struct arena *a = b->arena;
    str_cut(&rest, '{');
    while (rest.p) {
        struct str name = str_cut(&rest, '}');
        put_parameter(b, str_cstr(a, name), "path", true, "Identifier", NULL);
        str_cut(&rest, '{');
    }
}

/* The document's API knows tokens alone. */
static bool is_for_users(const struct route *r)
{
    return !(r->flags & (ROUTE_V0 | ROUTE_PUBLIC));
}

static void put_parameters(struct buf *b, const struct route *r)
{
    buf_lit(b, ",\"parameters\":[");
    put_path_parameters(b, r);
    for (size_t i = 0; r->query && i < r->query->n; i++) {
        const struct field *f = &r->query->fields[i];
        put_parameter(b, f->name, "query", f->flags & F_REQUIRED, f->doc, f);
    }
    if (is_for_users(r))
        put_parameter(b, "Tessera-Team", "header", false,
                      "Team (id or slug) of a signed-in user who is in several", NULL);
    if (route_keeps_answer(r))
        put_parameter(b, "Idempotency-Key", "header", false,
                      "Makes a retry safe: the first answer is kept for 24 hours and given again",
                      NULL);
    if (r->flags & ROUTE_IF_MATCH)
        put_parameter(b, "If-Match", "header", false,
                      "ETag that the resource must still have (else 412)", NULL);
    if (r->flags & ROUTE_ETAG && !strcmp(r->method, "GET"))
        put_parameter(b, "If-None-Match", "header", false,
                      "ETag that is known (304 when it still holds)", NULL);
    buf_char(b, ']');
}

static void put_body(struct buf *b, const struct route *r)
{
    if (r->flags & (ROUTE_UPLOAD | ROUTE_RAW))
        buf_printf(b, ",\"requestBody\":{\"required\":%s,\"content\":{\"*/*\":{}}}",
                   r->flags & ROUTE_UPLOAD ? "true" : "false");
    if (!r->body && !(r->flags & ROUTE_ARRAY_BODY))
        return;
    buf_lit(b,
            ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
    if (r->body)
        buf_printf(b, "{\"$ref\":\"#/components/schemas/%s\"}", r->body->name);
    else
        buf_lit(b, r->body_schema);
    buf_lit(b, "}}}");
}

/* ---- answers ---- */

static void put_success(struct buf *b, const struct route *r, int status)
{
    buf_printf(b, "\"%d\":{\"description\":\"%s\"", status,
               status == 201   ? "Created"
               : status == 204 ? "Done"
                               : "OK");
    if (status == 204) {
        buf_char(b, '}');
        return;
    }
    if (r->reply || r->reply_schema) {
        buf_lit(b, ",\"content\":{\"application/json\":{\"schema\":");
        if (r->reply_schema)
            buf_lit(b, r->reply_schema);
        else if (r->flags & ROUTE_LIST)
            buf_printf(
                b,
                "{\"type\":\"object\",\"required\":[\"data\",\"next_cursor\"],"
                "\"additionalProperties\":false,\"properties\":{\"data\":{\"type\":\"array\","
                "\"items\":{\"$ref\":\"#/components/schemas/%s\"}},\"next_cursor\":{\"type\":["
                "\"string\",\"null\"]},\"total\":{\"type\":\"integer\"}}}",
                r->reply->name);
        else if (r->wrap)
            buf_printf(b,
                       "{\"type\":\"object\",\"required\":[\"%s\"],\"additionalProperties\":false,"
                       "\"properties\":{\"%s\":{\"$ref\":"
                       "\"#/components/schemas/%s\"}}}",
                       r->wrap, r->wrap, r->reply->name);
        else
            buf_printf(b, "{\"$ref\":\"#/components/schemas/%s\"}", r->reply->name);
        buf_lit(b, "}}");
    } else if (r->media) {
        struct str rest = str_of(r->media);
        buf_lit(b, ",\"content\":");
        for (char sep = '{'; rest.p; sep = ',') {
            buf_char(b, sep);
            json_write_str(b, str_cut(&rest, ','));
            buf_lit(b, ":{}");
        }
        buf_char(b, '}');
    }
    buf_char(b, '}');
}

/* Which failures a route can answer. */
static bool route_may_fail(const struct route *r, enum err_code e)
{
    bool is_v0 = r->flags & ROUTE_V0;
    bool has_body = r->body || r->flags & (ROUTE_ARRAY_BODY | ROUTE_UPLOAD);
    bool has_id = strchr(r->path, '{') != NULL;
    switch (e) {
    case ERR_BAD_REQUEST:
    case ERR_TOO_LARGE:
    case ERR_INTERNAL: return true;
    case ERR_INVALID_JSON:
    case ERR_MISSING_FIELD: return has_body && !(r->flags & ROUTE_UPLOAD);
    case ERR_INVALID_FIELD: return has_body;
    case ERR_INVALID_PARAMETER: /* guard_query; ids are judged by the handlers */
        return r->query || !(r->flags & (ROUTE_V0 | ROUTE_PUBLIC)) ||
               (has_id && !(r->flags & ROUTE_PUBLIC));
    case ERR_BAD_SIGNATURE: return r->flags & ROUTE_RAW;
    case ERR_MISSING_TOKEN:
    case ERR_INVALID_TOKEN:
    case ERR_VALIDATION_FAILED: return !(r->flags & ROUTE_PUBLIC);
    case ERR_RATE_LIMITED: return !(r->flags & ROUTE_PUBLIC) || r->flags & ROUTE_THROTTLED;
    case ERR_INSUFFICIENT_SCOPE:
    case ERR_FORBIDDEN_ENDPOINT:
    case ERR_FORBIDDEN_ADDRESS: return !(r->flags & ROUTE_PUBLIC);
    case ERR_INSUFFICIENT_ROLE: return is_for_users(r) && r->scope;
    case ERR_CSRF_INVALID: return is_for_users(r) && strcmp(r->method, "GET") != 0;
    case ERR_TEAM_REQUIRED: return is_for_users(r) && !(r->flags & ROUTE_TEAMLESS);
    case ERR_USER_REQUIRED: return r->flags & ROUTE_USER;
    case ERR_INVALID_CREDENTIALS:
    case ERR_TOTP_REQUIRED: return r->flags & ROUTE_SIGN_IN;
    case ERR_UNIQUE:
    case ERR_NOT_CONFIGURED: return r->flags & ROUTE_CONFLICT;
    case ERR_NOT_FOUND: return has_id || is_for_users(r);
    case ERR_NOT_OWNER: return r->flags & ROUTE_NOT_OWNER;
    case ERR_CONFLICT:
        return (has_id && r->run == RUN_WRITE && !(r->flags & ROUTE_RAW)) ||
               r->flags & ROUTE_CONFLICT;
    case ERR_IDEMPOTENCY_RUNNING:
    case ERR_IDEMPOTENCY_REUSED: return route_keeps_answer(r);
    case ERR_PRECONDITION_FAILED: return r->flags & ROUTE_IF_MATCH;
    case ERR_UNSUPPORTED_MEDIA: return has_body && !is_v0;
    case ERR_UNAVAILABLE: return r->run != RUN_NOW || r->flags & ROUTE_PUBLIC || is_for_users(r);
    case ERR_NONE:
    case ERR_METHOD_NOT_ALLOWED:
    case ERR_USAGE:
    case ERR_COUNT: return false;
    }
    return false;
}

static int err_status(const struct route *r, enum err_code e)
{
    return r->flags & ROUTE_V0 ? err_info(e)->v0_status : err_info(e)->status;
}

static const char *err_wire(const struct route *r, int e)
{
    return r->flags & ROUTE_V0 ? err_info((enum err_code)e)->v0_code
                               : err_info((enum err_code)e)->code;
}

/* The codes of one status, each once. */
static void put_error(struct buf *b, const struct route *r, int status)
{
    bool is_v0 = r->flags & ROUTE_V0;
    const char *sep = "";
    buf_printf(b, ",\"%d\":{\"description\":\"", status);
    for (int e = 1; e < ERR_COUNT; e++) {
        bool is_told = false;
        if (!route_may_fail(r, (enum err_code)e) || err_status(r, (enum err_code)e) != status)
            continue;
        for (int k = 1; k < e; k++)
            is_told |= route_may_fail(r, (enum err_code)k) &&
                       err_status(r, (enum err_code)k) == status &&
                       !strcmp(err_wire(r, k), err_wire(r, e));
        if (is_told)
            continue;
        buf_printf(b, "%s%s", sep, err_wire(r, e));
        sep = ", ";
    }
    buf_printf(b, "\",\"content\":{\"%s\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}}",
               is_v0 ? "application/json" : "application/problem+json",
               is_v0 ? "IntegrationError" : "Problem");
}

static void put_responses(struct buf *b, const struct route *r)
{
    buf_lit(b, ",\"responses\":{");
    put_success(b, r, r->status);
    for (const int *also = r->also; also && *also; also++) {
        buf_char(b, ',');
        put_success(b, r, *also);
    }
    if (r->flags & ROUTE_ETAG && !strcmp(r->method, "GET"))
        buf_lit(b, ",\"304\":{\"description\":\"Not modified\"}");
    for (int status = 400; status < 600; status++)
        for (int e = 1; e < ERR_COUNT; e++)
            if (route_may_fail(r, (enum err_code)e) && err_status(r, (enum err_code)e) == status) {
                put_error(b, r, status);
                break;
            }
    buf_char(b, '}');
}

static void put_operation(struct buf *b, const struct route *r)
{
    const char *method = !strcmp(r->method, "GET")     ? "get"
                         : !strcmp(r->method, "POST")  ? "post"
                         : !strcmp(r->method, "PATCH") ? "patch"
                         : !strcmp(r->method, "PUT")   ? "put"
                                                       : "delete";
    buf_printf(b, "\"%s\":{", method);
    put_str(b, "operationId", r->id);
    buf_lit(b, ",\"tags\":[");
    json_write_str(b, str_of(r->tag));
    buf_lit(b, "],");
    put_str(b, "summary", r->summary);
    buf_char(b, ',');
    put_str(b, "description", r->doc ? r->doc : r->summary);
    if (r->deprecated_s)
        buf_lit(b, ",\"deprecated\":true");
    if (r->flags & ROUTE_PUBLIC)
        buf_lit(b, ",\"security\":[]");
    if (r->scope) {
        buf_lit(b, ",\"x-scopes\":");
        buf_str(b, scopes_json(b->arena, r->scope));
        buf_lit(b, ",\"x-least-role\":");
        json_write_str(b, role_word(role_least(r->scope)));
    }
    if (r->flags & ROUTE_USER)
        buf_lit(b, ",\"security\":[{\"session\":[]},{\"jwt\":[]}]");
    else if (r->flags & ROUTE_V0)
        buf_lit(b, ",\"security\":[{\"token\":[]}]");
    put_parameters(b, r);
    put_body(b, r);
    put_responses(b, r);
    buf_char(b, '}');
}

static bool path_is_first(const struct route *r)
{
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++)
            if (!strcmp((*t)->rows[i].path, r->path))
                return &(*t)->rows[i] == r;
    return false;
}

static void put_path(struct buf *b, const char *path)
{
    const char *sep = "";
    json_write_str(b, str_of(path));
    buf_lit(b, ":{");
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++)
            if (!strcmp((*t)->rows[i].path, path)) {
                buf_lit(b, sep);
                put_operation(b, &(*t)->rows[i]);
                sep = ",";
            }
    buf_char(b, '}');
}

static void put_paths(struct buf *b)
{
    const char *sep = "";
    buf_lit(b, ",\"paths\":{");
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++) {
            if (!path_is_first(&(*t)->rows[i]))
                continue;
            buf_lit(b, sep);
            put_path(b, (*t)->rows[i].path);
            sep = ",";
        }
    buf_char(b, '}');
}

static void free_text(void *p)
{
    free(p);
}

enum err_code openapi_print(struct ctx *cx, struct buf *out)
{
    struct buf b;
    buf_init(&b, &cx->arena, OPENAPI_MAX);
    buf_lit(&b,
            "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Tessera\",\"version\":\"" TESSERA_VERSION
            "\",\"license\":{\"name\":\"Apache-2.0\","
            "\"identifier\":\"Apache-2.0\"},\"description\":");
    json_write_str(&b, str_of(DOC_DESCRIPTION));
    buf_lit(&b, "},\"security\":[{\"token\":[]},{\"session\":[]},{\"jwt\":[]}]");
    put_paths(&b);
    buf_lit(&b, ",\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":"
                "\"bearer\",\"description\":\"API key (stk_…)\"},"
                "\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"tessera_session\","
                "\"description\":\"Session of a signed-in user (POST /v1/sessions); calls that are "
                "not GET also send X-CSRF-Token\"},"
                "\"jwt\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\","
                "\"description\":\"JWT of the configured issuer, as the user it names\"}},");
    put_schemas(&b);
    buf_lit(&b, "}}");
    json_error_t why;
    json_t *doc = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, &why);
    if (b.over || !doc)
        return fail(cx, INTERNAL, "openapi: %s at %d", b.over ? "too large" : why.text,
                    why.position);
    char *text = json_dumps(doc, JSON_INDENT(2));
    json_decref(doc);
    BUG_IF(!text);
    arena_defer(&cx->arena, free_text, text);
    buf_lit(out, text);
    buf_char(out, '\n');
    return ERR_NONE;
}

void errors_markdown(struct buf *out)
{
    static const char *const retry[] = { "no", "yes, later", "after reading the current state" };
    buf_lit(out, "# Errors\n\nGenerated by `tessera errors --markdown` from the table in "
                 "`src/base/err.h`.\n\n"
                 "`/v1` answers `application/problem+json` (RFC 9457) with the code in `code`, the "
                 "field problems in `errors`, and the "
                 "`request_id` that the log has too. The ticket API under "
                 "`/functions/v1/integration-tickets` answers\n"
                 "`{\"error\": code, \"message\": sentence, \"details\": optional}`.\n\n"
                 "| code in /v1 | status | code in the ticket API | status | retry | meaning "
                 "|\n|---|---|---|---|---|---|\n");
    for (int e = 1; e < ERR_COUNT; e++) {
        const struct err_info *i = err_info((enum err_code)e);
        if (e == ERR_USAGE)
            continue; /* command line only */
        buf_printf(out, "| `%s` | %d | `%s` | %d | %s | %s |\n", i->code, i->status, i->v0_code,
                   i->v0_status, retry[i->retry], i->text);
    }
}
