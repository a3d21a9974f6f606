/* Formatting in the chat template interpreter: Python's `%`, str.format and strftime.
 * See runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One value by a conversion: flags, width and precision as in both languages. */
typedef struct FormatSpec {
  char fill, align; /* align: < > ^ = or 0 */
  bool plus, alternate, zero, comma;
  int width, precision; /* precision < 0: none */
  char type;            /* s d f e g x o b % or 0 */
} FormatSpec;

static int digits(const char **p, const char *end, int fallback) {
  int n = 0;
  if (*p >= end || **p < '0' || **p > '9') return fallback;
  while (*p < end && **p >= '0' && **p <= '9' && n < 100000) n = n * 10 + *(*p)++ - '0';
  return n;
}

static void put_padded(Out *o, const char *text, size_t n, const FormatSpec *f, char align) {
  size_t length = utf8_length(text, n), width = f->width > 0 ? (size_t)f->width : 0;
  size_t pad = width > length ? width - length : 0;
  size_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0;
  for (size_t i = 0; i < left; i++) out_put(o, &f->fill, 1);
  out_put(o, text, n);
  for (size_t i = left; i < pad; i++) out_put(o, &f->fill, 1);
}

static void put_commas(Out *o, const char *number) {
  size_t n = strcspn(number, ".e");
  size_t sign = *number == '-' || *number == '+';
  for (size_t i = 0; number[i]; i++) {
    if (i > sign && i < n && (n - i) % 3 == 0) out_puts(o, ",");
    out_put(o, &number[i], 1);
  }
}

static void put_number(Chat *c, Out *o, Val v, const FormatSpec *f) {
  char text[512], type = f->type ? f->type : v.kind == VK_FLOAT ? 'r' : 'd';
  const char *sign = f->plus ? "+" : "";
  int precision = f->precision < 0 ? 6 : f->precision > 300 ? 300 : f->precision;
  Out *number = chat_out(c);
  if (type == 'd' || type == 'i' || type == 'u') {
    snprintf(text, sizeof text, f->plus ? "%+lld" : "%lld",
             (long long)(v.kind == VK_FLOAT ? (int64_t)v.u.number : val_integer(&v)));
  } else if (type == 'x' || type == 'X' || type == 'o') {
    char form[] = {'%', 'l', 'l', type, 0};
    snprintf(text, sizeof text, form, (unsigned long long)val_integer(&v));
  } else if (type == 'r') {
    Val s = val_string(c, v);
    snprintf(text, sizeof text, "%.*s", (int)s.size, s.u.text);
  } else if (type == '%') {
    snprintf(text, sizeof text, "%s%.*f%%", sign, precision, 100 * val_number(&v));
  } else {
    char form[] = {'%', '.', '*', type, 0};
    size_t used = (size_t)snprintf(text, sizeof text, "%s", val_number(&v) < 0 ? "" : sign);
    snprintf(text + used, sizeof text - used, form, precision, val_number(&v));
  }
  if (f->comma)
    put_commas(number, text);
  else
    out_puts(number, text);
  Val s = chat_out_done(c, number);
  FormatSpec padded = *f;
  if (f->zero && !f->align) padded.fill = '0';
  size_t signs = padded.fill == '0' && s.size && (s.u.text[0] == '-' || s.u.text[0] == '+');
  out_put(o, s.u.text, signs);
  padded.width -= (int)signs;
  put_padded(o, s.u.text + signs, s.size - signs, &padded, f->align ? f->align : '>');
}

static void put_text(Chat *c, Out *o, Val v, const FormatSpec *f) {
  Val s = val_string(c, v);
  size_t n = f->precision >= 0 ? utf8_offset(s.u.text, s.size, (size_t)f->precision) : s.size;
  put_padded(o, s.u.text, n, f, f->align ? f->align : '<');
}

static void put_value(Chat *c, Out *o, Val v, const FormatSpec *f) {
  if (f->type && f->type != 's' && f->type != 'r') {
    if (!strchr("diufFeEgGxXo%", f->type))
      chat_fail(c, "unsupported format character '%c'", f->type);
    if (!val_is_number(&v))
      chat_fail(c, "%%%c format: a real number is required, not %s", f->type, val_type_name(&v));
    if (strchr("xXo", f->type) && !val_is_int(&v))
      chat_fail(c, "%%%c format: an integer is required", f->type);
    put_number(c, o, v, f);
  } else if (!f->type && val_is_number(&v) && v.kind != VK_BOOL) {
    put_number(c, o, v, f);
  } else {
    put_text(c, o, v, f);
  }
}

static Val quoted(Chat *c, Val v) {
  Out *o = chat_out(c);
  val_repr(c, v, o);
  return chat_out_done(c, o);
}

