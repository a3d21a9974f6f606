/* The tokenizer as a constant: tables that backends/text makes and the program reads in place.
 *
 * Everything is found by byte offsets from the start of the blob (TokSpan), so that it can lie
 * anywhere in a file and nothing is built at start. Little-endian; the blob is aligned to 4 bytes.
 * Text is always bytes here: a byte-level vocabulary is stored without its alphabet of printable
 * stand-ins. Code points meet the automata as classes ("symbols") of one partition that serves all
 * expressions of the tokenizer; after a byte-level step text is a string of bytes and the symbol of
 * a byte is that of its stand-in. tok_compile.c writes, tok_open.c checks.
 */
#ifndef INGOT_RUNTIME_TOK_BLOB_H
#define INGOT_RUNTIME_TOK_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOK_MAGIC = 0x6b6f7449, TOK_VERSION = 2 };

typedef struct TokSpan {
  uint32_t at, size; /* bytes */
} TokSpan;

enum {                      /* TokBlob.flags */
       TOK_BYTE_LEVEL = 1,  /* the symbols of BPE are bytes; else characters */
       TOK_WIDE_IDS = 2,    /* hash slots hold u32, else u16 */
       TOK_WIDE_SPLITS = 4, /* lengths of left halves are u16, else u8 */
       TOK_ONE_SPLIT = 8,   /* at most one merge makes a token: `split_len` is indexed by its id */
       TOK_FUSE_UNK = 16,
       TOK_BYTE_FALLBACK = 32, /* unknown characters become the tokens of their bytes (byte_id) */
       TOK_CLEAN_UP = 64,      /* decoding tidies spaces before punctuation as Transformers does */
       TOK_JOIN_SPACES = 128,  /* no decoder: tokens are joined with spaces */
       TOK_WORDPIECE_MODEL = 256,
       TOK_WORDPIECE_DECODER = 512, /* tokens are joined with spaces, but for those with `prefix` */
       TOK_CLEAN_TOKENS = 1024      /* .. and each with its space is tidied */
};

enum { TOK_ATTR_SPACE = 1, TOK_ATTR_WORD = 2 }; /* of a symbol, for the flags of added tokens */

/* One expression: symbols x states. next[state * width + symbol]; the last column is the end of the
 * text. State 0 is dead; TOK_DFA_MATCH says that a match ends before the symbol. `start` is by the
 * symbol before (width entries, the last one: nothing before) when `behind`, else one entry. */
enum { TOK_DFA_MATCH = 0x8000, TOK_DFA_STATES = 0x7fff };
typedef struct TokDfa {
  TokSpan next;   /* u16 */
  TokSpan start;  /* u16 */
  uint32_t width; /* symbols + 1 */
  uint32_t behind;
} TokDfa;

typedef enum TokStepKind {
  /* normaliser */
  TOK_STEP_NORMAL,  /* flags: TOK_NF_COMPOSE; data: TokNormal */
  TOK_STEP_MAP,     /* data: TokMap: each code point to a string */
  TOK_STEP_STRIP,   /* flags: TOK_STRIP_LEFT, _RIGHT */
  TOK_STEP_PREPEND, /* data: the text */
  TOK_STEP_REPLACE, /* dfa; data: the new text */
  /* pre-tokenizer */
  TOK_STEP_SPLIT,    /* dfa; behaviour; flags: TOK_SPLIT_INVERT */
  TOK_STEP_PREFIX,   /* a space before every piece that does not begin with one */
  TOK_STEP_BYTES,    /* from here on text is bytes (HF's byte alphabet) */
  TOK_STEP_METASPACE /* data: what replaces spaces; flags: when it is put before a piece */
} TokStepKind;
enum { TOK_META_ALWAYS, TOK_META_FIRST, TOK_META_NEVER }; /* as TextStep.prepend_scheme */
enum { TOK_NF_COMPOSE = 1, TOK_STRIP_LEFT = 1, TOK_STRIP_RIGHT = 2, TOK_SPLIT_INVERT = 1 };
typedef struct TokStep {
  uint32_t kind, flags;
  uint32_t dfa;       /* index */
  uint32_t behaviour; /* SplitBehaviour of ir/text.h */
  TokSpan data;
} TokStep;

/* A two-stage table over code points: leaf[top[c >> 7] * 128 + (c & 127)]. */
enum { TOK_PAGE = 128, TOK_PAGES = 0x110000 / 128 };
typedef struct TokTable {
  TokSpan top;  /* u16, TOK_PAGES */
  TokSpan leaf; /* u8 (symbols) or u16 (map, normal) */
} TokTable;

/* Canonical or compatibility decomposition and composition. Table values index `entry`; 0: starter
 * that neither changes nor combines with what stands before it. */
typedef struct TokNormal {
  TokTable table;  /* u16 */
  TokSpan entry;   /* TokNormalEntry */
  TokSpan points;  /* u32: decompositions, full and in order */
  TokSpan compose; /* TokCompose sorted by (first, second) */
} TokNormal;
typedef struct TokNormalEntry {
  uint32_t at; /* first code point in `points` */
  uint8_t n;   /* 0: is its own decomposition */
  uint8_t ccc;
  uint8_t unsafe; /* may change when composing or combines backwards: the slow path */
  uint8_t pad;
} TokNormalEntry;
typedef struct TokCompose {
  uint32_t first, second, result;
} TokCompose;

/* Each code point to bytes. Table values: 0 keeps it, TOK_MAP_SPACED puts a space before and behind
 * it, else 1 + index into `entry`. */
