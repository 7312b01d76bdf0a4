/* What is asked of usage over time and what is answered: the field tables. See usage_series.h. */
#include "usage_inner.h"
#include "usage_series.h"

static const char *const bucket_words[] = { "minute", "hour", "day", "month", NULL };
static const char *const class_words[] = { "2xx", "3xx", "4xx", "5xx", NULL };

#define ASK(param, kind, low, high, list, text)                                                    \
    {                                                                                              \
        .name = #param, .type = kind, .offset = offsetof(struct usage_span, param), .min = low,    \
        .max = high, .words = list, .doc = text                                                    \
    }
static const struct field span_fields[] = {
    ASK(from, F_TIME, 0, 0, NULL,
        "Begin, rounded down to a bucket (default: one hour, one day, 30 days or a year before the end)"),
    ASK(to, F_TIME, 0, 0, NULL, "End, rounded up to a bucket (default: now)"),
    ASK(bucket, F_ENUM, 0, 0, bucket_words,
        "Length of a bucket (default hour); minutes are kept for 7 days, hours for 90, days for "
        "400, months for ever"),
    ASK(key_id, F_UUID, 0, 0, NULL, "Requests of this API key"),
    ASK(route, F_STR, 1, 300, NULL,
        "Pattern of the route: /v1/tickets/{ticket_id}, or with the method before it"),
    ASK(status_class, F_ENUM, 0, 0, class_words, "Answers of this class"),
};
const struct rec rec_usage_span =
    REC("UsageSpan", struct usage_span, span_fields, "A range of time.");

static const struct field period_fields[] = {
    ASK(from, F_TIME, 0, 0, NULL,
        "Begin, rounded down to the bucket of the answer (default: a day before the end)"),
    ASK(to, F_TIME, 0, 0, NULL, "End, rounded up to the bucket of the answer (default: now)"),
};
const struct rec rec_usage_period =
    REC("UsagePeriod", struct usage_span, period_fields, "A range of time.");

#define SHOW(shown, kind, member, flag, text)                                                      \
    {                                                                                              \
        .name = shown, .type = kind, .offset = offsetof(struct usage_group, member),               \
        .flags = flag, .doc = text                                                                 \
    }
#define SHOW_COUNTS                                                                                \
    SHOW("requests", F_INT, requests, 0, "Requests, refused ones included"),                       \
        SHOW("errors", F_INT, errors, 0, "Those that were answered with 4xx or 5xx"),              \
        SHOW("rate_limited", F_INT, limited, 0, "Those that were refused with 429")
#define SHOW_TIMES                                                                                 \
    SHOW("average_us", F_INT, average_us, F_NULLABLE,                                              \
         "Mean response time, microseconds; null when nothing was asked"),                         \
        SHOW("p95_us", F_INT, p95_us, F_NULLABLE, "95th percentile of it, microseconds")

static const struct field point_fields[] = {
    SHOW("at", F_TIME, bucket_ms, 0, "Begin of the bucket"), SHOW_COUNTS, SHOW_TIMES
};
const struct rec rec_usage_point =
    REC("UsagePoint", struct usage_group, point_fields, "Requests of one bucket.");

static const struct field route_fields[] = {
    SHOW("route", F_STR, key, 0, "Method and pattern of the route"),
    SHOW_COUNTS,
    SHOW("status_2xx", F_INT, ok, 0, "Answered with 2xx"),
    SHOW("status_3xx", F_INT, redirects, 0, "Answered with 3xx"),
    SHOW("status_4xx", F_INT, client, 0, "Answered with 4xx, 429 included"),
    SHOW("status_5xx", F_INT, server, 0, "Answered with 5xx"),
    SHOW_TIMES,
};
const struct rec rec_usage_route =
    REC("UsageRoute", struct usage_group, route_fields, "Requests of one route.");

static const struct field top_fields[] = {
    SHOW("key_id", F_UUID, key, 0, "The API key"),
    SHOW("name", F_STR, name, F_NULLABLE, "Its name"),
    SHOW_COUNTS,
    SHOW_TIMES,
};
const struct rec rec_usage_top_key =
    REC("UsageTopKey", struct usage_group, top_fields, "Requests of one API key.");

static const struct field country_fields[] = {
    SHOW("country", F_STR, key, F_NULLABLE,
         "ISO 3166-1 alpha-2 code; null: addresses of no known country"),
    SHOW("requests", F_INT, requests, 0, "Requests, refused ones included"),
    SHOW("errors", F_INT, errors, 0, "Those that were answered with 4xx or 5xx"),
};
const struct rec rec_usage_country =
    REC("UsageCountry", struct usage_group, country_fields, "Requests from one country.");

#define SERIES(shown, kind, member, list, inner, text)                                             \
    {                                                                                              \
        .name = shown, .type = kind, .offset = offsetof(struct usage_series, member),              \
        .words = list, .of = inner, .doc = text                                                    \
    }
#define SERIES_HEAD                                                                                \
    SERIES("from", F_TIME, from_ms, NULL, NULL, "Begin of the first bucket"),                      \
        SERIES("to", F_TIME, to_ms, NULL, NULL, "End of the last bucket"),                         \
        SERIES("bucket", F_ENUM, bucket, bucket_words, NULL, "Length of the buckets")

static const struct field timeseries_fields[] = {
    SERIES_HEAD, SERIES("data", F_RECS, data, NULL, &rec_usage_point,
                        "Every bucket, empty ones too, in order "
                        "of time")
};
const struct rec rec_usage_timeseries =
    REC("UsageTimeseries", struct usage_series, timeseries_fields, "Requests over time.");

static const struct field routes_fields[] = { SERIES_HEAD,
                                              SERIES("data", F_RECS, data, NULL, &rec_usage_route,
                                                     "The routes, busiest first (at most 1,000)") };
const struct rec rec_usage_routes =
    REC("UsageRoutes", struct usage_series, routes_fields, "Requests by route and status class.");

static const struct field countries_fields[] = {
    SERIES_HEAD,
    SERIES("is_configured", F_BOOL, is_configured, NULL, NULL,
           "The server has a database of countries (geo_database)"),
    SERIES("data", F_RECS, data, NULL, &rec_usage_country, "The countries, busiest first"),
};
const struct rec rec_usage_countries =
    REC("UsageCountries", struct usage_series, countries_fields, "Requests by country.");
