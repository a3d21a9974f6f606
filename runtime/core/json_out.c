/* The output buffer and the JSON writer.
 *
 * Doubles are written as Python's repr writes them: the shortest digits that read back to the same
 * value, exponent form below 1e-4 and from 1e16 on, always with '.' or an exponent. The shortest
 * digits are found by trying 15, 16 and 17 of printf's (exact) ones; only subnormals need fewer
 * than what 15 digits with trailing zeros cut give, and only powers of two may need the neighbour
 * of the nearest 16-digit number, because the gap below them is half the gap above.
 */
#include "runtime/core/json.h"

#include "runtime/core/utf8.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool out_reserve(Out *o, size_t n) {
  if (o->failed) return false;
  if (n > SIZE_MAX / 4 - o->size) {
    o->failed = true;
    return false;
  }
  size_t need = o->size + n + 1;
  if (need <= o->cap) return true;
  size_t cap = o->cap ? o->cap : 64;
  while (cap < need) cap *= 2;
  char *d = realloc(o->data, cap);
  if (!d) {
    o->failed = true;
    return false;
  }
  o->data = d;
  o->cap = cap;
  return true;
}

void out_put(Out *o, const char *data, size_t n) {
  if (!out_reserve(o, n)) return;
  if (n) memcpy(o->data + o->size, data, n);
  o->size += n;
  o->data[o->size] = 0;
}

void out_puts(Out *o, const char *s) {
  out_put(o, s, strlen(s));
}

void out_printf(Out *o, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || !out_reserve(o, (size_t)n)) {
    o->failed = true;
    return;
  }
  va_start(ap, fmt);
  vsnprintf(o->data + o->size, (size_t)n + 1, fmt, ap);
  va_end(ap);
  o->size += (size_t)n;
}

void out_free(Out *o) {
  free(o->data);
  memset(o, 0, sizeof *o);
}

void out_json_string(Out *o, const char *data, size_t n) {
  static const char names[] = "\"\\bfnrt", values[] = "\"\\\b\f\n\r\t";
  out_put(o, "\"", 1);
  size_t from = 0, i = 0; /* data[from..i) is clean and not yet written */
  while (i < n) {
    uint32_t code;
    size_t k = utf8_step(data + i, n - i, &code);
    bool broken = code == 0xfffd && !(k == 3 && memcmp(data + i, "\xef\xbf\xbd", 3) == 0);
    if (code >= 0x20 && code != '"' && code != '\\' && !broken) {
      i += k;
      continue;
    }
    out_put(o, data + from, i - from);
    const char *found = code < 128 && code ? strchr(values, (int)code) : NULL;
    if (broken) {
      out_puts(o, "\xef\xbf\xbd");
    } else if (found) {
      out_printf(o, "\\%c", names[found - values]);
    } else {
      out_printf(o, "\\u%04x", (unsigned)code);
    }
    i += k;
    from = i;
  }
  out_put(o, data + from, n - from);
  out_put(o, "\"", 1);
}

/* Decimal digits of x > 0, without trailing zeros; x = 0.d1d2.. * 10^*exp10. */
typedef struct Decimal {
  char digit[20];
  int n, exp10;
} Decimal;

static void decimal_digits(double x, int n, Decimal *d) {
  char s[40];
  snprintf(s, sizeof s, "%.*e", n - 1, x);
  d->digit[0] = s[0];
  if (n > 1) memcpy(d->digit + 1, s + 2, (size_t)n - 1);
  d->n = n;
  d->exp10 = atoi(strchr(s, 'e') + 1) + 1;
}

static double decimal_value(const Decimal *d) {
  char s[40];
  snprintf(s, sizeof s, "0.%.*se%d", d->n, d->digit, d->exp10);
  return strtod(s, NULL);
}

static void decimal_increment(Decimal *d) {
  int i = d->n - 1;
  while (i >= 0 && d->digit[i] == '9') d->digit[i--] = '0';
  if (i >= 0) {
    d->digit[i]++;
  } else {
    d->digit[0] = '1'; /* 99..9 becomes 100..0 */
    d->exp10++;
  }
}

static void shortest_digits(double x, Decimal *d) {
  int e;
  bool power_of_two = frexp(x, &e) == 0.5;
  for (int n = x < 2.2250738585072014e-308 ? 1 : 15; n <= 17; n++) {
    decimal_digits(x, n, d);
    if (decimal_value(d) == x) break;
    if (power_of_two) {
      decimal_increment(d);
      if (decimal_value(d) == x) break;
    }
  }
  while (d->n > 1 && d->digit[d->n - 1] == '0') d->n--;
}

void out_double(Out *o, double x) {
  if (isnan(x)) {
    out_puts(o, "NaN");
    return;
  }
  if (signbit(x)) out_puts(o, "-");
  x = fabs(x);
  if (isinf(x) || x == 0) {
    out_puts(o, x == 0 ? "0.0" : "Infinity");
    return;
  }
  Decimal d;
  shortest_digits(x, &d);
  int point = d.exp10; /* digits before the point */
  if (point <= -4 || point > 16) {
    out_put(o, d.digit, 1);
    if (d.n > 1) out_printf(o, ".%.*s", d.n - 1, d.digit + 1);
    out_printf(o, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
  } else if (point <= 0) {
    out_printf(o, "0.%.*s%.*s", -point, "000000", d.n, d.digit);
  } else if (point >= d.n) {
    out_printf(o, "%.*s%.*s.0", d.n, d.digit, point - d.n, "0000000000000000");
  } else {
    out_printf(o, "%.*s.%.*s", point, d.digit, d.n - point, d.digit + point);
  }
}

void out_json(Out *o, const Json *v) {
  switch (v->kind) {
  case JS_NULL: out_puts(o, "null"); break;
  case JS_BOOL: out_puts(o, v->u.boolean ? "true" : "false"); break;
  case JS_INT: out_printf(o, "%" PRId64, v->u.integer); break;
  case JS_FLOAT: out_double(o, v->u.number); break;
  case JS_STRING: out_json_string(o, v->u.string.data, v->u.string.size); break;
  case JS_ARRAY:
    out_put(o, "[", 1);
    for (size_t i = 0; i < v->u.array.n; i++) {
      if (i) out_put(o, ",", 1);
      out_json(o, v->u.array.item[i]);
    }
    out_put(o, "]", 1);
    break;
  case JS_OBJECT:
    out_put(o, "{", 1);
    for (size_t i = 0; i < v->u.object.n; i++) {
      const Json *key = v->u.object.item[i].key;
      if (i) out_put(o, ",", 1);
      out_json_string(o, key->u.string.data, key->u.string.size);
      out_put(o, ":", 1);
      out_json(o, v->u.object.item[i].value);
    }
    out_put(o, "}", 1);
    break;
  }
}
