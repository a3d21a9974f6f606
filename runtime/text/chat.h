/* The chat template interpreter's own header: values, scopes and the state of one rendering.
 *
 * Values are Python's: printing, truth, comparison and arithmetic follow Python 3 as Jinja2 shows
 * them. All memory comes from one JsonPool that dies with the rendering. Errors leave by longjmp to
 * chat_render, the only caller; nothing but the pool and the two Out buffers is held across it.
 */
#ifndef INGOT_RUNTIME_CHAT_H
#define INGOT_RUNTIME_CHAT_H

#include "runtime/core/json.h"
#include "runtime/text/chat_blob.h"

#include <setjmp.h>

typedef enum ValKind {
  VK_UNDEFINED, /* name: what was looked up, for the message */
  VK_NONE,
  VK_BOOL,
  VK_INT,
  VK_FLOAT,
  VK_STRING,
  VK_LIST,
  VK_TUPLE,
  VK_DICT,
  VK_GENERATOR, /* what map, select and their kin give: can be gone through, and no more */
  VK_NAMESPACE, /* a dict that templates may assign to */
  VK_LOOP,
  VK_MACRO,
  VK_FUNCTION, /* a global function: integer = ChatGlobal */
  VK_METHOD,   /* obj.name: bound */
} ValKind;

typedef struct Val Val;
typedef struct ValList ValList;
typedef struct ValDict ValDict;
typedef struct Scope Scope;
typedef struct Macro Macro;
typedef struct Loop Loop;
typedef struct Method Method;

struct Val {
  ValKind kind;
  bool safe;     /* STRING: marked as HTML-safe; what is added to it gets escaped */
  uint32_t size; /* STRING (bytes), UNDEFINED (of the name) */
  union {
    bool boolean;
    int64_t integer;
    double number;
    const char *text; /* STRING, UNDEFINED: not NUL-terminated */
    ValList *list;
    ValDict *dict;
    Loop *loop;
    Macro *macro;
    Method *method;
  } u;
};

struct ValList {
  Val *item;
  uint32_t n, cap;
};
struct ValDict {
  struct {
    Val key, value;
  } *item;
  uint32_t n, cap;
};
struct Scope {
  Scope *parent;
  ValDict names;
};
struct Macro {
  const ChatNode *node; /* macro or call_block */
  Scope *scope;         /* where it was defined */
  Val caller;
};
struct Loop {
  ValList *items;
  uint32_t index; /* of the current item, from 0 */
  uint32_t depth;
  const ChatNode *node; /* the for, for recursion */
  Scope *scope;
  Val last_changed;
};
struct Method {
  Val object;
  const char *name;
  uint32_t size;
};

typedef enum ChatGlobal {
  CG_raise_exception,
  CG_strftime_now,
  CG_range,
  CG_namespace,
  CG_dict
} ChatGlobal;

/* The arguments of a call: those by position, then those by name. */
typedef struct CallArgs {
  const Val *arg;
  uint32_t n;
  const ValDict *named;
} CallArgs;

enum { MOST_OPEN = 256 };

typedef struct Chat {
  const ChatNode *node;
  const uint32_t *list;
  const char *text;
  const ChatBlob *blob;
  JsonPool *pool;
  Scope *scope;
  Out *out; /* where output goes: the caller's, or a captured part */
  const char *now;
  uint64_t steps; /* left */
  uint32_t depth;
  int jump; /* 0, CN_break or CN_continue on the way to its loop */
  Out *error;
  Out open[MOST_OPEN]; /* texts under construction */
  uint32_t nopen;
  jmp_buf failed;
  int status; /* TEXT_ error when failed */
} Chat;

/* ---- errors ---- */

