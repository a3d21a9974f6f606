/* amx_run [-c] [-r] PROGRAM [ARGS]: runs a program as on a machine with AMX. Linux on x86-64 only.
 *
 * The program is stepped instruction by instruction from its start until it has asked the system
 * for tiles (or LONGEST_START instructions have passed): CPUID and XGETBV get the answers of a
 * processor with amx-tile and amx-int8, and so does arch_prctl(ARCH_REQ_XCOMP_PERM). Then it runs
 * freely; every SIGILL at an AMX instruction is executed by amx.c on the unit of that thread, any
 * other ends the run. -c says at the end on standard error how many tile products there were. -r
 * refuses to give the tiles when asked. On a machine with AMX the program is simply executed. Exit
 * status: the program's, 128 + a signal, or 99 when the emulation refuses something.
 */
#include "tests/emu/amx.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST_START = 20000000, THREADS = 256, REFUSED = 99, PERMIT = 0x1023, TILEDATA = 18 };

typedef struct Thread {
  pid_t tid; /* 0: free */
  AmxUnit unit;
} Thread;

typedef struct Run {
  pid_t pid;
  bool count, refuse, asked, permitted;
  uint64_t products; /* of threads that have ended */
  Thread thread[THREADS];
} Run;

static _Noreturn void stop(const Run *r, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  fputs("amx_run: ", stderr);
  vfprintf(stderr, fmt, args);
  fputc('\n', stderr);
  va_end(args);
  kill(r->pid, SIGKILL);
  exit(REFUSED);
}

/* ---- memory of the program ------------------------------------------------------------------- */

static size_t pieces(uint64_t at, int64_t stride, uint8_t *here, size_t n, size_t count,
                     struct iovec *local, struct iovec *remote) {
  *local = (struct iovec){here, n * count};
  for (size_t i = 0; i < count; i++)
    remote[i] = (struct iovec){(void *)(uintptr_t)(at + i * (uint64_t)stride), n};
  return n * count;
}

static bool read_memory(void *user, uint64_t at, int64_t stride, uint8_t *to, size_t n,
                        size_t count) {
  struct iovec local, remote[AMX_ROWS];
  size_t all = pieces(at, stride, to, n, count, &local, remote);
  return process_vm_readv(*(pid_t *)user, &local, 1, remote, count, 0) == (ssize_t)all;
}

static bool write_memory(void *user, uint64_t at, int64_t stride, const uint8_t *from, size_t n,
                         size_t count) {
  struct iovec local, remote[AMX_ROWS];
  uint8_t copy[AMX_ROWS * AMX_ROW_BYTES];
  memcpy(copy, from, n * count);
  size_t all = pieces(at, stride, copy, n, count, &local, remote);
  return process_vm_writev(*(pid_t *)user, &local, 1, remote, count, 0) == (ssize_t)all;
}

/* Up to AMX_LONGEST bytes at rip; fewer at the end of a mapping. */
static size_t read_code(pid_t pid, uint64_t rip, uint8_t *code) {
  struct iovec local = {code, AMX_LONGEST};
  struct iovec remote[2] = {{(void *)(uintptr_t)rip, 0}, {NULL, 0}};
  size_t to_page = 4096 - rip % 4096, first = to_page < AMX_LONGEST ? to_page : AMX_LONGEST;
  remote[0].iov_len = first;
  remote[1] = (struct iovec){(void *)(uintptr_t)(rip + first), AMX_LONGEST - first};
  ssize_t n = process_vm_readv(pid, &local, 1, remote, 2, 0);
  return n < 0 ? 0 : (size_t)n;
}

/* ---- until the program has asked for tiles --------------------------------------------------- */

static void step(const Run *r) {
  int status;
  for (int sig = 0; sig != SIGTRAP; sig = WSTOPSIG(status)) {
    long deliver = sig == SIGSTOP ? 0 : sig;
    if (ptrace(PTRACE_SINGLESTEP, r->pid, 0, deliver) || waitpid(r->pid, &status, __WALL) < 0)
      stop(r, "can't step: %s", strerror(errno));
    if (WIFEXITED(status)) exit(WEXITSTATUS(status));
    if (WIFSIGNALED(status)) exit(128 + WTERMSIG(status));
    if (WSTOPSIG(status) == SIGILL) stop(r, "illegal instruction before tiles were asked for");
  }
}

static void get_regs(const Run *r, pid_t tid, struct user_regs_struct *u) {
  if (ptrace(PTRACE_GETREGS, tid, 0, u)) stop(r, "can't read registers: %s", strerror(errno));
}

static void set_regs(const Run *r, pid_t tid, struct user_regs_struct *u) {
  if (ptrace(PTRACE_SETREGS, tid, 0, u)) stop(r, "can't write registers: %s", strerror(errno));
}

