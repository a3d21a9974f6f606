/* How many cores this process may use: the affinity mask and the CPU quota of its cgroup.
 *
 * Hyper-threads of one core count once, as they share the units and the memory port that kernels
 * keep busy. Siblings are listed in sysfs, which is only read when CPUID says that there are any.
 *
 * cgroup v2 has `cpu.max` ("QUOTA PERIOD" or "max PERIOD") in each folder from the process's own up
 * to the root; v1 has cpu.cfs_quota_us and cpu.cfs_period_us below the cpu controller's mount. In a
 * container the path that /proc/self/cgroup names may not be visible; then the parents, and at last
 * the mount's own root, are what counts. The smallest quota on the way holds.
 */
#include "runtime/core/threads.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CPUS = 8192 };

/* First line of DIR/NAME into buf; false when it can't be read. */
static bool read_line(const char *dir, const char *name, char *buf, size_t n) {
  char path[1200];
  if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return false;
  FILE *f = fopen(path, "re");
  if (!f) return false;
  bool ok = fgets(buf, (int)n, f) != NULL;
  fclose(f);
  return ok;
}

static bool has_siblings(void) {
#if defined(__x86_64__)
  uint32_t a, b, c, d;
  if (!__get_cpuid_count(0xb, 0, &a, &b, &c, &d)) return true; /* leave it to sysfs */
  return (b & 0xffff) > 1;
#else
  return false;
#endif
}

unsigned threads_first_sibling(const char *root, int cpu) {
  char dir[600], line[64];
  snprintf(dir, sizeof dir, "%s/cpu%d/topology", root, cpu);
  if (!read_line(dir, "thread_siblings_list", line, sizeof line)) return (unsigned)cpu;
  return (unsigned)strtoul(line, NULL, 10); /* lists ascend */
}

/* Processors of the affinity mask; with `cores`, of several that share a core only one. */
static unsigned count_cpus(bool cores) {
  size_t bytes = CPU_ALLOC_SIZE(MAX_CPUS);
  cpu_set_t *set = CPU_ALLOC(MAX_CPUS), *first = CPU_ALLOC(MAX_CPUS);
  unsigned n = 1;
  if (set && first && sched_getaffinity(0, bytes, set) == 0) {
    CPU_ZERO_S(bytes, first);
    for (int i = 0; i < MAX_CPUS; i++)
      if (CPU_ISSET_S(i, bytes, set))
        CPU_SET_S(cores ? threads_first_sibling("/sys/devices/system/cpu", i) : (unsigned)i, bytes,
                  first);
    n = (unsigned)CPU_COUNT_S(bytes, first);
  }
  CPU_FREE(set);
  CPU_FREE(first);
  return n ? n : 1;
}

unsigned threads_cores(void) {
  return count_cpus(has_siblings());
}

unsigned threads_cpus(void) {
  return count_cpus(false);
}

static void take(double quota, double period, double *least) {
  if (quota > 0 && period > 0 && quota / period < *least) *least = quota / period;
}

static void quota_in(const char *dir, bool v2, double *least) {
  char a[80], b[80];
  if (v2) {
    long long quota, period;
    if (read_line(dir, "cpu.max", a, sizeof a) && sscanf(a, "%lld %lld", &quota, &period) == 2)
      take((double)quota, (double)period, least);
  } else if (read_line(dir, "cpu.cfs_quota_us", a, sizeof a) &&
             read_line(dir, "cpu.cfs_period_us", b, sizeof b)) {
    take(strtod(a, NULL), strtod(b, NULL), least);
  }
}

/* Every folder from MOUNT + path up to MOUNT. */
static void quota_upwards(const char *mount, const char *path, size_t npath, bool v2,
                          double *least) {
  char dir[1024];
  size_t base = strlen(mount);
  if (base + npath + 1 > sizeof dir) npath = 0;
  memcpy(dir, mount, base);
  memcpy(dir + base, path, npath);
  size_t n = base + npath;
  for (;;) {
    dir[n] = 0;
    quota_in(dir, v2, least);
    if (n <= base) return;
    do n--;
    while (n > base && dir[n] != '/');
  }
}

unsigned threads_quota(const char *root, const char *self_cgroup) {
  double least = 1e9;
  for (const char *line = self_cgroup; *line;) {
    size_t n = strcspn(line, "\n");
    const char *controllers = memchr(line, ':', n);
    const char *path =
        controllers ? memchr(controllers + 1, ':', n - (size_t)(controllers + 1 - line)) : NULL;
    if (path) {
      size_t ncontrollers = (size_t)(path - controllers) - 1;
      size_t npath = n - (size_t)(path + 1 - line);
      char name[128], mount[512];
      snprintf(name, sizeof name, ",%.*s,", (int)ncontrollers, controllers + 1);
      if (ncontrollers == 0) {
        quota_upwards(root, path + 1, npath, true, &least);
      } else if (strstr(name, ",cpu,")) {
        snprintf(mount, sizeof mount, "%s/%.*s", root, (int)ncontrollers, controllers + 1);
        quota_upwards(mount, path + 1, npath, false, &least);
        snprintf(mount, sizeof mount, "%s/cpu", root);
        quota_upwards(mount, path + 1, npath, false, &least);
      }
    }
    line += n;
    if (*line) line++;
  }
  if (least >= 1e9) return 0;
  return least < 1 ? 1 : (unsigned)least;
}

unsigned threads_default(void) {
  unsigned n = threads_cores();
  char text[4096];
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (f) {
    size_t got = fread(text, 1, sizeof text - 1, f);
    text[got] = 0;
    fclose(f);
    unsigned quota = threads_quota("/sys/fs/cgroup", text);
    if (quota && quota < n) n = quota;
  }
  return n < THREADS_MAX ? n : THREADS_MAX;
}
