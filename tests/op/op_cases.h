/* The table of one-op (and few-op) modules that lowering is judged by.
 *
 * CASE(name, tolerance, runs, declarations, inputs, outputs, body): `runs` are the values of S, one
 * after the other; P is the sum of those before (it counts only where there is a cache or a mask).
 * Sizes are odd on purpose: widths that are no multiple of 16 or 32, one row, many rows.
 *
 * Tolerances are relative to the largest magnitude of an output. EXACT: no arithmetic, or one f32
 * operation that both sides round alike. POINT: element-wise f32 steps and our polynomials for exp,
 * tanh and erf, a few 2^-24 each. SUM: contractions and sums of up to 300 terms in f32, whose error
 * is below terms * 2^-24 times the largest partial sum, in practice a tenth of it. Activation
 * formats need nothing extra: both sides quantise the same f32 values by the same f32 formula.
 */
#define EXACT 0
#define POINT 2e-6
#define SUM 4e-6

#define RUNS(...) {__VA_ARGS__, 0}
#define X72 "%x: tensor<Sx72 x f32>"
#define UNARY(op) CASE(#op, POINT, RUNS(1, 5), "", X72, "y: %y", "%y = " #op " %x\n")

UNARY(neg)
UNARY(abs)
UNARY(exp)
UNARY(square)
UNARY(sigmoid)
UNARY(tanh)
UNARY(erf)
UNARY(sin)
UNARY(cos)
UNARY(relu)
UNARY(relu2)
UNARY(silu)
UNARY(gelu)
UNARY(gelu_tanh)
UNARY(gelu_quick)
UNARY(softplus)
UNARY(mish)
UNARY(laplace)
UNARY(hardswish)
CASE("leaky_relu", POINT, RUNS(3), "", X72, "y: %y", "%y = leaky_relu %x {alpha = 0.01}\n")
CASE("clip", EXACT, RUNS(3), "", X72, "y: %y", "%y = clip %x {lo = -0.5, hi = 0.25}\n")
CASE("elu", POINT, RUNS(3), "", X72, "y: %y", "%y = elu %x {alpha = 1.5}\n")
CASE("log, sqrt, reciprocal", POINT, RUNS(2), "", X72, "a: %a, b: %b, c: %c",
     "%p = exp %x\n %a = log %p\n %b = sqrt %p\n %c = reciprocal %p\n")
CASE("one element", POINT, RUNS(1), "", "%x: tensor<1 x f32>", "y: %y", "%y = silu %x\n")
CASE("a wide row", POINT, RUNS(1), "", "%x: tensor<Sx5001 x f32>", "y: %y", "%y = gelu %x\n")
CASE("rank 4", POINT, RUNS(2), "", "%x: tensor<2xSx3x7 x f32>", "y: %y", "%y = silu %x\n")

CASE("add, same shapes", EXACT, RUNS(1, 4), "", X72 ", %z: tensor<Sx72 x f32>", "y: %y",
     "%y = add %x, %z\n")
CASE("sub, row vector", EXACT, RUNS(4), "", X72 ", %z: tensor<72 x f32>", "y: %y",
     "%y = sub %x, %z\n")
CASE("mul, column", EXACT, RUNS(4), "", X72 ", %z: tensor<Sx1 x f32>", "y: %y", "%y = mul %x, %z\n")
CASE("div, scalar", EXACT, RUNS(4), "", X72 ", %z: tensor<1 x f32>", "y: %y", "%y = div %x, %z\n")
CASE("outer product", EXACT, RUNS(5), "", "%x: tensor<Sx1 x f32>, %z: tensor<1x19 x f32>", "y: %y",
     "%y = mul %x, %z\n")
CASE("min and max in the middle", EXACT, RUNS(3), "",
     "%x: tensor<Sx3x5 x f32>, %z: tensor<3x1 x f32>", "a: %a, b: %b",
     "%a = min %x, %z\n %b = max %x, %z\n")
CASE("a chain with several readers", POINT, RUNS(1, 6), "", X72 ", %z: tensor<Sx72 x f32>",
     "a: %a, c: %c", "%a = add %x, %z\n %b = silu %a\n %c = mul %b, %z\n")
