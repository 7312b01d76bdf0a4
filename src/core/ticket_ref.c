/* References of tickets: see ticket_ref.h. */
#include "ticket_ref.h"

#include "crm/agent.h"
#include "crm/contact.h"
#include "people/project.h"
#include "ticket.h"

struct ref {
    const char *field;
    unsigned in_at, now_at; /* in struct ticket_new, in struct ticket */
    enum err_code (*must_exist)(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                                const char *field);
};
static const struct ref refs[] = {
    { "project_id", offsetof(struct ticket_new, project_id), offsetof(struct ticket, project_id),
      project_must_exist },
    { "assignee_id", offsetof(struct ticket_new, assignee_id), offsetof(struct ticket, assignee_id),
      agent_must_exist },
    { "contact_id", offsetof(struct ticket_new, contact_id), offsetof(struct ticket, contact_id),
      contact_must_exist },
};

static struct str member(const void *obj, unsigned at)
{
    return *(const struct str *)(const void *)((const char *)obj + at);
}

enum err_code ticket_refs_check(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct ticket_new *in, const struct ticket *now)
{
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
        const struct ref *r = &refs[i];
        struct str id = member(in, r->in_at);
        if (!rec_bit(&in->bits.has, r->in_at) || (now && str_eq(id, member(now, r->now_at))))
            continue;
        enum err_code e = r->must_exist(cx, db, who->team_id, id, r->field);
        if (e)
            return e;
    }
    return ERR_NONE;
}
