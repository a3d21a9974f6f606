#!/bin/sh
# Begins an architecture: new_arch.sh NAME CLASS   (model_type and class of a config.json)
#
# Makes the row in frontend/arch/archs.def and the file frontend/arch/NAME.c, a decoder like llama
# (frontend/arch/decoder.h) until its own keys, norms and defaults are filled in. The test is a case
# in tests/arch/make.py.   Example: new_arch.sh qwen3 Qwen3ForCausalLM
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
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {DECODER_KEYS};

/* Keys of its own; config_finish names every key that nobody has read. */
static Status read(Decoder *l, Config *c, Loader *w) {
  return decoder_rope(l, c, w, 10000);
}

static const DecoderDef def = {
    .name = "$name",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_act",
    .act = "silu",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("post_attention_layernorm", "ffn_norm")},
    .absent = {.positions = 2048},
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"$class", NULL};
const ArchDef arch_$name = {"$name", classes, build};
EOF

cat <<EOF
made:    frontend/arch/$name.c
changed: frontend/arch/archs.def frontend/arch/arch.cmake
next:    its keys, norms and defaults from Transformers' class; frontend/arch/decoder.h says what there is
test:    cases in tests/arch/make.py, then tests/arch/cases.py build/ingot CASES '$name*'
EOF