CASE("a constant operand", EXACT, RUNS(3), "const %w : tensor<72 x f32> = weight \"w\"\n", X72,
     "y: %y", "%y = mul %x, %w\n")

CASE("integers", EXACT, RUNS(5), "", "%i: tensor<Sx3 x i32>, %j: tensor<3 x i32>", "a: %a, m: %m",
     "%a = add %i, %j\n %m = mul %a, %i\n")
CASE("cast to f16 and back", EXACT, RUNS(5), "", X72, "y: %y",
     "%a = cast %x {to = f16}\n %y = cast %a {to = f32}\n")
CASE("cast to bf16, kept, and back", EXACT, RUNS(5), "", X72, "y: %y, z: %z",
     "%a = cast %x {to = bf16}\n %b = reshape %a {shape = [-1, 24]}\n %y = cast %b {to = f32}\n"
     "%z = cast %x {to = i32}\n")

CASE("reshape", EXACT, RUNS(1, 3), "", X72, "y: %y",
     "%a = reshape %x {shape = [-1, 3, 24]}\n %y = neg %a\n")
CASE("reshape to an output", EXACT, RUNS(3), "", X72, "y: %y",
     "%y = reshape %x {shape = [-1, 24]}\n")
CASE("transpose", EXACT, RUNS(1, 5), "", "%x: tensor<Sx3x7 x f32>", "y: %y",
     "%y = transpose %x {perm = [1, 0, 2]}\n")
CASE("transpose, last axis moved", EXACT, RUNS(5), "", "%x: tensor<4x3x7 x f32>", "y: %y",
     "%a = transpose %x {perm = [2, 0, 1]}\n %y = neg %a\n")
CASE("split on columns", EXACT, RUNS(1, 4), "", "%x: tensor<Sx60 x f32>", "a: %a, d: %d",
     "%a, %b, %c = split %x {axis = -1, sizes = [36, 12, 12]}\n %d = add %b, %c\n")
CASE("concat on columns", EXACT, RUNS(1, 4), "", "%x: tensor<Sx5 x f32>, %z: tensor<Sx9 x f32>",
     "y: %y", "%y = concat %x, %z, %x {axis = 1}\n")
CASE("concat on rows", EXACT, RUNS(4), "", "%x: tensor<Sx5 x f32>, %z: tensor<3x5 x f32>", "y: %y",
     "%a = neg %z\n %y = concat %x, %a {axis = 0}\n")
CASE("the last row", EXACT, RUNS(1, 6), "", X72, "y: %y",
     "%a = slice %x {axis = 0, start = -1, size = 1}\n %y = neg %a\n")
CASE("columns in the middle", EXACT, RUNS(4), "", X72, "y: %y",
     "%y = slice %x {axis = 1, start = 7, size = 21}\n")

CASE("rmsnorm", SUM, RUNS(1, 5), "const %w : tensor<72 x f32> = weight \"w\"\n", X72, "y: %y",
     "%y = rmsnorm %x, %w {eps = 1e-05}\n")
CASE("rmsnorm without weight", SUM, RUNS(2), "", "%x: tensor<Sx37 x f32>", "y: %y",
     "%y = rmsnorm %x {eps = 1e-06}\n")
CASE("layernorm", SUM, RUNS(1, 5),
     "const %w : tensor<72 x f32> = weight \"w\"\n const %b : tensor<72 x f32> = weight \"b\"\n",
     X72, "y: %y", "%y = layernorm %x, %w, %b {eps = 1e-05}\n")
CASE("layernorm without bias", SUM, RUNS(2), "const %w : tensor<37 x f32> = weight \"w\"\n",
     "%x: tensor<Sx37 x f32>", "y: %y", "%y = layernorm %x, %w {eps = 1e-05}\n")
CASE("norm of a sum, both read", SUM, RUNS(1, 5), "const %w : tensor<72 x f32> = weight \"w\"\n",
     X72 ", %z: tensor<Sx72 x f32>", "a: %a, y: %y",
     "%a = add %x, %z\n %y = rmsnorm %a, %w {eps = 1e-05}\n")
