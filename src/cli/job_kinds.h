/* The kinds of jobs of this program, and what each gets: see core/job/job.h. */
#ifndef TESSERA_CLI_JOB_KINDS_H
#define TESSERA_CLI_JOB_KINDS_H

#include "../api/route.h"
#include "../core/job/job.h"

/* All kinds with the objects of this application, in cx; app == NULL: kinds without objects, to look
 * at. */
struct job_uses job_kinds(struct ctx *cx, const struct app *app);

#endif
