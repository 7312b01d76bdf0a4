/* Attachments: reading, removing, what they may be; see attachment.h. Adding is in
 * attachment_add.c. */
#include "attachment.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../ticket.h"
#include "activity.h"

static const char *const kinds[] = { "key", "user", "cli", NULL };

#define AT(member) offsetof(struct attachment, member)
/* The last field is for reading rows only. */
static const struct field fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Attachment identifier", NULL },
    { "ticket_id", F_UUID, AT(ticket_id), 0, 0, 0, NULL, "The ticket it belongs to", NULL },
    { "comment_id", F_UUID, AT(comment_id), F_NULLABLE, 0, 0, NULL,
      "The comment it belongs to, if any", NULL },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "File name", "\"invoice.pdf\"" },
    { "media_type", F_STR, AT(media_type), 0, 0, 0, NULL, "As it was uploaded",
      "\"application/pdf\"" },
    { "size", F_INT, AT(size), 0, 0, 0, NULL, "Bytes", "48213" },
    { "sha256", F_STR, AT(sha256), 0, 0, 0, NULL, "SHA-256 of the content, in hex", NULL },
    { "created_by_kind", F_ENUM, AT(created_by_kind), 0, 0, 0, kinds,
      "An API key, a user, the command line", NULL },
    { "created_by_id", F_UUID, AT(created_by_id), F_NULLABLE, 0, 0, NULL,
      "Id of the key or the user", NULL },
    { "created_by_name", F_STR, AT(created_by_name), 0, 0, 0, NULL, "Its name at that time", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was uploaded", NULL },
    { "nonce", F_STR, AT(nonce), F_SECRET, 0, 0, NULL, NULL, NULL },
};
#define N_SHOWN (sizeof fields / sizeof *fields - 1)
const struct rec rec_attachment = { "Attachment", sizeof(struct attachment), fields, N_SHOWN,
                                    "A file on a ticket or a comment." };
static const struct rec rec_row = { "AttachmentRow", sizeof(struct attachment), fields, N_SHOWN + 1,
                                    NULL };

static const struct field query_fields[] = {
    { "name", F_STR, offsetof(struct attachment_query, name), F_SINGLE_LINE, 1, ATTACHMENT_NAME_MAX,
      NULL, "File name, without slashes (default file)", "\"invoice.pdf\"" },
    { "comment_id", F_UUID, offsetof(struct attachment_query, comment_id), 0, 0, 0, NULL,
      "A comment of this ticket that it belongs to", NULL },
};
const struct rec rec_attachment_query =
    REC("AttachmentQuery", struct attachment_query, query_fields, "What is uploaded.");

/* ---- media types ---- */

/* RFC 9110 §5.6.2 */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
            return false;
    }
    return s.n > 0;
}

static struct str lower(struct ctx *cx, struct str s)
{
    char *p = str_cstr(&cx->arena, s);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + ('a' - 'A'));
    return (struct str){ p, s.n };
}

static bool is_allowed(struct str type, struct str allowed)
{
    struct str rest = allowed, family = type;
    family = str_cut(&family, '/');
    while (rest.p && rest.n) {
        struct str one = str_trim(str_cut(&rest, ','));
        size_t n = one.n;
        bool is_family = n > 2 && one.p[n - 1] == '*' && one.p[n - 2] == '/';
        if (is_family ? str_eq_nocase(str_sub(one, 0, n - 2), family) : str_eq_nocase(one, type))
            return true;
    }
    return !str_trim(allowed).n;
}

enum err_code attachment_type(struct ctx *cx, struct str header, struct str allowed,
                              struct str *out)
{
    struct str type = STR("application/octet-stream"), rest = header;
    if (header.p)
        type = lower(cx, str_trim(str_cut(&rest, ';')));
    struct str sub = type, family = str_cut(&sub, '/');
    if (type.n > 127 || !is_token(family) || !sub.p || !is_token(sub))
        return fail(cx, UNSUPPORTED_MEDIA, "Content-Type must be a media type such as image/png");
    if (!is_allowed(type, allowed))
        return fail(cx, UNSUPPORTED_MEDIA, STR_FMT " may not be attached (attachment_types)",
                    STR_ARG(type));
    *out = type;
    return ERR_NONE;
}

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && !memcmp(s.p + s.n - n, end, n);
}

const char *attachment_shown_type(struct ctx *cx, struct str media_type)
{
    static const char *const live[] = { "html", "xml", "xhtml", "script", "xsl", "xslt", "hta" };
    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        if (ends_with(media_type, live[i]))
            return "application/octet-stream";
    return str_cstr(&cx->arena, media_type);
}

/* ---- reading ---- */

/* $2 is caller_sees(). */
#define SEEN                                                                                       \
    " AND t.deleted_ms IS NULL AND (CAST($2 AS TEXT) = '' OR (t.token_id = $2 AND (a.comment_id "  \
    "IS NULL OR EXISTS (SELECT 1 FROM ticket_comments c WHERE c.team_id = a.team_id AND c.id = "   \
    "a.comment_id AND (c.is_internal = 0 OR c.token_id = $2)))))"
