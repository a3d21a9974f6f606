/* passes/interleave: which chains take turns, how many of them, and in what order.
 *
 * Chains are additions to one value that end in a store, their values named a0, a1, .., b0, ..;
 * what comes out is read as the first letters of all values in order.
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/kernel_impl.h"
#include "passes/passes.h"

/* A chain `name` of `length` additions to what `from` gives, stored at its number. */
static void put_chain(Buf *out, char name, int length, const char *from, int at) {
  buf_printf(out, "%%%c0 = %s\n", name, from);
  for (int i = 0; i < length; i++)
    buf_printf(out, "%%%c%d = add %%%c%d, v16f32 %d\n", name, i + 1, name, i, i + 1);
  buf_printf(out, "store %%%c%d, %%y[%d]\n", name, length, at);
}

/* The names of chains in the order of the par loop's instructions, a letter each; loads too. */
static void order_of(const Kernel *k, char *order, size_t room) {
  const KRegion *r = &k->body.inst[k->body.n - 1]->loop->body;
  size_t n = 0;
  for (uint32_t i = 0; i < r->n && n + 1 < room; i++) {
    const KInst *in = r->inst[i];
    if (in->loop) {
      order[n++] = '|';
      continue;
    }
    const char *name = k->values[in->op == KOP_store ? in->arg[0] : in->result].name;
    order[n++] = name ? name[0] : '?';
  }
  order[n] = 0;
}

static void check(const Buf *body, uint32_t width, const char *want) {
  Arena *a = arena_new();
  Diag *d = diag_new();
  Buf text = {0};
  Kernel **k;
  uint32_t n;
  char order[256];
  buf_printf(
      &text,
      "kernel @k(%%x: ptr<f32>, %%y: ptr<f32>; %%S) class map {\npar %%r in 0..%%S {\n%s}\n}\n",
      body->data);
  if (kernels_parse(a, text.data, "test", d, &k, &n) != OK) fail_msg("%s", diag_text(d));
  interleave(k[0], width);
  if (kernel_verify(k[0], d) != OK) fail_msg("%s", diag_text(d));
  order_of(k[0], order, sizeof order);
  assert_string_equal(order, want);
  buf_free(&text);
  diag_free(d);
  arena_free(a);
}

enum { LONG = 11, BRIEF = 3 };

static void test_turns(void **state) {
  (void)state;
  Buf b = {0};
  put_chain(&b, 'a', LONG, "load v16f32 %x[0]", 0);
  put_chain(&b, 'b', LONG, "load v16f32 %x[16]", 16);
  put_chain(&b, 'c', LONG, "load v16f32 %x[32]", 32);
  check(&b, 3, "abcabcabcabcabcabcabcabcabcabcabcabcabc");
  check(&b, 2, "abababababababababababababccccccccccccc");
  check(&b, 1, "aaaaaaaaaaaaabbbbbbbbbbbbbccccccccccccc");
  check(&b, 0, "aaaaaaaaaaaaabbbbbbbbbbbbbccccccccccccc");
  check(&b, 100, "abcabcabcabcabcabcabcabcabcabcabcabcabc");
  buf_free(&b);
}

/* What stands before the first chain stays before all. */
static void test_head(void **state) {
  (void)state;
  Buf b = {0};
  buf_puts(&b, "%h = load v16f32 %x[64]\n%h1 = add %h, %h\n");
  put_chain(&b, 'a', LONG, "add %h1, %h", 0);
  put_chain(&b, 'b', LONG, "add %h, %h1", 16);
  check(&b, 4, "hhababababababababababababab");
  buf_free(&b);
}

/* Neither too short, nor of other operations, nor with a loop between them. */
static void test_unlike(void **state) {
  (void)state;
  Buf b = {0};
  put_chain(&b, 'a', BRIEF, "load v16f32 %x[0]", 0);
  put_chain(&b, 'b', BRIEF, "load v16f32 %x[16]", 16);
  check(&b, 4, "aaaaabbbbb");
  buf_free(&b);
  b = (Buf){0};
  put_chain(&b, 'a', LONG, "load v16f32 %x[0]", 0);
  put_chain(&b, 'b', LONG, "abs v16f32 -1", 16);
  check(&b, 4, "aaaaaaaaaaaaabbbbbbbbbbbbb");
  buf_free(&b);
  b = (Buf){0};
  put_chain(&b, 'a', LONG, "load v16f32 %x[0]", 0);
  put_chain(&b, 'b', LONG + 1, "load v16f32 %x[16]", 16);
  check(&b, 4, "aaaaaaaaaaaaabbbbbbbbbbbbbb");
  buf_free(&b);
  b = (Buf){0};
  put_chain(&b, 'a', LONG, "load v16f32 %x[0]", 0);
  buf_puts(&b, "for %i in 0..2 {\nstore f32 1, %y[32]\n}\n");
  put_chain(&b, 'b', LONG, "load v16f32 %x[16]", 16);
  check(&b, 4, "aaaaaaaaaaaaa|bbbbbbbbbbbbb");
  buf_free(&b);
}

/* Neither where one reads what the other gives, nor where it loads from what is stored to. */
static void test_dependent(void **state) {
  (void)state;
  Buf b = {0};
  put_chain(&b, 'a', LONG, "load v16f32 %x[0]", 0);
  put_chain(&b, 'b', LONG, "load v16f32 %y[0]", 16);
  check(&b, 4, "aaaaaaaaaaaaabbbbbbbbbbbbb");
  buf_free(&b);
  b = (Buf){0};
  buf_puts(&b, "%h = load v16f32 %x[64]\n");
  put_chain(&b, 'a', LONG, "add %h, %h", 0);
  put_chain(&b, 'b', LONG, "add %a11, %h", 16);
  check(&b, 4, "haaaaaaaaaaaaabbbbbbbbbbbbb");
  put_chain(&b, 'c', LONG, "add %a11, %h", 32); /* b and c may, behind a */
  check(&b, 4, "haaaaaaaaaaaaabcbcbcbcbcbcbcbcbcbcbcbcbc");
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_turns),
      cmocka_unit_test(test_head),
      cmocka_unit_test(test_unlike),
      cmocka_unit_test(test_dependent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
