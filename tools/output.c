/* Tensors to safetensors files: see tools/output.h. */
#include "tools/output.h"

#include "ir/eval.h"

static void put_header(Buf *out, const RefTensor *tensors, uint32_t n) {
  uint64_t at = 0;
  buf_puts(out, "{");
  for (uint32_t i = 0; i < n; i++) {
    const RefTensor *t = &tensors[i];
    uint64_t bytes = (uint64_t)t->elements * (t->f ? 4 : 8);
    buf_printf(out, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t->name,
               t->f ? "F32" : "I64");
    for (uint32_t k = 0; k < t->rank; k++)
      buf_printf(out, "%s%lld", k ? "," : "", (long long)t->dim[k]);
    buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
               (unsigned long long)(at + bytes));
    at += bytes;
  }
  buf_puts(out, "}");
  while (out->size % 8) buf_puts(out, " ");
}

Status write_safetensors(const char *path, const RefTensor *tensors, uint32_t n, Diag *d) {
  Buf header = {0}, file = {0};
  put_header(&header, tensors, n);
  uint64_t size = header.size;
  buf_put(&file, &size, sizeof size); /* little-endian, as this machine is */
  buf_put(&file, header.data, header.size);
  for (uint32_t i = 0; i < n; i++) {
    const RefTensor *t = &tensors[i];
    if (t->f)
      buf_put(&file, t->f, (size_t)t->elements * 4);
    else
      buf_put(&file, t->i, (size_t)t->elements * 8);
  }
  Status s = file_write(d, path, file.data, file.size, 0644);
  buf_free(&header);
  buf_free(&file);
  return s;
}
