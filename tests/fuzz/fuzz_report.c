/* Any text as a definition, filters or a time: what is taken is shown in a form that reads as the
 * same, and makes a statement without a value in it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/report/report_run.h"

#define NOW INT64_C(1774656000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_def(struct ctx *cx, struct str text)
{
    static const struct caller who = { .team_id = { "team", 4 } };
    struct report_def *a = ARENA_NEW(&cx->arena, struct report_def);
    struct report_def *b = ARENA_NEW(&cx->arena, struct report_def);
    struct report_plan *p = ARENA_NEW(&cx->arena, struct report_plan);
    struct report_ask ask = { .def = a, .who = &who, .now_ms = NOW };

    if (report_def_parse(cx, text, "definition", NOW, a)) {
        BUG_IF(!cx->err);
        return;
    }
    BUG_IF(report_def_parse(cx, a->text, "definition", NOW, b) || !str_eq(a->text, b->text));
    BUG_IF(!a->n_measures || a->n_measures > REPORT_MEASURES_MAX || a->limit < 1);
    if (report_plan_make(cx, &ask, p))
        return;
    BUG_IF(p->sql.n == 0 || strlen(p->sql.p) + 1 != p->sql.n);
    BUG_IF(strchr(p->sql.p, ';') || strchr(p->sql.p, '"'));
}

static void check_filters(struct ctx *cx, struct str text)
{
    struct report_def *d = ARENA_NEW(&cx->arena, struct report_def);

    for (size_t i = 0; i <= REPORT_SOURCES; i++) {
        const struct report_source *s =
            i < REPORT_SOURCES ? &report_sources[i] : &report_source_log;
        if (!report_filters_parse(cx, s, text, NOW, d))
            for (size_t k = 0; k < d->n_filters; k++)
                BUG_IF(!d->filters[k].field || !d->filters[k].n);
        ctx_clear(cx);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct report_when when;
    struct ctx cx;

    ctx_init(&cx, (size_t)64 << 20);
    if (!report_when_parse(&cx, text, STR("from"), &when) && size)
        BUG_IF(when.is_relative && report_when_ms(&when, NOW) > NOW);
    ctx_clear(&cx);
    check_def(&cx, text);
    ctx_clear(&cx);
    check_filters(&cx, text);
    ctx_done(&cx);
    return 0;
}