CASE("softmax", SUM, RUNS(1, 5), "", "%x: tensor<Sx131 x f32>", "y: %y", "%y = softmax %x\n")
CASE("argmax", EXACT, RUNS(1, 5), "", "%x: tensor<Sx131 x f32>", "y: %y", "%y = argmax %x\n")
CASE("argmax of few", EXACT, RUNS(5), "", "%x: tensor<Sx3 x f32>", "y: %y", "%y = argmax %x\n")
CASE("argmax among equals", EXACT, RUNS(5), "", "%x: tensor<Sx131 x f32>", "y: %y",
     "%a = clip %x {lo = -1, hi = 0.5}\n %y = argmax %a\n")
CASE("argmax of a long row", EXACT, RUNS(1), "", "%x: tensor<1x16432 x f32>", "y: %y",
     "%y = argmax %x\n")
CASE("argmax of a long row among equals", EXACT, RUNS(1), "", "%x: tensor<1x16384 x f32>", "y: %y",
     "%a = clip %x {lo = -1, hi = 0.5}\n %y = argmax %a\n")
CASE("reduce_sum", SUM, RUNS(1, 5), "", "%x: tensor<Sx131 x f32>", "y: %y", "%y = reduce_sum %x\n")

CASE("matmul", SUM, RUNS(1, 7), "", "%x: tensor<Sx37 x f32>, %z: tensor<37x21 x f32>", "y: %y",
     "%y = matmul %x, %z\n")
CASE("linear by a run-time weight", SUM, RUNS(1, 7), "",
     "%x: tensor<Sx37 x f32>, %w: tensor<21x37 x f32>, %b: tensor<21 x f32>", "y: %y",
     "%y = linear %x, %w, %b\n")
CASE("matmul in batches", SUM, RUNS(3), "", "%x: tensor<4xSx9 x f32>, %z: tensor<4x9x18 x f32>",
     "y: %y", "%y = matmul %x, %z\n")
CASE("matmul, broadcast", SUM, RUNS(3), "", "%x: tensor<4xSx9 x f32>, %z: tensor<9x18 x f32>",
     "y: %y", "%y = matmul %x, %z\n")

CASE("rope_table", 2e-6, RUNS(1, 5),
     "const %f : tensor<5 x f32> = dense [1, 0.3, 0.1, 0.03, 0.01]\n", "%pos: tensor<S x i32>",
     "c: %c, s: %s", "%c, %s = rope_table %pos, %f {scale = 1.25}\n")
CASE("rope_freqs, dynamic, short", POINT, RUNS(1), "", "%seq_len: tensor<1 x i32>", "y: %y",
     "%y = rope_freqs %seq_len {kind = dynamic, base = 10000, dim = 24, factor = 2, original = "
     "32}\n")
CASE(
    "rope_freqs, dynamic, long", POINT, RUNS(40, 1), "", "%seq_len: tensor<1 x i32>, " X72,
    "y: %y, z: %z",
    "%y = rope_freqs %seq_len {kind = dynamic, base = 10000, dim = 24, factor = 2, original = 32}\n"
    "%z = neg %x\n")
#define TABLES "%c, %s = rope_table %pos, %f {scale = 1}\n %x3 = reshape %x {shape = [-1, 3, 24]}\n"
CASE("rope, halves", POINT, RUNS(1, 5),
     "const %f : tensor<12 x f32> = dense [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, "
     "0.02]\n",
     "%pos: tensor<S x i32>, " X72, "y: %y", TABLES "%y = rope %x3, %c, %s\n")
CASE("rope, pairs, part of the head", POINT, RUNS(1, 5),
     "const %f : tensor<5 x f32> = dense [1, 0.3, 0.1, 0.03, 0.01]\n",
     "%pos: tensor<S x i32>, " X72, "y: %y", TABLES "%y = rope %x3, %c, %s {mode = pairs}\n")

