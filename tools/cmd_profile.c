/* ingot profile: where a model's time goes, by the program's own `profile`
 * (runtime/task/profile.c).
 */
#include "tools/cache.h"
#include "tools/commands.h"

static const CacheCommand profile = {
    .command = {.name = "profile",
                .usage = "[options] PROGRAM|MODEL [-p N] [-n N] [-t N] [--each] [--json]",
                .help = "Shows where the time of prefill and decode goes, kernel by kernel: of a "
                        "program that ingot made,\n"
                        "or of MODEL, compiled into the cache as 'ingot run' does. Options before "
                        "it are the compiler's;\n"
                        "whatever stands behind it goes to the program's 'profile'."},
    .call = "profile",
    .programs = true,
};

int cmd_profile(int argc, char **argv) {
  return cache_command(&profile, argc, argv);
}
