/* Settings from one table: defaults, file, environment, flags, each over the one before.
 *
 * Flags are taken out of argv first (one names the file) and applied last. A value is checked at
 * every source that gives it, also when a later one replaces it. Names in the environment that
 * start with TESSERA_ must be settings, so that a misspelt one is not silently ignored, but for
 * those in not_settings. In the file `#` starts a comment only at the head of a line, as values may
 * hold one. All texts live in the ctx that was given. Start-up only. */
#include "conf.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "crypt.h"
#include "net.h"

#define ENV_PREFIX STR("TESSERA_")
#define FILE_MAX ((size_t)64 << 10)
#define KEY_FILE_MAX ((size_t)4096)
#define KEY_NAME_MAX 64
#define FLAGS_MAX 128
#define KEY_BYTES 32

static const char *const not_settings[] = { "TESSERA_FAULT", "TESSERA_CONFIG", "TESSERA_BIN" };
static const char *const source_names[] = { "default", "file", "environment", "flag" };

struct load { /* one conf_load in progress */
    struct ctx *cx;
    const struct conf_table *t;
    void *out;
    enum conf_source *sources;
};

struct given {                  /* a flag that was taken out of argv */
    const struct conf_row *row; /* NULL = --config */
    struct str name, value;
};

static void *member(const struct conf_row *r, void *out)
{
    return (char *)out + r->offset;
}

static bool is_secret(const struct conf_row *r)
{
    return r->flags & CONF_SECRET || r->type == CONF_KEY;
}

static const struct conf_row *find(const struct conf_table *t, struct str key)
{
    for (size_t i = 0; i < t->n; i++) {
        if (str_eq(str_of(t->rows[i].key), key))
            return &t->rows[i];
    }
    return NULL;
}

/* Map "LOG_LEVEL" or "log-level" to "log_level"; STR_NONE when it cannot be a key. `from_dash` says
 * which of the two forms it is. */
static struct str key_of(struct str name, bool from_dash, char out[KEY_NAME_MAX])
{
    if (name.n == 0 || name.n > KEY_NAME_MAX)
        return STR_NONE;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (from_dash ? c == '_' || (c >= 'A' && c <= 'Z') : c == '-' || (c >= 'a' && c <= 'z'))
            return STR_NONE;
        out[i] = c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return (struct str){ out, name.n };
}

