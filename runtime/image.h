/* The runtime as a relocatable object, stored in ingot: linking a program needs no C compiler and
 * no libc on the user's machine. It holds crt1, our code and the members of musl's libc that it
 * needs; what a program does not use is dropped by --gc-sections. One a processor family; the
 * family that was not at hand when ingot was built has size 0. */
#ifndef INGOT_RUNTIME_IMAGE_H
#define INGOT_RUNTIME_IMAGE_H

#include <stddef.h>

extern const unsigned char ingot_runtime_x86_64[], ingot_runtime_aarch64[];
extern const size_t ingot_runtime_x86_64_size, ingot_runtime_aarch64_size;

/* The library API of runtime/ingot.h for `--emit lib`: position-independent, no main, no libc. It
 * needs ingot_model and (weak; unless the model's table points to them) ingot_weights. */
extern const unsigned char ingot_lib_x86_64[], ingot_lib_aarch64[];
extern const size_t ingot_lib_x86_64_size, ingot_lib_aarch64_size;
/* The text of runtime/ingot.h, for the user. */
extern const unsigned char ingot_lib_header[];
extern const size_t ingot_lib_header_size;

#endif
