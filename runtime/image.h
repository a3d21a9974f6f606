/* The runtime as a relocatable object, stored in ingot: linking a program needs no C compiler and no
 * libc on the user's machine. It holds crt1, our code and the members of musl's libc that it needs;
 * what a program does not use is dropped by --gc-sections. */
#ifndef INGOT_RUNTIME_IMAGE_H
#define INGOT_RUNTIME_IMAGE_H

#include <stddef.h>

extern const unsigned char ingot_runtime_image[];
extern const size_t ingot_runtime_image_size;

#endif