/* Read a whole small file; false when it cannot be read or is larger than max. */
static bool read_file(struct ctx *cx, struct str path, size_t max, struct str *out)
{
    int fd = open(str_cstr(&cx->arena, path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char *p = arena_alloc(&cx->arena, max + 1);
    size_t n = 0;
    ssize_t got = -1;

    if (fd < 0)
        return false;
    while (n <= max) {
        got = read(fd, p + n, max + 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (got != 0)
        return false;
    *out = (struct str){ p, n };
    return true;
}

static bool bool_parse(struct str s, int64_t *out)
{
    static const char *const words[] = { "false", "true", "0", "1", "no", "yes", "off", "on" };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (str_eq_nocase(s, str_of(words[i]))) {
            *out = (int64_t)(i % 2);
            return true;
        }
    }
    return false;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F)
            return true;
    }
    return false;
}

static bool is_word(const struct conf_row *r, struct str s)
{
    for (const char *const *w = r->words; *w; w++) {
        if (str_eq(str_of(*w), s))
            return true;
    }
    return false;
}

/* The words of a row (or its range), for messages and documents. */
static void put_words(struct buf *b, const struct conf_row *r)
{
    for (const char *const *w = r->words; *w; w++) {
        if (w != r->words)
            buf_lit(b, ", ");
        buf_lit(b, *w);
    }
}

static bool has_range(const struct conf_row *r)
{
    return r->min != 0 || r->max != 0;
}

/* Each setter returns NULL or what the value must be. */
static const char *set_text(struct load *l, const struct conf_row *r, struct str v)
{
    struct buf b;

    if (has_control(v))
        return "must not hold control characters";
    if (r->words && !is_word(r, v)) {
        buf_init(&b, &l->cx->arena, 1024);
        buf_lit(&b, "must be one of ");
        put_words(&b, r);
        return str_cstr(&l->cx->arena, buf_view(&b));
    }
    *(struct str *)member(r, l->out) = str_dup(&l->cx->arena, v);
    return NULL;
}

static const char *set_int(struct load *l, const struct conf_row *r, struct str v)
{
    int64_t n;

    if (!str_to_i64(v, &n))
        return "must be a whole number";
    if (has_range(r) && (n < r->min || n > r->max))
        return str_printf(&l->cx->arena, "must be from %lld to %lld", (long long)r->min,
                          (long long)r->max)
            .p;
    *(int64_t *)member(r, l->out) = n;
    return NULL;
}

static const char *set_bool(struct load *l, const struct conf_row *r, struct str v)
{
    return bool_parse(v, member(r, l->out)) ? NULL : "must be true or false";
}

static const char *set_cidrs(struct load *l, const struct conf_row *r, struct str v)
{
    struct cidrs list;
    struct str bad;

    if (has_control(v))
        return "must not hold control characters";
    if (!cidrs_parse(&l->cx->arena, v, &list, &bad))
        return str_printf(&l->cx->arena,
                          "must list addresses and networks; \"" STR_FMT "\" is neither",
                          STR_ARG(str_sub(bad, 0, 64)))
            .p;
    *(struct str *)member(r, l->out) = str_dup(&l->cx->arena, v);
    return NULL;
}

static const char *set_key(struct load *l, const struct conf_row *r, struct str v)
{
    unsigned char key[KEY_BYTES];
    struct str text = v;

    if (!crypt_key_of(v, key)) {
        if (v.n == 0 || has_control(v) || !read_file(l->cx, v, KEY_FILE_MAX, &text) ||
            !crypt_key_of(str_trim(text), key))
            return "must be 64 hex digits, or 32 bytes as base64, or a file that holds them";
    }
    *(struct str *)member(r, l->out) = hex_of(&l->cx->arena, key, sizeof(key));
    return NULL;
}

/* `where` names the place for the message: "TESSERA_LISTEN", "--listen", "file:3". */
static enum err_code set(struct load *l, const struct conf_row *r, struct str v,
                         enum conf_source source, struct str where)
{
    static const char *(*const setters[])(struct load *, const struct conf_row *, struct str) = {
        [CONF_STR] = set_text,    [CONF_INT] = set_int, [CONF_BOOL] = set_bool,
        [CONF_CIDRS] = set_cidrs, [CONF_KEY] = set_key,
    };
    const char *problem = setters[r->type](l, r, v);

    if (!problem) {
        if (l->sources)
            l->sources[r - l->t->rows] = source;
        return ERR_NONE;
    }
    if (is_secret(r)) /* the value may be a mistyped secret */
        return fail(l->cx, USAGE, "%s (%s " STR_FMT ") %s", r->key, source_names[source],
                    STR_ARG(where), problem);
    return fail(l->cx, USAGE, "%s (%s " STR_FMT ") %s (given: \"" STR_FMT "\")", r->key,
                source_names[source], STR_ARG(where), problem, STR_ARG(str_sub(v, 0, 100)));
}

static enum err_code load_defaults(struct load *l)
{
    for (size_t i = 0; i < l->t->n; i++) {
        const struct conf_row *r = &l->t->rows[i];
        enum err_code e;

        if (l->sources)
            l->sources[i] = CONF_DEFAULT;
        if (!r->def)
            continue;
        e = set(l, r, str_of(r->def), CONF_DEFAULT, str_of(r->key));
        if (e)
            return e;
    }
    return ERR_NONE;
}

static enum err_code load_file(struct load *l, struct str path)
{
    struct str rest;
    int line = 0;

    if (!read_file(l->cx, path, FILE_MAX, &rest))
        return fail(l->cx, USAGE, "The settings file \"" STR_FMT "\" cannot be read",
                    STR_ARG(str_sub(path, 0, 200)));
    while (rest.p) {
        struct str value = str_trim(str_cut(&rest, '\n'));
        struct str where, key;
        const struct conf_row *r;
        enum err_code e;

        line++;
        if (value.n == 0 || value.p[0] == '#')
            continue;
        where = str_printf(&l->cx->arena, STR_FMT ":%d", STR_ARG(str_sub(path, 0, 200)), line);
        key = str_trim(str_cut(&value, '='));
        if (!value.p)
            return fail(l->cx, USAGE, STR_FMT ": a line must be `key = value`", STR_ARG(where));
        r = find(l->t, key);
        if (!r)
            return fail(l->cx, USAGE, STR_FMT ": there is no setting \"" STR_FMT "\"",
                        STR_ARG(where), STR_ARG(str_sub(key, 0, KEY_NAME_MAX)));
        e = set(l, r, str_trim(value), CONF_FILE, where);
        if (e)
            return e;
    }
    return ERR_NONE;
}

static bool is_setting_name(struct str name)
{
    if (!str_starts(name, ENV_PREFIX) || str_starts(name, STR("TESSERA_TEST_")))
        return false;
    for (size_t i = 0; i < sizeof(not_settings) / sizeof(*not_settings); i++) {
        if (str_eq(name, str_of(not_settings[i])))
            return false;
    }
    return true;
}

static enum err_code load_env(struct load *l, char **env)
{
    for (; env && *env; env++) {
        struct str value = str_of(*env);
        struct str name = str_cut(&value, '=');
        char key[KEY_NAME_MAX];
        const struct conf_row *r;
        enum err_code e;

        if (!value.p || !is_setting_name(name))
            continue;
        r = find(l->t, key_of(str_sub(name, ENV_PREFIX.n, name.n), false, key));
        if (!r)
            return fail(l->cx, USAGE, "There is no setting for the environment variable " STR_FMT,
                        STR_ARG(str_sub(name, 0, 100)));
        e = set(l, r, value, CONF_ENV, name);
        if (e)
            return e;
    }
    return ERR_NONE;
}

/* Which row an argument like "--log-level" or "--no-cors" means; NULL when none. */
static const struct conf_row *flag_row(const struct conf_table *t, struct str name, bool *negated)
{
    char text[KEY_NAME_MAX];
    const struct conf_row *r = find(t, key_of(name, true, text));

    *negated = !r && str_starts(name, STR("no-"));
    if (*negated)
        r = find(t, key_of(str_sub(name, 3, name.n), true, text));
    return *negated && r && r->type != CONF_BOOL ? NULL : r;
}

/* Read the flag at argv[*i]. False when it is not ours; *i is left on the last argument it uses. */
static bool take_flag(struct load *l, char **argv, int *i, struct given *out)
{
    struct str value = str_of(argv[*i]), name;
    bool negated;

    if (!str_starts(value, STR("--")))
        return false;
    value = str_sub(value, 2, value.n);
    name = str_cut(&value, '=');
    out->row = flag_row(l->t, name, &negated);
    if (!out->row && !str_eq(name, STR("config")))
        return false;
    if (negated && value.p) {
        fail(l->cx, USAGE, "--" STR_FMT " takes no value", STR_ARG(name));
    } else if (out->row && out->row->type == CONF_BOOL && !value.p) {
        value = negated ? STR("false") : STR("true");
    } else if (!value.p) {
        value = str_of(argv[*i + 1]);
        if (!value.p || str_starts(value, STR("--")))
            fail(l->cx, USAGE, "--" STR_FMT " needs a value", STR_ARG(name));
        else
            ++*i;
    }
    out->name = name;
    out->value = value;
    return true;
}

/* Take the flags out of argv; `--` and what follows stays. */
static enum err_code take_flags(struct load *l, int *argc, char **argv, struct given *given,
                                size_t *n_given, struct str *config)
{
    int kept = *argc > 0;
    int i = kept;

    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        struct given g;
        int at = i;
        bool is_ours = take_flag(l, argv, &i, &g);

        if (l->cx->err)
            return l->cx->err;
        if (!is_ours)
            argv[kept++] = argv[at];
        else if (!g.row)
            *config = g.value;
        else if (*n_given == FLAGS_MAX)
            return fail(l->cx, USAGE, "There are more than %d flags", FLAGS_MAX);
        else
            given[(*n_given)++] = g;
    }
    for (; i < *argc; i++)
        argv[kept++] = argv[i];
    *argc = kept;
    argv[kept] = NULL;
    return ERR_NONE;
}

