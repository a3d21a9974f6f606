/* Kernel IR: builder, text form, verifier and equality.
 *
 * One text holds every operation and every construct; it must survive parse, print, parse. Each
 * invariant K1..K12 has a kernel that breaks it, in text where text can say it and by hand where
 * not, and the message must cite the number.
 */
#include "ir/kernel_impl.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static Kernel *parse(Arena *a, const char *text) {
  Diag *d = diag_new();
  Kernel **k;
  uint32_t n;
  if (kernels_parse(a, text, "test", d, &k, &n) != OK) fail_msg("%s", diag_text(d));
  assert_int_equal(n, 1);
  diag_free(d);
  return k[0];
}

static void assert_verifies(const Kernel *k) {
  Diag *d = diag_new();
  if (kernel_verify(k, d) != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
}

/* ---- text ----------------------------------------------------------------------------------- */

static const char everything[] =
    "kernel @everything(%x: ptr<f32>, %w: ptr<i8>, %y: ptr<f32>; %S, %P) class contract {\n"
    "  local %tmp: ptr<f32>[64]\n"
    "  local %q: ptr<i8>[128]\n"
    "  local %sums: ptr<i32>[1024]\n"
    "  %c = const v16f32 0.5 # a named literal\n"
    "  %top = add %S, %P\n"
    "  store f32 0, %tmp[3]\n"
    "  par %r in 0..%top {\n"
    "    %lane = iota\n"
    "    %lanef = cvt %lane : v16f32\n"
    "    %v = load v16f32 %x[%r*576 + %P + 12] lane=3\n"
    "    %bytes = load v16i32 %w[%r*64 + -4]\n"
    "    %m = lt %v, %c\n"
    "    %m2 = ge %lane, 4\n"
    "    %mm = and %m, %m2\n"
    "    %mo = or %mm, %m2\n"
    "    %mx = xor %mo, %m\n"
    "    %part = load v16f32 %x[7] if %mm\n"
    "    prefetch %w[%r*64 + 4096]\n"
    "    mma %sums[%P*16 + 32], %q[%r*3], %w[%S + %r*8 + 1] m=16 n=2 k=8 row=640 group=4096\n"
    "    mma %sums[0], %w[0], %q[0] m=1 n=1 k=1 row=0 group=0 add\n"
    "    %f = fma %v, %c, 2.5\n"
    "    %sel = select %mx, %f, 1\n"
    "    %a1 = add %sel, %part\n"
    "    %a2 = sub %a1, 1e-05\n"
    "    %a3 = mul %a2, %a1\n"
    "    %a4 = div %a3, 3\n"
    "    %a5 = min %a4, inf\n"
    "    %a6 = max %a5, -inf\n"
    "    %a7 = neg %a6\n"
    "    %a8 = abs %a7\n"
    "    %a9 = sqrt %a8\n"
    "    %b1 = floor %a9\n"
    "    %b2 = rint %b1\n"
    "    %b3 = exp %b2\n"
    "    %b4 = log %b3\n"
    "    %b5 = tanh %b4\n"
    "    %b6 = erf %b5\n"
    "    %c6 = gelu %b6\n"
    "    %b7 = sin %c6\n"
    "    %b8 = cos %b7\n"
    "    %i1 = bits %b8 : v16i32\n"
    "    %i2 = shl %i1, 3\n"
    "    %i3 = lshr %i2, 4\n"
    "    %i4 = ashr %i3, v16i32 5\n"
    "    %i5 = eq %i4, 0\n"
    "    %i6 = ne %i4, -1\n"
    "    %i7 = le %i4, %i3\n"
    "    %i8 = gt %i4, %i3\n"
    "    %i9 = cvtu %i8 : v16i32\n"
    "    %d0 = dot4 %i9, %bytes, %i4 bits=4\n"
    "    %d1 = dot2 %d0, %bytes, %i4\n"
    "    %d = lookup %d1, %bytes\n"
    "    %n1 = zip_low %b8, %a9\n"
    "    %n2 = zip_high %d, %i2\n"
    "    %h = cvt %b8 : v16f16\n"
    "    %hb = bits %h : v16bf16\n"
    "    %s1 = reduce_add %b8\n"
    "    %s2 = reduce_max %d\n"
    "    %s3 = reduce_min %b8\n"
    "    %s4 = extract %d, 15\n"
    "    %s5 = splat %s3 : v16f32\n"
    "    %s6 = div %s2, 7\n"
    "    %s7 = rem %s4, 9\n"
    "    %far = cvt %s7 : i64\n"
    "    store %s5, %y[%r*16 + %far] lane=2 if %mm\n"
    "    store v16f32 nan, %tmp[48]\n"
    "    store bf16 -0, %w[0]\n"
    "    %z0, %z1 = for %i in 0..%far step 16 carry %p = %s1, %t = v16f32 0 {\n"
    "      %e = load f32 %x[%i]\n"
    "      %pe = add %e, %p\n"
    "      yield %pe, %s5\n"
    "    }\n"
    "    for %i in 2..6 unroll {\n"
    "      for %j in %i..%S {\n"
    "        store %z0, %y[%i*4 + %j]\n"
    "      }\n"
    "    }\n"
    "    %cond = gt %s1, 0\n"
    "    %u0, %u1 = if %cond {\n"
    "      yield %z0, i64 5\n"
    "    } else {\n"
    "      %n = neg %z0\n"
    "      yield %n, %far\n"
    "    }\n"
    "    if %cond {\n"
    "      store %u0, %y[%u1]\n"
    "    }\n"
    "  }\n"
    "}\n";

static void mark_ops(const KRegion *r, bool *seen) {
  for (uint32_t i = 0; i < r->n; i++) {
    seen[r->inst[i]->op] = true;
    if (r->inst[i]->loop) {
      mark_ops(&r->inst[i]->loop->body, seen);
      mark_ops(&r->inst[i]->loop->orelse, seen);
    }
  }
}

static void test_round_trip(void **state) {
  (void)state;
  Arena *a = arena_new();
  Kernel *k = parse(a, everything);
  bool seen[KOP_COUNT] = {false};
  mark_ops(&k->body, seen);
  for (int op = 0; op < KOP_COUNT; op++)
    if (!seen[op]) fail_msg("the text lacks %s", kop_name((KOpCode)op));
  assert_verifies(k);
  Buf first = {0}, second = {0};
  kernel_print(k, &first);
  Kernel *again = parse(a, first.data);
  assert_verifies(again);
  assert_true(kernel_same(k, again));
  kernel_print(again, &second);
  assert_string_equal(first.data, second.data);
  /* the printer's text is the one above, but for the comment and the named literal */
  assert_non_null(strstr(first.data, "%m = lt %v, 0.5\n"));
  assert_non_null(strstr(first.data, "%v = load v16f32 %x[%r*576 + %P + 12] lane=3\n"));
  assert_non_null(strstr(first.data, "    for %i in 2..6 unroll {\n      for %j in %i..%S {\n"));
  buf_free(&first);
  buf_free(&second);
  arena_free(a);
}

static void assert_refused(const char *text, const char *message) {
  Arena *a = arena_new();
  Diag *d = diag_new();
  Kernel **k;
  uint32_t n;
  if (kernels_parse(a, text, "test", d, &k, &n) == OK) fail_msg("accepted: %s", text);
  if (!strstr(diag_text(d), message)) fail_msg("%s\nlacks: %s", diag_text(d), message);
  diag_free(d);
  arena_free(a);
}

#define PAR(body) "kernel @k(%x: ptr<f32>; %S) class map {\n par %r in 0..%S {\n" body "}\n}\n"

static void test_parser_refuses(void **state) {
  (void)state;
  assert_refused(PAR("%a = ad %r, 1\n"), "test:3:9: unknown operation ad; did you mean add?");
  assert_refused(PAR("%a = add %r, %b\n"), "%b is not defined here");
  assert_refused(PAR("%a = add %r, 1\n%a = add %r, 2\n"), "%a is defined twice");
  assert_refused(PAR("%a = add %r, 0.5\n"), "not a number that i64 holds");
  assert_refused(PAR("%a = add %r, 9223372036854775808\n"), "not a number that i64 holds");
  assert_refused(PAR("%a = neg 0.5\n"), "a number without a type");
  assert_refused(PAR("%a, %b = add %r, %r\n"), "add gives 1 values but 2 are named");
  assert_refused(PAR("neg %r\n"), "neg gives 1 values but 0 are named");
  assert_refused(PAR("%a = load v8f32 %x[0]\n"), "unknown type v8f32");
  assert_refused(PAR("%a = load f32 %x[0\n"), "expected ']'");
  assert_refused(PAR("%a = load f32 %x[%r+%r*2+%S+%S+%S+%r+%r]\n"), "at most 6 indices");
  assert_refused(PAR("mma %x[0], %x[0], %x[0] m=1 k=1\n"), "expected 'n'");
  assert_refused(PAR("mma %x[0], %x[0] m=1\n"), "expected ','");
  assert_refused(PAR("%a = for %i in 0..%S carry %c = f32 0 {\n}\n"), "1 carries but 0 values");
  assert_refused(PAR("for %r in 0..%S {\n}\n"), "%r is defined twice");
  assert_refused(PAR("for %i in 0..%S {\n}\n%a = add %i, 1\n"), "%i is not defined here");
  assert_refused("kernel @k() class blob {\n}\n", "unknown class blob");
  assert_refused("kernel @k() class map {\n  par %r in 1..4 {\n}\n}\n", "par begins at 0");
  assert_refused("kernel @k() class map {\n", "the end of the text");
  Buf deep = {0};
  buf_puts(&deep, "kernel @k(; %S) class map {\n");
  for (int i = 0; i < 5000; i++) buf_printf(&deep, "for %%i%d in 0..%%S {\n", i);
  assert_refused(deep.data, "loops nested deeper than 64");
  buf_free(&deep);
}

static uint32_t random_below(uint32_t *state, uint32_t n) {
  *state = *state * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)*state * n) >> 32);
}

