/* Random graphs for the tests of lowering: a few ops on [S, H] values, read again in any order.
 *
 * What the table of op_cases.h cannot list: fusion across borders, values with several readers,
 * views of views. Sums go through tanh, so that values stay of order one; errors are judged against
 * that. A case is a function of its number.
 */
#ifndef INGOT_TESTS_OP_RANDOM_H
#define INGOT_TESTS_OP_RANDOM_H

#include "ir/base.h"

#include <string.h>

enum { RANDOM_VALUES = 40, RANDOM_SMALLEST = 8 };

typedef struct RandomGraph {
  uint32_t state;
  Arena *arena;
  Buf consts, body;
  uint32_t n, nconsts;
  struct {
    int dim[3], rank; /* behind S: rank 1 or 2 */
  } value[RANDOM_VALUES];
} RandomGraph;

static uint32_t draw(RandomGraph *r, uint32_t n) {
  r->state ^= r->state << 13;
  r->state ^= r->state >> 17;
  r->state ^= r->state << 5;
  return (r->state >> 3) % n;
}

static int last_of(const RandomGraph *r, uint32_t v) {
  return r->value[v].dim[r->value[v].rank - 1];
}

/* A new value shaped as `like` but for its last dimension; its number. */
static uint32_t shaped(RandomGraph *r, uint32_t like, int last) {
  r->value[r->n] = r->value[like];
  r->value[r->n].dim[r->value[like].rank - 1] = last;
  return r->n++;
}

static uint32_t weight(RandomGraph *r, const char *shape, const char *format) {
  buf_printf(&r->consts, "const %%w%u : tensor<%s x f32%s> = weight \"w%u\"\n", r->nconsts, shape,
             format, r->nconsts);
  return r->nconsts++;
}

static void random_unary(RandomGraph *r, uint32_t a) {
  static const char *const ops[] = {"neg",  "sigmoid", "tanh",      "relu",
                                    "silu", "gelu",    "gelu_tanh", "softplus"};
  const char *op = ops[draw(r, COUNT(ops))];
  buf_printf(&r->body, "%%v%u = %s %%v%u\n", shaped(r, a, last_of(r, a)), op, a);
}

/* With a value of the same shape, or with a column of sums. */
static void random_binary(RandomGraph *r, uint32_t a) {
  static const char *const ops[] = {"add", "sub", "mul", "max", "min"};
  const char *op = ops[draw(r, COUNT(ops))];
  uint32_t b = draw(r, r->n);
  if (memcmp(&r->value[a], &r->value[b], sizeof r->value[a]) != 0) {
    b = shaped(r, a, 1);
    buf_printf(&r->body, "%%s%u = reduce_sum %%v%u\n%%v%u = tanh %%s%u\n", b, a, b, b);
  }
  buf_printf(&r->body, "%%v%u = %s %%v%u, %%v%u\n", shaped(r, a, last_of(r, a)), op, a, b);
}

static void random_row(RandomGraph *r, uint32_t a) {
  int h = last_of(r, a);
  bool norm = draw(r, 2);
  uint32_t w = norm ? weight(r, arena_printf(r->arena, "%d", h), "") : 0;
  uint32_t y = shaped(r, a, h);
  if (norm)
    buf_printf(&r->body, "%%v%u = rmsnorm %%v%u, %%w%u {eps = 0.001}\n", y, a, w);
  else
    buf_printf(&r->body, "%%v%u = softmax %%v%u\n", y, a);
}

static void random_linear(RandomGraph *r, uint32_t a) {
  static const char *const formats[] = {"", " : f16", " : q8_0", " : q4_1", " : q5_0"};
  int h = last_of(r, a), n = draw(r, 2) ? h : 8 + (int)draw(r, 60);
  uint32_t w = weight(r, arena_printf(r->arena, "%dx%d", n, h), formats[draw(r, COUNT(formats))]);
  uint32_t y = shaped(r, a, n);
  buf_printf(&r->body, "%%s%u = linear %%v%u, %%w%u\n%%v%u = tanh %%s%u\n", y, a, w, y, y);
}