#define QKV "%q: tensor<Sx6x24 x f32>, %k: tensor<Sx2x24 x f32>, %v: tensor<Sx2x24 x f32>"
#define CACHE(type) "state %kv : cache<slots=1, context=200, kv_heads=2, head_dim=24, " type ">\n"
#define ATTEND(rest) "%c = kv_append %kv, %k, %v\n %y = attention_kv %q, %c" rest "\n"
CASE("attention_kv", SUM, RUNS(1, 5, 1, 17, 1), CACHE("f32"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true}"))
CASE("attention_kv, many keys", SUM, RUNS(63, 2, 70, 1, 9), CACHE("f32"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true}"))
CASE("attention_kv, many keys, window", SUM, RUNS(130, 1, 9), CACHE("f16"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true, window = 70}"))
CASE("attention_kv, f16", SUM, RUNS(7, 1, 3), CACHE("f16"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true}"))
CASE("attention_kv, window", SUM, RUNS(9, 1, 3), CACHE("f32"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true, window = 4}"))
CASE("attention_kv, softcap", SUM, RUNS(9, 1), CACHE("f32"), QKV, "y: %y",
     ATTEND(" {scale = 2, causal = true, softcap = 1.5}"))
CASE("attention_kv, mask", SUM, RUNS(9, 3, 1), CACHE("f32"), QKV ", %mask: tensor<(P+S) x f32>",
     "y: %y", ATTEND(", %mask {scale = 0.204, causal = true}"))
CASE("attention_kv, heads of 20", SUM, RUNS(5, 1),
     "state %kv : cache<slots=1, context=50, kv_heads=3, head_dim=20, f32>\n",
     "%q: tensor<Sx3x20 x f32>, %k: tensor<Sx3x20 x f32>, %v: tensor<Sx3x20 x f32>", "y: %y",
     ATTEND(" {scale = 0.2236, causal = true}"))
/* Several chunks of keys (256 of them, 128 under a window), which decode attends apart and joins.
 */
#define DEEP(kv, type)                                                                             \
  "state %kv : cache<slots=1, context=600, kv_heads=" kv ", head_dim=8, " type ">\n"
#define DEEP_QKV "%q: tensor<Sx2x8 x f32>, %k: tensor<Sx1x8 x f32>, %v: tensor<Sx1x8 x f32>"
CASE("attention_kv, chunks", SUM, RUNS(255, 1, 1, 290, 9), DEEP("1", "f32"), DEEP_QKV, "y: %y",
     ATTEND(" {scale = 0.35, causal = true}"))
CASE("attention_kv, chunks, window", SUM, RUNS(300, 1, 200, 1), DEEP("1", "f16"), DEEP_QKV, "y: %y",
     ATTEND(" {scale = 0.35, causal = true, window = 150}"))
CASE("attention_kv, chunks, large window, cap", SUM, RUNS(400, 1, 150), DEEP("1", "f16"), DEEP_QKV,
     "y: %y", ATTEND(" {scale = 2, causal = true, window = 1100, softcap = 3}"))
CASE("attention_kv, chunks, mask", SUM, RUNS(520, 2),
     "state %kv : cache<slots=1, context=600, kv_heads=1, head_dim=8, f32>\n",
     "%q: tensor<Sx9x8 x f32>, %k: tensor<Sx1x8 x f32>, %v: tensor<Sx1x8 x f32>, "
     "%mask: tensor<(P+S) x f32>",
     "y: %y", ATTEND(", %mask {scale = 0.35, causal = true}"))
/* Queries are rounded as keys are, weights by up to 2^-14 of a chunk's largest share; the reference
 * does neither. Together twice what rounding values to f16 would be. */
CASE("attention_kv, i16", 1e-3, RUNS(7, 1, 3, 60), CACHE("i16"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true}"))
CASE("attention_kv, i16, heads of 37, cap", 1e-3, RUNS(70, 1),
     "state %kv : cache<slots=1, context=100, kv_heads=2, head_dim=37, i16>\n",
     "%q: tensor<Sx4x37 x f32>, %k: tensor<Sx2x37 x f32>, %v: tensor<Sx2x37 x f32>", "y: %y",
     ATTEND(" {scale = 0.1644, causal = true, softcap = 3}"))
CASE("attention_kv, i16, heads of 160, mask", 1e-3, RUNS(5, 1),
     "state %kv : cache<slots=1, context=64, kv_heads=1, head_dim=160, i16>\n",
     "%q: tensor<Sx2x160 x f32>, %k: tensor<Sx1x160 x f32>, %v: tensor<Sx1x160 x f32>, "
     "%mask: tensor<(P+S) x f32>",
     "y: %y", ATTEND(", %mask {scale = 0.079, causal = true}"))
CASE("attention_kv, i16, window", 1e-3, RUNS(90, 1), CACHE("i16"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true, window = 30}"))
CASE("attention_kv, i16, chunks", 1e-3, RUNS(255, 1, 1, 290, 9), DEEP("1", "i16"), DEEP_QKV,
     "y: %y", ATTEND(" {scale = 0.35, causal = true}"))
CASE("attention_kv, i16, chunks, window", 1e-3, RUNS(300, 1, 200, 1), DEEP("1", "i16"), DEEP_QKV,
     "y: %y", ATTEND(" {scale = 0.35, causal = true, window = 150}"))
CASE("attention_kv, i16, keys of zero", 1e-3, RUNS(40, 1), CACHE("i16"), QKV, "y: %y",
     "%z = sub %k, %k\n %c = kv_append %kv, %z, %v\n"
     "%y = attention_kv %q, %c {scale = 0.204, causal = true}\n")
CASE("attention_kv, i16, values of zero", 1e-3, RUNS(40, 1), CACHE("i16"), QKV, "y: %y",
     "%z = sub %v, %v\n %c = kv_append %kv, %k, %z\n"
     "%y = attention_kv %q, %c {scale = 0.204, causal = true}\n")
/* The query enters in 15 bits: half of 1 / 16256 of its largest element each. */
CASE("attention_kv, q8_0", 1e-4, RUNS(7, 1, 3, 60), CACHE("q8_0"), QKV, "y: %y",
     ATTEND(" {scale = 0.204, causal = true}"))
CASE("attention_kv, q8_0, heads of 80, cap", 1e-4, RUNS(70, 1),
     "state %kv : cache<slots=1, context=100, kv_heads=2, head_dim=80, q8_0>\n",
     "%q: tensor<Sx4x80 x f32>, %k: tensor<Sx2x80 x f32>, %v: tensor<Sx2x80 x f32>", "y: %y",
     ATTEND(" {scale = 0.1118, causal = true, softcap = 3}"))
CASE("attention_kv, q8_0, heads of 160, mask", 1e-4, RUNS(5, 1),
     "state %kv : cache<slots=1, context=64, kv_heads=1, head_dim=160, q8_0>\n",
     "%q: tensor<Sx2x160 x f32>, %k: tensor<Sx1x160 x f32>, %v: tensor<Sx1x160 x f32>, "
     "%mask: tensor<(P+S) x f32>",
     "y: %y", ATTEND(", %mask {scale = 0.079, causal = true}"))
CASE("attention_kv, q8_0, chunks", 1e-4, RUNS(255, 1, 1, 290, 9), DEEP("1", "q8_0"), DEEP_QKV,
     "y: %y", ATTEND(" {scale = 0.35, causal = true}"))
CASE("attention_kv, q8_0, chunks, window", 1e-4, RUNS(300, 1, 200, 1), DEEP("1", "q8_0"), DEEP_QKV,
     "y: %y", ATTEND(" {scale = 0.35, causal = true, window = 150}"))
CASE("attention", SUM, RUNS(1, 9), "", QKV, "y: %y",
     "%y = attention %q, %k, %v {scale = 0.204, causal = true}\n")
CASE("attention, both ways, chunks, window", SUM, RUNS(300), "", DEEP_QKV, "y: %y",
     "%y = attention %q, %k, %v {scale = 0.35, window = 120}\n")
CASE("attention, both ways, masked", SUM, RUNS(9), "", QKV ", %hide: tensor<S x f32>", "y: %y",
     "%y = attention %q, %k, %v, %hide {scale = 0.204}\n")
#define SPANS(n, list) "const %spans : tensor<" #n "x4 x i32> = dense [" list "]\n"
#define HIDE(n)                                                                                    \
  "%q: tensor<" #n "x6x24 x f32>, %k: tensor<" #n "x2x24 x f32>, %v: tensor<" #n "x2x24 x f32>, "  \
  "%hide: tensor<" #n " x f32>"
CASE("attention, spans", SUM, RUNS(1), SPANS(3, "0, 1, 0, 1, 1, 4, 1, 4, 4, 9, 4, 9"), HIDE(9),
     "y: %y", "%y = attention %q, %k, %v, %hide, %spans {scale = 0.204}\n")
CASE("attention, long spans", SUM, RUNS(1),
     SPANS(5, "0, 3, 0, 3, 3, 67, 3, 84, 67, 84, 3, 84, 84, 148, 84, 150, 148, 150, 84, 150"),
     HIDE(150), "y: %y", "%y = attention %q, %k, %v, %hide, %spans {scale = 0.204}\n")
CASE("attention, causal spans with a window", SUM, RUNS(1),
     SPANS(2, "0, 70, 0, 70, 70, 150, 70, 150"), HIDE(150), "y: %y",
     "%y = attention %q, %k, %v, %hide, %spans {scale = 0.204, causal = true, window = 9}\n")
/* As a cache of i16: the same tolerance. Spans that begin anywhere, one in two parts, values of 21
 * columns, keys in many chunks, and second blocks, whose first keys those before them need. */
CASE("attention, i16", 1e-3, RUNS(1, 9, 80), "", QKV, "y: %y",
     "%y = attention %q, %k, %v {scale = 0.204, causal = true, act = i16}\n")
CASE("attention, i16, both ways, chunks, window", 1e-3, RUNS(300), "", DEEP_QKV, "y: %y",
     "%y = attention %q, %k, %v {scale = 0.35, window = 120, act = i16}\n")
CASE("attention, i16, other values, masked, cap", 1e-3, RUNS(97), "",
     "%q: tensor<Sx4x37 x f32>, %k: tensor<Sx2x37 x f32>, %v: tensor<Sx2x21 x f32>, "
     "%hide: tensor<S x f32>",
     "y: %y", "%y = attention %q, %k, %v, %hide {scale = 0.1644, softcap = 3, act = i16}\n")
CASE("attention, i16, long spans", 1e-3, RUNS(1),
     SPANS(5, "0, 3, 0, 3, 3, 67, 3, 84, 67, 84, 3, 84, 84, 148, 84, 150, 148, 150, 84, 150"),
     HIDE(150), "y: %y", "%y = attention %q, %k, %v, %hide, %spans {scale = 0.204, act = i16}\n")
CASE("attention, i16, causal spans with a window", 1e-3, RUNS(1),
     SPANS(2, "0, 70, 0, 70, 70, 150, 70, 150"), HIDE(150), "y: %y",
     "%y = attention %q, %k, %v, %hide, %spans {scale = 0.204, causal = true, window = 9, act = "
     "i16}\n")

CASE("linears by blocks of tokens", SUM, RUNS(199),
     "const %w : tensor<40x72 x f32> = weight \"w\"\nconst %v : tensor<20x72 x f32 : q8_0> = "
     "weight \"v\"\n",
     X72, "y: %y, z: %z", "%y = linear %x, %w\n %z = linear %x, %v\n")

CASE("norm, linear, gate, down, add", 1e-5, RUNS(1, 5),
     "const %g : tensor<72 x f32> = weight \"g\"\n"
     "const %up : tensor<100x72 x f32 : q8_0> = weight \"up\"\n"
     "const %gate : tensor<100x72 x f32 : q4_1> = weight \"gate\"\n"
     "const %down : tensor<72x100 x f32 : q5_0> = weight \"down\"\n",
     X72, "y: %y",
     "%n = rmsnorm %x, %g {eps = 1e-05}\n %a = linear %n, %gate\n %b = linear %n, %up\n"
     "%c = silu %a\n %d = mul %c, %b\n %e = linear %d, %down\n %y = add %x, %e\n")
/* An activation that differs in its last bit may be rounded to the next code: one code of 16256
 * (127 with i8) times a weight, in the worst case for every element of the row. */
CASE("norm, linear, gate, down, add: i16", 2e-4, RUNS(1, 5),
     "const %g : tensor<72 x f32> = weight \"g\"\n"
     "const %up : tensor<100x72 x f32 : q8_0> = weight \"up\"\n"
     "const %gate : tensor<100x72 x f32 : q4_1> = weight \"gate\"\n"
     "const %down : tensor<72x100 x f32 : q5_0> = weight \"down\"\n",
     X72, "y: %y",
     "%n = rmsnorm %x, %g {eps = 1e-05}\n %a = linear %n, %gate {act = i16}\n"
     "%b = linear %n, %up {act = i16}\n"
     "%c = silu %a\n %d = mul %c, %b\n %e = linear %d, %down {act = i16}\n %y = add %x, %e\n")
/* The weight is split, for the embedding, one row and many rows too. */
#define SPLIT(format, rows, k)                                                                     \
  CASE("linear_argmax of " format, 2e-4, RUNS(1, 5),                                               \
       "const %w : tensor<" rows "x" k " x f32 : " format "> = weight \"w\"\n",                    \
       "%x: tensor<Sx" k " x f32>, %ids: tensor<S x i32>", "t: %t, y: %y, l: %l, e: %e",           \
       "%a = slice %x {axis = 0, start = -1, size = 1}\n %t, %f = linear_argmax %a, %w {act = "    \
       "i16}\n"                                                                                    \
       "%y = linear %x, %w {act = i16}\n %l = linear %a, %w {act = i16}\n %e = gather %w, %ids\n")
SPLIT("q8_0", "1037", "72")
SPLIT("q6_k", "301", "512")
CASE("last row, norm, logits, argmax", 1e-5, RUNS(1, 6),
     "const %g : tensor<72 x f32> = weight \"g\"\n"
     "const %w : tensor<131x72 x f32 : f16> = weight \"w\"\n",
     X72, "logits: %l, token: %t",
     "%a = slice %x {axis = 0, start = -1, size = 1}\n %n = rmsnorm %a, %g {eps = 1e-05}\n"
     "%l = linear %n, %w\n %t = argmax %l\n")
#define THREE_WEIGHTS                                                                              \
  "const %g : tensor<72 x f32> = weight \"g\"\n"                                                   \
  "const %wq : tensor<72x72 x f32 : q8_0> = weight \"q\"\n"                                        \
  "const %wk : tensor<24x72 x f32 : q8_0> = weight \"k\"\n"                                        \
  "const %wv : tensor<24x72 x f32 : q8_0> = weight \"v\"\n"
CASE("linears of one row, to be merged", SUM, RUNS(1, 5), THREE_WEIGHTS, X72, "a: %a, v: %v",
     "%n = rmsnorm %x, %g {eps = 1e-05}\n %q = linear %n, %wq\n %k = linear %n, %wk\n"
     "%v = linear %n, %wv\n %a = silu %q\n")
CASE("merged, with biases, i8", 2e-2, RUNS(1, 5),
     THREE_WEIGHTS "const %bq : tensor<72 x f32> = weight \"bq\"\n"
                   "const %bk : tensor<24 x f32> = weight \"bk\"\n",
     X72, "a: %a, b: %b",
     "%n = rmsnorm %x, %g {eps = 1e-05}\n %q = linear %n, %wq, %bq {act = i8}\n"
     "%k = linear %n, %wk, %bk {act = i8}\n %a = silu %q\n %b = silu %k\n")

/* Codes met where they stand, in two parts; tiles of three tokens leave none, one and two. */
CASE("gate and up of q8_0, i8", 2e-2, RUNS(2, 4, 72),
     "const %up : tensor<104x72 x f32 : q8_0> = weight \"up\"\n"
     "const %gate : tensor<104x72 x f32 : q8_0> = weight \"gate\"\n",
     X72, "y: %y",
     "%a = linear %x, %gate {act = i8}\n %b = linear %x, %up {act = i8}\n"
     "%c = silu %a\n %y = mul %c, %b\n")

CASE("gate and up of q8_0, i8p", 2e-2, RUNS(2, 4, 72),
     "const %up : tensor<104x72 x f32 : q8_0> = weight \"up\"\n"
     "const %gate : tensor<104x72 x f32 : q8_0> = weight \"gate\"\n",
     X72, "y: %y",
     "%a = linear %x, %gate {act = i8p}\n %b = linear %x, %up {act = i8p}\n"
     "%c = silu %a\n %y = mul %c, %b\n")
/* Blocks of zeros, whose scale is the least one, and a format with minima in panels. */
CASE("linears, i8p, of zeros and of halves", 2e-2, RUNS(1, 7),
     "const %w : tensor<40x72 x f32 : q8_0> = weight \"w\"\n"
     "const %v : tensor<20x72 x f32 : q4_1> = weight \"v\"\n",
     X72, "y: %y, z: %z",
     "%o = sub %x, %x\n %r = relu %x\n %y = linear %o, %w {act = i8p}\n"
     "%z = linear %r, %v {act = i8p}\n")

CASE("norm and a wide linear", 2e-4, RUNS(1, 2),
     "const %g : tensor<17000 x f32> = weight \"g\"\n"
     "const %w : tensor<20x17000 x f32 : q4_1> = weight \"w\"\n",
     "%x: tensor<Sx17000 x f32>", "y: %y",
     "%n = rmsnorm %x, %g {eps = 1e-05}\n %y = linear %n, %w {act = i16}\n")
CASE("attention_kv, heads of 128", SUM, RUNS(3, 1, 2),
     "state %kv : cache<slots=1, context=64, kv_heads=2, head_dim=128, f16>\n",
     "%q: tensor<Sx8x128 x f32>, %k: tensor<Sx2x128 x f32>, %v: tensor<Sx2x128 x f32>", "y: %y",
     ATTEND(" {scale = 0.0884, causal = true}"))

/* A whole layer as the llama architecture builds it. */
CASE("layer", 4e-4, RUNS(3, 1, 7),
     "const %g : tensor<72 x f32> = weight \"g\"\n const %h : tensor<72 x f32> = weight \"h\"\n"
     "const %emb : tensor<35x72 x f32 : q8_0> = weight \"emb\"\n"
     "const %wqkv : tensor<120x72 x f32 : q4_1> = weight \"qkv\"\n"
     "const %wo : tensor<72x72 x f32 : q4_0> = weight \"o\"\n"
     "const %up : tensor<200x72 x f32 : q5_1> = weight \"up\"\n"
     "const %down : tensor<72x100 x f32 : q8_0> = weight \"down\"\n"
     "const %f : tensor<12 x f32> = dense [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, "
     "0.02]\n state %kv : cache<slots=1, context=64, kv_heads=1, head_dim=24, f16>\n",
     "%ids: tensor<S x i32>, %pos: tensor<S x i32>, %mask: tensor<(P+S) x f32>", "y: %y",
     "%x = gather %emb, %ids\n %n = rmsnorm %x, %g {eps = 1e-05}\n"
     "%qkv = linear %n, %wqkv {act = i16}\n"
     "%q, %k, %v = split %qkv {axis = -1, sizes = [72, 24, 24]}\n"
     "%c, %s = rope_table %pos, %f {scale = 1}\n %q3 = reshape %q {shape = [-1, 3, 24]}\n"
     "%k3 = reshape %k {shape = [-1, 1, 24]}\n %v3 = reshape %v {shape = [-1, 1, 24]}\n"
     "%qr = rope %q3, %c, %s\n %kr = rope %k3, %c, %s\n %kv1 = kv_append %kv, %kr, %v3\n"
     "%a = attention_kv %qr, %kv1, %mask {scale = 0.204, causal = true}\n"
     "%a2 = reshape %a {shape = [-1, 72]}\n %o = linear %a2, %wo {act = i16}\n %r = add %x, %o\n"
     "%m = rmsnorm %r, %h {eps = 1e-05}\n %gu = linear %m, %up {act = i16}\n"
     "%gate, %u = split %gu {axis = -1, sizes = [100, 100]}\n %act = silu %gate\n"
     "%d = mul %act, %u\n %e = linear %d, %down {act = i16}\n %y = add %r, %e\n")
