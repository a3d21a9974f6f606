/* A user's program on the library that `ingot compile --emit lib` makes: asks the example model. */
#include HEADER

#include <stdio.h>
#include <string.h>

static int answer(Ingot *m) {
  static const char chat[] =
      "{\"messages\": [{\"role\": \"user\", \"content\": \"What colour is copper?\"}],"
      " \"add_generation_prompt\": true}";
  char prompt[512], text[512];
  int32_t ids[256];
  size_t n = 0;
  int64_t size = ingot_render_chat(m, chat, strlen(chat), prompt, sizeof prompt);
  if (size < 0) return 1;
  int64_t count = ingot_tokenize(m, prompt, (size_t)size, 0, ids, 256);
  if (count < 0 || ingot_prefill(m, ids, count) != INGOT_OK) return 1;
  while (n < 32 && !ingot_is_end(m, ingot_greedy(m))) {
    ids[n] = ingot_greedy(m);
    if (ingot_decode(m, ids[n++]) != INGOT_OK) return 1;
  }
  size = ingot_detokenize(m, ids, n, 1, text, sizeof text);
  if (size < 0) return 1;
  printf("%.*s\n", (int)size, text);
  return 0;
}

int main(void) {
  char message[256];
  Ingot *m = ingot_open(NULL, message, sizeof message);
  if (!m) {
    fprintf(stderr, "%s\n", message);
    return 1;
  }
  int status = answer(m);
  if (status) fprintf(stderr, "%s\n", ingot_error(m));
  ingot_close(m);
  return status;
}
