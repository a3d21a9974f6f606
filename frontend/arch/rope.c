/* Frequencies of rotary embeddings, in the f32 steps that Transformers takes.
 *
 * Definitions: Su et al. 2021 (default); linear and dynamic NTK scaling as Transformers documents
 * them; YaRN (Peng et al. 2023); the bands of Llama 3.1. Every step is rounded to f32 where the
 * reference works on f32 tensors and kept in double where it works on Python numbers, so that
 * frequencies agree to the last bit or nearly so. Odd: torch computes `a / tensor` as
 * reciprocal(tensor) * a, with two roundings.
 */
#include "frontend/arch/rope.h"

#include <string.h>

typedef struct Scaling {
  const char *type;
  double factor, low_freq, high_freq;
  double attention_factor, beta_fast, beta_slow, mscale, mscale_all;
  bool truncate;
  int64_t original;
} Scaling;

static float over(double a, float b) {
  float reciprocal = 1 / b;
  return a == 1 ? reciprocal : reciprocal * (float)a;
}

/* base ^ (2i / dim) */
static float power(double base, int64_t i, int64_t dim) {
  return (float)pow((float)base, (float)(2 * i) / (float)dim);
}

static void linear_freqs(const Rope *r, float *f) {
  for (int64_t i = 0; i < r->dim / 2; i++)
    f[i] = (1 / power(r->base, i, r->dim)) / (float)r->factor;
}

static double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1 : 0.1 * mscale * log(scale) + 1;
}

/* The dimension that makes `rotations` turns over the original positions. */
static double yarn_dim(const Rope *r, const Scaling *s, double rotations) {
  const double pi = 3.141592653589793;
  return ((double)r->dim * log((double)s->original / (rotations * 2 * pi))) / (2 * log(r->base));
}

static void yarn_freqs(Rope *r, const Scaling *s, float *f) {
  double low = yarn_dim(r, s, s->beta_fast), high = yarn_dim(r, s, s->beta_slow);
  if (s->truncate) {
    low = floor(low);
    high = ceil(high);
  }
  low = fmax(low, 0);
  high = fmin(high, (double)r->dim - 1);
  if (low == high) high += 0.001;
  for (int64_t i = 0; i < r->dim / 2; i++) {
    float pos = power(r->base, i, r->dim);
    float extrapolated = 1 / pos, interpolated = 1 / ((float)r->factor * pos);
    float ramp = ((float)i - (float)low) / (float)(high - low);
    float keep = 1 - fminf(fmaxf(ramp, 0), 1);
    f[i] = interpolated * (1 - keep) + extrapolated * keep;
  }
  r->scale = s->attention_factor;
  if (r->scale != 0) return;
  r->scale = s->mscale != 0 && s->mscale_all != 0
                 ? yarn_mscale(r->factor, s->mscale) / yarn_mscale(r->factor, s->mscale_all)
                 : yarn_mscale(r->factor, 1);
}

static void llama3_freqs(const Rope *r, const Scaling *s, float *f) {
  const double pi = 3.141592653589793;
  float longest = (float)((double)s->original / s->low_freq);
  float shortest = (float)((double)s->original / s->high_freq);
  float factor = (float)r->factor;
  for (int64_t i = 0; i < r->dim / 2; i++) {
    float freq = 1 / power(r->base, i, r->dim);
    float wave = over(2 * pi, freq);
    f[i] = wave > longest ? freq / factor : freq;
    if (wave < shortest || wave > longest) continue;
    float smooth = (over((double)s->original, wave) - (float)s->low_freq) /
                   (float)(s->high_freq - s->low_freq);
    f[i] = (1 - smooth) * freq / factor + smooth * freq;
  }
}

/* ---- reading the config ---- */

static Status positive(Config *c, const char *key, double value) {
  if (value > 0 && isfinite(value)) return OK;
  return config_error(c, key, "is %g (expected a number above 0)", value);
}

static Status need_f64(Config *c, const char *key, double *out) {
  TRY(config_f64(c, key, NAN, out));
  return positive(c, key, *out);
}

