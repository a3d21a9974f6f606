/* Embedding lookup: rows of a table by id.
 *
 * A constant table is the packed weight (often shared with the output head): element k of row id is
 * lane id % 16 of group id / 16, taken out one by one (q8_0: by blocks), which costs microseconds a
 * token and saves a second copy of the largest tensor. It lies in as many cache lines as the table
 * has words in a row, so the next row's are asked for meanwhile. A table in f32 that no linear
 * shares is kept by rows instead. Ids are clamped into the table, so that a bad id can't read
 * outside it.
 */
#include "passes/lower/lower.h"

/* The id of row r, as i64 in 0..n-1. */
static KVal load_id(Draft *d, const Place *ids, KVal row, int64_t stride, KVal n) {
  KBuilder *b = &d->b;
  KScalar s = kscalar_of(ids->dtype);
  KAddr a = k_at(k_addr(draft_buffer(d, ids, s, false)), row, stride);
  if (ids->shift) a = k_at(a, draft_dim(d, ids->shift), 1);
  KVal id = k_cvt(b, k_load(b, (KType){s, 1}, a), K_i64);
  id = k_op2(b, KOP_max, id, k_i64(b, 0));
  return k_op2(b, KOP_min, id, k_op2(b, KOP_sub, n, k_i64(b, 1)));
}

/* A table in packed blocks of 16 rows. */
typedef struct PackedTable {
  const QuantDef *def;
  KVal w, lower; /* w: the upper half where the table is split; lower: 0 where it is not */
  int64_t k;
} PackedTable;

/* Where row `id` is. */
typedef struct PackedRow {
  KVal group, lane;
} PackedRow;

static PackedRow packed_at(KBuilder *b, KVal id) {
  return (PackedRow){k_op2(b, KOP_lshr, id, k_i64(b, 4)), k_op2(b, KOP_and, id, k_i64(b, 15))};
}

/* Block `block` of a row's group in a buffer whose packed blocks take `bytes`. */
static KAddr block_of(const PackedTable *t, KVal buffer, uint32_t bytes, KVal group, KVal block) {
  return k_at(k_at(k_addr(buffer), group, (int64_t)quant_half_size(t->def, bytes, 16, t->k)), block,
              bytes);
}

static uint32_t block_bytes(const PackedTable *t) {
  return t->lower ? t->def->split->upper_bytes : t->def->packed_bytes;
}

/* A whole block of a format that stands as dot4 reads it (QuantDef.direct): eight words of four
 * codes each. */
static void direct_block(KBuilder *b, const QuantDef *q, KAddr block, KVal lane, KAddr out,
                         KScalar to) {
  KType i32 = KT(i32, 16);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, i32, q->packed_block / 4));
  KVal words = k_load_mask(b, i32, k_lane(k_at(block, lane, 4), 16), there);
  KAddr scales = k_at(k_off(block, 16 * q->packed_block), lane, 2);
  KVal scale = k_splat(b, k_cvt(b, k_load(b, KT(f16, 1), scales), K_f32));
  KVal zero = k_int(b, i32, quant_form(q).zero);
  for (int i = 0; i < 4; i++) {
    KVal code = k_op2(b, KOP_lshr, words, k_int(b, i32, 8 * i));
    code = k_op2(b, KOP_sub, k_op2(b, KOP_and, code, k_int(b, i32, 255)), zero);
    KVal x = k_cvt(b, k_op2(b, KOP_mul, scale, k_cvt(b, code, K_f32)), to);
    k_store_mask(b, x, k_lane(k_off(out, i), 4), there);
  }
}

/* Element i of a packed block, `from`, of a row. */
static KVal packed_one(KBuilder *b, const PackedTable *t, PackedRow row, KVal block, KAddr from,
                       KVal i) {
  const QuantSplit *s = t->def->split;
  if (!t->lower) return t->def->unpack_one(b, from, row.lane, i);
  return s->unpack_one(b, from, block_of(t, t->lower, s->lower_bytes, row.group, block), row.lane,
                       i);
}

/* Row `row` of the table, element by element out of its packed blocks; `next` is asked for. */
static void packed_row(Draft *d, const PackedTable *t, PackedRow row, PackedRow next, KAddr out,
                       KScalar to) {
  KBuilder *b = &d->b;
  uint32_t bytes = block_bytes(t);
  int64_t pb = t->def->packed_block, whole = t->k / pb;
  for (int part = 0; part < 2; part++) { /* whole blocks, then the last one's beginning */
    int64_t lo = part ? whole : 0, hi = part ? (t->k + pb - 1) / pb : whole;
    if (lo == hi) continue;
    KVal block = k_for(b, "b", k_i64(b, lo), k_i64(b, hi), 1, 0, NULL);
    KAddr ahead = k_at(block_of(t, t->w, bytes, next.group, block), next.lane, 4);
    KAddr from = block_of(t, t->w, bytes, row.group, block), x = k_at(out, block, pb);
    for (int64_t i = 0; i < bytes; i += 64) k_prefetch(b, k_off(ahead, i));
    if (t->def->direct && !t->lower && !part) {
      direct_block(b, t->def, from, row.lane, x, to);
    } else {
      KVal i = k_for(b, "i", k_i64(b, 0), k_i64(b, part ? t->k % pb : pb), 1, 0, NULL);
      k_store(b, k_cvt(b, packed_one(b, t, row, block, from, i), to), k_at(x, i, 1));
      k_for_end(b, NULL);
    }
    k_for_end(b, NULL);
  }
}