/* Texts with random damage: refused or read, never a crash, and what passes the verifier survives
 * printing. */
static void test_damaged_texts(void **state) {
  (void)state;
  static const char *const pieces[] = {
      "%",    "[",     "]",   "{",   "}",      "v16", "f32",    "i64", "i1",   "99",     "0.5",
      " + ",  "yield", "for", "par", "if",     "-",   "%x",     "%r",  "%v",   "store ", ",",
      "nan ", "load ", "=",   "\n}", "const ", "*7",  "unroll", "%S",  "else", ":"};
  uint32_t seed = 1, good = 0;
  for (int turn = 0; turn < 4000; turn++) {
    Arena *a = arena_new();
    Diag *d = diag_new();
    Buf text = {0};
    uint32_t at = random_below(&seed, sizeof everything - 1), gone = random_below(&seed, 12);
    if (at + gone > sizeof everything - 1) gone = 0;
    buf_put(&text, everything, at);
    buf_puts(&text, pieces[random_below(&seed, COUNT(pieces))]);
    buf_puts(&text, everything + at + gone);
    Kernel **k;
    uint32_t n;
    if (kernels_parse(a, text.data, "test", d, &k, &n) == OK && kernel_verify(k[0], d) == OK) {
      Buf out = {0};
      good++;
      kernel_print(k[0], &out);
      assert_true(kernel_same(k[0], parse(a, out.data)));
      buf_free(&out);
    } else {
      assert_true(diag_errors(d) > 0);
    }
    buf_free(&text);
    diag_free(d);
    arena_free(a);
  }
  assert_true(good > 20 && good < 3000); /* both ways are walked */
}