/* Python's `value or default`: 0 counts as absent. */
static Status optional_f64(Config *c, const char *key, double absent, double *out) {
  TRY(config_f64(c, key, absent, out));
  if (*out == 0) *out = absent;
  return OK;
}

static Status read_yarn(Config *c, int64_t max_positions, Scaling *s) {
  TRY(optional_f64(c, "attention_factor", 0, &s->attention_factor));
  if (s->attention_factor != 0) TRY(positive(c, "attention_factor", s->attention_factor));
  TRY(optional_f64(c, "beta_fast", 32, &s->beta_fast));
  TRY(positive(c, "beta_fast", s->beta_fast));
  TRY(optional_f64(c, "beta_slow", 1, &s->beta_slow));
  TRY(positive(c, "beta_slow", s->beta_slow));
  TRY(optional_f64(c, "mscale", 0, &s->mscale));
  TRY(optional_f64(c, "mscale_all_dim", 0, &s->mscale_all));
  TRY(config_bool(c, "truncate", true, &s->truncate));
  return config_i64(c, "original_max_position_embeddings", max_positions, 1, INT32_MAX,
                    &s->original);
}

static Status read_llama3(Config *c, Scaling *s) {
  TRY(need_f64(c, "low_freq_factor", &s->low_freq));
  TRY(need_f64(c, "high_freq_factor", &s->high_freq));
  if (s->high_freq <= s->low_freq)
    return config_error(c, "high_freq_factor", "is %g (expected more than low_freq_factor, %g)",
                        s->high_freq, s->low_freq);
  return config_i64(c, "original_max_position_embeddings", CONFIG_NEEDED, 1, INT32_MAX,
                    &s->original);
}

static bool is(const Scaling *s, const char *type) {
  return strcmp(s->type, type) == 0;
}

/* A GGUF's factor on top of yarn's own; 1 in files made from Transformers. */
static Status check_attn_factor(Config *c) {
  double factor;
  TRY(config_f64(c, "attn_factor", 1, &factor));
  return factor == 1 ? OK : config_error(c, "attn_factor", "is %g (expected 1)", factor);
}

static Status read_scaling(Config *c, bool gguf, int64_t max_positions, double *base, Scaling *s) {
  static const char *const ignored[] = {"type", "rope_type", "finetuned"};
  static const char *const unread[] = {"original_max_position_embeddings"};
  config_ignore(c, ignored, COUNT(ignored));
  TRY(config_f64(c, "rope_theta", *base, base));
  TRY(config_str(c, "type", NULL, &s->type)); /* Transformers lets the old key win */
  if (!s->type) TRY(config_str(c, "rope_type", NULL, &s->type));
  if (!s->type && gguf) s->type = "linear";
  if (gguf) TRY(check_attn_factor(c));
  if (!s->type)
    return config_error(c, "rope_type",
                        "is missing (expected default, linear, dynamic, yarn or "
                        "llama3)");
  if (is(s, "none")) s->type = "default";
  if (is(s, "default")) return OK;
  if (!is(s, "linear") && !is(s, "dynamic") && !is(s, "yarn") && !is(s, "llama3"))
    return config_error(c, "rope_type",
                        "is \"%s\" (expected default, linear, dynamic, yarn or "
                        "llama3); ingot does not compute this kind yet",
                        s->type);
  TRY(need_f64(c, "factor", &s->factor));
  if (s->factor < 1) return config_error(c, "factor", "is %g (expected at least 1)", s->factor);
  if (is(s, "yarn")) return read_yarn(c, max_positions, s);
  if (is(s, "llama3")) return read_llama3(c, s);
  config_ignore(c, unread, 1); /* Transformers does not read it for these kinds */
  return OK;
}

