/* The table of settings: see settings.h. docs/config.md and `tessera config --explain` are made
 * from it. */
#include "settings.h"

#include <stddef.h>

static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const jwt_roles[] = { "viewer", "agent", NULL };
static const char *const log_formats[] = { "text", "json", NULL };

#define S(key, member, type, flags, def, doc)                                                      \
    {                                                                                              \
        key, type, flags, offsetof(struct conf, member), def, 0, 0, NULL, doc                      \
    }
#define N(key, member, def, min, max, doc)                                                         \
    {                                                                                              \
        key, CONF_INT, 0, offsetof(struct conf, member), def, min, max, NULL, doc                  \
    }
#define W(key, member, flags, def, words, doc)                                                     \
    {                                                                                              \
        key, CONF_STR, flags, offsetof(struct conf, member), def, 0, 0, words, doc                 \
    }

static const struct conf_row rows[] = {
    S("listen", listen, CONF_STR, 0, "127.0.0.1:8080",
      "Address and port to listen on; port 0 picks a free one."),
    S("database", database, CONF_STR, CONF_SECRET, "sqlite:tessera.db",
      "sqlite:PATH, or postgresql://user:password@host/name (any libpq URI)."),
    S("master_key", master_key, CONF_KEY, CONF_SECRET, NULL,
      "32 random bytes as 64 hex digits or base64, or a file that holds them: it wraps every key "
      "that the server keeps. Without it no secrets are stored and list cursors end with the "
      "process."),
    S("master_key_previous", master_key_previous, CONF_KEY, CONF_SECRET, NULL,
      "The master key before, in the same form: keys that are still wrapped under it are opened. "
      "Needed until `tessera vault rotate --master` has run."),
    S("tls_cert", tls_cert, CONF_STR, 0, NULL,
      "PEM file with the certificate chain; TLS is on when it and tls_key are set. Read again "
      "on SIGHUP."),
    S("tls_key", tls_key, CONF_STR, 0, NULL,
      "PEM file with the private key. Read again on SIGHUP."),
    W("log_level", log_level, CONF_RELOAD, "info", log_levels,
      "Least severe lines that are written."),
    W("log_format", log_format, 0, "text", log_formats, "Form of the log lines on stderr."),
    S("trusted_proxies", trusted_proxies, CONF_CIDRS, 0, NULL,
      "Addresses or CIDRs of reverse proxies whose X-Forwarded-For is believed (comma separated)."),
    S("cors_origins", cors_origins, CONF_STR, 0, NULL,
      "Origins that browsers may call from (comma separated), or *; empty allows none."),
    N("event_threads", event_threads, "2", 1, 64, "Threads that read requests and send answers."),
    N("max_connections", max_connections, "10000", 16, 1000000,
      "Open connections over all; more wait to be accepted."),
    N("max_connections_per_ip", max_connections_per_ip, "0", 0, 1000000,
      "Open connections of one peer address; 0 = no limit (behind a "
      "proxy all have its address)."),
    N("header_timeout_s", header_timeout_s, "10", 1, 3600,
      "Time for the request line and the headers to arrive, in seconds."),
    N("body_timeout_s", body_timeout_s, "30", 1, 3600, "Time for the body to arrive, in seconds."),
    N("idle_timeout_s", idle_timeout_s, "60", 1, 3600,
      "How long a quiet connection is kept open, in seconds."),
    N("send_timeout_s", send_timeout_s, "60", 1, 3600,
      "Time for the client to take the answer, in seconds."),
    N("drain_timeout_s", drain_timeout_s, "8", 1, 600,
      "How long running requests may go on after SIGTERM, in seconds."),
    N("bad_token_limit", bad_token_limit, "60", 0, 1000000,
      "Wrong tokens accepted from one address a minute before it is answered 429; 0 "
      "= no limit."),
    { "usage_payload", CONF_BOOL, 0, offsetof(struct conf, usage_payload), "true", 0, 0, NULL,
      "Keep the (redacted) bodies of POST and PATCH in the usage log." },
    N("usage_detail_days", usage_detail_days, "30", 1, 3650,
      "Days the usage log keeps each request; the counts are kept longer."),
    N("usage_buffer", usage_buffer, "65536", 1024, 10000000,
      "Requests that may wait to be written to the usage log; past it only counts "
      "are kept."),
    N("pg_writers", pg_writers, "2", 1, 16,
      "PostgreSQL connections that write, each with group commit."),
    N("pg_readers", pg_readers, "8", 1, 64, "PostgreSQL connections that read."),
    N("queue_max", queue_max, "20000", 64, 10000000,
      "Writes that may wait for the store; more are answered 503."),
    { "first_run", CONF_BOOL, 0, offsetof(struct conf, first_run), "false", 0, 0, NULL,
      "On an empty database make an admin and a token and print them once (make run sets it)." },
    { "x_ratelimit_headers", CONF_BOOL, 0, offsetof(struct conf, x_ratelimit_headers), "false", 0,
      0, NULL, "Also send X-RateLimit-Limit, -Remaining and -Reset." },
    S("public_url", public_url, CONF_STR, 0, NULL,
      "Address that users reach the server at, for links in mails: https://tessera.example.com. "
      "An https one also makes cookies Secure."),
    S("tmp_dir", tmp_dir, CONF_STR, 0, "/tmp",
      "Folder for exports and uploads on their way; the files have no name there."),
    N("slow_threads", slow_threads, "4", 1, 64,
      "Threads for what takes long: password checks, reports, exports, attachments."),
    N("job_workers", job_workers, "4", 0, 64,
      "Jobs that run in the background at once; 0 = none on this node, others do them."),
    N("job_lease_s", job_lease_s, "60", 2, 3600,
      "How long a job waits for a node that was killed before another one takes it over, in "
      "seconds."),
    N("job_done_days", job_done_days, "7", 1, 3650, "Days that done and cancelled jobs are kept."),
    N("job_dead_days", job_dead_days, "90", 1, 3650,
      "Days that jobs which failed for good are kept, with their reason."),
    N("webhook_calls", webhook_calls, "256", 0, 512,
      "Deliveries of webhooks that this node sends at once; 0 = none, others send them."),
    N("webhook_timeout_s", webhook_timeout_s, "15", 1, 30,
      "Seconds that the receiver of a webhook has to answer."),
    N("webhook_lease_s", webhook_lease_s, "60", 2, 600,
      "How long a delivery waits for a node that was killed while it sent it before another one "
      "sends it again, in seconds. No attempt lasts longer."),
    N("webhook_days", webhook_days, "30", 15, 3650,
      "Days that events, deliveries and attempts of webhooks are kept."),
    N("webhook_wait_percent", webhook_wait_percent, "100", 1, 100,
      "Waits between attempts of a webhook, in percent of the schedule; less is for tests."),
    N("session_idle_minutes", session_idle_minutes, "720", 1, 525600,
      "A session without a request for this long ends."),
    N("session_max_hours", session_max_hours, "720", 1, 8760,
      "A session ends this long after its sign-in, used or not."),
    N("sign_in_limit", sign_in_limit, "10", 1, 100000,
      "Failed sign-ins of one account from one address in 15 minutes before further ones are "
      "answered 429; an address alone may fail ten times as often."),
    S("smtp_url", smtp_url, CONF_STR, 0, NULL,
      "Mail server for reset links, invitations, scheduled reports and reminders: smtp://host:587 (STARTTLS is required unless "
      "the host is this machine) or smtps://host:465. Unset: nothing is mailed."),
    S("smtp_from", smtp_from, CONF_STR, 0, NULL, "Sender address of the mails."),
    S("smtp_user", smtp_user, CONF_STR, 0, NULL, "User name at the mail server."),
    S("smtp_password", smtp_password, CONF_STR, CONF_SECRET, NULL, "Password at the mail server."),
    N("report_mail_kb", report_mail_kb, "10240", 0, 102400,
      "Largest file of a scheduled report that a mail carries, in KiB; of a larger one it says where "
      "it is."),
    S("jwt_issuer", jwt_issuer, CONF_STR, 0, NULL,
      "The iss of bearer JWTs that are accepted as users (a Supabase project, any OIDC provider); "
      "unset: none are."),
    S("jwt_audience", jwt_audience, CONF_STR, 0, NULL,
      "The aud that such a token must have; needed with jwt_issuer."),
    S("jwt_secret", jwt_secret, CONF_STR, CONF_SECRET, NULL,
      "Shared secret of HS256 tokens (at least 32 bytes). Either this or jwt_jwks."),
    S("jwt_jwks", jwt_jwks, CONF_STR, 0, NULL,
      "https:// address or file of the issuer's key set (RS256, ES256). Read again every 5 minutes "
      "and when a token names a new key."),
    N("jwt_skew_s", jwt_skew_s, "60", 0, 600,
      "How far the issuer's clock may be off when times of a token are checked, in seconds."),
    { "jwt_trust_email", CONF_BOOL, 0, offsetof(struct conf, jwt_trust_email), "false", 0, 0, NULL,
      "Take the issuer's e-mail addresses as verified even when the token does not say so: only for "
      "issuers that sign nobody in before the address is confirmed (Supabase with Confirm email)." },
    W("jwt_role", jwt_role, 0, NULL, jwt_roles,
      "viewer or agent: a verified user of the issuer whom nobody knows yet is added to the default "
      "team with it; unset: unknown users are refused."),
    S("geo_database", geo_database, CONF_STR, 0, NULL,
      "MaxMind country or city database file (.mmdb), for usage by country."),
    S("attachment_dir", attachment_dir, CONF_STR, 0, NULL,
      "Folder of the attachments; unset: beside the SQLite file. Not used with s3_bucket."),
    N("attachment_max_mb", attachment_max_mb, "25", 1, 5120, "Largest attachment, in MiB."),
    S("attachment_types", attachment_types, CONF_STR, 0, NULL,
      "Media types that may be attached (comma separated, image/* for a family); unset: all."),
    S("s3_endpoint", s3_endpoint, CONF_STR, 0, NULL,
      "Address of an S3-compatible store for attachments: https://s3.eu-central-1.amazonaws.com."),
    S("s3_region", s3_region, CONF_STR, 0, "us-east-1", "Region of the S3 store."),
    S("s3_bucket", s3_bucket, CONF_STR, 0, NULL, "Bucket for attachments; set to use S3."),
    S("s3_access_key", s3_access_key, CONF_STR, 0, NULL, "Access key of the S3 store."),
    S("s3_secret_key", s3_secret_key, CONF_STR, CONF_SECRET, NULL, "Secret key of the S3 store."),
    S("egress_allow", egress_allow, CONF_STR, 0, NULL,
      "What teams may have called although it is not the public internet: addresses, CIDRs, names and "
      "*.name (comma separated). See docs/egress.md."),
    S("egress_proxy", egress_proxy, CONF_STR, CONF_SECRET, NULL,
      "Proxy for outbound calls: http://[user:password@]host:port, https:// or socks5://. Unset: "
      "none, whatever http_proxy says."),
    S("egress_ca_file", egress_ca_file, CONF_STR, 0, NULL,
      "PEM file with the certificates that outbound calls trust instead of the system's."),
    N("egress_host_calls", egress_host_calls, "16", 1, 256,
      "Outbound calls that run at once to one host; a host that fails gets fewer."),
    N("egress_host_rate", egress_host_rate, "0", 0, 100000,
      "Outbound calls to one host a second; 0 = no limit."),
    N("egress_log_days", egress_log_days, "30", 1, 3650,
      "Days the log of outbound requests keeps each of them."),
    N("hook_body_max_kb", hook_body_max_kb, "5120", 64, 10240,
      "Largest webhook that is taken, in KiB."),
    N("hook_refused_limit", hook_refused_limit, "60", 0, 60000,
      "Webhooks that do not hold which one address may send to one integration in a minute before "
      "it is answered 429; 0 = no limit."),
    N("hook_payload_days", hook_payload_days, "14", 1, 3650,
      "Days that received webhooks are kept with their bodies."),
    N("hook_seen_days", hook_seen_days, "30", 1, 3650,
      "Days that the ids of received webhooks are remembered, to know a second delivery; at least "
      "a day longer than hook_payload_days."),
    N("hook_store_mb", hook_store_mb, "1024", 1, 1048576,
      "Received webhooks of one team that are kept, in MiB; past it the oldest go first."),
    N("sync_run_days", sync_run_days, "90", 1, 3650, "Days that reported runs of syncs are kept."),
};
const struct conf_table conf_table = { rows, sizeof rows / sizeof *rows, sizeof(struct conf) };
