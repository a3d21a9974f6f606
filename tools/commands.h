/* The commands of the driver: one row in tools/main.c and one file tools/cmd_<name>.c each.
 * argv does not hold the program's and the command's name; the result is the exit status. */
#ifndef INGOT_TOOLS_COMMANDS_H
#define INGOT_TOOLS_COMMANDS_H

int cmd_compile(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_opt(int argc, char **argv);

#endif
