/* The ISA level that a program uses: the best that this processor has all features of.
 *
 * What levels need, and how a feature is looked up, is told by the processor's family
 * (cpu_family.h). Nothing else is probed at start.
 */
#include "runtime/core/cpu_family.h"

#include <stdio.h>
#include <string.h>

bool cpu_supports(uint32_t isa, char *missing, size_t n) {
  bool ok = true;
  size_t used = 0;
  if (n) missing[0] = 0;
  if (isa < cpu_family.first || isa > cpu_family.last) {
    snprintf(missing, n, "another processor family");
    return false;
  }
  for (size_t i = 0; i < cpu_family.n; i++) {
    const CpuFeature *f = &cpu_family.features[i];
    bool needed = f->only ? isa == f->first_level : isa >= f->first_level;
    if (!needed || cpu_has(f)) continue;
    ok = false;
    int k = snprintf(missing + used, n - used, "%s%s", used ? " " : "", f->name);
    if (k > 0 && (size_t)k < n - used) used += (size_t)k;
  }
  return ok;
}

int cpu_choose(const IngotModel *m, const char *want, const IngotLevel **out, Err *e) {
  char missing[256] = "";
  if (!want) {
    for (uint32_t i = m->nlevels; i-- > 0;) {
      if (cpu_supports(m->levels[i].isa, missing, sizeof missing)) {
        *out = &m->levels[i];
        return 0;
      }
    }
    return err_set(e, "cpu", "this program needs at least %s; this processor lacks: %s",
                   m->nlevels ? m->levels[0].name : "?", missing);
  }
  char names[256] = "";
  for (uint32_t i = 0; i < m->nlevels; i++) {
    if (strcmp(m->levels[i].name, want) == 0) {
      *out = &m->levels[i];
      if (cpu_supports(m->levels[i].isa, missing, sizeof missing)) return 0;
      return err_set(e, "--cpu", "this processor can't run %s; it lacks: %s", want, missing);
    }
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", m->levels[i].name);
  }
  return err_set(e, "--cpu", "no code for '%s' in this program (it has: %s)", want, names);
}
