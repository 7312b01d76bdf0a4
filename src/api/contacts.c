/* /v1/contacts: list and search, create, bulk create, get, update, delete, merge, activity. */
#include "routes.h"

#include "../core/crm/contact.h"
#include "../core/crm/contact_activity.h"
#include "bulk.h"
#include "etag.h"
#include "page.h"

#define TAG "Contacts"

static void put_contact(struct ctx *cx, struct reply *rp, const struct contact *c)
{
    etag_put(cx, rp, c->version);
    rec_encode(&rp->body, &rec_contact, c);
}

static struct str path_of(struct ctx *cx, const struct contact *c)
{
    return str_printf(&cx->arena, "/v1/contacts/" STR_FMT, STR_ARG(c->id));
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = contact_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_contact, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct contact c;
    enum err_code e = contact_create(cx, db, &rq->caller, rq->body, &c);
    if (e)
        return e;
    reply_header(rp, "Location", path_of(cx, &c));
    put_contact(cx, rp, &c);
    return ERR_NONE;
}

static enum err_code create_item(struct ctx *cx, struct db *db, const struct caller *who,
                                 const void *in, void *out)
{
    return contact_create(cx, db, who, in, out);
}

static enum err_code bulk(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    static const struct bulk contacts = { .things = "contacts",
                                          .thing = "contact",
                                          .in = &rec_contact_new,
                                          .out = &rec_contact,
                                          .id_at = offsetof(struct contact, id),
                                          .create = create_item };
    return bulk_run(cx, rq, db, rp, &contacts);
}

/* A merged contact is answered by the one that took it over; Content-Location says which. */
static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct contact c;
    enum err_code e = contact_get(cx, db, &rq->caller, rq->params[0], &c);
    if (e)
        return e;
    if (!str_eq_nocase(c.id, rq->params[0]))
        reply_header(rp, "Content-Location", path_of(cx, &c));
    else if (etag_unchanged(cx, rq, rp, c.version))
        return ERR_NONE;
    put_contact(cx, rp, &c);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct contact c;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = contact_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &c);
    if (!e)
        put_contact(cx, rp, &c);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return contact_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code merge(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct contact c;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = contact_merge(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &c);
    if (!e)
        put_contact(cx, rp, &c);
    return e;
}

static enum err_code activity(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct list_query *in = rq->query;
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &rq->app->cursor_key };
    struct page page;
    enum err_code e = contact_activity_list(cx, db, &rq->caller, rq->params[0], &ask, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_contact_activity, &page);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/contacts",
      .scope = SCOPE(CONTACTS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_contact_query,
      .reply = &rec_contact,
      .handler = list,
      .id = "listContacts",
      .tag = TAG,
      .summary = "List or search contacts",
      .doc = "The contacts of the team, newest first. Page by page: follow next_cursor until it is "
             "null; with q a page may hold fewer contacts than limit, even none, and still have a "
             "next_cursor." },
    { .method = "POST",
      .path = "/v1/contacts",
      .scope = SCOPE(CONTACTS_WRITE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_contact_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_contact,
      .handler = create,
      .id = "createContact",
      .tag = TAG,
      .summary = "Create a contact",
      .doc = "Several contacts may have the same e-mail address; merge duplicates." },
    { .method = "POST",
      .path = "/v1/contacts/bulk",
      .scope = SCOPE(CONTACTS_WRITE),
      .flags = ROUTE_ARRAY_BODY,
      .run = RUN_WRITE,
      .status = 200,
      .body_schema = BULK_BODY_SCHEMA("contacts", "ContactNew"),
      .reply = &rec_contact,
      .reply_schema = BULK_REPLY_SCHEMA("contact", "Contact"),
      .handler = bulk,
      .id = "bulkCreateContacts",
      .tag = TAG,
      .summary = "Create up to 1,000 contacts",
      .doc = "Body: {\"contacts\":[…]}. The results come in the order of the items, each with its "
             "own status; the good ones are created even when others are refused, all in one "
             "transaction." },
    { .method = "GET",
      .path = "/v1/contacts/{contact_id}",
      .scope = SCOPE(CONTACTS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_contact,
      .handler = get,
      .id = "getContact",
      .tag = TAG,
      .summary = "Get a contact",
      .doc = "The id of a merged contact gives the contact that took it over: its id differs, and "
             "Content-Location names it. With If-None-Match and an unchanged contact: 304." },
    { .method = "PATCH",
      .path = "/v1/contacts/{contact_id}",
      .scope = SCOPE(CONTACTS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_contact_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_contact,
      .handler = update,
      .id = "updateContact",
      .tag = TAG,
      .summary = "Change a contact",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null. "
             "metadata is merged at every depth, lists are replaced. A merged contact is 409." },
    { .method = "DELETE",
      .path = "/v1/contacts/{contact_id}",
      .scope = SCOPE(CONTACTS_WRITE),
      .flags = ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteContact",
      .tag = TAG,
      .summary = "Delete a contact",
      .doc = "A soft delete: the contact is no longer found, its row is kept; tickets keep its id. "
             "A merged contact is 409." },
    { .method = "POST",
      .path = "/v1/contacts/{contact_id}/merge",
      .scope = SCOPE(CONTACTS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_contact_merge,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_contact,
      .handler = merge,
      .id = "mergeContacts",
      .tag = TAG,
      .summary = "Merge duplicates into a contact",
      .doc = "The contact keeps what it has; what it lacks comes from the others in their order; "
             "e-mail addresses, phone numbers, tags and metadata are united; fields has the last "
             "word. Tickets, watching and history follow. A contact that is merged already is "
             "409." },
    { .method = "GET",
      .path = "/v1/contacts/{contact_id}/activity",
      .scope = SCOPE(CONTACTS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_contact_activity,
      .handler = activity,
      .id = "listContactActivity",
      .tag = TAG,
      .summary = "What happened to a contact",
      .doc = "Newest first, with the history of the contacts that were merged into it." },
};
const struct route_table routes_contacts = { routes, sizeof routes / sizeof *routes };
