/* Every way a request or a command can fail: one table.
 *
 * The table feeds the enum, both wire forms (the ticket API of the document answers
 * {"error","message","details"}; /v1 answers application/problem+json), the retry advice, OpenAPI
 * and docs/errors.md. To add a failure: add one row here; `make check` tells which document lacks it.
 *
 * Columns: NAME, HTTP status and code in /v1, HTTP status and code in the document's API, retry
 * class, default sentence (public: no SQL, no secrets, no file names). */
#ifndef TESSERA_BASE_ERR_H
#define TESSERA_BASE_ERR_H

enum err_retry {
    RETRY_NEVER, /* the same request will fail again */
    RETRY_LATER, /* wait (Retry-After when given) and send the same request */
    RETRY_FRESH, /* read the current state first */
};

/* clang-format off */
#define ERR_TABLE(X)                                                                                   \
    X(NONE,                  200, "ok",                      200, "ok",                      NEVER, "OK") \
    X(BAD_REQUEST,           400, "bad_request",             400, "bad_request",             NEVER, "The request is not valid") \
    X(INVALID_JSON,          400, "invalid_json",            400, "invalid_json",            NEVER, "The body is not valid JSON") \
    X(INVALID_PARAMETER,     400, "invalid_parameter",       400, "invalid_parameter",       NEVER, "A query or path parameter is not valid") \
    X(MISSING_FIELD,         422, "missing_required_field",  400, "missing_required_field",  NEVER, "A required field is missing") \
    X(INVALID_FIELD,         422, "invalid_field",           400, "invalid_field",           NEVER, "A field is not valid") \
    X(MISSING_TOKEN,         401, "missing_token",           401, "missing_token",           NEVER, "No Authorization header provided") \
    X(INVALID_TOKEN,         401, "invalid_token",           401, "invalid_token",           NEVER, "Token is invalid, disabled, or revoked") \
    X(BAD_SIGNATURE,         401, "invalid_signature",       401, "invalid_signature",       NEVER, "The signature of the webhook does not hold") \
    X(NOT_OWNER,             404, "not_found",               401, "invalid_token",           NEVER, "Token is not authorized for this ticket") \
    X(INVALID_CREDENTIALS,   401, "invalid_credentials",     401, "invalid_credentials",     NEVER, "The e-mail address or the password is wrong") \
    X(TOTP_REQUIRED,         401, "totp_required",           401, "totp_required",           NEVER, "The account has a second factor; send totp_code or recovery_code too") \
    X(TEAM_REQUIRED,         400, "team_required",           400, "team_required",           NEVER, "You are in several teams; name one in the Tessera-Team header") \
    X(INSUFFICIENT_ROLE,     403, "insufficient_role",       403, "insufficient_role",       NEVER, "Your role in this team does not allow this call") \
    X(USER_REQUIRED,         403, "user_required",           403, "user_required",           NEVER, "This call is for signed-in users, not for API keys") \
    X(CSRF_INVALID,          403, "csrf_token_invalid",      403, "csrf_token_invalid",      NEVER, "X-CSRF-Token is missing or does not belong to this session") \
    X(NOT_CONFIGURED,        409, "not_configured",          409, "not_configured",          NEVER, "The server is not set up for this; see the settings") \
    X(INSUFFICIENT_SCOPE,    403, "insufficient_scope",      403, "insufficient_scope",      NEVER, "The token lacks the scope that this call needs") \
    X(FORBIDDEN_ENDPOINT,    403, "endpoint_not_allowed",    403, "endpoint_not_allowed",    NEVER, "The token may not call this endpoint") \
    X(FORBIDDEN_ADDRESS,     403, "address_not_allowed",     403, "address_not_allowed",     NEVER, "The token may not be used from this address") \
    X(NOT_FOUND,             404, "not_found",               404, "not_found",               NEVER, "Requested resource does not exist") \
    X(METHOD_NOT_ALLOWED,    405, "method_not_allowed",      405, "method_not_allowed",      NEVER, "The method is not allowed here") \
    X(CONFLICT,              409, "conflict",                409, "conflict",                FRESH, "The resource is not in a state that allows this") \
    X(IDEMPOTENCY_RUNNING,   409, "idempotency_in_progress", 409, "idempotency_in_progress", LATER, "A request with this Idempotency-Key is still running") \
    X(PRECONDITION_FAILED,   412, "precondition_failed",     412, "precondition_failed",     FRESH, "The resource has changed since it was read") \
    X(TOO_LARGE,             413, "payload_too_large",       413, "payload_too_large",       NEVER, "The request body is too large") \
    X(UNSUPPORTED_MEDIA,     415, "unsupported_media_type",  415, "unsupported_media_type",  NEVER, "The body must be application/json") \
    X(IDEMPOTENCY_REUSED,    422, "idempotency_key_reused",  422, "idempotency_key_reused",  NEVER, "This Idempotency-Key was used with another request") \
    X(RATE_LIMITED,          429, "rate_limit_exceeded",     429, "rate_limit_exceeded",     LATER, "Rate limit exceeded") \
    X(INTERNAL,              500, "internal_error",          500, "internal_error",          LATER, "Server-side error occurred") \
    X(VALIDATION_FAILED,     500, "validation_failed",       500, "validation_failed",       LATER, "Token validation encountered an error") \
    X(UNAVAILABLE,           503, "unavailable",             503, "unavailable",             LATER, "The service cannot store data right now; try again") \
    X(UNIQUE,                409, "already_exists",          409, "already_exists",          NEVER, "A resource with this value exists already") \
    X(USAGE,                 400, "usage",                   400, "usage",                   NEVER, "The command line is not valid")
/* clang-format on */

enum err_code {
#define ERR_ENUM(name, status, code, v0_status, v0_code, retry, text) ERR_##name,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

struct err_info {
    const char *name;    /* "NOT_FOUND" */
    int status;          /* HTTP status in /v1 */
    const char *code;    /* wire code in /v1 */
    int v0_status;       /* HTTP status in the document's ticket API */
    const char *v0_code; /* wire code in the document's ticket API */
    enum err_retry retry;
    const char *text; /* default public sentence */
};

/* The row of a code. Never NULL; an unknown code gives INTERNAL. Any thread. */
const struct err_info *err_info(enum err_code code);

/* For what cannot happen: logs the condition and aborts, in production too. Never on input. */
#define BUG_IF(cond)                                                                               \
    do {                                                                                           \
        if (cond)                                                                                  \
            bug_abort(#cond, __FILE__, __LINE__);                                                  \
    } while (0)
_Noreturn void bug_abort(const char *cond, const char *file, int line);

#endif