/* ---- verifier ------------------------------------------------------------------------------- */

static void assert_breaks(const Kernel *k, int rule, const char *message) {
  Diag *d = diag_new();
  char tag[16];
  snprintf(tag, sizeof tag, ": K%d: ", rule);
  if (kernel_verify(k, d) == OK) fail_msg("K%d held", rule);
  if (!strstr(diag_text(d), tag) || !strstr(diag_text(d), message))
    fail_msg("expected K%d: %s, got %s", rule, message, diag_text(d));
  diag_free(d);
}

#define SIZES "m=16 n=1 k=8 row=64 group=0\n"
#define MMA(body)                                                                                  \
  "kernel @k(%b: ptr<i8>) class map {\nlocal %c: ptr<i32>[256]\nlocal %f: ptr<f32>[64]\n"          \
  "par %r in 0..4 {\n" body "}\n}\n"

static const struct {
  int rule;
  const char *message, *text;
} broken[] = {
    {1, "does not end in par", "kernel @k(; %S) class map {\n%a = add %S, 1\n}\n"},
    {1, "does not end in par", "kernel @k(; %S) class map {\n}\n"},
    {1, "par stands once", PAR("par %j in 0..4 {\n}\n")},
    {1, "par stands once",
     "kernel @k(; %S) class map {\npar %a in 0..%S {\n}\npar %b in 0..%S {\n}\n}\n"},
    {2, "an element type memory lacks",
     "kernel @k(%x: ptr<i1>) class map {\npar %a in 0..4 {\n}\n}\n"},
    {3, "more than 65536 bytes",
     "kernel @k() class map {\nlocal %a: ptr<i8>[65530]\nlocal %b: ptr<f32>[2]\n"
     "par %r in 0..4 {\n}\n}\n"},
    {3, "more than 65536 bytes",
     "kernel @k() class map {\nlocal %a: ptr<i64>[4611686018427387904]\npar %r in 0..4 "
     "{\n}\n}\n"},
    {6, "its operands differ in type", PAR("%v = load f32 %x[%r]\n%w = add %v, %r\n")},
    {6, "takes f32 or integers", PAR("%c = lt %r, 4\n%w = add %c, %c\n")},
    {6, "takes integers", PAR("%v = load f32 %x[%r]\n%w = shl %v, %v\n")},
    {6, "takes f32", PAR("%w = sqrt %r\n")},
    {6, "takes f32", PAR("%w = exp %r\n")},
    {6, "first operand must be i1", PAR("%w = select %r, %r, %r\n")},
    {6, "differ in lanes", PAR("%v = load v16f32 %x[0]\n%c = lt %r, 4\n%w = select %c, %v, %v\n")},
    {6, "memory isn't an operand", PAR("%w = add %x, %x\n")},
    {6, "takes v16i32", PAR("%w = dot4 %r, %r, %r bits=4\n")},
    {6, "takes v16i32", PAR("%w = dot2 %r, %r, %r\n")},
    {6, "takes v16i32", PAR("%w = lookup %r, %r\n")},
    {6, "bits must be 4..8", PAR("%v = iota\n%w = dot4 %v, %v, %v bits=9\n")},
    {6, "takes 16 lanes", PAR("%w = reduce_add %r\n")},
    {6, "takes 16 lanes", PAR("%w = zip_low %r, %r\n")},
    {6, "lanes 0..15", PAR("%v = iota\n%w = extract %v, 16\n")},
    {6, "from 1 lane to 16", PAR("%v = iota\n%w = splat %v : v16i32\n")},
    {6, "keeps the scalar type", PAR("%w = splat %r : v16i32\n")},
    {6, "must keep the lanes", PAR("%w = cvt %r : v16i32\n")},
    {6, "differ in size", PAR("%w = bits %r : f32\n")},
    {6, "by way of f32", PAR("%v = load f16 %x[0]\n%w = cvt %v : bf16\n")},
    {6, "to and from f32 only", PAR("%w = cvt %r : f16\n")},
    {6, "reads an integer", PAR("%v = load f32 %x[0]\n%w = cvtu %v : i32\n")},
    {6, "reads i1 by cvtu", PAR("%v = lt %r, 3\n%w = cvt %v : i32\n")},
    {6, "compare with 0", PAR("%w = cvt %r : i1\n")},
    {6, "a mask is v16i1", PAR("%c = lt %r, 4\n%w = load v16f32 %x[0] if %c\n")},
    {6, "a mask is v16i1", PAR("%v = iota\n%c = lt %v, 4\nstore f32 0, %x[0] if %c\n")},
    {6, "has no lanes", PAR("%w = load f32 %x[0] lane=2\n")},
    {6, "apart by 1 or more", PAR("%w = load v16f32 %x[0] lane=0\n")},
    {6, "i1 isn't kept in memory", PAR("%w = load i1 %x[0]\n")},
    {6, "condition must be i1", PAR("if %r {\n}\n")},
    {6, "bounds must be i64", PAR("for %i in 0..i32 5 {\n}\n")},
    {6, "step must be positive", PAR("for %i in 0..5 step 0 {\n}\n")},
    {6, "its result is a local of i32", MMA("mma %b[0], %b[0], %b[0] " SIZES)},
    {6, "its result is a local of i32", MMA("mma %f[0], %b[0], %b[0] " SIZES)},
    {6, "it multiplies bytes", MMA("mma %c[0], %b[0], %f[0] " SIZES)},
    {6, "it multiplies bytes", MMA("mma %c[0], %c[0], %b[0] " SIZES)},
    {6, "stand beside each other", MMA("mma %c[0], %b[0] lane=2, %b[0] " SIZES)},
    {6, "m must be 1..64", MMA("mma %c[0], %b[0], %b[0] m=65 n=1 k=1 row=0 group=0\n")},
    {6, "n must be 1..4", MMA("mma %c[0], %b[0], %b[0] m=1 n=0 k=1 row=0 group=0\n")},
    {6, "k must be 1..65536", MMA("mma %c[0], %b[0], %b[0] m=1 n=1 k=-1 row=0 group=0\n")},
    {6, "distances in bytes", MMA("mma %c[0], %b[0], %b[0] m=1 n=1 k=1 row=-64 group=0\n")},
    {7, "neither buffer nor local", MMA("mma %c[0], %r[0], %b[0] " SIZES)},
    {7, "is not i64", MMA("%v = load i32 %c[0]\nmma %c[0], %b[0], %b[%v] " SIZES)},
    {7, "neither buffer nor local", PAR("%w = load f32 %r[0]\n")},
    {7, "lanes 4294967296 apart", PAR("%w = load v16f32 %x[0] lane=4294967296\n")},
    {7, "is not i64", PAR("%w = load i32 %x[0]\n%v = load f32 %x[%w]\n")},
    {9, "changes its type", PAR("%a = for %i in 0..4 carry %c = f32 0 {\nyield i64 0\n}\n")},
    {10, "changes its type",
     PAR("%c = lt %r, 2\n%a = if %c {\nyield f32 0\n} else {\nyield i32 0\n}\n")},
    {11, "without literal bounds", PAR("for %i in 0..%S unroll {\n}\n")},
    {11, "more than 4096 copies", PAR("for %i in 0..100000 unroll {\n}\n")},
    {12, "a store to a buffer before par",
     "kernel @k(%x: ptr<f32>) class map {\nstore f32 0, %x[0]\npar %r in 0..4 {\n}\n}\n"},
};

