/* An emulated AMX unit: tile configuration, eight tiles, and the instructions that use them.
 *
 * For machines without the real one: a test gives the unit the instruction at which a thread got
 * SIGILL, its registers and a way to its memory. amx_run.c does it for another process by ptrace,
 * amx_signal.c for this one in a signal handler. Whatever would be an exception on real hardware is
 * a fault here, with a reason.
 */
#ifndef INGOT_TESTS_EMU_AMX_H
#define INGOT_TESTS_EMU_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct AmxUnit {
  bool permitted; /* the process asked the system for tiles */
  uint8_t palette;
  uint8_t rows[AMX_TILES], bytes[AMX_TILES]; /* as configured; 0: no such tile */
  uint8_t tile[AMX_TILES][AMX_ROWS][AMX_ROW_BYTES];
  uint64_t products; /* executed so far */
} AmxUnit;

/* General registers in their numbers' order (rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 ..). */
typedef struct AmxRegs {
  uint64_t r[16], rip;
} AmxRegs;

/* `count` pieces of n bytes, `stride` bytes apart; false: not there. */
typedef struct AmxMemory {
  bool (*read)(void *user, uint64_t at, int64_t stride, uint8_t *to, size_t n, size_t count);
  bool (*write)(void *user, uint64_t at, int64_t stride, const uint8_t *from, size_t n,
                size_t count);
  void *user;
} AmxMemory;

typedef enum AmxResult { AMX_DONE, AMX_OTHER, AMX_FAULT } AmxResult;
enum { AMX_LONGEST = 15 }; /* bytes of an instruction */

/* Executes the instruction whose bytes are at `code` (n of them, up to AMX_LONGEST) and moves rip
 * behind it. AMX_OTHER: not one of AMX. AMX_FAULT: *why says what a processor would refuse. */
AmxResult amx_execute(AmxUnit *u, AmxRegs *regs, const uint8_t *code, size_t n,
                      const AmxMemory *memory, const char **why);

/* From now on, SIGILL of an AMX instruction in any thread of this process is answered by an
 * emulated unit of that thread; any other ends the process. Does nothing where the machine has
 * AMX. */
void amx_emulate_here(void);

/* Whether this machine has tiles for int8 and lets this process use them. */
bool amx_is_real(void);

#endif
