/* Threads of the compiler: as many as the process may use processors.
 *
 * The calling thread works too, so that a failing pthread_create costs only time.
 */
#include "backends/cpu/crew.h"

#include <pthread.h>
#include <sched.h>

void crew_run(void *(*work)(void *), void *user, unsigned most) {
  pthread_t thread[CREW_MOST];
  cpu_set_t set;
  unsigned n = sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set), started = 0;
  if (n > most) n = most;
  if (n > CREW_MOST) n = CREW_MOST;
  while (started + 1 < n && !pthread_create(&thread[started], NULL, work, user)) started++;
  work(user);
  for (unsigned i = 0; i < started; i++) pthread_join(thread[i], NULL);
}