/* rope_scaling, or rope_parameters as newer Transformers writes it. */
static Status find_scaling(Config *c, bool gguf, int64_t max_positions, double *base, Scaling *s) {
  static const char *const keys[] = {"rope_scaling", "rope_parameters"};
  bool found = false;
  for (size_t i = 0; i < COUNT(keys); i++) {
    Config child;
    bool present;
    TRY(config_child(c, keys[i], &child, &present));
    if (!present || found) {
      if (present) config_close(&child);
      continue;
    }
    found = true;
    Status status = read_scaling(&child, gguf, max_positions, base, s);
    if (status == OK) status = config_finish(&child);
    /* The strings live in the config's JSON, which outlives the child. */
    config_close(&child);
    TRY(status);
  }
  return OK;
}

static Status divide(Loader *l, TensorName divisors, int64_t n, float *freqs) {
  if (!loader_find(l, divisors, 0)) return OK;
  float *by = mem_alloc((size_t)n * sizeof *by);
  Status s = loader_floats(l, divisors, 0, n, by);
  for (int64_t i = 0; s == OK && i < n; i++) {
    if (by[i] > 0 && isfinite(by[i]))
      freqs[i] /= by[i];
    else
      s = diag_error(l->d, l->model->path, "tensor %s: element %lld is %g (expected above 0)",
                     loader_name(l, divisors, 0), (long long)i, (double)by[i]);
  }
  mem_free(by);
  return s;
}

void rope_plain(Module *m, int64_t dim, double base, Rope *out) {
  *out = (Rope){.dim = dim, .scale = 1, .base = base, .factor = 1};
  float *freqs = mem_alloc((size_t)(dim / 2) * sizeof *freqs);
  linear_freqs(out, freqs);
  out->freqs = const_floats(m, "rope_freqs", freqs, dim / 2);
  mem_free(freqs);
}

Status rope_read(Config *c, Loader *l, int64_t dim, int64_t max_positions, double theta,
                 TensorName divisors, Rope *out) {
  *out = (Rope){.dim = dim, .scale = 1, .factor = 1, .original = max_positions, .freqs = NO_CONST};
  Scaling s = {.type = "default"};
  double base;
  TRY(config_f64(c, "rope_theta", theta, &base));
  TRY(find_scaling(c, l->model->format == FORMAT_GGUF, max_positions, &base, &s));
  TRY(positive(c, "rope_theta", base));
  if (dim < 2 || dim % 2 != 0)
    return config_error(c, "head_dim",
                        "is %lld (expected an even number: rotary embeddings turn "
                        "pairs)",
                        (long long)dim);
  out->base = base;
  if (s.factor > 0) out->factor = s.factor;
  out->dynamic = is(&s, "dynamic");
  if (out->dynamic) {
    if (dim < 4)
      return config_error(c, "head_dim", "is %lld (expected at least 4 for dynamic scaling)",
                          (long long)dim);
    return OK;
  }
  float *freqs = mem_alloc((size_t)(dim / 2) * sizeof *freqs);
  if (is(&s, "yarn"))
    yarn_freqs(out, &s, freqs);
  else if (is(&s, "llama3"))
    llama3_freqs(out, &s, freqs);
  else
    linear_freqs(out, freqs);
  Status status = divide(l, divisors, dim / 2, freqs);
  if (status == OK) out->freqs = const_floats(l->m, "rope_freqs", freqs, dim / 2);
  mem_free(freqs);
  return status;
}

/* ---- building ---- */

RopeTable rope_table(Graph *g, const Rope *r, ValueId pos, ValueId seq_len) {
  ValueId freqs;
  graph_origin(g, "rotary tables");
  if (r->dynamic) {
    Attrs a = {.rope_freqs = {ROPEFREQ_dynamic, r->base, r->dim, r->factor, r->original}};
    OpId op = graph_op(g, OP_rope_freqs, &seq_len, 1, &a);
    freqs = graph_get(g, op)->out[0];
  } else {
    freqs = graph_const(g, r->freqs);
  }
  Attrs a = {.rope_table = {r->scale}};
  OpId op = graph_op(g, OP_rope_table, (ValueId[]){pos, freqs}, 2, &a);
  return (RopeTable){graph_get(g, op)->out[0], graph_get(g, op)->out[1]};
}
