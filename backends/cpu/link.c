/* Linking by ld.lld in a child process: see link.h.
 *
 * Inputs are handed over as anonymous memory files, named by their descriptors in /proc/self/fd, so
 * that there are no temporary objects to remove. What the linker says on stderr becomes part of the
 * error. The command line fixes everything that could differ between two links of the same objects.
 * Tried in order: the ld.lld that CMake found when ingot was built, then ld.lld-19 and ld.lld of
 * the PATH.
 */
#include "backends/cpu/link.h"

#include "backends/cpu/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_INPUTS = 32, MAX_ARGS = MAX_INPUTS + 24, MESSAGE_MAX = 2000 };

static const char *const linkers[] = {INGOT_LLD, "ld.lld-19", "ld.lld"};

typedef struct Link {
  int fd[MAX_INPUTS];
  char path[MAX_INPUTS][32];
  uint32_t n;
  uint64_t bytes; /* of all inputs */
  const char *arg[MAX_ARGS];
  uint32_t nargs;
} Link;

static Status open_input(Link *l, const LinkInput *in, Diag *d) {
  int fd = memfd_create("ingot-object", 0); /* inherited on purpose */
  if (fd < 0 || !output_put(fd, in->data, in->size, 0)) {
    int error = errno;
    if (fd >= 0) close(fd);
    return diag_error(d, in->name, "cannot be kept for linking: %s", strerror(error));
  }
  snprintf(l->path[l->n], sizeof l->path[0], "/proc/self/fd/%d", fd);
  l->fd[l->n++] = fd;
  l->bytes += in->size;
  return OK;
}

static void add_args(Link *l, LinkKind kind, const char *out) {
  static const char *const program[] = {"ld.lld",
                                        "-static",
                                        "--gc-sections",
                                        "--build-id=none",
                                        "-z",
                                        "noexecstack",
                                        "-z",
                                        "relro",
                                        "-z",
                                        "now",
                                        "--strip-debug",
                                        "--image-base=0x200000"};
  static const char *const object[] = {"ld.lld", "-r", "--build-id=none"};
  const char *const *first = kind == LINK_PROGRAM ? program : object;
  uint32_t n = kind == LINK_PROGRAM ? COUNT(program) : COUNT(object);
  for (uint32_t i = 0; i < n; i++) l->arg[l->nargs++] = first[i];
  for (uint32_t i = 0; i < l->n; i++) l->arg[l->nargs++] = l->path[i];
  l->arg[l->nargs++] = "-o";
  l->arg[l->nargs++] = out;
}

/* Starts the linker with stderr into `pipe_in`; 0 or the error of the last one tried. */
static int spawn(const Link *l, int pipe_in, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_in, STDERR_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  int error = ENOENT;
  for (size_t i = 0; i < COUNT(linkers) && error; i++)
    if (*linkers[i])
      error =
          posix_spawnp(pid, linkers[i], &actions, NULL, (char *const *)(uintptr_t)l->arg, environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

static void read_message(int fd, char message[MESSAGE_MAX]) {
  size_t n = 0;
  char rest[512];
  for (;;) {
    bool full = n >= MESSAGE_MAX - 1;
    ssize_t got = full ? read(fd, rest, sizeof rest) : read(fd, message + n, MESSAGE_MAX - 1 - n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (!full) n += (size_t)got;
  }
  while (n && message[n - 1] == '\n') n--;
  message[n] = 0;
}

/* Beyond a limit of file sizes the linker gets a signal which it takes for a bug of its own. */
static bool met_file_limit(uint64_t input_bytes) {
  struct rlimit limit;
  return !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY &&
         limit.rlim_cur < input_bytes;
}

static Status run(const Link *l, const char *out, Diag *d) {
  int pipe_fd[2];
  if (pipe2(pipe_fd, O_CLOEXEC))
    return diag_error(d, out, "cannot be linked: no pipe: %s", strerror(errno));
  pid_t pid;
  int error = spawn(l, pipe_fd[1], &pid);
  close(pipe_fd[1]);
  char message[MESSAGE_MAX] = "";
  if (error) {
    close(pipe_fd[0]);
    return diag_error(d, "ld.lld",
                      "the linker cannot be started: %s; install Debian's package lld-19",
                      strerror(error));
  }
  read_message(pipe_fd[0], message);
  close(pipe_fd[0]);
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return diag_error(d, "ld.lld", "was lost: %s", strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
  if (met_file_limit(l->bytes)) return diag_error(d, out, "cannot be linked: %s", strerror(EFBIG));
  if (WIFSIGNALED(status))
    return diag_error(d, "ld.lld", "was ended by signal %d (%s)%s%s", WTERMSIG(status),
                      strsignal(WTERMSIG(status)), *message ? ": " : "", message);
  return diag_error(d, "ld.lld", "failed: %s", message);
}

Status link_objects(LinkKind kind, const LinkInput *in, uint32_t n, const char *out, Diag *d) {
  BUG_IF(n > MAX_INPUTS, "%u objects to link", n);
  Link l = {0};
  Status s = OK;
  for (uint32_t i = 0; i < n && s == OK; i++) s = open_input(&l, &in[i], d);
  if (s == OK) {
    add_args(&l, kind, out);
    s = run(&l, out, d);
  }
  for (uint32_t i = 0; i < l.n; i++) close(l.fd[i]);
  return s;
}