enum { TOK_MAP_SPACED = 0xffff };
typedef struct TokMap {
  TokTable table; /* u16 */
  TokSpan entry;  /* TokMapEntry */
  TokSpan bytes;
} TokMap;
typedef struct TokMapEntry {
  uint32_t at, n;
} TokMapEntry;

/* Added tokens: a trie of bytes. Node 0 is the root; its children are found by `root` (u32 by byte,
 * 0: none); those of other nodes are `edge`[first .. first + n). */
typedef struct TokTrie {
  TokSpan root; /* u32[256] */
  TokSpan node; /* TokTrieNode */
  TokSpan edge; /* TokTrieEdge */
} TokTrie;
typedef struct TokTrieNode {
  uint32_t first, n;
  uint32_t token; /* 1 + index of the added token that ends here; 0: none */
} TokTrieNode;
typedef struct TokTrieEdge {
  uint32_t byte, node;
} TokTrieEdge;
enum { TOK_ADDED_SPECIAL = 1, TOK_ADDED_LSTRIP = 2, TOK_ADDED_RSTRIP = 4, TOK_ADDED_WORD = 8 };
typedef struct TokAdded {
  uint32_t id, flags;
} TokAdded;

typedef struct TokPiece { /* post-processor; kind as TemplatePiece: 0 A, 1 B, 2 token */
  uint32_t kind, id;
} TokPiece;

/* The vocabulary. The bytes of token i begin at base[i / 32] + delta[i] and end where those of
 * i + 1 begin. Tokens that text can become are found by an open-addressing hash of their bytes
 * (tok_hash): fingerprint bytes (0: free) and ids. A merge (left, right) -> token is kept as the
 * length of the left half beside the token it makes: strings and tokens are one to one, so the
 * bytes of the two halves identify the pair. */
enum { TOK_BLOCK = 32 };
typedef struct TokBlob {
  uint32_t magic, version, size, flags;
  uint32_t vocab;   /* largest id + 1 */
  uint32_t longest; /* bytes of the longest token in the hash */
  int32_t unk;      /* -1: none */
  uint32_t slots;   /* of the hash */
  TokSpan base;     /* u32, vocab / 32 + 1 */
  TokSpan delta;    /* u16, vocab + 1 */
  TokSpan bytes;
  TokSpan special;       /* bit by id */
  TokSpan whole;         /* bit by id: a piece equal to the token is that token, without merging */
  TokSpan finger;        /* u8 by slot */
  TokSpan slot;          /* u16 or u32 by slot */
  TokSpan split_len;     /* u8 or u16: left halves, 0: none; by token, by rank within a token */
  TokSpan split_count;   /* u8 by id, unless TOK_ONE_SPLIT */
  TokSpan split_base;    /* u32 by block of ids, unless TOK_ONE_SPLIT */
  TokSpan rank;          /* u32 beside split_len; absent: order of ids, then of the list */
  TokSpan byte_id;       /* i32[256]: token of a byte, -1: none */
  TokSpan suffix;        /* end_of_word_suffix */
  TokSpan prefix;        /* WordPiece: of tokens that continue a word */
  uint32_t word_chars;   /* WordPiece: a longer word is unknown */
  TokTable symbol;       /* u8 */
  TokSpan attr;          /* u8 by symbol */
  TokSpan byte_symbol;   /* u8[256], for text after TOK_STEP_BYTES */
  TokSpan dfa;           /* TokDfa */
  TokSpan normalizer;    /* TokStep */
  TokSpan pretokenizer;  /* TokStep */
  TokSpan added;         /* TokAdded */
  TokTrie raw, normal;   /* matched before and after normalisation */
  TokSpan single, pair;  /* TokPiece */
  TokSpan decoder;       /* TokStep, run on the text of each token .. */
  TokSpan decoder_first; /* .. and of the first one */
  TokSpan lead;          /* a text that is dropped where the decoded text begins with it */
} TokBlob;

/* The hash of a token's bytes; both sides use this one. */
static inline uint64_t tok_hash(const uint8_t *p, uint32_t n) {
  uint64_t h = UINT64_C(0x9e3779b97f4a7c15) * (n + 1);
  while (n) {
    uint64_t w = 0;
    uint32_t take = n < 8 ? n : 8;
    for (uint32_t i = 0; i < take; i++) w |= (uint64_t)p[i] << (8 * i);
    h = (h ^ w) * UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    p += take;
    n -= take;
  }
  h *= UINT64_C(0xd6e8feb86659fd93);
  return h ^ (h >> 32);
}
static inline uint32_t tok_hash_slot(uint64_t h, uint32_t slots) {
  return (uint32_t)(((h & 0xffffffffu) * slots) >> 32);
}
static inline uint8_t tok_hash_finger(uint64_t h) {
  return (uint8_t)(1 + (h >> 57));
}

/* ---- for the compiler (tok_make.c) -------------------------------------------------------------
 */

/* Gives the normalised text to `take`. Non-zero: out of memory or not UTF-8. `head` may lie outside
 * of the blob; its normalizer, symbols and automata must be there. */
int tok_make_normalize(const void *blob, const TokBlob *head, const uint8_t *text, size_t n,
                       void (*take)(void *context, const uint8_t *text, size_t n), void *context);
/* Sets the bits (zeroed, by id) of tokens that text equal to them becomes; `all`: of all tokens
 * that text can become. Non-zero: out of memory. */
int tok_make_whole(const void *blob, const TokBlob *head, bool all, uint8_t *bits);

#endif
