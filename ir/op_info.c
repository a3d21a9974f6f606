/* The op table as data, made from ir/ops.def and the ATTRS_ lists of ir/graph.h.
 *
 * A new attribute struct needs its three lines below; a new op needs nothing here. Printing,
 * parsing, copying and comparing attributes all run over the same field tables.
 */
#include "ir/graph_impl.h"
#include "ir/op.h"

#include <string.h>

#define FIELD(kind, name) {#name, AK_##kind, offsetof(OWNER, name)},
#define LAST {NULL, AK_i64, 0}

#define OWNER Attrs_none
static const AttrField fields_none[] = {ATTRS_none(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_linear
static const AttrField fields_linear[] = {ATTRS_linear(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_norm
static const AttrField fields_norm[] = {ATTRS_norm(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_clip
static const AttrField fields_clip[] = {ATTRS_clip(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_alpha
static const AttrField fields_alpha[] = {ATTRS_alpha(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_axis
static const AttrField fields_axis[] = {ATTRS_axis(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_split
static const AttrField fields_split[] = {ATTRS_split(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_slice
static const AttrField fields_slice[] = {ATTRS_slice(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_perm
static const AttrField fields_perm[] = {ATTRS_perm(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_shape
static const AttrField fields_shape[] = {ATTRS_shape(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_cast
static const AttrField fields_cast[] = {ATTRS_cast(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_rope
static const AttrField fields_rope[] = {ATTRS_rope(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_rope_table
static const AttrField fields_rope_table[] = {ATTRS_rope_table(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_rope_freqs
static const AttrField fields_rope_freqs[] = {ATTRS_rope_freqs(FIELD) LAST};
#undef OWNER
#define OWNER Attrs_attention
static const AttrField fields_attention[] = {ATTRS_attention(FIELD) LAST};
#undef OWNER

static const OpInfo table[OP_COUNT] = {
    [OP_none] = {.name = "none", .fields = fields_none},
#define OP(op, least, most, results, flags, attrs)                                                 \
  [OP_##op] = {.name = #op,                                                                        \
               .min_in = (least),                                                                  \
               .max_in = (most),                                                                   \
               .outs = (results),                                                                  \
               .traits = (flags),                                                                  \
               .fields = fields_##attrs,                                                           \
               .nfields = COUNT(fields_##attrs) - 1,                                               \
               .attr_bytes = sizeof(Attrs_##attrs),                                                \
               .infer = infer_##op,                                                                \
               .verify = verify_##op,                                                              \
               .ref = ref_##op,                                                                    \
               .expr = ((flags) & T_ELEMENTWISE) ? expr_##op : NULL},
#include "ir/ops.def"
#undef OP
};

const OpInfo *op_info(OpCode code) {
  BUG_IF((unsigned)code >= OP_COUNT, "op code %d", (int)code);
  return &table[code];
}

OpCode op_parse(const char *name) {
  for (unsigned i = OP_none + 1; i < OP_COUNT; i++) {
    if (strcmp(table[i].name, name) == 0) return (OpCode)i;
  }
  return OP_none;
}

/* ---- attributes ---- */

static const void *field_of(const AttrField *f, const Attrs *a) {
  return (const char *)a + f->offset;
}

static size_t kind_size(AttrKind k) {
  switch (k) {
  case AK_i64: return sizeof(AttrT_i64);
  case AK_f64: return sizeof(AttrT_f64);
  case AK_bool: return sizeof(AttrT_bool);
  case AK_i64s: return sizeof(AttrT_i64s);
  case AK_dtype: return sizeof(AttrT_dtype);
  case AK_act: return sizeof(AttrT_act);
  case AK_rope_mode: return sizeof(AttrT_rope_mode);
  case AK_rope_kind: return sizeof(AttrT_rope_kind);
  }
  BUG("attribute kind %d", (int)k);
}

/* Bytes are compared, so that -0.0 is not 0.0 and a NaN equals itself. */
bool attrs_equal(const OpInfo *info, const Attrs *a, const Attrs *b) {
  for (uint32_t i = 0; i < info->nfields; i++) {
    const AttrField *f = &info->fields[i];
    if (f->kind == AK_i64s) {
      const I64List *x = field_of(f, a), *y = field_of(f, b);
      if (x->n != y->n || (x->n && memcmp(x->v, y->v, x->n * sizeof *x->v) != 0)) return false;
    } else if (memcmp(field_of(f, a), field_of(f, b), kind_size(f->kind)) != 0) {
      return false;
    }
  }
  return true;
}

bool attr_is_zero(const AttrField *f, const Attrs *a) {
  static const char zeros[sizeof(double)];
  if (f->kind == AK_i64s) return ((const I64List *)field_of(f, a))->n == 0;
  return memcmp(field_of(f, a), zeros, kind_size(f->kind)) == 0;
}

void attrs_copy(Arena *arena, const OpInfo *info, Attrs *to, const Attrs *from) {
  memset(to, 0, sizeof *to);
  if (!from) return;
  for (uint32_t i = 0; i < info->nfields; i++) {
    const AttrField *f = &info->fields[i];
    memcpy((char *)to + f->offset, field_of(f, from), kind_size(f->kind));
    if (f->kind != AK_i64s) continue;
    const I64List *x = field_of(f, from);
    I64List *y = (I64List *)((char *)to + f->offset);
    y->v = ARENA_ARRAY(arena, int64_t, x->n);
    if (x->n) memcpy(y->v, x->v, x->n * sizeof *x->v);
  }
}

/* The words of the enumerated kinds, in the order of their enums; NULL for other kinds. */
static const char *const *kind_words(AttrKind k, size_t *n) {
  static const char *const act[] = {"f32", "i16", "i8", "i8p"};
  static const char *const mode[] = {"half", "pairs"};
  static const char *const freqs[] = {"dynamic", "longrope"};
  static const char *const types[] = {
#define DTYPE(name, bytes, st, is_float) #name,
#include "ir/dtypes.def"
#undef DTYPE
  };
  switch (k) {
  case AK_act: *n = COUNT(act); return act;
  case AK_rope_mode: *n = COUNT(mode); return mode;
  case AK_rope_kind: *n = COUNT(freqs); return freqs;
  case AK_dtype: *n = COUNT(types); return types;
  default: *n = 0; return NULL;
  }
}

/* Enumerated kinds all have the size of an int. */
static unsigned word_index(const AttrField *f, const Attrs *a) {
  unsigned v;
  memcpy(&v, field_of(f, a), sizeof v);
  return v;
}
_Static_assert(sizeof(ActFormat) == sizeof(unsigned) && sizeof(DType) == sizeof(unsigned), "enums");

bool attr_is_valid(const AttrField *f, const Attrs *a) {
  size_t n;
  return !kind_words(f->kind, &n) || word_index(f, a) < n;
}

void attr_print(const AttrField *f, const Attrs *a, Buf *out) {
  const void *p = field_of(f, a);
  size_t n;
  const char *const *words = kind_words(f->kind, &n);
  buf_printf(out, "%s = ", f->name);
  if (words) {
    buf_puts(out, words[word_index(f, a)]);
  } else if (f->kind == AK_i64) {
    buf_printf(out, "%lld", (long long)*(const int64_t *)p);
  } else if (f->kind == AK_f64) {
    buf_double(out, *(const double *)p, false);
  } else if (f->kind == AK_bool) {
    buf_puts(out, *(const bool *)p ? "true" : "false");
  } else {
    const I64List *x = p;
    buf_puts(out, "[");
    for (uint32_t i = 0; i < x->n; i++)
      buf_printf(out, "%s%lld", i ? ", " : "", (long long)x->v[i]);
    buf_puts(out, "]");
  }
}

static Status parse_list(Lexer *l, I64List *out) {
  uint32_t cap = 0, n = 0;
  int64_t *v = NULL;
  Status s = lex_expect(l, "[");
  while (s == OK && !lex_is(l, "]")) {
    if (n) s = lex_expect(l, ",");
    int64_t x = 0;
    if (s == OK) s = lex_i64(l, &x);
    if (s == OK) *VEC_PUSH(v, n, cap) = x;
  }
  if (s == OK) s = lex_expect(l, "]");
  if (s == OK && n) {
    *out = (I64List){n, ARENA_ARRAY(l->arena, int64_t, n)};
    memcpy(out->v, v, n * sizeof *v);
  }
  mem_free(v);
  return s;
}

static Status parse_word(Lexer *l, const AttrField *f, const char *const *words, size_t n,
                         void *to) {
  for (unsigned i = 0; i < n; i++) {
    if (!lex_accept(l, words[i])) continue;
    memcpy(to, &i, sizeof i);
    return OK;
  }
  Buf known = {0};
  for (size_t i = 0; i < n; i++) buf_printf(&known, "%s%s", i ? ", " : "", words[i]);
  Status s =
      lex_error(l, "'%s' is no value of %s (expected one of %s)", l->tok.text, f->name, known.data);
  buf_free(&known);
  return s;
}

Status attr_parse(Lexer *l, const AttrField *f, Attrs *a) {
  void *p = (char *)a + f->offset;
  size_t n;
  const char *const *words = kind_words(f->kind, &n);
  if (words) return parse_word(l, f, words, n, p);
  if (f->kind == AK_i64) return lex_i64(l, p);
  if (f->kind == AK_f64) return lex_f64(l, p);
  if (f->kind == AK_i64s) return parse_list(l, p);
  *(bool *)p = lex_is(l, "true");
  return lex_accept(l, "false") ? OK : lex_expect(l, "true");
}
