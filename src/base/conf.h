/* Settings: one table; value = default < file (--config) < environment (TESSERA_*) < flag.
 *
 * File form: `key = value` lines, `#` comments. Keys as in the table (`log_level`), environment
 * names are TESSERA_ + upper case, flags are --log-level. Secrets are masked in `tessera config
 * --explain`. */
#ifndef TESSERA_BASE_CONF_H
#define TESSERA_BASE_CONF_H

#include "ctx.h"

enum conf_type {
    CONF_STR,
    CONF_INT,
    CONF_BOOL,
    CONF_CIDRS,
    CONF_KEY /* 32 bytes: 64 hex digits, base64 with padding, or a file with either */
};
enum conf_flag { CONF_SECRET = 1, CONF_RELOAD = 2 /* honoured on SIGHUP */ };
enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENV, CONF_FLAG };

struct conf_row {
    const char *key;
    enum conf_type type;
    unsigned flags;
    unsigned offset;          /* into the caller's struct: struct str or int64_t */
    const char *def;          /* default as text; NULL = unset */
    int64_t min, max;         /* CONF_INT */
    const char *const *words; /* CONF_STR: allowed values or NULL */
    const char *doc;
};

struct conf_table {
    const struct conf_row *rows;
    size_t n;
    size_t size; /* of the target struct */
};

/* Fill `out` (zeroed) from defaults, the file named by --config or TESSERA_CONFIG, `env`, and the
 * flags in argv (which are taken out: *argc shrinks). sources[i] (n entries, may be NULL) says
 * where row i came from. Unknown file keys, unknown TESSERA_* names and bad values are USAGE errors
 * naming the key and source. */
enum err_code conf_load(struct ctx *cx, const struct conf_table *t, int *argc, char **argv,
                        char **env, void *out, enum conf_source *sources);
/* Lines `key = value  (source)  doc`, secrets as ***. */
void conf_explain(struct buf *b, const struct conf_table *t, const void *conf,
                  const enum conf_source *sources);
/* docs/config.md. */
void conf_markdown(struct buf *b, const struct conf_table *t);

#endif
