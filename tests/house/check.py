#!/usr/bin/env python3
"""The rules of the house that a script can hold (doc/architecture.md): check.py ROOT

Includes go in one direction only; files, functions and lines keep their budgets; no mark of unfinished work without
an issue's number. Prints what breaks a rule and ends with 1; what is over a soft budget is only counted."""
import os
import re
import shutil
import subprocess
import sys

# folder: what it may include of ours
ALLOWED = {
    "ir": {"ir"},
    "frontend": {"frontend", "ir"},
    "passes": {"passes", "ir"},
    "backends": {"backends", "passes", "ir", "runtime/abi.h", "runtime/image.h", "runtime/text/tok_blob.h", "runtime/text/chat_blob.h"},
    "runtime": {"runtime"},
    "tools": {"tools", "backends", "passes", "frontend", "ir", "runtime"},
    "tests": {"tests", "tools", "backends", "passes", "frontend", "ir", "runtime"},
}
FILE_SOFT, FILE_HARD, FUNCTION_SOFT, FUNCTION_HARD, COLUMNS, HEADER = 500, 1000, 60, 120, 100, 500
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def tracked(root):
    """The tree's own files: what git says where git is, else all but build folders."""
    if shutil.which("git"):
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
        if out.returncode == 0:
            return out.stdout.split("\n")[:-1]
    paths = (os.path.relpath(os.path.join(d, f), root) for d, _, files in os.walk(root) for f in files)
    return [p for p in paths if not p.startswith((".", "build"))]


def without_strings_and_comments(text):
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: "\n" * m.group(0).count("\n"), text)


def functions(text):
    """(name, first line, length) of every function body: a `{` at depth 0 that follows a `)`."""
    lines, depth, start, name = without_strings_and_comments(text).split("\n"), 0, None, None
    head = ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        for ch in line:
            if ch == "{":
                if depth == 0 and head.rstrip().endswith(")"):
                    start = number
                    found = re.findall(r"(\w+)\s*\(", head)
                    name = found[0] if found else "?"
                depth += 1
            elif ch == "}":
                depth -= 1
                if depth == 0:
                    if start:
                        yield name, start, number - start + 1
                    start, head = None, ""
            elif depth == 0:
                head = "" if ch == ";" else head + ch
        if depth == 0:
            head += " "


def check_includes(path, lines, errors):
    folder = path.split("/")[0]
    for number, line in enumerate(lines, 1):
        m = INCLUDE.match(line)
        if not m or folder not in ALLOWED:
            continue
        target = m.group(1)
        if target.split("/")[0] in ALLOWED and target not in ALLOWED[folder] and target.split("/")[0] not in ALLOWED[folder]:
            errors.append(f"{path}:{number}: {folder}/ may not include {target}")


def check_code(path, text, errors, soft):
    lines = text.split("\n")
    check_includes(path, lines, errors)
    limit = HEADER if path.endswith(".h") else FILE_HARD
    if len(lines) > limit:
        errors.append(f"{path}: {len(lines)} lines (at most {limit})")
    elif len(lines) > FILE_SOFT:
        soft.append(f"{path}: {len(lines)} lines (better {FILE_SOFT})")
    if not path.endswith(".def"):
        for name, line, length in functions(text):
            if length > FUNCTION_HARD:
                errors.append(f"{path}:{line}: {name} has {length} lines (at most {FUNCTION_HARD})")
            elif length > FUNCTION_SOFT:
                soft.append(f"{path}:{line}: {name} has {length} lines (better {FUNCTION_SOFT})")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS and not path.endswith(".def"):
            errors.append(f"{path}:{number}: {len(line)} columns (at most {COLUMNS})")


def check_format(paths, errors):
    """.clang-format is law, where the tool that knows it is installed."""
    tool = shutil.which("clang-format-19")
    if tool:
        done = subprocess.run([tool, "--dry-run", *paths], capture_output=True, text=True)
        places = {line.split(":")[0] for line in done.stderr.split("\n") if "clang-format-violations" in line}
        errors.extend(f"{place}: not as clang-format writes it" for place in sorted(places))
    else:
        print("note: clang-format-19 is not installed; formatting was not checked")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    errors, soft, checked, count = [], [], [], 0
    for path in tracked(root):
        if not path.endswith((".c", ".h", ".def", ".py", ".sh", ".cmake")) or not os.path.exists(os.path.join(root, path)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        count += 1
        for number, line in enumerate(text.split("\n"), 1):
            if UNFINISHED.search(line) and not path.endswith("house/check.py"):
                errors.append(f"{path}:{number}: unfinished work without an issue's number")
        if path.endswith((".c", ".h", ".def")):
            check_code(path, text, errors, soft)
            checked.append(os.path.join(root, path))
    check_format([p for p in checked if not p.endswith(".def")], errors)
    for line in soft:
        print("note: " + line)
    for line in errors:
        print("error: " + line)
    print(f"{count} files, {len(errors)} errors, {len(soft)} over a soft budget")
    return 1 if errors or not count else 0


if __name__ == "__main__":
    sys.exit(main())
