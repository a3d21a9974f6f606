/* The emulated AMX unit: decoding and execution. See amx.h.
 *
 * All instructions are VEX-coded in map 0F38 with 128-bit length and W0 (Intel's manual, volume 2):
 *
 *   49 none/66/F2: ldtilecfg, tilerelease (register form) / sttilecfg / tilezero
 *   4B F2/66/F3:   tileloadd / tileloaddt1 / tilestored, with a SIB byte: base + row * index
 *   5E F2/F3/66/none: tdpbssd, tdpbsud, tdpbusd, tdpbuud: reg += r/m * vvvv
 */
#include "tests/emu/amx.h"

#include <string.h>

typedef struct Decoded {
  uint8_t opcode, prefix; /* prefix: pp of VEX: 0 none, 1 66, 2 F3, 3 F2 */
  bool is_register;       /* r/m is a register */
  uint8_t reg, rm, vvvv;  /* of tiles: 0..7 */
  bool has_index;
  uint64_t address;
  int64_t index;
  size_t length;
} Decoded;

enum { CONFIG = 0x49, MOVE = 0x4b, PRODUCT = 0x5e };
enum { P_NONE, P_66, P_F3, P_F2 };

static int64_t read_disp(const uint8_t *p, int bytes) {
  int32_t wide;
  if (bytes == 1) return (int8_t)*p;
  memcpy(&wide, p, 4);
  return wide;
}

/* Base + displacement in `address`, index * scale in `index`. False: cut off or not addressable. */
static bool decode_memory(Decoded *d, const AmxRegs *regs, const uint8_t *code, size_t n, size_t at,
                          uint8_t modrm, uint8_t rex) {
  uint8_t mod = modrm >> 6, base = modrm & 7;
  bool relative = false, no_base = false;
  if (base == 4) {
    if (at >= n) return false;
    uint8_t sib = code[at++], index = (uint8_t)((sib >> 3 & 7) | (rex & 2 ? 8 : 0));
    d->has_index = true;
    if (index != 4) d->index = (int64_t)(regs->r[index] << (sib >> 6));
    base = sib & 7;
    no_base = base == 5 && mod == 0;
  } else {
    relative = base == 5 && mod == 0;
  }
  base |= rex & 1 ? 8 : 0;
  int bytes = mod == 1 ? 1 : mod == 2 || relative || no_base ? 4 : 0;
  if (at + (size_t)bytes > n) return false;
  int64_t disp = bytes ? read_disp(code + at, bytes) : 0;
  d->length = at + (size_t)bytes;
  uint64_t from = relative ? regs->rip + d->length : no_base ? 0 : regs->r[base];
  d->address = from + (uint64_t)disp;
  return true;
}