_Noreturn void chat_fail(Chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void chat_no_memory(Chat *c);
void chat_step(Chat *c, uint64_t n); /* counts work; fails beyond the limit */

/* ---- making values (chat_value.c) ---- */
void *chat_alloc(Chat *c, size_t n);
Val val_none(void);
Val val_bool(bool b);
Val val_int(int64_t i);
Val val_float(double d);
Val val_text(const char *text, size_t n); /* not copied */
Val val_cstr(const char *text);           /* not copied */
Val val_copy(Chat *c, const char *text, size_t n);
Val val_undefined(const char *name, size_t n);
Val val_list(Chat *c, ValKind list_or_tuple);
Val val_dict(Chat *c, ValKind dict_or_namespace);
void list_push(Chat *c, ValList *l, Val v);
void dict_set(Chat *c, ValDict *d, Val key, Val value);
bool dict_get(Chat *c, const ValDict *d, Val key, Val *out);
bool dict_find(Chat *c, const ValDict *d, const char *key, Val *out);
Val val_of_json(Chat *c, const Json *j);
/* An Out for a text under construction; the last one opened is the first to be done. chat_render
 * frees those still open when the rendering fails. */
Out *chat_out(Chat *c);
Val chat_out_done(Chat *c, Out *o); /* its text as a string, in the pool; frees the Out */

/* ---- looking at values (chat_value.c, chat_print.c) ---- */
const char *val_type_name(const Val *v); /* Python's: "str", "list" */
bool val_truth(const Val *v);
bool val_equal(Chat *c, Val a, Val b);
int val_compare(Chat *c, Val a, Val b); /* < 0, 0, > 0; fails for what Python can't order */
bool val_contains(Chat *c, Val container, Val item);
bool val_is_number(const Val *v);  /* int, float or bool */
bool val_is_int(const Val *v);     /* int or bool */
int64_t val_integer(const Val *v); /* of an int or bool */
double val_number(const Val *v);
bool val_length(const Val *v, int64_t *out); /* false: it has none */
/* Items of an iterable (a dict's keys, a string's characters); fails for others. */
ValList *val_items(Chat *c, Val v);
void val_print(Chat *c, Val v, Out *o); /* str() */
void val_repr(Chat *c, Val v, Out *o);  /* repr() */
Val val_string(Chat *c, Val v);         /* str() as a value; a string is itself */
void val_json(Chat *c, Val v, Out *o, const char *indent, const char *comma, const char *colon,
              bool sort_keys, bool ascii);
bool val_is(const Val *v, const char *text); /* a string equal to text */

/* ---- evaluation (chat_eval.c, chat_stmt.c) ---- */
Val chat_eval(Chat *c, uint32_t node);
void chat_run(Chat *c, uint32_t node);
Val chat_call(Chat *c, Val callee, CallArgs args);
Val chat_getattr(Chat *c, Val object, const char *name, size_t n);
Val chat_getitem(Chat *c, Val object, Val key);
Val chat_binary(Chat *c, ChatBinary op, Val a, Val b); /* chat_arith.c */
Val chat_compare(Chat *c, ChatCompare op, Val a, Val b);
Val chat_slice(Chat *c, Val object, Val start, Val stop, Val step);
Val chat_percent_format(Chat *c, Val format, CallArgs args); /* chat_format.c: "%s" % .. */
Val chat_brace_format(Chat *c, Val format, CallArgs args);   /* "{}".format(..) */
Val chat_filter(Chat *c, ChatFilter filter, Val value, CallArgs args);
bool chat_test(Chat *c, ChatTest test, Val value, CallArgs args);
Val chat_method(Chat *c, const Method *m, CallArgs args);
bool chat_has_method(const Val *object, const char *name, size_t n);
Val chat_strftime(Chat *c, Val format);
Scope *scope_new(Chat *c, Scope *parent);
void chat_assign(Chat *c, uint32_t target, Val value);
Val chat_call_macro(Chat *c, const Macro *m, CallArgs args);
Val chat_call_loop(Chat *c, Loop *l, CallArgs args);
Val chat_loop_attr(Chat *c, Loop *l, const char *name, size_t n);
Val chat_filters_on(Chat *c, uint32_t chain, Val value); /* a filter chain without its own value */

/* ---- arguments ---- */
/* The argument at position i or named `name`; `fallback` when neither is given. */
Val arg_get(Chat *c, CallArgs a, uint32_t i, const char *name, Val fallback);
int64_t arg_int(Chat *c, CallArgs a, uint32_t i, const char *name, int64_t fallback);
bool arg_flag(Chat *c, CallArgs a, uint32_t i, const char *name, bool fallback); /* its truth */
bool name_is(const char *name, size_t n, const char *word);

/* The filters: a forgotten one is a link error. */
#define F(name) Val filter_##name(Chat *c, Val v, CallArgs a);
CHAT_FILTERS(F)
#undef F
/* The attribute "a.b.0" of a value, by items; a number is an index. */
Val val_dotted(Chat *c, Val v, Val path);
/* The number that fills a string but for white space; false when there is none. */
bool str_number(Chat *c, Val s, bool integer, int base, Val *out);

/* The kind of text work that filters and methods share (chat_string.c). */
Val str_strip(Val s, const char *set, size_t nset, bool left,
              bool right);              /* set NULL: white space */
Val str_case(Chat *c, Val s, int mode); /* 'u' upper, 'l' lower, 't' title, 'c' capitalize */
Val str_replace(Chat *c, Val s, Val from, Val to, int64_t count);
Val str_escape(Chat *c, Val s); /* for HTML; safe then */
Val str_join(Chat *c, Val separator, ValList *items);
size_t utf8_length(const char *s, size_t n);                  /* code points */
size_t utf8_offset(const char *s, size_t n, size_t position); /* of the position-th code point */

#endif
