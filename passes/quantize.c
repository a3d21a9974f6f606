/* quantize: chooses the storage format of every matrix that is streamed, and how activations meet
 * it.
 *
 * Quantisation is a property of a constant's type, so this pass only rewrites types and the `act`
 * of linears. A matrix is a rank-2 float constant that is the weight of a linear or the table of a
 * gather; norms, biases and everything else keep their plain floats. Rules, in order:
 *   --quant none   f32 for every matrix;
 *   (keep)         what the model has; plain f32, f16 and bf16 as f32, f16 and bf16 streams;
 *   --quant F      F, except that embeddings and output matrices get q8_0 when F has fewer than 8
 *                  bits, or q6_k when F has super-blocks (they carry more of the error than their
 *                  share of the bytes). Where rows don't fill whole super-blocks and padding them
 *                  would add more than a sixteenth, the format's own substitute with blocks of 32
 *                  (QuantDef.narrow: q5_0 for q4_k, q8_0 for q6_k, ..) is taken, and f16 for a
 *                  matrix with fewer columns than half a block.
 * An output matrix is one whose linear reaches a graph's output through element-wise ops, views and
 * argmax alone. `act` is the option's where the format is of integers, f32 elsewhere; but what an
 * output matrix reads has i16 when the option is i8: one row a run, while 8 bits there make a third
 * of the whole error (SmolLM2 Q4_1: KL 0.0029 against 0.0019 so; llama.cpp 0.0028). With --prefill
 * fast, the entries that read a prompt have i8 and fold the weights that can be folded; decode
 * stays.
 * In an encoder i8 is i8p, scales that are powers of two, but for queries, keys and values, which
 * make most of the error (MiniLM, 1,000 sentences, the least cosine to f32: 0.99933 with i8 for
 * all, 0.99918 so, 0.99887 with i8p for all).
 */
#include "passes/util.h"

#include <string.h>

const char *const quant_choices[] = {"none", "keep",
#define QUANT(name, ggml, block, bytes, packed) #name,
#define QUANT_NAMED(name, ggml, block, bytes)
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED
                                     NULL};

const char *const act_choices[] = {"i16", "i8", "f32", NULL};

void act_choose(PassOptions *o, const char *choice) {
  o->act = strcmp(choice, "i16") == 0 ? ACT_i16 : strcmp(choice, "i8") == 0 ? ACT_i8 : ACT_f32;
}

const char *const prefill_choices[] = {"exact", "fast", NULL};

void prefill_choose(PassOptions *o, const char *choice) {
  o->fast = strcmp(choice, "fast") == 0;
}

void quant_choose(PassOptions *o, const char *choice) {
  o->quant = Q_plain;
  o->quant_none = strcmp(choice, "none") == 0;
  if (!o->quant_none && strcmp(choice, "keep") != 0) storage_parse(choice, &o->quant);
}

/* What the graphs do with a constant. */
enum { USE_LINEAR = 1, USE_TABLE = 2, USE_OUTPUT = 4 };

/* Marks the ops from which an output, or its argmax, follows without any further contraction or
 * norm. */
static void mark_output_ops(const Graph *g, bool *marked) {
  for (uint32_t i = 0; i < g->noutputs; i++) {
    const Value *v = graph_value(g, g->outputs[i]);
    if (v->kind == V_OP) marked[v->def] = true;
  }
  for (OpId o = g->nops - 1; o > 0; o--) {
    const Op *op = graph_get(g, o);
    uint32_t passes_on = T_ELEMENTWISE | T_VIEW;
    if (!marked[o] || op->dead) continue;
    if (op->code != OP_argmax && !(op_info(op->code)->traits & passes_on)) continue;
    for (uint32_t i = 0; i < op->nin; i++) {
      const Value *v = graph_value(g, op->in[i]);
      if (v->kind == V_OP) marked[v->def] = true;
    }
  }
}

static void find_uses(const Graph *g, unsigned *use) {
  bool *marked = mem_alloc(g->nops * sizeof *marked);
  mark_output_ops(g, marked);
  for (OpId o = 1; o < g->nops; o++) {
    const Op *op = graph_get(g, o);
    if (op->dead || (op->code != OP_linear && op->code != OP_gather)) continue;
    ValueId w = op->in[op->code == OP_linear ? 1 : 0];
    if (!const_of(g, w)) continue;
    unsigned *u = &use[graph_value(g, w)->index];
    *u |= op->code == OP_gather ? USE_TABLE : USE_LINEAR;
    if (op->code == OP_linear && marked[o]) *u |= USE_OUTPUT;
  }
  mem_free(marked);
}

/* The format that means the same as plain elements of this type. */
static Storage plain_format(DType t) {
  return t == DT_f16 ? Q_f16 : t == DT_bf16 ? Q_bf16 : Q_f32;
}

static int format_bits(const QuantDef *q) {
  return (int)(q->block_bytes * 8 / q->block);
}

/* `s`, or what takes its place for rows of so many columns. */
static Storage fitting(Storage s, int64_t cols) {
  const QuantDef *q = quant_def(s);
  int64_t padding = (int64_t)align_up((uint64_t)cols, q->block) - cols;
  if (q->narrow != Q_plain && padding * 16 > cols) return fitting(q->narrow, cols);
  return 2 * cols < (int64_t)q->block ? Q_f16 : s;
}

/* A table of ids alone that is small beside the model stays in f32: a row taken out of packed
 * blocks costs a third of a microsecond (gather.c), three of them a twentieth of an encoder's
 * time in int8. */