#define JOINED                                                                                     \
    "attachment a JOIN tickets t ON t.team_id = a.team_id AND t.id = a.ticket_id JOIN blob b ON "  \
    "b.team_id = a.team_id AND b.sha256 = a.sha256"
#define COLUMNS                                                                                    \
    "a.id AS id, a.ticket_id AS ticket_id, a.comment_id AS comment_id, a.name AS name, "           \
    "a.media_type AS media_type, a.size AS size, a.sha256 AS sha256, a.created_by_kind AS "        \
    "created_by_kind, NULLIF(a.created_by_id, '') AS created_by_id, a.created_by_name AS "         \
    "created_by_name, a.created_ms AS created_at, b.nonce AS nonce"

enum err_code attachment_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             struct attachment *out)
{
    enum err_code e = path_id(cx, "attachment_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_row,
               "SELECT " COLUMNS " FROM " JOINED " WHERE a.team_id = $1 AND a.id = $3" SEEN,
               ARGS(VT(who->team_id), VT(caller_sees(who)), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Attachment not found") : e;
}

enum err_code attachment_list(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str ticket_id, const struct page_ask *ask, struct page *out)
{
    struct ticket t;
    struct listing l;
    enum err_code e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE a.team_id = ", VT(who->team_id));
    listing_bind(&l, VT(caller_sees(who)));
    buf_lit(&l.sql, SEEN);
    listing_and(&l, " AND a.ticket_id = ", VT(t.id), "");
    struct listing_from from = {
        .r = &rec_row,
        .kind = "attachments",
        .columns = COLUMNS,
        .table = JOINED,
        .id = "a.id",
        .id_at = AT(id),
    };
    return listing_page(&l, db, &from, ask, out);
}

struct str attachment_told(struct ctx *cx, const struct attachment *a)
{
    struct buf b;
    buf_init(&b, &cx->arena, 4096);
    buf_printf(&b, "{\"id\":\"" STR_FMT "\",", STR_ARG(a->id));
    if (a->comment_id.p)
        buf_printf(&b, "\"comment_id\":\"" STR_FMT "\"}", STR_ARG(a->comment_id));
    else {
        buf_lit(&b, "\"name\":");
        json_write_str(&b, a->name);
        buf_char(&b, '}');
    }
    return buf_view(&b);
}

/* ---- removing ---- */

/* Looks at the whole team: another key's ticket may hold the same content.
 * The lock first, in a statement of its own: the one after it then sees every attachment that was
 * added meanwhile (attachment_add.c takes the same lock). */
static enum err_code release_blob(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str sha256)
{
    struct rec_num locked;
    struct rec_text nonce;
    db_scope(db, who->team_id, STR(""));
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE blob SET size = size WHERE team_id = $1 AND sha256 = $2 "
                             "RETURNING 1 AS n",
                             ARGS(VT(who->team_id), VT(sha256)), &locked);
    if (!e)
        e = db_one(cx, db, &rec_text,
                   "DELETE FROM blob WHERE team_id = $1 AND sha256 = $2 AND NOT EXISTS (SELECT 1 "
                   "FROM attachment a WHERE a.team_id = $1 AND a.sha256 = $2) RETURNING nonce AS s",
                   ARGS(VT(who->team_id), VT(sha256)), &nonce);
    caller_scope(db, who);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    return db_run(cx, db,
                  "INSERT INTO blob_loose (team_id, sha256, nonce, due_ms, is_taken) "
                  "VALUES ($1, $2, $3, $4, 0)",
                  ARGS(VT(who->team_id), VT(sha256), VT(nonce.s), VI(clock_ms())));
}

static enum err_code drop(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct attachment *a)
{
    struct rec_num gone;
    enum err_code e = db_one(
        cx, db, &rec_num, "DELETE FROM attachment WHERE team_id = $1 AND id = $2 RETURNING 1 AS n",
        ARGS(VT(who->team_id), VT(a->id)), &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Attachment not found");
    if (!e)
        e = release_blob(cx, db, who, a->sha256);
    if (e)
        return e;
    return activity_note(
        cx, db, who, a->ticket_id, "attachment_removed",
        (struct activity_change){ "attachment", attachment_told(cx, a), STR_NONE });
}

enum err_code attachment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str id)
{
    struct attachment a;
    enum err_code e = attachment_get(cx, db, who, id, &a);
    return e ? e : drop(cx, db, who, &a);
}

enum err_code attachments_of_comment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                            struct str comment_id)
{
    struct list all;
    enum err_code e = db_list(
        cx, db, &rec_row,
        "SELECT id, ticket_id, comment_id, name, sha256 FROM attachment WHERE team_id = $1 AND "
        "comment_id = $2",
        ARGS(VT(who->team_id), VT(comment_id)), &all);
    for (size_t i = 0; !e && i < all.n; i++)
        e = drop(cx, db, who, &((const struct attachment *)all.v)[i]);
    return e;
}
