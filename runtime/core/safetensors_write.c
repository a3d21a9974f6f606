/* Safetensors writer: the header is known beforehand, so data stream straight into a temporary file
 * beside the target, which takes its name at the end. A target that is no regular file (a pipe,
 * /dev/null) is written directly.
 */
#include "runtime/core/dtype.h"
#include "runtime/core/json.h"
#include "runtime/core/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct StWriter {
  char *path, *temp; /* temp NULL: written directly */
  FILE *file;
  uint64_t left; /* bytes still to come */
};

static int write_failed(const StWriter *w, Err *e) {
  return err_set(e, w->path, "can't be written: %s", strerror(errno));
}

static int open_target(StWriter *w, Err *e) {
  struct stat st;
  if (stat(w->path, &st) == 0 && !S_ISREG(st.st_mode)) {
    if (S_ISDIR(st.st_mode)) return err_set(e, w->path, "is a folder");
    w->file = fopen(w->path, "wbe");
    return w->file ? 0 : write_failed(w, e);
  }
  size_t n = strlen(w->path) + 32;
  if (!(w->temp = malloc(n))) return err_no_memory(e, w->path);
  snprintf(w->temp, n, "%s.tmp-%ld", w->path, (long)getpid());
  int fd = open(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  w->file = fd < 0 ? NULL : fdopen(fd, "wb");
  if (w->file) return 0;
  int bad = write_failed(w, e);
  if (fd >= 0) close(fd);
  return bad;
}

static int write_header(StWriter *w, const StTensor *t, size_t n, Err *e) {
  Out o = {0};
  out_puts(&o, "{");
  for (size_t i = 0; i < n; i++) {
    uint64_t bytes = dtype_size(t[i].dtype);
    if (i) out_puts(&o, ",");
    out_json_string(&o, t[i].name, strlen(t[i].name));
    out_printf(&o, ":{\"dtype\":\"%s\",\"shape\":[", dtype_info[t[i].dtype].name);
    for (uint32_t k = 0; k < t[i].rank; k++) {
      out_printf(&o, "%s%lld", k ? "," : "", (long long)t[i].dim[k]);
      bytes *= (uint64_t)t[i].dim[k];
    }
    out_printf(&o, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)w->left,
               (unsigned long long)(w->left + bytes));
    w->left += bytes;
  }
  out_puts(&o, "}");
  while (!o.failed && o.size % 8) out_puts(&o, " ");
  unsigned char size[8];
  for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)o.size >> (8 * i));
  int bad = 0;
  if (o.failed) {
    bad = err_no_memory(e, w->path);
  } else if (fwrite(size, 1, 8, w->file) != 8 || fwrite(o.data, 1, o.size, w->file) != o.size) {
    bad = write_failed(w, e);
  }
  out_free(&o);
  return bad;
}

int st_create(const char *path, const StTensor *t, size_t n, StWriter **out, Err *e) {
  *out = NULL;
  StWriter *w = calloc(1, sizeof *w);
  if (!w || !(w->path = strdup(path))) {
    free(w);
    return err_no_memory(e, path);
  }
  if (open_target(w, e) || write_header(w, t, n, e)) {
    st_abandon(w);
    return 1;
  }
  *out = w;
  return 0;
}

int st_write(StWriter *w, const void *data, uint64_t bytes, Err *e) {
  if (bytes > w->left) return err_set(e, w->path, "more data than its header says");
  if (fwrite(data, 1, bytes, w->file) != bytes) return write_failed(w, e);
  w->left -= bytes;
  return 0;
}

int st_commit(StWriter *w, Err *e) {
  int bad = w->left ? err_set(e, w->path, "less data than its header says") : 0;
  FILE *f = w->file;
  w->file = NULL;
  if (fclose(f) && !bad) bad = write_failed(w, e);
  if (!bad && w->temp && rename(w->temp, w->path)) bad = write_failed(w, e);
  if (!bad) {
    free(w->temp);
    w->temp = NULL;
  }
  st_abandon(w);
  return bad;
}

void st_abandon(StWriter *w) {
  if (!w) return;
  if (w->file) fclose(w->file);
  if (w->temp) unlink(w->temp);
  free(w->temp);
  free(w->path);
  free(w);
}
