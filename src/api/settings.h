/* The settings of the program: one struct, one table (settings.c). To add one: a member here, a row
 * there, a test. */
#ifndef TESSERA_API_SETTINGS_H
#define TESSERA_API_SETTINGS_H

#include "../base/conf.h"

struct conf {
    struct str listen, database, master_key, master_key_previous;
    struct str tls_cert, tls_key;
    struct str log_level, log_format;
    struct str trusted_proxies, cors_origins;
    int64_t event_threads, max_connections, max_connections_per_ip;
    int64_t header_timeout_s, body_timeout_s, idle_timeout_s, send_timeout_s, drain_timeout_s;
    int64_t bad_token_limit;
    int64_t usage_payload, usage_detail_days, usage_buffer;
    int64_t pg_writers, pg_readers, queue_max;
    int64_t first_run;
    int64_t x_ratelimit_headers;
    struct str public_url, tmp_dir;
    int64_t slow_threads;
    int64_t session_idle_minutes, session_max_hours, sign_in_limit;
    struct str smtp_url, smtp_from, smtp_user, smtp_password;
    int64_t report_mail_kb;
    struct str jwt_issuer, jwt_audience, jwt_secret, jwt_jwks, jwt_role;
    int64_t jwt_skew_s, jwt_trust_email;
    int64_t job_workers, job_lease_s, job_done_days, job_dead_days;
    int64_t webhook_calls, webhook_timeout_s, webhook_lease_s, webhook_days, webhook_wait_percent;
    struct str geo_database;
    struct str attachment_dir, attachment_types;
    int64_t attachment_max_mb;
    struct str s3_endpoint, s3_region, s3_bucket, s3_access_key, s3_secret_key;
    struct str egress_allow, egress_proxy, egress_ca_file;
    int64_t egress_host_calls, egress_host_rate, egress_log_days;
    int64_t hook_body_max_kb, hook_refused_limit, hook_payload_days, hook_seen_days, hook_store_mb;
    int64_t sync_run_days;
};
extern const struct conf_table conf_table;

#endif
