/* Tokenizer and chat template to the blobs that a program executes. What can't be compiled exactly
 * is an error that names the source and the construct. */
#ifndef INGOT_BACKENDS_TEXT_H
#define INGOT_BACKENDS_TEXT_H

#include "ir/text.h"

/* Appends the blob (layout: runtime/text/tok_blob.h) to `out`. */
Status tokenizer_compile(const TokenizerSpec *spec, Diag *d, Buf *out);
/* Appends the blob (layout: runtime/text/chat_blob.h) to `out`. */
Status chat_compile(const ChatTemplateSpec *spec, Diag *d, Buf *out);

#endif
