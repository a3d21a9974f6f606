/* Added tokens: flags, and two tries of their bytes, for what is matched before and after
 * normalisation. The second holds normalised contents, computed by the runtime's own normaliser
 * from the steps that the blob already has. Of equal contents a special token counts, then the
 * first.
 */
#include "backends/text/tok_compile.h"

typedef struct Node { /* of the trie being built: first child, next sibling */
  uint32_t child, sibling, token;
  uint8_t byte;
} Node;

typedef struct Trie {
  Node *node; /* heap */
  uint32_t n, cap;
} Trie;

static uint32_t child_of(Trie *t, uint32_t node, uint8_t byte) {
  for (uint32_t k = t->node[node].child; k; k = t->node[k].sibling)
    if (t->node[k].byte == byte) return k;
  Node new = {.byte = byte, .sibling = t->node[node].child};
  *VEC_PUSH(t->node, t->n, t->cap) = new;
  t->node[node].child = t->n - 1;
  return t->n - 1;
}

static void insert(Trie *t, const uint8_t *p, size_t n, uint32_t token) {
  uint32_t node = 0;
  if (n == 0) return;
  for (size_t i = 0; i < n; i++) node = child_of(t, node, p[i]);
  if (!t->node[node].token) t->node[node].token = token;
}

static void write_trie(TokCompiler *c, const Trie *t, TokTrie *out) {
  uint32_t root[256] = {0}, nedges = 0;
  TokTrieNode *node = mem_alloc(t->n * sizeof *node);
  TokTrieEdge *edge = mem_alloc(t->n * sizeof *edge);
  for (uint32_t k = t->node[0].child; k; k = t->node[k].sibling) root[t->node[k].byte] = k;
  for (uint32_t i = 0; i < t->n; i++) {
    node[i] = (TokTrieNode){.first = nedges, .token = t->node[i].token};
    for (uint32_t k = t->node[i].child; k; k = t->node[k].sibling)
      edge[nedges++] = (TokTrieEdge){t->node[k].byte, k};
    node[i].n = nedges - node[i].first;
  }
  out->root = blob_put(c, root, sizeof root);
  out->node = blob_put(c, node, t->n * sizeof *node);
  out->edge = blob_put(c, edge, nedges * sizeof *edge);
  mem_free(node);
  mem_free(edge);
}

typedef struct Insertion {
  Trie *trie;
  uint32_t token;
} Insertion;

static void take(void *context, const uint8_t *text, size_t n) {
  const Insertion *i = context;
  insert(i->trie, text, n, i->token);
}

/* Inserts the tokens of one trie, special ones first. */
static Status fill(TokCompiler *c, Trie *trie, bool normalized) {
  *VEC_PUSH(trie->node, trie->n, trie->cap) = (Node){0};
  for (int special = 1; special >= 0; special--)
    for (uint32_t i = 0; i < c->spec->nadded; i++) {
      const AddedToken *a = &c->spec->added[i];
      const uint8_t *p = (const uint8_t *)a->text.data;
      Insertion in = {trie, i + 1};
      if (a->normalized != normalized || a->special != (special == 1)) continue;
      if (!normalized)
        take(&in, p, a->text.size);
      else if (tok_make_normalize(c->blob.data, &c->head, p, a->text.size, take, &in))
        return diag_error(c->d, c->source, "added token %u isn't valid UTF-8", a->id);
    }
  return OK;
}

Status compile_added(TokCompiler *c) {
  TokAdded *added = ARENA_ARRAY(c->arena, TokAdded, c->spec->nadded + 1u);
  Status status = OK;
  for (uint32_t i = 0; i < c->spec->nadded; i++) {
    const AddedToken *a = &c->spec->added[i];
    added[i].id = a->id;
    added[i].flags = (a->special ? TOK_ADDED_SPECIAL : 0u) | (a->lstrip ? TOK_ADDED_LSTRIP : 0u) |
                     (a->rstrip ? TOK_ADDED_RSTRIP : 0u) | (a->single_word ? TOK_ADDED_WORD : 0u);
  }
  c->head.added = blob_put(c, added, c->spec->nadded * sizeof *added);
  for (int normalized = 0; normalized < 2 && status == OK; normalized++) {
    Trie trie = {0};
    status = fill(c, &trie, normalized == 1);
    if (status == OK) write_trie(c, &trie, normalized ? &c->head.normal : &c->head.raw);
    mem_free(trie.node);
  }
  return status;
}
