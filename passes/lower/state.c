/* States: how a KV cache lies in memory (lower.h, CacheLayout), and where it is. */
#include "passes/lower/lower.h"

static CacheLayout q8_layout(const StateDef *s) {
  CacheLayout c = {.type = K_i8, .q8 = true};
  c.context = (int64_t)align_up((uint64_t)s->context, KEY_BLOCK);
  c.dim = c.padded = (int64_t)align_up((uint64_t)s->head_dim, 32);
  c.key_head = c.value_head = c.context * c.dim;
  c.scale_head = c.context * (c.dim / 32) * 2;
  c.values = s->kv_heads * c.key_head;
  c.key_scales = 2 * c.values;
  c.value_scales = c.key_scales + s->kv_heads * c.scale_head;
  uint64_t bytes = (uint64_t)(c.value_scales + s->kv_heads * c.scale_head);
  BUG_IF(!size_mul(bytes, (uint64_t)s->slots, &c.bytes), "state %s overflows", s->name);
  return c;
}

CacheLayout cache_layout(const StateDef *s) {
  if (s->storage == Q_q8_0) return q8_layout(s);
  CacheLayout c = {.type = kscalar_of(s->dtype), .dim = s->head_dim};
  c.context = (int64_t)align_up((uint64_t)s->context, KEY_BLOCK);
  c.padded = (int64_t)align_up((uint64_t)s->head_dim, 16);
  c.key_head = c.context * c.dim;
  c.value_head = c.context * c.padded;
  c.values = s->kv_heads * c.key_head;
  uint64_t elements = (uint64_t)(c.values + s->kv_heads * c.value_head);
  BUG_IF(!size_mul(elements, (uint64_t)s->slots * kscalar_size(c.type), &c.bytes),
         "state %s overflows", s->name);
  return c;
}

/* The state that a value stands for: itself, or what kv_append was given. */
Place place_state(Lower *l, ValueId v, const StateDef **def) {
  const Value *x = graph_value(l->g, v);
  while (x->kind == V_OP) x = graph_value(l->g, graph_get(l->g, x->def)->in[0]);
  *def = &l->m->states[x->index];
  return (Place){.bind = {.space = KS_state, .index = x->index},
                 .dtype = (*def)->dtype,
                 .bytes = cache_layout(*def).bytes};
}

DimId past_dim(Lower *l) {
  return dim_find(l->m->dims, "P");
}
