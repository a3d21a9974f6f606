/* The runtime as a relocatable object, stored in ingot: linking a program needs no C compiler and
 * no libc on the user's machine. It holds crt1, our code and the members of musl's libc that it
 * needs; what a program does not use is dropped by --gc-sections. */
#ifndef INGOT_RUNTIME_IMAGE_H
#define INGOT_RUNTIME_IMAGE_H

#include <stddef.h>

extern const unsigned char ingot_runtime_image[];
extern const size_t ingot_runtime_image_size;

/* The library API of runtime/ingot.h for `--emit lib`: position-independent, no main, no libc. It
 * needs ingot_model and (weak; unless the model's table points to them) ingot_weights. */
extern const unsigned char ingot_lib_image[];
extern const size_t ingot_lib_image_size;
/* The text of runtime/ingot.h, for the user. */
extern const unsigned char ingot_lib_header[];
extern const size_t ingot_lib_header_size;

#endif
