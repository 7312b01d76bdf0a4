/* The failure table as data, and the end of the road for what cannot happen.
 *
 * The rows are expanded from ERR_TABLE in err.h: nothing is written twice. Any thread. */
#include "err.h"

#include <stdlib.h>

#include "log.h"

static const struct err_info rows[ERR_COUNT] = {
#define ERR_ROW(err, http, slug, http_v0, slug_v0, again, sentence)                                \
    [ERR_##err] = { .name = #err,                                                                  \
                    .status = (http),                                                              \
                    .code = (slug),                                                                \
                    .v0_status = (http_v0),                                                        \
                    .v0_code = (slug_v0),                                                          \
                    .retry = RETRY_##again,                                                        \
                    .text = (sentence) },
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

const struct err_info *err_info(enum err_code code)
{
    if ((unsigned)code >= ERR_COUNT)
        return &rows[ERR_INTERNAL];
    return &rows[code];
}

void bug_abort(const char *cond, const char *file, int line)
{
    log_error(NULL, "bug", KVC("condition", cond), KVC("file", file), KVI("line", line));
    abort();
}
