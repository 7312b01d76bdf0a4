/* The table of kinds: see hook_scheme.h. Facts are from the documents of the senders; what they leave
 * open is said at the row. */
#include "hook_scheme.h"

#include <string.h>

#define WINDOW_MS ((int64_t)300 * 1000) /* what Slack and Standard Webhooks advise */
#define LINEAR_WINDOW_MS ((int64_t)60 * 1000)

#define HEADER(name_)                                                                              \
    {                                                                                              \
        .from = HOOK_FROM_HEADER, .name = (name_)                                                  \
    }
#define JSON(path)                                                                                 \
    {                                                                                              \
        .from = HOOK_FROM_JSON, .name = (path)                                                     \
    }
#define FORM(field)                                                                                \
    {                                                                                              \
        .from = HOOK_FROM_FORM, .name = (field)                                                    \
    }
#define BODY                                                                                       \
    {                                                                                              \
        .from = HOOK_FROM_BODY                                                                     \
    }

/* An outgoing webhook of a Teams channel: another thing than a change notification, the same kind
 * for who sets it up. The secret that Teams shows is base64. */
static const struct hook_scheme teams_outgoing = {
    .kind = "teams",
    .title = "Microsoft Teams",
    .secret = "the security token that Teams showed when the outgoing webhook was made",
    .proof = HOOK_PROOF_MAC,
    .signature = { "Authorization" },
    .prefix = "HMAC ",
    .hash = HOOK_SHA256,
    .form = HOOK_FORM_BASE64,
    .is_secret_base64 = true,
    .text = "{body}",
    .type = { JSON("type") },
    .key = { JSON("id"), BODY },
    .ack_status = 200,
};