Val chat_percent_format(Chat *c, Val format, CallArgs args) {
  Out *o = chat_out(c);
  const char *p = format.u.text, *end = p + format.size;
  uint32_t used = 0;
  while (p < end) {
    FormatSpec f = {.fill = ' ', .precision = -1};
    if (*p != '%' || (p + 1 < end && p[1] == '%')) {
      out_put(o, p, 1);
      p += *p == '%' ? 2 : 1;
      continue;
    }
    Val v = val_undefined("", 0);
    if (++p < end && *p == '(') { /* %(name)s: an item of a dict */
      const char *close = memchr(p, ')', (size_t)(end - p));
      if (!close || !args.n) chat_fail(c, "format requires a mapping");
      v = chat_getitem(c, args.arg[0], val_text(p + 1, (size_t)(close - p - 1)));
      p = close + 1;
      used = args.n;
    } else {
      if (used >= args.n) chat_fail(c, "not enough arguments for format string");
      v = args.arg[used++];
    }
    for (; p < end && strchr("-+ 0#", *p); p++) {
      if (*p == '-') f.align = '<';
      f.plus |= *p == '+';
      f.zero |= *p == '0';
    }
    f.width = digits(&p, end, 0);
    if (p < end && *p == '.') {
      p++;
      f.precision = digits(&p, end, 0);
    }
    if (p >= end) chat_fail(c, "incomplete format");
    f.type = *p++;
    if (f.type == 's' || f.type == 'r') {
      f.zero = false;
      if (!f.align) f.align = '>';
      if (f.type == 'r') v = quoted(c, v);
    }
    put_value(c, o, v, &f);
  }
  if (used < args.n && !(args.n == 1 && args.arg[0].kind == VK_DICT))
    chat_fail(c, "not all arguments converted during string formatting");
  return chat_out_done(c, o);
}

/* [[fill]align][sign][0][width][,][.precision][type] */
static FormatSpec parse_spec(const char *p, const char *end) {
  FormatSpec f = {.fill = ' ', .precision = -1};
  if (p + 1 < end && strchr("<>^", p[1])) {
    f.fill = *p;
    f.align = p[1];
    p += 2;
  } else if (p < end && strchr("<>^", *p)) {
    f.align = *p++;
  }
  if (p < end && *p == '+') f.plus = *p++ == '+';
  if (p < end && *p == '0') f.zero = *p++ == '0';
  f.width = digits(&p, end, 0);
  if (p < end && *p == ',') f.comma = *p++ == ',';
  if (p < end && *p == '.') {
    p++;
    f.precision = digits(&p, end, 0);
  }
  if (p < end) f.type = *p;
  return f;
}

/* The value that a field names: "", "0", "name", "0.key" or "0[key]". */
static Val format_field(Chat *c, const char *p, const char *end, CallArgs args, uint32_t *next) {
  const char *stop = p;
  Val v;
  while (stop < end && *stop != '.' && *stop != '[') stop++;
  if (stop == p || (*p >= '0' && *p <= '9')) {
    uint32_t i = stop == p ? (*next)++ : (uint32_t)strtoul(p, NULL, 10);
    if (i >= args.n) chat_fail(c, "Replacement index %u out of range for positional args tuple", i);
    v = args.arg[i];
  } else if (!args.named || !dict_get(c, args.named, val_text(p, (size_t)(stop - p)), &v)) {
    chat_fail(c, "'%.*s'", (int)(stop - p), p);
  }
  while (stop < end) {
    const char *name = stop + 1;
    bool item = *stop == '[';
    for (stop = name; stop < end && (item ? *stop != ']' : *stop != '.' && *stop != '[');) stop++;
    v = item ? chat_getitem(c, v, val_text(name, (size_t)(stop - name)))
             : chat_getattr(c, v, name, (size_t)(stop - name));
    stop += item && stop < end;
  }
  return v;
}

Val chat_brace_format(Chat *c, Val format, CallArgs args) {
  Out *o = chat_out(c);
  const char *p = format.u.text, *end = p + format.size;
  uint32_t next = 0;
  while (p < end) {
    if (*p != '{' && *p != '}') {
      out_put(o, p++, 1);
      continue;
    }
    if (p + 1 < end && p[1] == *p) {
      out_put(o, p, 1);
      p += 2;
      continue;
    }
    const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
    if (!close) chat_fail(c, "Single '%c' encountered in format string", *p);
    const char *stop = memchr(p, ':', (size_t)(close - p)),
               *bang = memchr(p, '!', (size_t)(close - p));
    const char *name_end = bang && (!stop || bang < stop) ? bang : stop ? stop : close;
    FormatSpec f = parse_spec(stop ? stop + 1 : close, close);
    Val v = format_field(c, p + 1, name_end, args, &next);
    if (name_end == bang) v = bang[1] == 'r' ? quoted(c, v) : val_string(c, v);
    put_value(c, o, v, &f);
    p = close + 1;
  }
  return chat_out_done(c, o);
}

/* The time that `now` (YYYY-MM-DD[Thh:mm[:ss]]) names, or the clock's local time. */
static bool read_time(const char *now, struct tm *out) {
  if (!now) {
    time_t t = time(NULL);
    return localtime_r(&t, out) != NULL;
  }
  int year, month, day, hour = 0, minute = 0, second = 0;
  int n = sscanf(now, "%d-%d-%d%*[T ]%d:%d:%d", &year, &month, &day, &hour, &minute, &second);
  if (n < 3) return false;
  *out = (struct tm){.tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second};
  struct tm copy = *out;
  if (timegm(&copy) == (time_t)-1) return false;
  out->tm_wday = copy.tm_wday;
  out->tm_yday = copy.tm_yday;
  return true;
}

Val chat_strftime(Chat *c, Val format) {
  char form[256], text[1024];
  struct tm t;
  Val f = val_string(c, format);
  if (!read_time(c->now, &t)) chat_fail(c, "'now' is not an ISO time");
  if (f.size >= sizeof form) chat_fail(c, "the format of strftime_now is too long");
  memcpy(form, f.u.text, f.size);
  form[f.size] = 0;
  size_t n = f.size ? strftime(text, sizeof text, form, &t) : 0;
  return val_copy(c, text, n);
}
