/* The backends by name. */
#include "backends/backend.h"

#include <string.h>

const Backend *backend_find(const char *name) {
  static const Backend *const all[] = {&backend_cpu, &backend_null};
  for (size_t i = 0; i < COUNT(all); i++)
    if (!strcmp(all[i]->name, name)) return all[i];
  return NULL;
}