static void test_verifier_on_text(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(broken); i++) {
    Arena *a = arena_new();
    assert_breaks(parse(a, broken[i].text), broken[i].rule, broken[i].message);
    arena_free(a);
  }
}

/* What no text can say: the raw structures are bent by hand. */
static void test_verifier_by_hand(void **state) {
  (void)state;
  Arena *a = arena_new();
  const char *text = PAR("%v = load f32 %x[%r]\n%w = add %v, %v\nstore %w, %x[%r]\n");

  Kernel *k = parse(a, text);
  KRegion *body = &k->body.inst[0]->loop->body;
  KInst *load = body->inst[0], *sum = body->inst[1], *store = body->inst[2];
  body->inst[0] = sum; /* use before definition */
  body->inst[1] = load;
  assert_breaks(k, 4, "is not defined before its use here");

  k = parse(a, text);
  body = &k->body.inst[0]->loop->body;
  store = body->inst[2];
  store->arg[0] = 9999;
  assert_breaks(k, 4, "%9999 is not defined");

  k = parse(a, text);
  body = &k->body.inst[0]->loop->body;
  body->inst[2] = body->inst[1]; /* the same instruction twice */
  assert_breaks(k, 5, "is defined twice");

  k = parse(a, PAR("%c = add %r, 7\n"));
  KInst *literal = k->body.inst[0];
  assert_int_equal(literal->op, KOP_const);
  kregion_push(k, &k->body.inst[1]->loop->body, literal);
  assert_breaks(k, 8, "below the head");

  k = parse(a, PAR("%c = add i8 0, 7\n"));
  k->body.inst[0]->imm.i = 300;
  assert_breaks(k, 8, "300 does not fit");

  k = parse(a, PAR("%a = for %i in 0..4 carry %c = f32 0 {\nyield f32 0\n}\n"));
  KInst *loop = k->body.inst[k->body.n - 1]->loop->body.inst[0];
  k->values[loop->loop->param[0]].type = KT(f32, 16);
  assert_breaks(k, 9, "differs in type inside the loop");

  k = parse(a, PAR(""));
  k->body.inst[0]->loop->ncarry = 1;
  assert_breaks(k, 9, "par carries values");
  arena_free(a);
}

