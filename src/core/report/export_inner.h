/* The object behind struct exports, for its two files: what clients ask (export_ask.c) and the worker
 * (export_run.c). The lock guards the queue and nothing else; no store call is made under it. */
#ifndef TESSERA_CORE_REPORT_EXPORT_INNER_H
#define TESSERA_CORE_REPORT_EXPORT_INNER_H

#include <pthread.h>

#include "export.h"

struct exports {
    struct store *store;
    struct usage *usage;
    int64_t usage_days;
    struct str dir, home;
    struct arena arena; /* x itself lives in it */
    pthread_t thread;
    bool is_started;
    atomic_int stop; /* the ctx of the worker looks at it */
    atomic_bool is_packing;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct export_job *first, *last; /* under lock */
    int n_waiting;                   /* under lock; with those being added */
};

/* <dir>/<id><end>, NUL-terminated, in cx. */
struct str export_path(struct ctx *cx, const struct exports *x, struct str id, const char *end);
void export_job_free(struct export_job *job);

#endif
