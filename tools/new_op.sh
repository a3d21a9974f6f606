#!/bin/sh
# Begins an element-wise operator: new_op.sh NAME 'FORMULA'   (FORMULA: C, of a double x)
#
# Makes the three things that doc/adding.md asks for: the row in ir/ops.def, the file ir/op/NAME.c,
# the test case in tests/op/op_cases.h. The expression for kernels begins as x itself, so the case
# fails until it is written.   Example: new_op.sh softsign 'x / (1 + fabs(x))'
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "new_op.sh: $1" >&2
  exit "$2"
}

[ $# -eq 2 ] || fail "expected NAME 'FORMULA'" 2
name=$1 formula=$2
case $name in
'' | [!a-z]* | *[!a-z0-9_]*) fail "$name: a name has small letters, digits and _" 2 ;;
esac
grep -q "^OP($name," ir/ops.def && fail "$name: ir/ops.def has it already" 1
[ ! -e "ir/op/$name.c" ] || fail "ir/op/$name.c exists" 1

# Inserts line $3 before the first line of file $1 that matches $2.
insert() {
  grep -q "$2" "$1" || fail "$1: found no place for the new line" 1
  awk -v pattern="$2" -v line="$3" '!done && $0 ~ pattern { print line; done = 1 } { print }' \
    "$1" >"$1.new"
  mv "$1.new" "$1"
}

insert ir/ops.def '^/[*] -- element-wise, two operands' "OP($name, 1, 1, 1, T_PURE | T_UNARY, none)"
insert tests/op/op_cases.h '^UNARY[(]hardswish[)]' "UNARY($name)"
sed -i "s|op/attention.c|op/attention.c op/$name.c|" ir/op.cmake
grep -q "op/$name.c" ir/op.cmake || fail "ir/op.cmake: found no place for op/$name.c" 1

cat >"ir/op/$name.c" <<EOF
/* $name(x) = $formula
 *
 * The definition is in double, rounded once to f32; the expression is what kernels compute.
 */
#include "ir/op/common.h"

#include <math.h>

INFER($name) {
  TRY(need_float(g, op, 0, 0, d, where));
  same_type(g, op, out, nout);
  return OK;
}
VERIFY_NONE($name)

REF($name) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  for (int64_t i = 0; i < out->elements; i++) {
    double x = in->f[i];
    out->f[i] = (float)($formula);
  }
  return OK;
}

EXPR($name) {
  (void)b, (void)op;
  return args[0];
}
EOF

cat <<EOF
made:    ir/op/$name.c
changed: ir/ops.def ir/op.cmake tests/op/op_cases.h
next:    write EXPR($name) in ir/op/$name.c with k_op1, k_op2, k_fma, k_select (ir/kernel.h)
test:    ctest --test-dir build -R op.lower     (fails until then: "$name: output y")
EOF
