/* Fuzz target: named limits of an API key, and the form of its secret. What is accepted keeps the
 * promises of token_window.h, prints to a list that reads back the same, and its windows never
 * grant more than they may. */
#include <stdint.h>

#include "base/ctx.h"
#include "core/token_key.h"
#include "core/token_window.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_window(const struct window_rule *r)
{
    struct window w = { 0 };
    int64_t now = 40 * r->window_ms;
    for (int i = 0; i < 40; i++, now += r->window_ms / 7 + 1) {
        window_move(&w, r->window_ms, now);
        bool is_open = window_used(&w, r->window_ms, now) < r->requests;
        int64_t wait = window_wait_ms(&w, r->window_ms, r->requests, now);
        BUG_IF(is_open != (wait == 0));
        if (is_open)
            w.running++;
        BUG_IF(w.running > r->requests);
    }
}

static void check_rules(struct ctx *cx, struct str text)
{
    struct window_rules rules, again;
    struct window_bad bad;
    if (!window_rules_parse(cx, text, &rules, &bad)) {
        BUG_IF(!bad.why);
        return;
    }
    BUG_IF(rules.n > WINDOW_RULES_MAX);
    struct str printed = window_rules_json(cx, &rules);
    BUG_IF(!window_rules_parse(cx, printed, &again, &bad) || again.n != rules.n);
    for (size_t i = 0; i < rules.n; i++) {
        BUG_IF(!str_eq(rules.v[i].name, again.v[i].name));
        BUG_IF(rules.v[i].requests != again.v[i].requests);
        BUG_IF(rules.v[i].window_ms != again.v[i].window_ms);
        check_window(&rules.v[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    check_rules(&cx, text);
    if (token_secret_is_formed(text))
        BUG_IF(text.n != TOKEN_SECRET_LEN && text.n != TOKEN_PLAIN_LEN);
    ctx_done(&cx);
    return 0;
}
