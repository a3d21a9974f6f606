/* `bench` of an encoder: the time of a batch of -b sequences of -p tokens, median of -r rounds
 * after one that is not counted. Its speed in GFLOP/s counts what the kernels' launches say they
 * do. */
#include "runtime/task/bench_encode.h"

#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/task/task.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double processor_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One batch: wall time and processor time. */
static int timed(Encoder *c, EncoderRow *rows, int64_t batch, double *seconds, double *cpu,
                 Err *e) {
  double t0 = io_seconds(), c0 = processor_seconds();
  for (int64_t i = 0, done; i < batch; i += done) {
    if (*io_interrupted()) return err_set(e, "bench", "interrupted");
    if (encoder_run(c, rows + i, batch - i, &done, e)) return 1;
  }
  *seconds = io_seconds() - t0;
  *cpu = processor_seconds() - c0;
  return 0;
}

/* Operations of one sequence. */
static double work_of(Encoder *c, int64_t length, Err *e) {
  double bytes, flops;
  if (encoder_size(c, length, e)) return 0;
  exec_work(encoder_exec(c), encoder_entry(c), &bytes, &flops);
  return flops;
}

static void report(Encoder *c, const EncodeBench *b, int64_t length, double seconds, double best,
                   double cpu, double load, Err *e) {
  Exec *x = encoder_exec(c);
  const IngotModel *m = exec_model(x);
  const char *isa = exec_level(x)->name;
  unsigned threads = pool_size(exec_pool(x));
  double items = (double)b->batch / seconds, gflops = 1e-9 * work_of(c, length, e) * items;
  Out out = {0};
  if (b->json) {
    out_puts(&out, "{\"model\": ");
    out_json_string(&out, m->name, strlen(m->name));
    out_printf(&out,
               ", \"ms\": %.6f, \"best_ms\": %.6f, \"cpu_ms\": %.6f, \"items_per_s\": %.3f, "
               "\"gflops\": %.2f, \"p\": "
               "%lld, \"b\": %lld, "
               "\"r\": %lld, \"load_s\": %.6f, \"weight_bytes\": %llu, \"threads\": %u, "
               "\"isa\": \"%s\"}\n",
               1e3 * seconds, 1e3 * best, 1e3 * cpu, items, gflops, (long long)length,
               (long long)b->batch, (long long)b->repeat, load, (unsigned long long)m->weight_bytes,
               threads, isa);
  } else {
    out_printf(&out, "%s, %s, %u threads, %.1f MB of weights\n", m->name, isa, threads,
               1e-6 * (double)m->weight_bytes);
    out_printf(&out, "  %lld x %lld tokens  %.3f ms, %.1f sequences/s, %.1f GFLOP/s\n",
               (long long)b->batch, (long long)length, 1e3 * seconds, items, gflops);
    out_printf(&out, "  load    %.2f ms\n", 1e3 * load);
  }
  io_flush_out(&out);
  out_free(&out);
}

static int measure(Encoder *c, const EncodeBench *b, int64_t length, double load, Err *e) {
  size_t rounds = (size_t)b->repeat + 1;
  double *seconds = calloc(2 * rounds, sizeof *seconds);
  double *cpu = seconds ? seconds + rounds : NULL;
  uint32_t *ids = malloc((size_t)length * sizeof *ids);
  EncoderRow *rows = calloc((size_t)b->batch + 1, sizeof *rows);
  int bad = seconds && ids && rows ? 0 : err_no_memory(e, "bench");
  if (!bad) measuring_ids(ids, length, exec_model(encoder_exec(c))->generation.vocab);
  for (int64_t i = 0; i < b->batch && !bad; i++) rows[i] = (EncoderRow){.ids = ids, .n = length};
  for (int64_t r = 0; r <= b->repeat && !bad; r++)
    bad = timed(c, rows, b->batch, &seconds[r], &cpu[r], e);
  if (!bad) {
    qsort(seconds + 1, (size_t)b->repeat, sizeof *seconds, compare);
    qsort(cpu + 1, (size_t)b->repeat, sizeof *cpu, compare);
    report(c, b, length, seconds[1 + b->repeat / 2], seconds[1], cpu[1 + b->repeat / 2], load, e);
  }
  free(seconds);
  free(ids);
  free(rows);
  return bad;
}

int bench_encode(const IngotModel *m, const ExecOptions *o, const EncodeBench *b, Err *e) {
  Encoder *c;
  if (encoder_open(m, o, &c, e)) return 1;
  double load = io_seconds() - b->started;
  int64_t longest = encoder_longest(c);
  int64_t length = b->length < 0 ? (longest < 128 ? longest : 128) : b->length;
  int bad = 0;
  if (length < 1 || length > longest)
    bad = err_set(e, "--prompt", "%lld tokens (expected 1 to %lld)", (long long)length,
                  (long long)longest);
  if (!bad) bad = measure(c, b, length, load, e);
  encoder_close(c);
  return bad;
}