static void random_view(RandomGraph *r, uint32_t a) {
  int h = last_of(r, a), cut = RANDOM_SMALLEST + (int)draw(r, (uint32_t)(h - RANDOM_SMALLEST + 1));
  uint32_t kind = draw(r, 3), y;
  if (kind == 0 && h - cut >= RANDOM_SMALLEST) {
    y = shaped(r, a, cut);
    buf_printf(&r->body, "%%v%u, %%v%u = split %%v%u {axis = -1, sizes = [%d, %d]}\n", y,
               shaped(r, a, h - cut), a, cut, h - cut);
  } else if (kind == 1) {
    y = shaped(r, a, cut);
    buf_printf(&r->body, "%%v%u = slice %%v%u {axis = -1, start = %d, size = %d}\n", y, a, h - cut,
               cut);
  } else if (r->value[a].rank == 1 && h % 2 == 0 && h / 2 >= RANDOM_SMALLEST) {
    y = shaped(r, a, 2);
    r->value[y].rank = 2;
    r->value[y].dim[1] = h / 2;
    buf_printf(&r->body, "%%v%u = reshape %%v%u {shape = [-1, 2, %d]}\n", y, a, h / 2);
  } else if (r->value[a].rank == 2) {
    y = shaped(r, a, 0);
    r->value[y].rank = 1;
    r->value[y].dim[0] = r->value[a].dim[0] * h;
    r->value[y].dim[1] = 0;
    buf_printf(&r->body, "%%v%u = reshape %%v%u {shape = [-1, %d]}\n", y, a, r->value[y].dim[0]);
  }
}

static void random_concat(RandomGraph *r, uint32_t a) {
  int h = last_of(r, a);
  if (2 * h > 200) return;
  buf_printf(&r->body, "%%v%u = concat %%v%u, %%v%u {axis = -1}\n", shaped(r, a, 2 * h), a, a);
}

/* Writes the texts of graph number `seed`; inputs are v0 and v1, outputs the last five values. */
static void random_graph(Arena *a, uint32_t seed, const char **consts, const char **inputs,
                         const char **outputs, const char **body) {
  void (*const kinds[])(RandomGraph *, uint32_t) = {random_unary, random_binary, random_binary,
                                                    random_row,   random_linear, random_view,
                                                    random_view,  random_concat};
  RandomGraph r = {.state = 2463534242u + seed * 2654435761u, .arena = a, .n = 2};
  static const int widths[] = {72, 40, 17, 96};
  int h = widths[draw(&r, COUNT(widths))];
  for (uint32_t i = 0; i < 2; i++) {
    r.value[i].rank = 1;
    r.value[i].dim[0] = h;
  }
  for (uint32_t steps = 4 + draw(&r, 12); steps > 0; steps--) {
    uint32_t recent = r.n < 6 ? r.n : 6,
             at = draw(&r, 3) ? r.n - 1 - draw(&r, recent) : draw(&r, r.n);
    if (last_of(&r, at) >= RANDOM_SMALLEST) kinds[draw(&r, COUNT(kinds))](&r, at);
  }
  if (r.n == 2) random_unary(&r, 0);
  *consts = arena_strdup(a, r.consts.data ? r.consts.data : "");
  *body = arena_strdup(a, r.body.data);
  *inputs = arena_printf(a, "%%v0: tensor<Sx%d x f32>, %%v1: tensor<Sx%d x f32>", h, h);
  Buf out = {0};
  for (uint32_t v = r.n > 6 ? r.n - 5 : 2; v < r.n; v++)
    buf_printf(&out, "%sy%u: %%v%u", out.size ? ", " : "", v, v);
  *outputs = arena_strdup(a, out.data);
  buf_free(&out);
  buf_free(&r.consts);
  buf_free(&r.body);
}

#endif
