/* A few threads that share one piece of the compiler's work: see crew.c. */
#ifndef INGOT_BACKENDS_CPU_CREW_H
#define INGOT_BACKENDS_CPU_CREW_H

enum { CREW_MOST = 8 };

/* Runs `work(user)` on as many threads as there are processors, at most `most` of them and
 * CREW_MOST, the calling one included, and returns when all have. `work` takes jobs until none is
 * left. */
void crew_run(void *(*work)(void *), void *user, unsigned most);

#endif