/* One instruction, with the answers of a machine that has AMX. */
static void start_step(Run *r) {
  struct user_regs_struct u, after;
  get_regs(r, r->pid, &u);
  uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, r->pid, (void *)(uintptr_t)u.rip, 0);
  bool cpuid = (word & 0xffff) == 0xa20f, xgetbv = (word & 0xffffff) == 0xd0010f;
  bool asks = (word & 0xffff) == 0x050f && u.rax == SYS_arch_prctl && u.rdi == PERMIT;
  if (asks) {
    r->asked = true;
    r->permitted = u.rsi == TILEDATA && !r->refuse;
    u.rax = r->permitted ? 0 : (uint64_t)-EPERM;
    u.rip += 2;
    set_regs(r, r->pid, &u);
    return;
  }
  step(r);
  if (!cpuid && !xgetbv) return;
  get_regs(r, r->pid, &after);
  uint32_t leaf = (uint32_t)u.rax, sub = (uint32_t)u.rcx;
  if (xgetbv && sub == 0) after.rax |= 3u << 17;
  if (cpuid && leaf == 7 && sub == 0) after.rdx |= 3u << 24;
  if (cpuid && leaf == 13 && sub == 0) after.rax |= 3u << 17;
  set_regs(r, r->pid, &after);
}

/* ---- running --------------------------------------------------------------------------------- */

static Thread *thread_of(Run *r, pid_t tid) {
  Thread *empty = NULL;
  for (int i = 0; i < THREADS; i++) {
    if (r->thread[i].tid == tid) return &r->thread[i];
    if (!r->thread[i].tid && !empty) empty = &r->thread[i];
  }
  if (!empty) stop(r, "more than %d threads", THREADS);
  *empty = (Thread){.tid = tid, .unit = {.permitted = r->permitted}};
  return empty;
}

/* The AMX instruction at which a thread stands, and those right behind it. */
static void on_illegal(Run *r, pid_t tid) {
  struct user_regs_struct u;
  AmxUnit *unit = &thread_of(r, tid)->unit;
  AmxMemory memory = {read_memory, write_memory, &tid};
  get_regs(r, tid, &u);
  AmxRegs regs = {{u.rax, u.rcx, u.rdx, u.rbx, u.rsp, u.rbp, u.rsi, u.rdi, u.r8, u.r9, u.r10, u.r11,
                   u.r12, u.r13, u.r14, u.r15},
                  u.rip};
  for (bool first = true;; first = false) {
    uint8_t code[AMX_LONGEST] = {0};
    const char *why = "";
    size_t n = read_code(tid, regs.rip, code);
    AmxResult result = amx_execute(unit, &regs, code, n, &memory, &why);
    if (result == AMX_FAULT) stop(r, "at %#llx: %s", (unsigned long long)regs.rip, why);
    if (result == AMX_OTHER && first)
      stop(r, "illegal instruction at %#llx: %02x %02x %02x %02x %02x %02x",
           (unsigned long long)regs.rip, code[0], code[1], code[2], code[3], code[4], code[5]);
    if (result == AMX_OTHER) break;
  }
  u.rip = regs.rip;
  set_regs(r, tid, &u);
}

static void on_end(Run *r, pid_t tid, int status) {
  Thread *t = thread_of(r, tid);
  r->products += t->unit.products;
  t->tid = 0;
  t->unit.products = 0;
  if (tid != r->pid) return;
  for (int i = 0; i < THREADS; i++) r->products += r->thread[i].unit.products;
  if (r->count) fprintf(stderr, "amx_run: %llu tile products\n", (unsigned long long)r->products);
  exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void run_freely(Run *r) {
  int status;
  pid_t tid = r->pid;
  long deliver = 0;
  ptrace(PTRACE_CONT, tid, 0, 0);
  while ((tid = waitpid(-1, &status, __WALL)) > 0) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      on_end(r, tid, status);
      continue;
    }
    int sig = WSTOPSIG(status);
    deliver = sig;
    if (sig == SIGILL) on_illegal(r, tid);
    if (sig == SIGILL || sig == SIGTRAP || sig == SIGSTOP) deliver = 0;
    ptrace(PTRACE_CONT, tid, 0, deliver);
  }
  stop(r, "lost the program: %s", strerror(errno));
}

int main(int argc, char **argv) {
  static Run r;
  int status, at = 1;
  for (; at < argc && (!strcmp(argv[at], "-c") || !strcmp(argv[at], "-r")); at++)
    *(argv[at][1] == 'c' ? &r.count : &r.refuse) = true;
  if (at == argc) {
    fputs("usage: amx_run [-c] [-r] PROGRAM [ARGS]\n", stderr);
    return 2;
  }
  bool real = !r.refuse && amx_is_real();
  if (!real) r.pid = fork();
  if (r.pid == 0) {
    if (!real) ptrace(PTRACE_TRACEME, 0, 0, 0);
    execv(argv[at], argv + at);
    fprintf(stderr, "amx_run: %s: %s\n", argv[at], strerror(errno));
    return 127;
  }
  if (waitpid(r.pid, &status, 0) < 0 || !WIFSTOPPED(status)) return WEXITSTATUS(status);
  ptrace(PTRACE_SETOPTIONS, r.pid, 0, (void *)(uintptr_t)(PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL));
  for (long n = 0; n < LONGEST_START && !r.asked; n++) start_step(&r);
  run_freely(&r);
}
