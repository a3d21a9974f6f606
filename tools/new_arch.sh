#!/bin/sh
# Begins an architecture: new_arch.sh NAME CLASS   (model_type and class of a config.json)
#
# Makes the row in frontend/arch/archs.def and the file frontend/arch/NAME.c, which reads the keys
# that nearly every decoder has and then says that its graphs are missing. The test is a model:
# tests/peer/cases.py on folders named NAME-*.   Example: new_arch.sh qwen2 Qwen2ForCausalLM
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "new_arch.sh: $1" >&2
  exit "$2"
}

[ $# -eq 2 ] || fail "expected NAME CLASS" 2
name=$1 class=$2
case $name in
'' | [!a-z]* | *[!a-z0-9_]*) fail "$name: a name has small letters, digits and _" 2 ;;
esac
grep -q "^ARCH($name," frontend/arch/archs.def && fail "$name: archs.def has it already" 1
[ ! -e "frontend/arch/$name.c" ] || fail "frontend/arch/$name.c exists" 1

echo "ARCH($name, $name)" >>frontend/arch/archs.def
sed -i "s|arch/llama.c|arch/llama.c arch/$name.c|" frontend/arch/arch.cmake
grep -q "arch/$name.c" frontend/arch/arch.cmake || fail "arch.cmake: found no place for $name.c" 1

cat >"frontend/arch/$name.c" <<EOF
/* $name: what differs from Llama (frontend/arch/llama.c), and the paper.
 *
 * What counts is Transformers' $class: keys that it ignores are ignored, defaults of keys
 * that old files lack are its defaults.
 */
#include "frontend/arch/blocks.h"

/* Hugging Face's name, and what follows "$name." in a GGUF. */
static const ConfigKey keys[] = {
    {"vocab_size", "vocab_size"},
    {"hidden_size", "embedding_length"},
    {"num_hidden_layers", "block_count"},
    {"num_attention_heads", "attention.head_count"},
    {"max_position_embeddings", "context_length"},
};

typedef struct Shape {
  int64_t vocab, hidden, layers, heads, positions;
} Shape;

static Status read_config(Shape *s, Config *c) {
  TRY(config_i64(c, "vocab_size", CONFIG_NEEDED, 1, 1 << 28, &s->vocab));
  TRY(config_i64(c, "hidden_size", CONFIG_NEEDED, 1, 1 << 20, &s->hidden));
  TRY(config_i64(c, "num_hidden_layers", CONFIG_NEEDED, 1, 1 << 14, &s->layers));
  TRY(config_i64(c, "num_attention_heads", CONFIG_NEEDED, 1, 1 << 16, &s->heads));
  TRY(config_i64(c, "max_position_embeddings", CONFIG_NEEDED, 1, INT32_MAX, &s->positions));
  return config_finish(c); /* names every key that nobody has read yet */
}

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  (void)o, (void)m;
  Shape shape;
  Config c;
  TRY(config_open(model, keys, COUNT(keys), d, &c));
  Status s = read_config(&shape, &c);
  if (s == OK) s = diag_error(d, model->path, "$name has no graphs yet (frontend/arch/$name.c)");
  config_close(&c);
  return s;
}

static const char *const classes[] = {"$class", NULL};
const ArchDef arch_$name = {"$name", classes, build};
EOF

cat <<EOF
made:    frontend/arch/$name.c
changed: frontend/arch/archs.def frontend/arch/arch.cmake
next:    read the keys, load the weights, build the graphs; frontend/arch/llama.c is the example
test:    tests/peer/cases.py build/ingot MODELS '$name*'     (fails until then)
EOF