static enum err_code apply_flags(struct load *l, const struct given *given, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct given *g = &given[i];

        if (set(l, g->row, g->value, CONF_FLAG, g->name))
            break;
    }
    return l->cx->err;
}

static struct str env_value(char **env, struct str name)
{
    for (; env && *env; env++) {
        struct str value = str_of(*env);

        if (str_eq(str_cut(&value, '='), name))
            return value;
    }
    return STR_NONE;
}

enum err_code conf_load(struct ctx *cx, const struct conf_table *t, int *argc, char **argv,
                        char **env, void *out, enum conf_source *sources)
{
    struct load l = { .cx = cx, .t = t, .out = out, .sources = sources };
    struct given *given = ARENA_ARRAY(&cx->arena, struct given, FLAGS_MAX);
    size_t n_given = 0;
    struct str config = env_value(env, STR("TESSERA_CONFIG"));
    enum err_code e;

    memset(out, 0, t->size);
    e = take_flags(&l, argc, argv, given, &n_given, &config);
    if (!e)
        e = load_defaults(&l);
    if (!e && config.n)
        e = load_file(&l, config);
    if (!e)
        e = load_env(&l, env);
    if (!e)
        e = apply_flags(&l, given, n_given);
    return e;
}

static void put_value(struct buf *b, const struct conf_row *r, const void *conf)
{
    const void *at = (const char *)conf + r->offset;

    bool is_number = r->type == CONF_INT || r->type == CONF_BOOL;

    if (is_secret(r) && (is_number || ((const struct str *)at)->n))
        buf_lit(b, "***");
    else if (r->type == CONF_BOOL)
        buf_lit(b, *(const int64_t *)at ? "true" : "false");
    else if (is_number)
        buf_i64(b, *(const int64_t *)at);
    else
        buf_str(b, *(const struct str *)at);
}

