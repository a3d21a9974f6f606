/* Weights into a file, by several threads, in whole blocks.
 *
 * The system caches a file in pages as large as the writes that made it: a file written 2 MiB at a
 * time at multiples of 2 MiB is held in huge pages, and a program that maps it starts with a page
 * fault for each of them; the same bytes written as they come take one for every 64 KiB, which is
 * half the time to the first token. So packed bytes are gathered in blocks of the file and a block
 * is written at once when its last byte is there. Threads take parts of weights in the order of the
 * file, so few blocks are open at a time: about two a thread.
 *
 * Who packs what changes no byte. Gaps between weights (they begin at multiples of 64) are zeros.
 */
#include "backends/cpu/pack_file.h"

#include "backends/cpu/crew.h"
#include "backends/cpu/output.h"
#include "passes/passes.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { PART_BYTES = 4 << 20, SPARES = 2 * CREW_MOST };

typedef struct Block {
  uint8_t *data; /* NULL: nothing yet, or written */
  uint64_t left; /* bytes of weights to come */
} Block;

typedef struct PackRun {
  const EmitRequest *request;
  const KProgram *program;
  int fd;
  uint64_t begin, end; /* of the weights in the file */
  Block *block;        /* the first begins at the multiple of HUGE_PAGE at or below `begin` */
  pthread_mutex_t lock;
  uint32_t weight; /* next part to take */
  int64_t unit;
  uint64_t done; /* bytes */
  bool failed;
  Diag *diag; /* of the caller */
  uint8_t *spare[SPARES];
  uint32_t nspares;
} PackRun;

typedef struct Part { /* in work */
  PackRun *run;
  const KWeight *w;
  PackPart units;
  uint64_t at; /* in the file, of the next piece */
  Diag *diag;
} Part;

static uint64_t block_of(const PackRun *p, uint64_t at) {
  return at / HUGE_PAGE - p->begin / HUGE_PAGE;
}

/* Of the bytes at .. at + size, those before the next block. */
static uint64_t in_block(uint64_t at, uint64_t size) {
  uint64_t room = HUGE_PAGE - at % HUGE_PAGE;
  return size < room ? size : room;
}

static void count_bytes(PackRun *p) {
  for (uint32_t i = 0; i < p->program->nweights; i++) {
    const KWeight *w = &p->program->weights[i];
    uint64_t at = p->begin + w->offset, end = at + w->bytes;
    for (uint64_t n; at < end; at += n) {
      n = in_block(at, end - at);
      p->block[block_of(p, at)].left += n;
    }
  }
}

static uint8_t *open_block(PackRun *p, uint64_t index) {
  pthread_mutex_lock(&p->lock);
  Block *b = &p->block[index];
  if (!b->data) {
    b->data = p->nspares ? p->spare[--p->nspares] : mem_alloc(HUGE_PAGE);
    memset(b->data, 0, HUGE_PAGE);
  }
  uint8_t *data = b->data;
  pthread_mutex_unlock(&p->lock);
  return data;
}

/* Notes that n bytes have come; true when they were the last. */
static bool fill_block(PackRun *p, uint64_t index, uint64_t n) {
  pthread_mutex_lock(&p->lock);
  BUG_IF(p->block[index].left < n, "weights overlap");
  p->block[index].left -= n;
  p->done += n;
  const EmitRequest *r = p->request;
  if (r->progress) r->progress(r->user, "pack weights", p->done, p->program->weight_bytes);
  bool full = p->block[index].left == 0;
  pthread_mutex_unlock(&p->lock);
  return full;
}

static bool write_block(PackRun *p, uint64_t index) {
  Block *b = &p->block[index];
  uint64_t at = (p->begin / HUGE_PAGE + index) * HUGE_PAGE, end = at + HUGE_PAGE;
  uint64_t skip = at < p->begin ? p->begin - at : 0;
  if (end > p->end) end = p->end;
  bool ok = output_put(p->fd, b->data + skip, end - at - skip, at + skip);
  int error = errno;
  pthread_mutex_lock(&p->lock);
  if (p->nspares < SPARES)
    p->spare[p->nspares++] = b->data;
  else
    mem_free(b->data);
  b->data = NULL;
  pthread_mutex_unlock(&p->lock);
  errno = error;
  return ok;
}

static Status put_piece(void *user, const void *bytes, uint64_t size) {
  Part *part = user;
  PackRun *p = part->run;
  const uint8_t *from = bytes;
  for (uint64_t n; size; size -= n, from += n, part->at += n) {
    n = in_block(part->at, size);
    uint64_t index = block_of(p, part->at);
    memcpy(open_block(p, index) + part->at % HUGE_PAGE, from, n);
    if (fill_block(p, index, n) && !write_block(p, index))
      return diag_error(part->diag, p->request->out, "cannot be written: %s", strerror(errno));
  }
  return OK;
}

static bool take_part(PackRun *p, Part *part) {
  const KProgram *program = p->program;
  pthread_mutex_lock(&p->lock);
  bool more = p->weight < program->nweights && !p->failed;
  if (more) {
    const KWeight *w = &program->weights[p->weight];
    int64_t units = pack_units(w), n = units - p->unit;
    uint64_t unit_bytes = units ? w->bytes / (uint64_t)units : 0, cost = pack_unit_bytes(w),
             most = 1;
    if (cost && cost < PART_BYTES) most = PART_BYTES / cost;
    if (most < (uint64_t)n) n = (int64_t)most;
    part->w = w;
    part->units = (PackPart){p->unit, n};
    part->at = p->begin + w->offset + (uint64_t)p->unit * unit_bytes;
    p->unit += n;
    if (p->unit >= units) {
      p->unit = 0;
      p->weight++;
    }
  }
  pthread_mutex_unlock(&p->lock);
  return more;
}

static void *pack_parts(void *user) {
  PackRun *p = user;
  Part part = {.run = p, .diag = diag_new()};
  bool failed = false;
  while (!failed && take_part(p, &part))
    failed =
        pack_weight_to(p->request->module, part.w, part.units, put_piece, &part, part.diag) != OK;
  pthread_mutex_lock(&p->lock);
  if (failed && !p->failed) diag_add(p->diag, part.diag); /* one cause is enough */
  p->failed |= failed;
  pthread_mutex_unlock(&p->lock);
  diag_free(part.diag);
  return NULL;
}

Status pack_file(int fd, uint64_t offset, const EmitRequest *r, Diag *d) {
  const KProgram *program = r->programs[0];
  PackRun p = {.request = r,
               .program = program,
               .fd = fd,
               .begin = offset,
               .end = offset + program->weight_bytes,
               .lock = PTHREAD_MUTEX_INITIALIZER,
               .diag = d};
  uint64_t nblocks = block_of(&p, p.end) + 1;
  p.block = mem_alloc(nblocks * sizeof *p.block);
  count_bytes(&p);
  crew_run(pack_parts, &p, CREW_MOST);
  for (uint64_t i = 0; i < nblocks; i++) mem_free(p.block[i].data);
  for (uint32_t i = 0; i < p.nspares; i++) mem_free(p.spare[i]);
  mem_free(p.block);
  if (r->progress)
    r->progress(r->user, "pack weights", program->weight_bytes, program->weight_bytes);
  return p.failed ? FAIL : OK;
}
