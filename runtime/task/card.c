/* `card`: prints the model card that was stored at compile time (JSON). */
#include "runtime/core/io.h"
#include "runtime/task/task.h"

static int run(const Task *t, void *options, Err *e) {
  (void)options;
  if (t->args.argc) return err_set(e, "card", "takes no argument '%s'", t->args.argv[0]), 2;
  const IngotBlob *card = &t->m->card;
  if (!card->size) return err_set(e, "card", "this program carries none");
  const char *text = card->data;
  io_write(text, card->size);
  if (text[card->size - 1] != '\n') io_write("\n", 1);
  return CALL_DONE;
}

const Call call_card = {.name = "card", .purpose = "print the model card", .run = run};
