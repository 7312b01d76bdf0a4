/* How a webhook is kept: chosen headers, the body as text or base64, without secrets. Any thread. */
#ifndef TESSERA_CONNECT_IN_PAYLOAD_H
#define TESSERA_CONNECT_IN_PAYLOAD_H

#include "../hook_scheme.h"

#define HOOK_HEADERS_TEXT_MAX 16384 /* bytes of the kept headers as JSON; more are left out */

/* JSON text of an object of those headers that say what an event is and name no secret: of a list,
 * and never one whose name tells of a signature, token, secret, key or cookie. Lives in cx. */
struct str payload_headers(struct ctx *cx, const struct hook_ask *ask);
/* The body as it is stored: *form is "text" (as it came) or "base64". Where the secret itself stands
 * in the body (Microsoft Graph) it is masked, and the JSON printed anew. Lives in cx. */
struct str payload_body(struct ctx *cx, const struct hook_ask *ask, const char **form);
/* The bytes of a body that is stored in that form; false when it is damaged. Lives in a. */
bool payload_bytes(struct arena *a, struct str form, struct str body, struct str *out);

#endif
