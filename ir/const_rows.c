/* Rows of a constant; see const_rows.h.
 *
 * Interleaved rotary halves (GGUF llama q and k): with D = rows / heads, logical row
 * h*D + half*(D/2) + i stands at file row h*D + 2*i + half.
 */
#include "ir/const_rows.h"
#include "ir/quant/common.h"

static int64_t product(const int64_t *dim, int from, int rank) {
  uint64_t n = 1;
  for (int i = from; i < rank; i++) {
    if (dim[i] < 0 || !size_mul(n, (uint64_t)dim[i], &n)) return -1;
  }
  return (int64_t)n;
}

/* The format that an element type is, when floats are kept plainly; NULL for f64 and integers. */
static const QuantDef *view_def(const WeightView *v) {
  if (v->storage != Q_plain) return quant_def(v->storage);
  switch (v->dtype) {
  case DT_f32: return &quant_f32;
  case DT_f16: return &quant_f16;
  case DT_bf16: return &quant_bf16;
  default: return NULL;
  }
}

static bool view_floats(const WeightView *v) {
  return view_def(v) || (v->storage == Q_plain && v->dtype == DT_f64);
}

static uint64_t view_row_bytes(const WeightView *v, int64_t cols) {
  const QuantDef *q = view_def(v);
  return q ? const_row_bytes(cols, q) : (uint64_t)cols * dtype_size(v->dtype);
}

uint64_t const_row_bytes(int64_t cols, const QuantDef *q) {
  return align_up((uint64_t)cols, q->block) / q->block * q->block_bytes;
}

static Status check_format(const ConstRows *r, const ConstPart *p, Diag *d) {
  const WeightView *v = &p->view;
  const char *where = p->name ? p->name : r->def->name;
  if (v->storage != Q_plain && !quant_def(v->storage))
    return diag_error(d, where,
                      "stored as %s, which ingot cannot compute yet; convert the model to "
                      "another format, such as q4_k, q8_0 or bf16",
                      storage_name(v->storage));
  if (dtype_is_float(r->def->type.dtype) != view_floats(v))
    return diag_error(d, where, "has elements of %s (expected %s)",
                      v->storage == Q_plain ? dtype_name(v->dtype) : storage_name(v->storage),
                      dtype_name(r->def->type.dtype));
  if (!view_floats(v) && v->dtype != r->def->type.dtype)
    return diag_error(d, where, "has elements of %s (expected %s)", dtype_name(v->dtype),
                      dtype_name(r->def->type.dtype));
  const QuantDef *q = view_def(v);
  if (q && q->block > 1 && r->cols % q->block != 0)
    return diag_error(d, where, "rows of %lld elements are not whole blocks of %s",
                      (long long)r->cols, q->name);
  return OK;
}

static Status check_part(const ConstRows *r, const ConstPart *p, Diag *d) {
  const WeightView *v = &p->view;
  const char *where = p->name ? p->name : r->def->name;
  if (!v->data)
    return diag_error(d, where, "its elements are not at hand (only its name is known)");
  int64_t rows = v->rank ? v->dim[0] : 1, cols = product(v->dim, 1, v->rank);
  if (cols != r->cols || rows < 0)
    return diag_error(d, where, "is %lld x %lld (expected rows of %lld elements)", (long long)rows,
                      (long long)cols, (long long)r->cols);
  TRY(check_format(r, p, d));
  uint64_t need;
  if (!size_mul((uint64_t)rows, view_row_bytes(v, cols), &need) || need > v->bytes)
    return diag_error(d, where, "has %llu bytes, too few for %lld x %lld",
                      (unsigned long long)v->bytes, (long long)rows, (long long)cols);
  int64_t heads = p->interleaved_heads;
  if (heads < 0 || (heads > 0 && (rows % heads != 0 || rows / heads % 2 != 0)))
    return diag_error(d, where, "%lld rows cannot be %lld heads of two rotary halves",
                      (long long)rows, (long long)heads);
  return OK;
}

static uint32_t part_count(const ConstRows *r) {
  return r->def->nparts ? r->def->nparts : 1;
}

static const ConstPart *part_at(const ConstRows *r, uint32_t i) {
  return r->def->nparts ? &r->def->parts[i] : &r->whole;
}

static Status check_parts(ConstRows *r, const int64_t *dim, Diag *d) {
  const ConstDef *def = r->def;
  if (!def->nparts) {
    uint64_t bytes;
    if (!def->dense) return diag_error(d, def->name, "has neither parts nor values");
    if (!size_mul((uint64_t)r->rows, (uint64_t)r->cols, &bytes) ||
        !size_mul(bytes, dtype_size(def->type.dtype), &bytes))
      return diag_error(d, def->name, "is too large");
    r->whole.name = def->name;
    r->whole.view = (WeightView){Q_plain, def->type.dtype, def->type.rank, {0}, def->dense, bytes};
    memcpy(r->whole.view.dim, dim, sizeof r->whole.view.dim);
  }
  uint64_t sum = 0;
  for (uint32_t i = 0; i < part_count(r); i++) {
    const ConstPart *p = part_at(r, i);
    TRY(check_part(r, p, d));
    if (!size_add(sum, p->view.rank ? (uint64_t)p->view.dim[0] : 1, &sum))
      return diag_error(d, def->name, "is too large");
  }
  if (sum != (uint64_t)r->rows)
    return diag_error(d, def->name, "its parts have %llu rows together (expected %lld)",
                      (unsigned long long)sum, (long long)r->rows);
  return OK;
}

