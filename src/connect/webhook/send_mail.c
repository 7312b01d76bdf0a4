/* Who is told of a webhook at which nothing arrives: the log, and by mail the owners and admins of
 * its team. The event webhook.failing or webhook.disabled is written where that is noted
 * (send_health.c); a mail is posted once and not tried again. */
#include "../../base/log.h"
#include "../../core/people/mail.h"
#include "send_engine.h"

#define URL_SHOWN_MAX 800 /* bytes of the address that a mail shows */

/* The note of an order: what is told, a line end, the address. */
#define GONE "gone"

static enum err_code write_mail(struct ctx *cx, const struct mail_order *order, struct mail *out)
{
    const struct webhooks *w = order->arg;
    struct str url = order->note, what = str_cut(&url, '\n'), where = STR_NONE;
    bool is_gone = str_eq(what, STR(GONE)), is_over = is_gone || str_eq(what, STR("100"));
    if (w->conf.public_url.n)
        where = str_printf(&cx->arena, "\n" STR_FMT "\n", STR_ARG(w->conf.public_url));
    out->subject = is_over ? STR("A webhook was disabled") : STR("A webhook is failing");
    if (is_gone)
        out->text = str_printf(&cx->arena,
                               "Hello,\n\nthe receiver of the webhook\n\n  " STR_FMT
                               "\n\nanswered that it is gone (410), so the webhook was disabled. "
                               "Nothing more is sent there until somebody enables it.\n" STR_FMT,
                               STR_ARG(url), STR_ARG(where));
    else if (is_over)
        out->text = str_printf(&cx->arena,
                               "Hello,\n\nnothing has arrived at the webhook\n\n  " STR_FMT
                               "\n\nfor five days, so it was disabled. What failed can be sent "
                               "again when it was mended and enabled.\n" STR_FMT,
                               STR_ARG(url), STR_ARG(where));
    else
        out->text = str_printf(&cx->arena,
                               "Hello,\n\nnothing arrives at the webhook\n\n  " STR_FMT
                               "\n\nSince the last success " STR_FMT
                               " percent of five days have passed; after five days it is "
                               "disabled. Its deliveries show what was answered.\n" STR_FMT,
                               STR_ARG(url), STR_ARG(what), STR_ARG(where));
    return ERR_NONE;
}

void send_tell(struct webhooks *w, const struct send_notice *n)
{
    struct ctx cx;
    struct str url = str_sub(n->url, 0, URL_SHOWN_MAX);
    const struct rec_text *to = n->to.v;
    log_warn(NULL, n->percent == 100 ? "webhook.disabled" : "webhook.failing",
             KVS("team", n->team_id), KVS("webhook", n->webhook_id), KVI("percent", n->percent),
             KVC("why", n->is_gone ? "gone" : "failing"));
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct str text =
        n->is_gone ? str_printf(&cx.arena, GONE "\n" STR_FMT, STR_ARG(url))
                   : str_printf(&cx.arena, "%lld\n" STR_FMT, (long long)n->percent, STR_ARG(url));
    for (size_t i = 0; w->conf.mailer && i < n->to.n; i++)
        if (!mailer_post(
                w->conf.mailer,
                &(struct mail_order){ .write = write_mail, .arg = w, .to = to[i].s, .note = text }))
            log_warn(NULL, "webhook.mail_not_posted", KVS("webhook", n->webhook_id));
    ctx_done(&cx);
}
