/* The form in which a chat template is executed: Jinja's syntax tree in flat tables.
 *
 * backends/text/jinja_*.c make it, runtime/text/chat_*.c walk it. The blob is
 *   ChatBlob | ChatNode[nnodes] | uint32_t lists[nlists] | text bytes
 * and holds no pointers. Node 0 is "none". A `list` names a run of node ids in lists; a `text` a
 * run of bytes. All indices are checked once by chat_render before anything is executed.
 */
#ifndef INGOT_RUNTIME_CHAT_BLOB_H
#define INGOT_RUNTIME_CHAT_BLOB_H

#include <stdint.h>

#define CHAT_MAGIC 0x31746863u /* "cht1" */

typedef struct ChatBlob {
  uint32_t magic, nnodes, nlists, ntext;
  uint32_t root;
  uint32_t bos, eos, pad, unk; /* text nodes of the special tokens; 0: undefined */
} ChatBlob;

typedef struct ChatNode {
  uint16_t kind; /* CN_ */
  uint16_t sub;  /* operator, filter, test: by kind */
  uint32_t a, b, c;
} ChatNode;

/* What a, b and c of a node mean: n a node (0 allowed), t+ a text (offset here, size in the next
 * field), l+ a list (start here, count in the next field), - nothing, i a plain number.
 * CHAT_NODE(name, meaning of a b c) */
#define CHAT_NODES(N)                                                                              \
  N(none, "---")                                                                                   \
  N(string, "t+-") /* literal */                                                                   \
  N(int, "ii-")    /* low and high half */                                                         \
  N(float, "ii-")  /* bits of a double, low and high half */                                       \
  N(true, "---")                                                                                   \
  N(false, "---")                                                                                  \
  N(null, "---")                                                                                   \
  N(name, "t+-")                                                                                   \
  N(getattr, "t+n") /* c.name */                                                                   \
  N(getitem, "nn-") /* a[b] */                                                                     \
  N(slice, "nl+")   /* a[start:stop:step], three nodes */                                          \
  N(call, "nl+")    /* a(arguments); keyword arguments are nodes of kind kwarg */                  \
  N(kwarg, "t+n")                                                                                  \
  N(filter, "nl+")  /* sub: ChatFilter; a: the value, 0 in a filter or set block */                \
  N(test, "nl+")    /* sub: ChatTest */                                                            \
  N(unknown, "t+i") /* a filter or test that Jinja does not know either: an error when reached */  \
  N(not, "n--")                                                                                    \
  N(negative, "n--")                                                                               \
  N(positive, "n--")                                                                               \
  N(binary, "nn-") /* sub: ChatBinary */                                                           \
  N(and, "nn-")                                                                                    \
  N(or, "nn-")                                                                                     \
  N(concat, "-l+")  /* a ~ b ~ c */                                                                \
  N(compare, "nl+") /* a, then operands: kind operand, sub ChatCompare */                          \
  N(operand, "n--")                                                                                \
  N(conditional, "nnn") /* b if a else c; c 0: undefined */                                        \
  N(list, "-l+")                                                                                   \
  N(tuple, "-l+")                                                                                  \
  N(dict, "-l+") /* key, value, key, value .. */                                                   \
  N(text, "t+-") /* output as it is */                                                             \
  N(output, "n--")                                                                                 \
  N(block, "-l+")     /* statements in order */                                                    \
  N(for, "nl+")       /* target; list: iterable, condition, body, else; sub 1: recursive */        \
  N(if, "nnn")                                                                                     \
  N(set, "nn-")          /* target, value */                                                       \
  N(set_block, "nnn")    /* target, body, filter chain */                                          \
  N(macro, "nl+")        /* name; list: body, then params */                                       \
  N(param, "nn-")        /* name, default (0: none) */                                             \
  N(call_block, "nl+")   /* call; list: body, then params */                                       \
  N(filter_block, "nn-") /* filter chain, body */                                                  \
  N(with, "nl+")         /* body; list: set nodes */                                               \
  N(break, "---")                                                                                  \
  N(continue, "---")

typedef enum ChatKind {
#define N(name, meaning) CN_##name,
  CHAT_NODES(N)
#undef N
      CN_COUNT
} ChatKind;

typedef enum ChatBinary { CB_add, CB_sub, CB_mul, CB_div, CB_floordiv, CB_mod, CB_pow } ChatBinary;
typedef enum ChatCompare { CC_eq, CC_ne, CC_lt, CC_le, CC_gt, CC_ge, CC_in, CC_not_in } ChatCompare;

/* Filters and tests: one row each; the row names the function in runtime/text/chat_filters.c or
 * chat_tests.c. An alias is a row of CHAT_FILTER_ALIASES. */
/* clang-format off */
#define CHAT_FILTERS(F)                                                                            \
  F(abs) F(attr) F(batch) F(capitalize) F(center) F(default) F(dictsort) F(escape) F(first)        \
  F(float) F(format) F(groupby) F(indent) F(int) F(items) F(join) F(last) F(length) F(list)        \
  F(lower) F(map) F(max) F(min) F(reject) F(rejectattr) F(replace) F(reverse) F(round) F(safe)     \
  F(select) F(selectattr) F(slice) F(sort) F(string) F(sum) F(title) F(tojson) F(trim)             \
  F(truncate) F(unique) F(upper) F(wordcount)
#define CHAT_FILTER_ALIASES(A) A(count, length) A(d, default) A(e, escape)
/* Jinja's other filters: known, but not compiled. */
#define CHAT_FILTERS_REFUSED(F)                                                                    \
  F(filesizeformat) F(forceescape) F(pprint) F(random) F(striptags) F(urlencode) F(urlize)         \
  F(wordwrap) F(xmlattr)
typedef enum ChatFilter {
#define F(name) CF_##name,
  CHAT_FILTERS(F)
#undef F
  CF_COUNT
} ChatFilter;

#define CHAT_TESTS(T)                                                                              \
  T(boolean) T(callable) T(defined) T(divisibleby) T(eq) T(even) T(false) T(float) T(ge) T(gt)     \
  T(in) T(integer) T(iterable) T(le) T(lower) T(lt) T(mapping) T(ne) T(none) T(number) T(odd)      \
  T(sameas) T(sequence) T(string) T(true) T(undefined) T(upper)
#define CHAT_TEST_ALIASES(A) A(equalto, eq) A(greaterthan, gt) A(lessthan, lt)
#define CHAT_TESTS_REFUSED(T) T(escaped) T(filter) T(test)
typedef enum ChatTest {
#define T(name) CT_##name,
  CHAT_TESTS(T)
#undef T
  CT_COUNT
} ChatTest;
/* clang-format on */

#endif
