/* JSON parser: RFC 8259 and nothing more (no NaN, no comments, no lone surrogates, valid UTF-8
 * only).
 *
 * Recursive descent over a byte range with a depth limit. Children of the open arrays and objects
 * wait on one heap stack and are copied into the pool when their bracket closes, so every container
 * is one exact allocation. Duplicate keys are folded through a hash index, which keeps a hostile
 * object of a million keys linear.
 */
#include "runtime/core/json.h"

#include "runtime/core/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512, FIRST_BLOCK = 4096 };

typedef struct Block {
  struct Block *next;
  size_t used, size;
  max_align_t data[];
} Block;

struct JsonPool {
  Block *head;
};

JsonPool *json_pool_new(void) {
  return calloc(1, sizeof(JsonPool));
}

void json_pool_free(JsonPool *p) {
  if (!p) return;
  for (Block *b = p->head, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  free(p);
}

void *json_pool_alloc(JsonPool *p, size_t n) {
  if (n > SIZE_MAX / 4) return NULL;
  n = (n + 15) & ~(size_t)15;
  Block *b = p->head;
  if (!b || b->size - b->used < n) {
    size_t size = b ? b->size * 2 : FIRST_BLOCK;
    if (size > (1u << 20)) size = 1u << 20;
    if (size < n) size = n;
    Block *fresh = calloc(1, sizeof *fresh + size);
    if (!fresh) return NULL;
    fresh->size = size;
    fresh->next = b;
    p->head = b = fresh;
  }
  void *r = (char *)b->data + b->used;
  b->used += n;
  return r;
}

typedef struct Parser {
  JsonPool *pool;
  const char *text;
  size_t n, pos;
  const char *error;
  unsigned depth;
  Json **stack; /* children of the containers still open */
  size_t nstack, cap;
} Parser;

static Json *fail(Parser *p, const char *what) {
  if (!p->error) p->error = what;
  return NULL;
}

static Json *no_memory(Parser *p) {
  return fail(p, "out of memory");
}

static Json *node(Parser *p, JsonKind kind) {
  Json *v = json_pool_alloc(p->pool, sizeof *v);
  if (!v) return no_memory(p);
  v->kind = kind;
  return v;
}

static void skip_space(Parser *p) {
  while (p->pos < p->n) {
    char c = p->text[p->pos];
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') break;
    p->pos++;
  }
}

static int peek(const Parser *p) {
  return p->pos < p->n ? (unsigned char)p->text[p->pos] : -1;
}

static bool push(Parser *p, Json *v) {
  if (p->nstack == p->cap) {
    size_t cap = p->cap ? 2 * p->cap : 64;
    Json **s = realloc(p->stack, cap * sizeof *s);
    if (!s) return no_memory(p) != NULL;
    p->stack = s;
    p->cap = cap;
  }
  p->stack[p->nstack++] = v;
  return true;
}

static Json *parse_word(Parser *p, const char *word, JsonKind kind, bool value) {
  size_t n = strlen(word);
  if (p->n - p->pos < n || memcmp(p->text + p->pos, word, n) != 0)
    return fail(p, "expected a value");
  p->pos += n;
  Json *v = node(p, kind);
  if (v && kind == JS_BOOL) v->u.boolean = value;
  return v;
}

static size_t digits(const Parser *p, size_t at) {
  size_t k = at;
  while (k < p->n && p->text[k] >= '0' && p->text[k] <= '9') k++;
  return k - at;
}

/* Converts text[from..to), already known to be a JSON number. */
static Json *number_value(Parser *p, size_t from, size_t to, bool integral) {
  const char *s = p->text + from;
  if (integral) {
    bool neg = *s == '-';
    uint64_t limit = (uint64_t)INT64_MAX + neg, u = 0;
    size_t i = from + neg;
    for (; i < to; i++) {
      unsigned d = (unsigned)(p->text[i] - '0');
      if (u > (limit - d) / 10) break;
      u = u * 10 + d;
    }
    if (i == to) {
      Json *v = node(p, JS_INT);
      if (v) v->u.integer = neg ? (int64_t)(0 - u) : (int64_t)u;
      return v;
    }
  }
  char small[64], *copy = small;
  if (to - from >= sizeof small && !(copy = malloc(to - from + 1))) return no_memory(p);
  memcpy(copy, s, to - from);
  copy[to - from] = 0;
  double d = strtod(copy, NULL);
  if (copy != small) free(copy);
  Json *v = node(p, JS_FLOAT);
  if (v) v->u.number = d;
  return v;
}

static Json *parse_number(Parser *p) {
  size_t from = p->pos, k = from;
  bool integral = true;
  if (p->text[k] == '-') k++;
  size_t d = digits(p, k);
  if (!d) return fail(p, "expected a digit");
  if (d > 1 && p->text[k] == '0') return fail(p, "a number may not begin with 0");
  k += d;
  if (k < p->n && p->text[k] == '.') {
    integral = false;
    d = digits(p, ++k);
    if (!d) return p->pos = k, fail(p, "expected a digit after '.'");
    k += d;
  }
  if (k < p->n && (p->text[k] == 'e' || p->text[k] == 'E')) {
    integral = false;
    k++;
    if (k < p->n && (p->text[k] == '+' || p->text[k] == '-')) k++;
    d = digits(p, k);
    if (!d) return p->pos = k, fail(p, "expected a digit in the exponent");
    k += d;
  }
  p->pos = k;
  return number_value(p, from, k, integral);
}

static bool hex4(const Parser *p, size_t at, uint32_t *out) {
  if (p->n - at < 4) return false;
  uint32_t v = 0;
  for (size_t i = at; i < at + 4; i++) {
    char c = p->text[i];
    unsigned d;
    if (c >= '0' && c <= '9') {
      d = (unsigned)(c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
      d = (unsigned)((c | 32) - 'a') + 10;
    } else {
      return false;
    }
    v = v * 16 + d;
  }
  *out = v;
  return true;
}

/* One \uXXXX or a surrogate pair of them; p->pos stands behind the first 'u'. */
static bool parse_unicode(Parser *p, uint32_t *code) {
  uint32_t hi, lo;
  if (!hex4(p, p->pos, &hi)) return fail(p, "expected 4 hexadecimal digits") != NULL;
  p->pos += 4;
  if (hi >= 0xdc00 && hi <= 0xdfff) return fail(p, "lone surrogate") != NULL;
  if (hi >= 0xd800 && hi <= 0xdbff) {
    if (p->n - p->pos < 6 || p->text[p->pos] != '\\' || p->text[p->pos + 1] != 'u' ||
        !hex4(p, p->pos + 2, &lo) || lo < 0xdc00 || lo > 0xdfff)
      return fail(p, "lone surrogate") != NULL;
    p->pos += 6;
    hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
  }
  *code = hi;
  return true;
}

/* One character of a string into `out`; returns the bytes written, 0 on error. */
static size_t parse_char(Parser *p, char *out) {
  unsigned char c = (unsigned char)p->text[p->pos];
  if (c != '\\') {
    if (c < 0x20) return fail(p, "control character in a string"), (size_t)0;
    uint32_t code;
    size_t k = utf8_decode(p->text + p->pos, p->n - p->pos, &code);
    if (!k) return fail(p, "invalid UTF-8"), (size_t)0;
    memcpy(out, p->text + p->pos, k);
    p->pos += k;
    return k;
  }
  if (++p->pos == p->n) return fail(p, "unterminated string"), (size_t)0;
  c = (unsigned char)p->text[p->pos];
  if (c == 'u') {
    uint32_t code;
    p->pos++;
    return parse_unicode(p, &code) ? utf8_encode(code, out) : 0;
  }
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const char *found = memchr(names, c, sizeof names - 1);
  if (!found) return fail(p, "unknown escape"), (size_t)0;
  out[0] = values[found - names];
  p->pos++;
  return 1;
}

static Json *parse_string(Parser *p) {
  size_t from = ++p->pos, end = from;
  /* the closing quote bounds the size: no escape grows its text */
  while (end < p->n && p->text[end] != '"') end += p->text[end] == '\\' ? 2 : 1;
  if (end >= p->n) return fail(p, "unterminated string");
  char *data = json_pool_alloc(p->pool, end - from + 1);
  if (!data) return no_memory(p);
  size_t n = 0;
  while (p->pos < end) {
    char c[4];
    size_t k = parse_char(p, c);
    if (!k) return NULL;
    memcpy(data + n, c, k);
    n += k;
  }
  p->pos = end + 1;
  Json *v = node(p, JS_STRING);
  if (!v) return NULL;
  v->u.string.data = data;
  v->u.string.size = n;
  return v;
}

static Json *parse_value(Parser *p);

/* Behind an element: true when another follows, false at the closing bracket or on error. */
static bool more(Parser *p, int close, const char *expected) {
  skip_space(p);
  int c = peek(p);
  if (c == ',') {
    p->pos++;
    return true;
  }
  if (c == close) {
    p->pos++;
  } else {
    fail(p, expected);
  }
  return false;
}

static Json *parse_array(Parser *p) {
  size_t base = p->nstack;
  p->pos++;
  skip_space(p);
  if (peek(p) == ']') {
    p->pos++;
    return node(p, JS_ARRAY);
  }
  do {
    Json *item = parse_value(p);
    if (!item || !push(p, item)) return NULL;
  } while (more(p, ']', "expected ',' or ']'"));
  if (p->error) return NULL;
  Json *v = node(p, JS_ARRAY);
  if (!v) return NULL;
  size_t n = p->nstack - base;
  v->u.array.item = json_pool_alloc(p->pool, n * sizeof(Json *));
  if (!v->u.array.item) return no_memory(p);
  memcpy(v->u.array.item, p->stack + base, n * sizeof(Json *));
  v->u.array.n = n;
  p->nstack = base;
  return v;
}

static bool same_string(const Json *a, const Json *b) {
  return a->u.string.size == b->u.string.size &&
         memcmp(a->u.string.data, b->u.string.data, a->u.string.size) == 0;
}

static uint64_t hash_string(const Json *s) {
  uint64_t h = 14695981039346656037u; /* FNV-1a, then a mix, as only low bits are used */
  for (size_t i = 0; i < s->u.string.size; i++)
    h = (h ^ (unsigned char)s->u.string.data[i]) * 1099511628211u;
  return h ^ (h >> 29);
}

/* Moves the pairs stack[0..2n) into `v`, folding equal keys. */
static bool fold_pairs(Parser *p, Json **stack, size_t n, Json *v) {
  v->u.object.item = json_pool_alloc(p->pool, n * sizeof v->u.object.item[0]);
  size_t slots = 8;
  while (slots < 2 * n) slots *= 2;
  uint32_t *index = calloc(slots, sizeof *index); /* item + 1 */
  if (!v->u.object.item || !index || n >= UINT32_MAX) {
    free(index);
    return no_memory(p) != NULL;
  }
  for (size_t i = 0; i < n; i++) {
    Json *key = stack[2 * i];
    size_t at = hash_string(key) & (slots - 1);
    while (index[at] && !same_string(v->u.object.item[index[at] - 1].key, key))
      at = (at + 1) & (slots - 1);
    if (!index[at]) {
      v->u.object.item[v->u.object.n].key = key;
      index[at] = (uint32_t)++v->u.object.n;
    }
    v->u.object.item[index[at] - 1].value = stack[2 * i + 1];
  }
  free(index);
  return true;
}

static Json *parse_object(Parser *p) {
  size_t base = p->nstack;
  p->pos++;
  skip_space(p);
  if (peek(p) == '}') {
    p->pos++;
    return node(p, JS_OBJECT);
  }
  do {
    skip_space(p);
    if (peek(p) != '"') return fail(p, "expected a key in double quotes");
    Json *key = parse_string(p);
    if (!key || !push(p, key)) return NULL;
    skip_space(p);
    if (peek(p) != ':') return fail(p, "expected ':'");
    p->pos++;
    Json *value = parse_value(p);
    if (!value || !push(p, value)) return NULL;
  } while (more(p, '}', "expected ',' or '}'"));
  if (p->error) return NULL;
  Json *v = node(p, JS_OBJECT);
  if (!v || !fold_pairs(p, p->stack + base, (p->nstack - base) / 2, v)) return NULL;
  p->nstack = base;
  return v;
}

static Json *parse_value(Parser *p) {
  skip_space(p);
  int c = peek(p);
  if (c == '{' || c == '[') {
    if (p->depth == MAX_DEPTH) return fail(p, "nested too deeply (more than 512)");
    p->depth++;
    Json *v = c == '{' ? parse_object(p) : parse_array(p);
    p->depth--;
    return v;
  }
  switch (c) {
  case '"': return parse_string(p);
  case 't': return parse_word(p, "true", JS_BOOL, true);
  case 'f': return parse_word(p, "false", JS_BOOL, false);
  case 'n': return parse_word(p, "null", JS_NULL, false);
  default: break;
  }
  if (c == '-' || (c >= '0' && c <= '9')) return parse_number(p);
  return fail(p, c < 0 ? "unexpected end" : "expected a value");
}

Json *json_parse(JsonPool *pool, const char *text, size_t n, const char **error, size_t *at) {
  Parser p = {.pool = pool, .text = text, .n = n};
  Json *v = parse_value(&p);
  if (v) {
    skip_space(&p);
    if (p.pos != n) v = fail(&p, "unexpected text behind the value");
  }
  free(p.stack);
  if (error) *error = p.error;
  if (at) *at = p.pos;
  return v;
}

Json *json_get(const Json *object, const char *key) {
  if (!object || object->kind != JS_OBJECT) return NULL;
  size_t n = strlen(key);
  for (size_t i = 0; i < object->u.object.n; i++) {
    const Json *k = object->u.object.item[i].key;
    if (k->u.string.size == n && memcmp(k->u.string.data, key, n) == 0)
      return object->u.object.item[i].value;
  }
  return NULL;
}