void conf_explain(struct buf *b, const struct conf_table *t, const void *conf,
                  const enum conf_source *sources)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *r = &t->rows[i];

        buf_printf(b, "%s = ", r->key);
        put_value(b, r, conf);
        buf_printf(b, "  (%s)  %s\n", source_names[sources ? sources[i] : CONF_DEFAULT], r->doc);
    }
}

static void put_type(struct buf *b, const struct conf_row *r)
{
    switch (r->type) {
    case CONF_STR:
        if (r->words)
            put_words(b, r);
        else
            buf_lit(b, "text");
        break;
    case CONF_INT:
        buf_lit(b, "whole number");
        if (has_range(r))
            buf_printf(b, ", %lld to %lld", (long long)r->min, (long long)r->max);
        break;
    case CONF_BOOL: buf_lit(b, "true or false"); break;
    case CONF_CIDRS: buf_lit(b, "addresses and networks"); break;
    case CONF_KEY: buf_lit(b, "64 hex digits, 32 bytes as base64, or a file"); break;
    }
}

void conf_markdown(struct buf *b, const struct conf_table *t)
{
    buf_lit(b, "# Settings\n\n"
               "A setting is a default, a line `key = value` of the file named by `--config` or "
               "`TESSERA_CONFIG`, an environment variable, or a flag; the later one wins. "
               "`tessera config --explain` shows the value in force and where it comes from.\n\n"
               "| Key | Environment | Flag | Value | Default | Meaning |\n"
               "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *r = &t->rows[i];

        buf_printf(b, "| `%s` | `TESSERA_", r->key);
        for (const char *p = r->key; *p; p++)
            buf_char(b, (char)(*p >= 'a' && *p <= 'z' ? *p - ('a' - 'A') : *p));
        buf_lit(b, "` | `--");
        for (const char *p = r->key; *p; p++)
            buf_char(b, *p == '_' ? '-' : *p);
        buf_lit(b, "` | ");
        put_type(b, r);
        buf_printf(b, " | %s%s%s | %s%s%s |\n", r->def && *r->def ? "`" : "", r->def ? r->def : "",
                   r->def && *r->def ? "`" : "", r->doc,
                   r->flags & CONF_RELOAD ? " Reloaded on SIGHUP." : "",
                   is_secret(r) ? " Secret." : "");
    }
}
