/* The job report.run: makes the file of a run and sends it to its targets. See schedule_run.h. */
#ifndef TESSERA_CORE_REPORT_SCHEDULE_SEND_H
#define TESSERA_CORE_REPORT_SCHEDULE_SEND_H

#include "../job/job.h"

struct mailer;
struct exports;
struct report_sender {     /* what the run function gets */
    struct mailer *mailer; /* NULL: nothing is mailed */
    struct exports *exports;
    struct str public_url;
    int64_t mail_bytes; /* larger files are not attached: the mail says where they are */
};
/* Payload {"run_id"}; key: the schedule. */
extern const struct job_kind report_run_kind;

#endif
