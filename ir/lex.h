/* The lexer shared by the text forms of Graph IR and Kernel IR, and a map of names.
 *
 * Tokens: words, %names, @names (either may be quoted: %"any text"), numbers, strings, punctuation.
 * `#` and `//` begin a comment; the text of a `//` comment that ends a line is kept, since it
 * is the origin of that line's op. Everything carries line and column, so that every message can.
 * Odd one: in shapes (`Sx72`) the letter x separates, so lex_dims reads the current token again
 * that way.
 */
#ifndef INGOT_IR_LEX_H
#define INGOT_IR_LEX_H

#include "ir/base.h"

typedef enum LexKind {
  LX_END,    /* end of the text */
  LX_BAD,    /* not a token; the error has been given */
  LX_WORD,   /* tensor, i16, S */
  LX_LOCAL,  /* %name, %12; text is without the % */
  LX_GLOBAL, /* @name; text is without the @ */
  LX_INT,    /* 12, 0x1f; never signed */
  LX_FLOAT,  /* 0.5, 1e-05; never signed */
  LX_STRING, /* "text" with \" \\ \n \t \xHH */
  LX_PUNCT   /* ( ) [ ] { } < > , ; : = + - * / ^ and the pairs -> .. ^/ */
} LexKind;

typedef struct Token {
  LexKind kind;
  const char *text; /* NUL-terminated, in the arena */
  uint32_t line, column;
  uint64_t i; /* LX_INT */
  double f;   /* LX_INT, LX_FLOAT */
} Token;

typedef struct Lexer {
  Token tok;            /* the current token */
  const char *trailing; /* text of a `//` comment that followed the token before it on its line */
  Arena *arena;
  Diag *diag;
  const char *where;
  const char *start, *at, *line_start; /* start of the current token; the next unread character */
  uint32_t line;
  bool failed;
} Lexer;

/* Begins at the first token of a NUL-terminated text. */
void lex_init(Lexer *l, Arena *a, const char *text, const char *where, Diag *d);
void lex_next(Lexer *l);                    /* advances; stays at LX_END and LX_BAD */
bool lex_is(const Lexer *l, const char *s); /* the current token is this word or punctuation */
bool lex_accept(Lexer *l, const char *s);   /* advances over it when it is there */
Status lex_expect(Lexer *l, const char *s); /* an error when it is not there */
/* An error at the current token: "where:line:column: ...". Silent after a first failure of the
 * lexer itself, whose message says more. */
Status lex_error(Lexer *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Take one token of a kind, `what` being its description in the message ("a graph's name"). */
Status lex_word(Lexer *l, const char *what, const char **out);
Status lex_local(Lexer *l, const char *what, const char **out);
Status lex_global(Lexer *l, const char *what, const char **out);
Status lex_string(Lexer *l, const char *what, const char **out);
Status lex_i64(Lexer *l, int64_t *out); /* with an optional sign */
Status lex_f64(Lexer *l, double *out);  /* with an optional sign; integers, inf and nan too */
/* Reads the current token again as part of a shape: a word ends before its first x, and one that
 * begins with x is the separator alone; numbers are decimal. */
void lex_dims(Lexer *l);

/* ---- printing, so that the lexer reads the same back ---- */

/* The shortest decimal that reads back as exactly `x` (also when rounded to f32, if `single`). */
void buf_double(Buf *out, double x, bool single);
void buf_quoted(Buf *out, const char *s); /* "text" */
/* sigil and name, quoted when the lexer would not read it as one name */
void buf_name(Buf *out, char sigil, const char *name);
/* A bare word, or "quoted" when the lexer would not read it as one; lex_any_name reads it back. */
void buf_word(Buf *out, const char *name);
Status lex_any_name(Lexer *l, const char *what, const char **out);

/* ---- names to numbers ---- */

/* An open-addressing hash map in an arena; keys are not copied. Zero-initialise and set arena. */
typedef struct NameMap {
  Arena *arena;
  struct NameSlot {
    const char *name;
    uint32_t value;
  } *slots;
  uint32_t count, cap;
} NameMap;
/* The place of `name`'s value, made (as 0) when it was absent. Valid until the next names_at. */
uint32_t *names_at(NameMap *m, const char *name);
/* 0 when absent. */
uint32_t names_get(const NameMap *m, const char *name);

#endif
