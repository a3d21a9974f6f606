/* TokenizerSpec to blob: the entry point, the automata and what the post-processor adds.
 *
 * The header is kept aside and copied to the front at the end; tables are appended as they are
 * made.
 */
#include "backends/text/tok_compile.h"
#include "backends/text/text_backend.h"

#include <string.h>

TokSpan blob_put(TokCompiler *c, const void *data, size_t size) {
  buf_align(&c->blob, 4);
  TokSpan s = {(uint32_t)c->blob.size, (uint32_t)size};
  if (size) buf_put(&c->blob, data, size);
  return s;
}

/* ---- automata ------------------------------------------------------------------------------ */

static Status write_automata(TokCompiler *c) {
  TokDfa *table = ARENA_ARRAY(c->arena, TokDfa, c->nnfa + 1u);
  Status status = OK;
  for (uint32_t i = 0; i < c->nnfa && status == OK; i++) {
    Dfa dfa;
    status = dfa_build(&c->nfa[i], &c->symbols, c->source, c->d, &dfa);
    if (status == OK) {
      size_t cells = (size_t)dfa.states * dfa.width;
      table[i].next = blob_put(c, dfa.next, cells * sizeof *dfa.next);
      table[i].start = blob_put(c, dfa.start, dfa.nstart * sizeof *dfa.start);
      table[i].width = dfa.width;
      table[i].behind = c->nfa[i].behind;
    }
    mem_free(dfa.next);
    mem_free(dfa.start);
  }
  c->head.dfa = blob_put(c, table, c->nnfa * sizeof *table);
  return status;
}

static Status write_symbols(TokCompiler *c) {
  uint8_t attr[256] = {0}, byte_symbol[256];
  if (c->space.n) symbols_add(&c->symbols, c->space);
  if (c->word.n) symbols_add(&c->symbols, c->word);
  TRY(symbols_make(&c->symbols, c->source, c->d));
  for (uint32_t k = 0; k < c->symbols.n; k++) {
    uint32_t point = c->symbols.example[k];
    attr[k] = (uint8_t)((cp_has(c->space, point) ? TOK_ATTR_SPACE : 0) |
                        (cp_has(c->word, point) ? TOK_ATTR_WORD : 0));
  }
  for (unsigned b = 0; b < 256; b++) byte_symbol[b] = c->symbols.of[stand_in_of_byte((uint8_t)b)];
  c->head.symbol = blob_table8(c, c->symbols.of);
  c->head.attr = blob_put(c, attr, c->symbols.n);
  c->head.byte_symbol = blob_put(c, byte_symbol, sizeof byte_symbol);
  return OK;
}

/* ---- post-processor ------------------------------------------------------------------------ */

static Status add_piece(TokCompiler *c, Buf *b, int kind, int64_t id) {
  TokPiece p = {(uint32_t)kind, kind == 2 ? (uint32_t)id : 0};
  if (kind < 0 || kind > 2 || (kind == 2 && (id < 0 || id >= c->head.vocab)))
    return diag_error(c->d, c->source, "the post-processor adds token %lld, which doesn't exist",
                      (long long)id);
  buf_put(b, &p, sizeof p);
  return OK;
}

static Status add_template(TokCompiler *c, Buf *b, bool pair) {
  const TokenizerSpec *s = c->spec;
  const TemplatePiece *piece = pair ? s->pair : s->single;
  uint32_t n = pair ? s->npair : s->nsingle;
  for (uint32_t i = 0; i < n; i++) TRY(add_piece(c, b, piece[i].kind, piece[i].id));
  if (n) return OK;
  for (int kind = 0; kind <= (pair ? 1 : 0); kind++) {
    bool flags = s->nsingle == 0;
    if (flags && s->add_bos && s->bos_id >= 0) TRY(add_piece(c, b, 2, s->bos_id));
    TRY(add_piece(c, b, kind, 0));
    if (flags && s->add_eos && s->eos_id >= 0) TRY(add_piece(c, b, 2, s->eos_id));
  }
  return OK;
}

static Status write_template(TokCompiler *c, bool pair) {
  Buf b = {0};
  Status status = add_template(c, &b, pair);
  TokSpan span = blob_put(c, b.data, b.size);
  if (pair)
    c->head.pair = span;
  else
    c->head.single = span;
  buf_free(&b);
  return status;
}

/* ---- decoder ------------------------------------------------------------------------------- */

static Status check_decoder(TokCompiler *c) {
  const TokenizerSpec *s = c->spec;
  bool byte_level = c->head.flags & TOK_BYTE_LEVEL;
  for (uint32_t i = 0; i < s->ndecoder; i++)
    if ((s->decoder[i].kind == STEP_BYTELEVEL) != byte_level)
      return diag_error(c->d, c->source, "a decoder of another kind than the vocabulary");
  if (s->end_of_word_suffix.size)
    return diag_error(c->d, c->source, "BPE with end_of_word_suffix isn't supported");
  if (s->wordpiece_decoder)
    compile_wordpiece_decoder(c);
  else if (!s->ndecoder && !byte_level)
    c->head.flags |= TOK_JOIN_SPACES;
  if (s->clean_up_spaces) c->head.flags |= TOK_CLEAN_UP;
  return OK;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static Status check_model(TokCompiler *c) {
  if (c->spec->model == TOK_BPE || c->spec->model == TOK_WORDPIECE) return OK;
  return diag_error(c->d, c->source,
                    "a tokenizer with a %s model isn't supported; BPE and WordPiece are",
                    c->spec->model == TOK_UNIGRAM ? "Unigram" : "missing");
}

static TokSpan put_steps(TokCompiler *c, const TokSteps *s) {
  return blob_put(c, s->item, s->n * sizeof *s->item);
}

static Status compile(TokCompiler *c) {
  TRY(check_model(c));
  buf_put(&c->blob, &c->head, sizeof c->head);
  TRY(compile_steps(c));
  TRY(write_symbols(c));
  TRY(write_automata(c));
  c->head.normalizer = put_steps(c, &c->normalizer);
  c->head.pretokenizer = put_steps(c, &c->pretokenizer);
  c->head.decoder = put_steps(c, &c->decoder);
  c->head.decoder_first = put_steps(c, &c->decoder_first);
  TRY(compile_vocab(c));
  TRY(check_decoder(c));
  TRY(compile_added(c));
  TRY(write_template(c, false));
  TRY(write_template(c, true));
  TRY(compile_whole(c));
  buf_align(&c->blob, 4);
  if (c->blob.size > UINT32_MAX) return diag_error(c->d, c->source, "tables of more than 4 GiB");
  c->head.magic = TOK_MAGIC;
  c->head.version = TOK_VERSION;
  c->head.size = (uint32_t)c->blob.size;
  memcpy(c->blob.data, &c->head, sizeof c->head);
  return OK;
}

Status tokenizer_compile(const TokenizerSpec *spec, Diag *d, Buf *out) {
  Arena *a = arena_new();
  TokCompiler c = {.spec = spec, .d = d, .arena = a};
  c.source = spec->source ? spec->source : "tokenizer";
  c.unicode = unicode_new(a);
  c.symbols.arena = a;
  Status status = compile(&c);
  if (status == OK) buf_put(out, c.blob.data, c.blob.size);
  for (uint32_t i = 0; i < c.nnfa; i++) mem_free(c.nfa[i].inst);
  mem_free(c.nfa);
  mem_free(c.symbols.set);
  mem_free(c.normalizer.item);
  mem_free(c.pretokenizer.item);
  mem_free(c.decoder.item);
  mem_free(c.decoder_first.item);
  buf_free(&c.blob);
  arena_free(a);
  return status;
}