static bool decode(const AmxRegs *regs, const uint8_t *code, size_t n, Decoded *d) {
  *d = (Decoded){0};
  if (n < 5 || code[0] != 0xc4 || (code[1] & 0x1f) != 2) return false; /* map 0F38 */
  if (code[2] & 0x84) return false;                                    /* W0, L0 */
  d->opcode = code[3];
  if (d->opcode != CONFIG && d->opcode != MOVE && d->opcode != PRODUCT) return false;
  uint8_t rex = (uint8_t)((code[1] >> 5 ^ 7) & 7), modrm = code[4]; /* 4: R, 2: X, 1: B */
  d->prefix = code[2] & 3;
  d->vvvv = (code[2] >> 3 & 15) ^ 15;
  d->reg = (uint8_t)((modrm >> 3 & 7) | (rex & 4 ? 8 : 0));
  d->rm = (uint8_t)((modrm & 7) | (rex & 1 ? 8 : 0));
  d->is_register = modrm >> 6 == 3;
  d->length = 5;
  return d->is_register || decode_memory(d, regs, code, n, 5, modrm, rex);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void release(AmxUnit *u) {
  u->palette = 0;
  memset(u->rows, 0, sizeof u->rows);
  memset(u->bytes, 0, sizeof u->bytes);
  memset(u->tile, 0, sizeof u->tile);
}

static const char *configure(AmxUnit *u, const uint8_t c[64]) {
  release(u);
  if (c[0] == 0) return NULL;
  if (c[0] != 1) return "ldtilecfg: a palette other than 0 and 1";
  for (int i = 1; i < 16; i++)
    if (c[i]) return "ldtilecfg: a start row or reserved bytes are set";
  for (int t = 0; t < 16; t++) {
    unsigned bytes = c[16 + 2 * t] + 256u * c[17 + 2 * t], rows = c[48 + t];
    if (t >= AMX_TILES && (bytes || rows)) return "ldtilecfg: more than eight tiles";
    if (bytes > AMX_ROW_BYTES || rows > AMX_ROWS) return "ldtilecfg: a tile is too large";
    if (!bytes != !rows) return "ldtilecfg: a tile of no rows or of no bytes";
    if (t >= AMX_TILES) continue;
    u->bytes[t] = (uint8_t)bytes;
    u->rows[t] = (uint8_t)rows;
  }
  u->palette = 1;
  return NULL;
}

static AmxResult run_config(AmxUnit *u, const Decoded *d, const AmxMemory *m, const char **why) {
  uint8_t c[64] = {0};
  *why = NULL;
  if (d->vvvv) return AMX_OTHER;
  if (d->is_register) {
    if (d->prefix == P_NONE && !d->reg && !d->rm) {
      release(u);
    } else if (d->prefix == P_F2 && !d->rm) {
      if (d->reg >= AMX_TILES || !u->rows[d->reg]) *why = "tilezero: no such tile";
      if (!*why) memset(u->tile[d->reg], 0, sizeof u->tile[0]);
    } else {
      return AMX_OTHER;
    }
    return *why ? AMX_FAULT : AMX_DONE;
  }
  if (d->reg || (d->prefix != P_NONE && d->prefix != P_66)) return AMX_OTHER;
  uint64_t at = d->address + (uint64_t)d->index;
  if (d->prefix == P_NONE) {
    if (!m->read(m->user, at, 0, c, sizeof c, 1)) *why = "ldtilecfg: no memory there";
    if (!*why) *why = configure(u, c);
  } else {
    c[0] = u->palette;
    for (int t = 0; t < AMX_TILES; t++) c[16 + 2 * t] = u->bytes[t], c[48 + t] = u->rows[t];
    if (!m->write(m->user, at, 0, c, sizeof c, 1)) *why = "sttilecfg: no memory there";
  }
  return *why ? AMX_FAULT : AMX_DONE;
}

/* ---- moves and products ---------------------------------------------------------------------- */

static AmxResult run_move(AmxUnit *u, const Decoded *d, const AmxMemory *m, const char **why) {
  if (d->is_register || d->vvvv || d->prefix == P_NONE) return AMX_OTHER;
  *why = NULL;
  if (!d->has_index)
    *why = "a tile is moved without a SIB byte";
  else if (d->reg >= AMX_TILES || !u->rows[d->reg])
    *why = "a tile that is not configured is moved";
  if (*why) return AMX_FAULT;
  uint8_t rows = u->rows[d->reg], bytes = u->bytes[d->reg];
  uint8_t packed[AMX_ROWS * AMX_ROW_BYTES];
  uint8_t(*tile)[AMX_ROW_BYTES] = u->tile[d->reg];
  if (d->prefix == P_F3) {
    for (int i = 0; i < rows; i++) memcpy(packed + i * bytes, tile[i], bytes);
    if (!m->write(m->user, d->address, d->index, packed, bytes, rows))
      *why = "tilestored: no memory there";
  } else {
    memset(tile, 0, sizeof u->tile[0]);
    if (!m->read(m->user, d->address, d->index, packed, bytes, rows))
      *why = "tileloadd: no memory there";
    for (int i = 0; i < rows && !*why; i++) memcpy(tile[i], packed + i * bytes, bytes);
  }
  return *why ? AMX_FAULT : AMX_DONE;
}

static const char *product_refused(const AmxUnit *u, unsigned c, unsigned a, unsigned b) {
  if (c >= AMX_TILES || a >= AMX_TILES || b >= AMX_TILES) return "tdp: there are eight tiles";
  if (c == a || c == b || a == b) return "tdp: its tiles must differ";
  if (!u->rows[c] || !u->rows[a] || !u->rows[b]) return "tdp: a tile is not configured";
  if (u->bytes[c] % 4 || u->bytes[a] % 4 || u->bytes[b] % 4) return "tdp: rows of part words";
  if (u->rows[c] != u->rows[a] || u->bytes[c] != u->bytes[b] || u->bytes[a] / 4 != u->rows[b])
    return "tdp: sizes of tiles that don't go together";
  return NULL;
}

static AmxResult run_product(AmxUnit *u, const Decoded *d, const char **why) {
  if (!d->is_register) return AMX_OTHER;
  *why = product_refused(u, d->reg, d->rm, d->vvvv);
  if (*why) return AMX_FAULT;
  bool signed_a = d->prefix == P_F2 || d->prefix == P_F3;
  bool signed_b = d->prefix == P_F2 || d->prefix == P_66;
  for (int i = 0; i < u->rows[d->reg]; i++)
    for (int lane = 0; lane < u->bytes[d->reg] / 4; lane++) {
      uint32_t sum;
      memcpy(&sum, &u->tile[d->reg][i][4 * lane], 4);
      for (int j = 0; j < u->bytes[d->rm]; j++) {
        uint8_t a = u->tile[d->rm][i][j], b = u->tile[d->vvvv][j / 4][4 * lane + j % 4];
        sum += (uint32_t)((signed_a ? (int8_t)a : a) * (signed_b ? (int8_t)b : b));
      }
      memcpy(&u->tile[d->reg][i][4 * lane], &sum, 4);
    }
  u->products++;
  return AMX_DONE;
}

AmxResult amx_execute(AmxUnit *u, AmxRegs *regs, const uint8_t *code, size_t n,
                      const AmxMemory *memory, const char **why) {
  Decoded d;
  if (!decode(regs, code, n, &d)) return AMX_OTHER;
  if (!u->permitted) {
    *why = "tiles are used, but nobody asked the system for them";
    return AMX_FAULT;
  }
  AmxResult r = d.opcode == CONFIG ? run_config(u, &d, memory, why)
                : d.opcode == MOVE ? run_move(u, &d, memory, why)
                                   : run_product(u, &d, why);
  if (r == AMX_DONE) regs->rip += d.length;
  return r;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

bool amx_is_real(void) {
  uint32_t a, b, c, d;
  uint32_t need = 3u << 24; /* amx-tile, amx-int8 */
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & need) != need) return false;
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) == 0;
}
#else
bool amx_is_real(void) {
  return false;
}
#endif