/* ---- builder -------------------------------------------------------------------------------- */

/* The norm of doc/ir.md, built. */
static Kernel *build_norm(Arena *a, const char *name, double eps) {
  Kernel *k = kernel_new(a, name, KC_row);
  KBuilder b = kbuilder(k);
  KVal x = k_buffer(&b, "x", K_f32), g = k_buffer(&b, "g", K_f32), out = k_buffer(&b, "out", K_f32);
  KVal rows = k_scalar(&b, "S");
  KVal r = k_par(&b, "r", rows);
  KVal sum = k_f32(&b, 16, 0);
  KVal i = k_for(&b, "i", k_i64(&b, 0), k_i64(&b, 576), 16, 1, &sum);
  KVal v = k_load(&b, KT(f32, 16), k_at(k_at(k_addr(x), r, 576), i, 1));
  sum = k_fma(&b, v, v, sum);
  k_for_end(&b, &sum);
  KVal mean = k_op2(&b, KOP_div, k_op1(&b, KOP_reduce_add, sum), k_f32(&b, 1, 576));
  KVal root = k_op1(&b, KOP_sqrt, k_op2(&b, KOP_add, mean, k_f32(&b, 1, eps)));
  KVal scale = k_splat(&b, k_op2(&b, KOP_div, k_f32(&b, 1, 1), root));
  KVal j = k_for(&b, "i", k_i64(&b, 0), k_i64(&b, 576), 16, 0, NULL);
  KVal w = k_load(&b, KT(f32, 16), k_at(k_addr(g), j, 1));
  KVal y = k_op2(&b, KOP_mul, k_load(&b, KT(f32, 16), k_at(k_at(k_addr(x), r, 576), j, 1)), scale);
  k_store(&b, k_op2(&b, KOP_mul, y, w), k_at(k_at(k_addr(out), r, 576), j, 1));
  k_for_end(&b, NULL);
  k_par_end(&b);
  return k;
}

