/* AMX emulated within this process: SIGILL handler over amx.c, one unit a thread.
 *
 * Code that was compiled for AMX runs in a unit test as if the machine had it; the permission that
 * a program has to ask for is taken as given. Convention: a fault ends the process with a message.
 */
#include "tests/emu/amx.h"

#if defined(__x86_64__)
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static _Thread_local AmxUnit unit;

static bool read_here(void *user, uint64_t at, int64_t stride, uint8_t *to, size_t n,
                      size_t count) {
  (void)user;
  for (size_t i = 0; i < count; i++)
    memcpy(to + i * n, (const uint8_t *)(uintptr_t)(at + i * (uint64_t)stride), n);
  return true;
}

static bool write_here(void *user, uint64_t at, int64_t stride, const uint8_t *from, size_t n,
                       size_t count) {
  (void)user;
  for (size_t i = 0; i < count; i++)
    memcpy((uint8_t *)(uintptr_t)(at + i * (uint64_t)stride), from + i * n, n);
  return true;
}

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                              REG_R12, REG_R13, REG_R14, REG_R15};

static void on_illegal(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  const AmxMemory memory = {read_here, write_here, NULL};
  const char *why = "an instruction that is not of AMX";
  AmxRegs regs = {.rip = (uint64_t)g[REG_RIP]};
  for (int i = 0; i < 16; i++) regs.r[i] = (uint64_t)g[order[i]];
  unit.permitted = true;
  const uint8_t *code = (const uint8_t *)(uintptr_t)regs.rip;
  if (amx_execute(&unit, &regs, code, AMX_LONGEST, &memory, &why) != AMX_DONE) {
    fprintf(stderr, "illegal instruction: %s\n", why);
    _Exit(99);
  }
  g[REG_RIP] = (greg_t)regs.rip;
}

void amx_emulate_here(void) {
  if (amx_is_real()) return;
  struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGILL, &action, NULL);
}
#else
void amx_emulate_here(void) {}
#endif
