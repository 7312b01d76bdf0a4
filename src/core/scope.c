/* The table of actions: scope words, roles, and what a caller sees. Stateless; any thread. */
#include "../base/ctx.h"
#include "../store/db.h"
#include "caller.h"

const char *const scope_words[] = {
#define SCOPE_WORD(name, wire, role, doc) wire,
    SCOPE_TABLE(SCOPE_WORD)
#undef SCOPE_WORD
        NULL,
};

#define ACTION_ROW(name, wire, role, doc) { wire, ROLE_##role, doc },
const struct action_row action_rows[] = { ACTION_TABLE(ACTION_ROW) };
#undef ACTION_ROW

const char *const role_words[] = { "viewer", "agent", "admin", "owner", NULL };

uint64_t scope_parse(struct str word)
{
    uint64_t mask = 0;
    bool is_wild = word.n > 2 && word.p[word.n - 1] == '*' && word.p[word.n - 2] == ':';
    struct str noun = str_sub(word, 0, word.n ? word.n - 1 : 0);
    for (int i = 0; i < SCOPE_BITS; i++) {
        struct str s = str_of(scope_words[i]);
        if (is_wild ? i != SCOPE_BIT_ADMIN_FULL && str_starts(s, noun) : str_eq(s, word))
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

/* The stored form is our own printing: a flat array of words without escapes. */
uint64_t scopes_of_json(struct str json)
{
    uint64_t mask = 0;
    struct str rest = json;
    str_cut(&rest, '"');
    while (rest.p) {
        mask |= scope_parse(str_cut(&rest, '"'));
        str_cut(&rest, '"');
    }
    return mask;
}

struct str scopes_json(struct arena *a, uint64_t mask)
{
    struct buf b;
    buf_init(&b, a, 1024);
    buf_char(&b, '[');
    for (int i = 0; i < ACTION_BITS; i++) {
        if (!(mask >> i & 1))
            continue;
        buf_lit(&b, b.n > 1 ? ",\"" : "\"");
        buf_lit(&b, action_rows[i].wire);
        buf_char(&b, '"');
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

enum role role_of(struct str word)
{
    for (int i = 0; role_words[i]; i++)
        if (str_eq(word, str_of(role_words[i])))
            return (enum role)(ROLE_VIEWER + i);
    return ROLE_NONE;
}

struct str role_word(enum role r)
{
    return r == ROLE_NONE ? STR("") : str_of(role_words[r - ROLE_VIEWER]);
}

uint64_t role_actions(enum role r)
{
    uint64_t mask = 0;
    for (int i = 0; r != ROLE_NONE && i < ACTION_BITS; i++)
        if (action_rows[i].least <= r)
            mask |= UINT64_C(1) << i;
    return mask;
}

enum role role_least(uint64_t need)
{
    enum role least = ROLE_VIEWER;
    for (int i = 0; i < ACTION_BITS; i++)
        if ((need >> i & 1) && action_rows[i].least > least)
            least = action_rows[i].least;
    return least;
}

struct str caller_sees(const struct caller *who)
{
    bool is_all =
        !who->token_id.p || (!who->is_own_only && scope_granted(who->scopes, SCOPE(ADMIN_FULL)));
    return is_all ? STR("") : who->token_id;
}

void caller_scope(struct db *db, const struct caller *who)
{
    db_scope(db, who->team_id, caller_sees(who));
}

struct str caller_subject(const struct caller *who)
{
    return who->token_id.p ? who->token_id : who->user_id.p ? who->user_id : STR("");
}

const char *caller_kind(const struct caller *who)
{
    if (who->is_server)
        return "server";
    return who->token_id.p ? "key" : who->user_id.p ? "user" : "cli";
}

struct str caller_name(const struct caller *who)
{
    struct str s = who->token_id.p ? who->token_name : who->user_name;
    return s.p ? s : STR("");
}
