/* What to tell the person when there is no answer; for the library alone. */
#ifndef JITSUDO_FAULT_H
#define JITSUDO_FAULT_H

#include "jitsudo.h"

void jitsudo_clear(struct jitsudo_fault *fault);
/* The final reply of a call that was not carried out: JITSUDO_REFUSED, _DAEMON_FAILED or, for nonsense, _NOT_UNDERSTOOD. */
enum jitsudo_status jitsudo_refused(struct json_object *reply, struct jitsudo_fault *fault);

#endif