static const struct hook_scheme rows[] = {
    {
        /* Only webhooks that an administrator made with a secret are signed. */
        .kind = "jira",
        .title = "Jira",
        .secret = "the one set at the webhook in Jira's administration",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Hub-Signature" },
        .prefix = "sha256=",
        .hash = HOOK_SHA256,
        .text = "{body}",
        .type = { JSON("webhookEvent") },
        /* The identifier stays the same over retries; data centres may lack it, but the body has a
         * time in milliseconds. */
        .key = { HEADER("X-Atlassian-Webhook-Identifier"), BODY },
        .ack_status = 200,
    },
    {
        .kind = "github",
        .title = "GitHub",
        .secret = "the one set at the webhook (or at the GitHub App)",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Hub-Signature-256" },
        .weak = "X-Hub-Signature",
        .prefix = "sha256=",
        .hash = HOOK_SHA256,
        .text = "{body}",
        .form_json = "payload",
        .type = { HEADER("X-GitHub-Event") },
        .key = { HEADER("X-GitHub-Delivery") }, /* the same when it is delivered again */
        .ack_status = 200,
    },
    {
        /* Events, slash commands and interactive parts: JSON, a form, JSON in a form. */
        .kind = "slack",
        .title = "Slack",
        .secret = "the signing secret of the Slack app (no token, no client secret)",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Slack-Signature" },
        .prefix = "v0=",
        .hash = HOOK_SHA256,
        .text = "v0:{time}:{body}",
        .time = { .header = { "X-Slack-Request-Timestamp" }, .window_ms = WINDOW_MS },
        .form_json = "payload",
        .type = { JSON("event.type"), JSON("type"), FORM("command") },
        .key = { JSON("event_id"), JSON("trigger_id"), FORM("trigger_id"), BODY },
        .shake = { .name = "url_verification",
                   .value = JSON("challenge"),
                   .when_path = "type",
                   .when_is = "url_verification",
                   .trust = HOOK_SHAKE_SIGNED,
                   .echo = HOOK_ECHO_TEXT },
        .ack_status = 200,
    },
    {
        .kind = "trello",
        .title = "Trello",
        .secret = "the secret of the app that is shown beside its API key (not the key)",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Trello-Webhook" },
        .hash = HOOK_SHA1,
        .form = HOOK_FORM_BASE64,
        .text = "{body}{url}",
        .type = { JSON("action.type") },
        .key = { JSON("action.id") },
        .shake = { .name = "HEAD",
                   .value = { .from = HOOK_FROM_METHOD, .name = "HEAD" },
                   .trust = HOOK_SHAKE_OPEN },
        .ack_status = 200,
    },
    {
        /* Events have no id; two bodies that are the same tell the same, with a time in
         * milliseconds. An empty list is a heartbeat. */
        .kind = "asana",
        .title = "Asana",
        .secret = "the X-Hook-Secret of the handshake of this very webhook",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Hook-Signature" },
        .hash = HOOK_SHA256,
        .text = "{body}",
        .type = { { .from = HOOK_FROM_JSON,
                    .name = "resource.resource_type",
                    .and_name = "action",
                    .items = "events",
                    .when_none = "heartbeat" } },
        .key = { BODY },
        .shake = { .name = "X-Hook-Secret",
                   .value = HEADER("X-Hook-Secret"),
                   .trust = HOOK_SHAKE_FIRST,
                   .echo = HOOK_ECHO_HEADER },
        .ack_status = 200,
    },
    {
        /* The header Linear-Timestamp is not signed; the time in the body is. */
        .kind = "linear",
        .title = "Linear",
        .secret = "the signing secret on the webhook's page in Linear",
        .proof = HOOK_PROOF_MAC,
        .signature = { "Linear-Signature" },
        .hash = HOOK_SHA256,
        .text = "{body}",
        .time = { .path = "webhookTimestamp", .window_ms = LINEAR_WINDOW_MS },
        .type = { JSON("type"), HEADER("Linear-Event") },
        .key = { HEADER("Linear-Delivery"), BODY },
        .ack_status = 200,
    },
    {
        .kind = "notion",
        .title = "Notion",
        .secret = "the verification_token that Notion sent to this subscription",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Notion-Signature" },
        .prefix = "sha256=",
        .hash = HOOK_SHA256,
        .text = "{body}",
        .type = { JSON("type") },
        .key = { JSON("id") },
        .shake = { .name = "verification_token",
                   .value = JSON("verification_token"),
                   .trust = HOOK_SHAKE_FIRST },
        .ack_status = 200,
    },
    {
        /* Change notifications of Microsoft Graph. Several items, none with an id, and two changes
         * of one message look the same: there is no key, whoever reads them fetches the message. */
        .kind = "teams",
        .title = "Microsoft Teams",
        .secret = "the clientState of the subscription",
        .proof = HOOK_PROOF_STATE,
        .type = { { .from = HOOK_FROM_JSON, .name = "changeType", .items = "value" },
                  { .from = HOOK_FROM_JSON, .name = "lifecycleEvent", .items = "value" } },
        .shake = { .name = "validationToken",
                   .value = { .from = HOOK_FROM_QUERY, .name = "validationToken" },
                   .trust = HOOK_SHAKE_OPEN,
                   .echo = HOOK_ECHO_TEXT },
        .ack_status = 202,
        .beside = &teams_outgoing,
    },
    {
        .kind = "standard",
        .title = "Standard Webhooks",
        .secret = "the whsec_… (or whpk_…) of this endpoint",
        .proof = HOOK_PROOF_STANDARD,
        .signature = { "webhook-signature", "svix-signature" },
        .text = "{id}.{time}.{body}",
        .time = { .header = { "webhook-timestamp", "svix-timestamp" }, .window_ms = WINDOW_MS },
        .id = { "webhook-id", "svix-id" },
        .type = { JSON("type") },
        .key = { HEADER("webhook-id"), HEADER("svix-id") },
        .ack_status = 200,
    },
    {
        /* The usual form of everybody else; hook_config.h says how to bend it. Without an id in the
         * request there is no key: equal bodies may be two events. */
        .kind = "hmac",
        .title = "HMAC",
        .secret = "the one that the sender signs with",
        .proof = HOOK_PROOF_MAC,
        .signature = { "X-Signature", "X-Signature-256", "X-Hub-Signature-256",
                       "X-Webhook-Signature" },
        .prefix = "sha256=",
        .may_lack_prefix = true,
        .hash = HOOK_SHA256,
        .form = HOOK_FORM_ANY,
        .text = "{body}",
        .type = { HEADER("X-Event-Type"), JSON("type"), JSON("event") },
        .key = { HEADER("X-Event-Id"), HEADER("X-Delivery-Id"), JSON("id") },
        .ack_status = 200,
    },
    {
        .kind = "basic",
        .title = "Basic authentication",
        .secret = "user:password as it was given to the sender",
        .proof = HOOK_PROOF_BASIC,
        .signature = { "Authorization" },
        .type = { HEADER("X-Event-Type"), JSON("type"), JSON("event") },
        .key = { HEADER("X-Event-Id"), HEADER("X-Delivery-Id"), JSON("id") },
        .ack_status = 200,
    },
    {
        .kind = "bearer",
        .title = "Bearer token",
        .secret = "the token that was given to the sender",
        .proof = HOOK_PROOF_BEARER,
        .signature = { "Authorization" },
        .type = { HEADER("X-Event-Type"), JSON("type"), JSON("event") },
        .key = { HEADER("X-Event-Id"), HEADER("X-Delivery-Id"), JSON("id") },
        .ack_status = 200,
    },
};

const struct hook_scheme *hook_schemes(size_t *n)
{
    *n = sizeof rows / sizeof *rows;
    return rows;
}

const struct hook_scheme *hook_scheme_find(struct str kind)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(kind, str_of(rows[i].kind)))
            return &rows[i];
    return NULL;
}