typedef struct RowCopy {
  Draft *d;
  KAddr from, to;
  KType type;
  KVal out_row;
} RowCopy;

static void copy_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  RowCopy *c = user;
  KBuilder *b = &c->d->b;
  KAddr from = k_at(c->from, col, 1), to = k_at(c->to, col, 1);
  if (mask)
    k_store_mask(b, k_load_mask(b, c->type, from, mask), to, mask);
  else
    k_store(b, k_load(b, c->type, from), to);
}

static void plain_row(Draft *d, const Place *table, int64_t stride, KVal id, KAddr out) {
  KScalar s = kscalar_of(table->dtype);
  KAddr from = k_at(k_addr(draft_buffer(d, table, s, false)), id, stride);
  if (table->shift) from = k_at(from, draft_dim(d, table->shift), 1);
  RowCopy c = {.d = d, .from = from, .to = out, .type = {(uint8_t)s, 16}};
  draft_span(d, k_i64(&d->b, 0), draft_dim(d, table->dim[1]), 0, NULL, copy_body, &c);
}

/* A float table that is kept by rows; of its bytes a launch reads those of the ids. */
static bool by_rows(const Lower *l, const Value *table) {
  const Type *t = &table->type;
  bool f32 = t->dtype == DT_f32 && (t->storage == Q_plain || t->storage == Q_f32);
  return f32 && !weight_read_by(l, table->index, OP_linear);
}

Status lower_gather(Lower *l, const Op *op) {
  const Value *tv = graph_value(l->g, op->in[0]);
  int64_t k = dim_literal(l, tv->type.dim[1]), id_stride = 1, stride = k;
  bool constant = tv->kind == V_CONST && dtype_is_float(tv->type.dtype);
  bool rows = constant && by_rows(l, tv), packed = constant && !rows;
  if (k < 0) return lower_error(l, op, "needs a table of a width known when compiling");
  const QuantDef *q = NULL;
  Place table, ids = place_of(l, op->in[1]);
  if (packed) {
    table = weight_rows16(l, tv->index, &q);
    if (!q) return lower_error(l, op, "reads a table in a format that can't be computed yet");
  } else if (rows) {
    table = weight_plain(l, tv->index);
    table.storage = Q_f32;
  } else
    table = place_as_rows(l, op->in[0], &stride);
  if (!place_is_contiguous(l, &ids)) {
    Place copy = place_scratch(l, &graph_value(l->g, op->in[1])->type);
    lower_copy(l, &ids, &copy);
    ids = copy;
  }
  Place out = place_result(l, op->out[0]);
  Draft d;
  draft_begin(&d, l, KC_map, q ? arena_printf(l->arena, "gather_%s", q->name) : "gather");
  d.extent = type_elements(l->m->dims, &graph_value(l->g, op->in[1])->type);
  d.flops = dim_mul(l, d.extent, dim_const(l->m->dims, k));
  if (constant) {
    int64_t row = q ? (int64_t)quant_packed_size(q, 16, k) / 16 : 4 * k;
    draft_traffic(&d, dim_mul(l, d.extent, dim_const(l->m->dims, row)));
  }
  PackedTable t = {.def = q, .k = k};
  if (q) t.w = draft_buffer(&d, &table, K_i8, false);
  if (q && weight_is_split(l, tv->index)) {
    Place lower = weight_lower(l, tv->index);
    t.lower = draft_buffer(&d, &lower, K_i8, false);
  }
  KVal n = draft_dim(&d, tv->type.dim[0]);
  KVal rows_of_ids = draft_dim(&d, d.extent), r = k_par(&d.b, "r", rows_of_ids);
  KVal id = load_id(&d, &ids, r, id_stride, n);
  KScalar s = kscalar_of(out.dtype);
  KAddr to = k_at(k_addr(draft_buffer(&d, &out, s, true)), r, k);
  if (q) {
    KVal last = k_op2(&d.b, KOP_sub, rows_of_ids, k_i64(&d.b, 1));
    KVal after = k_op2(&d.b, KOP_min, k_op2(&d.b, KOP_add, r, k_i64(&d.b, 1)), last);
    PackedRow next = packed_at(&d.b, load_id(&d, &ids, after, id_stride, n));
    packed_row(&d, &t, packed_at(&d.b, id), next, to, s);
  } else
    plain_row(&d, &table, stride, id, to);
  k_par_end(&d.b);
  draft_end(&d);
  return OK;
}