static bool small_table(const Module *m, const ConstDef *c, unsigned use) {
  if (use != USE_TABLE) return false;
  double all = 0, own = 0;
  for (uint32_t i = 0; i < m->nconsts; i++) {
    const Type *t = &m->consts[i].type;
    int64_t rows, cols;
    if (t->rank != 2 || !dim_is_const(m->dims, t->dim[0], &rows) ||
        !dim_is_const(m->dims, t->dim[1], &cols))
      continue;
    all += (double)rows * (double)cols;
    if (&m->consts[i] == c) own = (double)rows * (double)cols;
  }
  return 32 * own < all;
}

static Storage choose(const Module *m, const ConstDef *c, unsigned use, const PassOptions *o) {
  int64_t cols;
  if (o->quant_none) return Q_f32;
  if (o->quant == Q_plain)
    return c->type.storage == Q_plain ? plain_format(c->type.dtype) : c->type.storage;
  const QuantDef *q = quant_def(o->quant);
  if (q->block > 1 && small_table(m, c, use)) return Q_f32;
  Storage s = o->quant;
  if ((use & (USE_TABLE | USE_OUTPUT)) && format_bits(q) < 8) s = q->block > 32 ? Q_q6_k : Q_q8_0;
  return dim_is_const(m->dims, c->type.dim[1], &cols) ? fitting(s, cols) : s;
}

static Status check_options(const PassCtx *c) {
  const QuantDef *q = quant_def(c->options.quant);
  if (c->options.quant_none || c->options.quant == Q_plain || (q && q->encode)) return OK;
  return diag_error(c->diag, "--quant",
                    "%s can't be written (expected one of those that --help lists)",
                    storage_name(c->options.quant));
}

static bool choose_formats(Module *m, const PassOptions *o, const unsigned *use) {
  bool changed = false;
  for (uint32_t i = 0; i < m->nconsts; i++) {
    const Type *t = &m->consts[i].type;
    if (!use[i] || t->rank != 2 || !dtype_is_float(t->dtype)) continue;
    Storage s = choose(m, &m->consts[i], use[i], o);
    if (t->dtype != DT_f32 || s == t->storage) continue;
    if (m->consts[i].dense) continue; /* plain elements of our own, not a model's weights */
    set_const_storage(m, i, s);
    changed = true;
  }
  return changed;
}

/* The entries that read a prompt. */
static bool of_a_prompt(const Graph *g) {
  return strcmp(g->name, "prefill") == 0 || strcmp(g->name, "logits") == 0;
}

/* Attention without a cache, beside linears that read i8: i16, which costs nothing beside what 8
 * bits do. */
static bool choose_attention(Graph *g, bool coded) {
  bool changed = false;
  for (OpId o = 1; o < g->nops; o++) {
    Op *op = graph_get(g, o);
    if (op->dead || op->code != OP_attention) continue;
    ActFormat act = coded && attention_codes(g, op) ? ACT_i16 : ACT_f32;
    changed |= act != op->attrs.attention.act;
    op->attrs.attention.act = act;
  }
  return changed;
}

/* Marks the linears whose rows an attention without a cache takes as queries, keys or values. */
static void mark_attention_inputs(const Graph *g, bool *marked) {
  for (OpId o = g->nops - 1; o > 0; o--) {
    const Op *op = graph_get(g, o);
    bool attends = op->code == OP_attention, view = marked[o] && op_info(op->code)->traits & T_VIEW;
    if (op->dead || !(attends || view)) continue;
    for (uint32_t i = 0; i < op->nin && i < 3; i++) {
      const Value *v = graph_value(g, op->in[i]);
      if (v->kind == V_OP) marked[v->def] = true;
    }
  }
}

static bool encoder(const Graph *g) {
  for (OpId o = 1; o < g->nops; o++)
    if (!graph_get(g, o)->dead && graph_get(g, o)->code == OP_attention) return true;
  return false;
}

static bool choose_acts(Graph *g, const PassOptions *options) {
  bool coded = false, changed = false, *output = mem_alloc(g->nops * sizeof *output);
  bool fast = options->fast && options->act != ACT_f32 && of_a_prompt(g);
  ActFormat act = fast ? ACT_i8 : options->act;
  mark_output_ops(g, output);
  bool powers = encoder(g), *input = mem_alloc(g->nops * sizeof *input);
  mark_attention_inputs(g, input);
  for (OpId o = 1; o < g->nops; o++) {
    Op *op = graph_get(g, o);
    if (op->dead || op->code != OP_linear || graph_value(g, op->in[0])->type.storage != Q_plain)
      continue;
    Storage s = graph_value(g, op->in[1])->type.storage;
    Attrs want = {.linear.act = is_integer_format(s) ? act : ACT_f32};
    if (want.linear.act == ACT_i8 && output[o]) want.linear.act = ACT_i16;
    want.linear.fold = fast && want.linear.act == ACT_i8 && quant_folds(quant_def(s));
    if (want.linear.act == ACT_i8 && powers && !input[o]) want.linear.act = ACT_i8p;
    changed |= !attrs_equal(op_info(OP_linear), &op->attrs, &want);
    coded |= want.linear.act == ACT_i8 || want.linear.act == ACT_i8p;
    op->attrs = want;
  }
  mem_free(output);
  mem_free(input);
  return choose_attention(g, coded) || changed;
}

Status pass_quantize(Module *m, PassCtx *c, bool *changed) {
  TRY(check_options(c));
  unsigned *use = mem_alloc((m->nconsts + 1) * sizeof *use);
  for (uint32_t i = 0; i < m->ngraphs; i++) find_uses(m->graphs[i], use);
  *changed |= choose_formats(m, &c->options, use);
  for (uint32_t i = 0; i < m->ngraphs; i++) *changed |= choose_acts(m->graphs[i], &c->options);
  mem_free(use);
  return OK;
}
