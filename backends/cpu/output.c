/* Output files that appear whole or not at all: see output.h.
 *
 * The list of open outputs is the one variable of this backend: a process that runs out of memory
 * has nothing else to find its temporary folders by. It is guarded, so that two compiles may run at
 * once.
 */
#include "backends/cpu/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Output *outputs;

static char *join(const char *a, size_t n, const char *b) {
  size_t m = strlen(b);
  char *s = mem_alloc(n + m + 1);
  memcpy(s, a, n);
  memcpy(s + n, b, m);
  return s;
}

/* Calls only what a signal handler may call. */
static void remove_folder(const char *folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  _Alignas(struct dirent64) char entries[4096];
  for (ssize_t n; (n = getdents64(fd, entries, sizeof entries)) > 0;)
    for (ssize_t at = 0; at < n;) {
      const struct dirent64 *e = (const struct dirent64 *)(const void *)(entries + at);
      unlinkat(fd, e->d_name, 0); /* fails for . and .. */
      at += e->d_reclen;
    }
  close(fd);
  rmdir(folder);
}

void output_abandon_all(void) {
  bool locked = !pthread_mutex_trylock(&lock);
  for (Output *o = outputs; o; o = o->next) remove_folder(o->folder);
  if (locked) pthread_mutex_unlock(&lock);
}

/* ---- signals: a compile that is interrupted tidies up, then ends as it would have ---------------
 */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static void on_signal(int number) {
  output_abandon_all();
  signal(number, SIG_DFL);
  raise(number);
}

/* Only where nobody else has a say: a program that handles the signal itself keeps doing so. */
static void replace_handlers(void (*from)(int), void (*to)(int)) {
  for (size_t i = 0; i < COUNT(signals); i++) {
    struct sigaction now;
    if (sigaction(signals[i], NULL, &now) || now.sa_flags & SA_SIGINFO || now.sa_handler != from)
      continue;
    now.sa_handler = to;
    sigaction(signals[i], &now, NULL);
  }
}

Status output_open(Output *o, const char *final, Diag *d) {
  const char *slash = strrchr(final, '/');
  size_t n = slash ? (size_t)(slash - final) + 1 : 0;
  struct stat st;
  *o = (Output){.final = final};
  if (!stat(final, &st) && S_ISDIR(st.st_mode))
    return diag_error(d, final, "is a folder (expected a file name); give another -o");
  o->folder = join(final, n, ".ingot-XXXXXX");
  o->path = join(o->folder, n + strlen(".ingot-XXXXXX"), "/program");
  if (!mkdtemp(o->folder)) {
    int error = errno;
    mem_free(o->folder);
    mem_free(o->path);
    o->folder = o->path = NULL;
    return diag_error(d, final, "cannot be written: %s", strerror(error));
  }
  memcpy(o->path, o->folder, strlen(o->folder)); /* mkdtemp has filled in its name */
  mem_on_exhausted(output_abandon_all);
  pthread_mutex_lock(&lock);
  if (!outputs) replace_handlers(SIG_DFL, on_signal);
  o->next = outputs;
  outputs = o;
  pthread_mutex_unlock(&lock);
  return OK;
}

Status output_commit(Output *o, unsigned mode, Diag *d) {
  if (chmod(o->path, mode) || rename(o->path, o->final))
    return diag_error(d, o->final, "cannot be written: %s", strerror(errno));
  return OK;
}

void output_close(Output *o) {
  if (!o->folder) return;
  pthread_mutex_lock(&lock);
  for (Output **p = &outputs; *p; p = &(*p)->next)
    if (*p == o) {
      *p = o->next;
      break;
    }
  if (!outputs) replace_handlers(on_signal, SIG_DFL);
  pthread_mutex_unlock(&lock);
  remove_folder(o->folder);
  mem_free(o->folder);
  mem_free(o->path);
  *o = (Output){0};
}

bool output_put(int fd, const void *data, size_t size, uint64_t offset) {
  const char *p = data;
  while (size) {
    ssize_t n = pwrite(fd, p, size, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) {
      errno = ENOSPC;
      return false;
    }
    p += n;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return true;
}

Status output_write(const char *path, const void *data, size_t size, Diag *d, const char *where) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return diag_error(d, where, "cannot be written: %s", strerror(errno));
  bool good = output_put(fd, data, size, 0);
  int error = errno;
  if (close(fd) && good) {
    good = false;
    error = errno;
  }
  return good ? OK : diag_error(d, where, "cannot be written: %s", strerror(error));
}
