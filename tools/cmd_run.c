/* ingot run: compile into the user's cache, then become the program (tools/cache.c). */
#include "tools/cache.h"
#include "tools/commands.h"

static const CacheCommand run = {
    .command = {.name = "run",
                .usage = "[options] MODEL [ARGS]",
                .help = "Compiles MODEL into the cache ($XDG_CACHE_HOME/ingot or ~/.cache/ingot) "
                        "unless it is there\n"
                        "already, then runs the program with ARGS. Options before MODEL are the "
                        "compiler's (not\n"
                        "--out, --target, --emit, --backend, --stop-after; --cpu is native by "
                        "default); what "
                        "stands behind\n"
                        "MODEL goes to the program."},
};

int cmd_run(int argc, char **argv) {
  return cache_command(&run, argc, argv);
}