Status const_rows_open(const Module *m, uint32_t index, ConstRows *out, Diag *d) {
  BUG_IF(index >= m->nconsts, "constant %u of %u", index, m->nconsts);
  const ConstDef *def = &m->consts[index];
  int64_t dim[MAX_RANK] = {0};
  for (int i = 0; i < def->type.rank; i++) {
    if (!dim_is_const(m->dims, def->type.dim[i], &dim[i]))
      return diag_error(d, def->name, "a constant needs literal dimensions");
  }
  *out = (ConstRows){.def = def, .rows = def->type.rank ? dim[0] : 1};
  out->cols = product(dim, 1, def->type.rank);
  if (out->cols < 0 || out->rows < 0) return diag_error(d, def->name, "is too large");
  TRY(check_parts(out, dim, d));
  /* A plain f16 or bf16 constant is kept in its type. */
  const WeightView own = {.storage = def->type.storage, .dtype = def->type.dtype};
  if (def->type.storage != Q_plain || def->type.dtype == DT_f16 || def->type.dtype == DT_bf16) {
    out->through = view_def(&own);
    if (!out->through || !out->through->encode)
      return diag_error(d, def->name, "a constant cannot be kept as %s",
                        storage_name(def->type.storage));
    if (out->through->block > 1 && def->type.rank < 2)
      return diag_error(d, def->name, "a vector cannot be kept in blocks of %s",
                        out->through->name);
  }
  if (dtype_is_float(def->type.dtype)) {
    out->floats = mem_alloc(align_up((uint64_t)out->cols + 1, QUANT_LARGEST_BLOCK) * sizeof(float));
    if (out->through) out->blocks = mem_alloc(const_row_bytes(out->cols, out->through) + 1);
  }
  return OK;
}

void const_rows_close(ConstRows *r) {
  mem_free(r->floats);
  mem_free(r->blocks);
  r->floats = NULL;
  r->blocks = NULL;
}

/* The part of a logical row and the row's bytes in it. */
static const uint8_t *locate(const ConstRows *r, int64_t row, const ConstPart **out) {
  for (uint32_t i = 0; i < part_count(r); i++) {
    const ConstPart *p = part_at(r, i);
    int64_t n = p->view.rank ? p->view.dim[0] : 1;
    if (row >= n) {
      row -= n;
      continue;
    }
    if (p->interleaved_heads > 0) {
      int64_t size = n / p->interleaved_heads, in_head = row % size, half = in_head / (size / 2);
      row = row - in_head + 2 * (in_head % (size / 2)) + half;
    }
    *out = p;
    return p->view.data + (uint64_t)row * view_row_bytes(&p->view, r->cols);
  }
  BUG("row beyond the constant %s", r->def->name);
}

const uint8_t *const_row_data(const ConstRows *r, int64_t row) {
  const ConstPart *p;
  return locate(r, row, &p);
}

static void file_floats(const ConstRows *r, const WeightView *v, const uint8_t *data, float *x) {
  const QuantDef *q = view_def(v);
  if (q) {
    q->decode(data, x, (size_t)r->cols);
    return;
  }
  for (int64_t i = 0; i < r->cols; i++) {
    double value;
    memcpy(&value, data + 8 * i, 8);
    x[i] = (float)value;
  }
}

/* Encodes r->floats, whose row is in place, with the tail block filled up by zeros. */
static void encode_scratch(ConstRows *r, const QuantDef *q, const ConstPart *p, uint8_t *out) {
  size_t n = align_up((uint64_t)r->cols, q->block);
  for (size_t i = (size_t)r->cols; i < n; i++) r->floats[i] = 0;
  q->encode(r->floats, p->importance, out, n);
}

/* Fills r->floats with the row as the constant's own format gives it. */
static void load_row(ConstRows *r, int64_t row) {
  const ConstPart *p;
  const uint8_t *data = locate(r, row, &p);
  file_floats(r, &p->view, data, r->floats);
  if (r->through && r->through != view_def(&p->view)) {
    encode_scratch(r, r->through, p, r->blocks);
    r->through->decode(r->blocks, r->floats, align_up((uint64_t)r->cols, r->through->block));
  }
}

void const_row_floats(ConstRows *r, int64_t row, float *x) {
  load_row(r, row);
  memcpy(x, r->floats, (size_t)r->cols * sizeof(float));
}

const uint8_t *const_row_blocks(ConstRows *r, int64_t row, const QuantDef *q, uint8_t *buffer) {
  const ConstPart *p;
  const uint8_t *data = locate(r, row, &p);
  const QuantDef *in_file = view_def(&p->view);
  if (in_file == q && (!r->through || r->through == q)) return data;
  if (r->through == q) {
    file_floats(r, &p->view, data, r->floats);
  } else {
    load_row(r, row);
  }
  encode_scratch(r, q, p, buffer);
  return buffer;
}