static void test_builder(void **state) {
  (void)state;
  Arena *a = arena_new();
  Kernel *k = build_norm(a, "norm", 1e-5);
  assert_verifies(k);
  Buf text = {0};
  kernel_print(k, &text);
  Kernel *again = parse(a, text.data);
  assert_true(kernel_same(k, again));
  /* equal up to names */
  assert_true(kernel_same(k, build_norm(a, "other", 1e-5)));
  assert_false(kernel_same(k, build_norm(a, "norm", 1e-6)));
  assert_false(kernel_same(k, parse(a, everything)));
  buf_free(&text);
  arena_free(a);
}

static void test_folding(void **state) {
  (void)state;
  Arena *a = arena_new();
  Kernel *k = kernel_new(a, "fold", KC_map);
  KBuilder b = kbuilder(k);
  KVal x = k_buffer(&b, "x", K_f32), s = k_scalar(&b, "S");
  KVal r = k_par(&b, "r", s);
  KVal six = k_op2(&b, KOP_mul, k_i64(&b, 2), k_i64(&b, 3));
  assert_int_equal(six, k_i64(&b, 6));
  assert_int_equal(k_op2(&b, KOP_sub, six, k_i64(&b, 6)), k_i64(&b, 0));
  assert_int_equal(k_op2(&b, KOP_div, k_i64(&b, -7), k_i64(&b, 2)), k_i64(&b, -3));
  assert_int_equal(k_op2(&b, KOP_add, r, k_i64(&b, 0)), r);
  assert_int_equal(k_op2(&b, KOP_mul, k_i64(&b, 1), r), r);
  assert_int_equal(k_op2(&b, KOP_mul, r, k_i64(&b, 0)), k_i64(&b, 0));
  assert_int_equal(k_splat(&b, k_f32(&b, 1, 0.1)), k_f32(&b, 16, 0.1));
  assert_int_equal(k_cvt(&b, k_int(&b, KT(i8, 1), 255), K_i64), k_i64(&b, -1));
  assert_int_not_equal(k_f32(&b, 1, 0.0), k_f32(&b, 1, -0.0));
  assert_int_equal(k_int(&b, KT(i8, 16), 511), k_int(&b, KT(i8, 16), -1));
  /* float arithmetic stays: it is the program's */
  KVal half = k_op2(&b, KOP_add, k_f32(&b, 1, 0.25), k_f32(&b, 1, 0.25));
  assert_int_equal(k->values[half].def->op, KOP_add);
  /* a literal index goes into the offset, equal indices add up, one with stride 0 goes */
  KAddr at = k_at(k_at(k_at(k_off(k_addr(x), 5), six, 10), r, 3), r, 4);
  k_store(&b, half, k_at(at, s, 0));
  const KAddr *made = b.region->inst[b.region->n - 1]->addr;
  assert_int_equal(made->offset, 65);
  assert_int_equal(made->nterm, 1);
  assert_int_equal(made->term[0].stride, 7);
  k_par_end(&b);
  assert_verifies(k);
  arena_free(a);
}

static void test_names_stay_apart(void **state) {
  (void)state;
  Arena *a = arena_new();
  Kernel *k = kernel_new(a, "names", KC_map);
  KBuilder b = kbuilder(k);
  KVal x = k_buffer(&b, "i", K_f32);
  KVal i = k_par(&b, "i", k_i64(&b, 4));
  KVal j = k_for(&b, "i", k_i64(&b, 0), k_i64(&b, 4), 1, 0, NULL);
  k_store(&b, k_f32(&b, 1, 1), k_at(k_at(k_addr(x), i, 4), j, 1));
  k_for_end(&b, NULL);
  k_par_end(&b);
  assert_string_equal(k->values[i].name, "i.2");
  assert_string_equal(k->values[j].name, "i.3");
  Buf text = {0};
  kernel_print(k, &text);
  assert_true(kernel_same(k, parse(a, text.data)));
  buf_free(&text);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_parser_refuses),
      cmocka_unit_test(test_damaged_texts),    cmocka_unit_test(test_verifier_on_text),
      cmocka_unit_test(test_verifier_by_hand), cmocka_unit_test(test_builder),
      cmocka_unit_test(test_folding),          cmocka_unit_test(test_names_stay_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
