#!/usr/bin/env python3
"""Plants mistakes and sees that each check finds them, and that it is silent without them. Usage: selftest.py"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = """#pragma once
#define SKEANTHINGFAST "fast"
/*S
   SkeanThing - A thing

   Level: beginner

.seealso: `SkeanThingSolve()`
S*/
typedef struct _p_SkeanThing *SkeanThing;
SKEAN_EXTERN PetscErrorCode SkeanThingSolve(SkeanThing thing, Vec b, PetscReal *error);
"""
SOURCE = """#include "skeanthing.h"
/*@
   SkeanThingSolve - Solves

   Collective

   Input Parameters:
+  thing - the thing
-  b     - right-hand side

   Output Parameter:
.  error - the error

   Calling sequence of `monitor`:
+  it  - step
-  ctx - context

   Options Database Keys:
+  -thing_rows <m> - rows
.  -thing_max_it <n> - steps
.  -inner_thing_rows - rows of the inner thing
-  -ksp_view       - PETSc's own

   Level: beginner

.seealso: `SkeanThing`, `KSPSolve()`, `SKEANTHINGFAST`
@*/
PetscErrorCode SkeanThingSolve(SkeanThing thing, Vec b, PetscReal *error)
{
  PetscCall(PetscOptionsInt("-thing_rows", "-not_an_option in a help text", "", 1, &m, NULL)); /* PetscOptionsInt("-in_a_comment") */
  return 0;
}
static int Base(void)
{
  SkeanSolverInit_Private(&s, "thing", 1, 0, 0);
  OPTION("max_it");
  SkeanThingAppendOptionsPrefix(inner, "inner_");
  return SkeanThingRegister(SKEANTHINGFAST, f);
}
/*MC
   SKEANTHINGFAST - The fast one

   Level: beginner

.seealso: `SkeanThing`
M*/
"""
# name of the check, what to replace in header or source, what it must complain about
PLANTED = [
    ("options.py", "s", "-thing_rows <m> - rows", "-thing_rowz <m> - rows", "-thing_rowz is documented but never read"),
    ("options.py", "s", "-thing_rows <m> - rows", "-thing_rowz <m> - rows", "-thing_rows is read but in no manual page"),
    ("options.py", "s", ".  -thing_max_it <n> - steps\n", "", "-thing_max_it is read but in no manual page"),
    ("options.py", "s", '"inner_"', '"outer_"', "-inner_thing_rows is documented but never read"),
    ("options.py", "s", "-ksp_view       - PETSc's own", "-ksp_vieww       - PETSc's own", "-ksp_vieww is documented but never read"),
    ("docs.py", "s", "   Collective\n", "", "does not say whether it is collective"),
    ("docs.py", "s", "-  b     - right", "-  c     - right", "parameter b is not documented"),
    ("docs.py", "s", "-  b     - right", "-  c     - right", "documents c, which the prototype does not have"),
    ("docs.py", "s", "-  b     - right", ".  b     - right", "a list has '+' first"),
    ("docs.py", "s", "   Level: beginner\n\n.seealso: `SkeanThing`, `KSP", "\n.seealso: `SkeanThing`, `KSP", "SkeanThingSolve: no Level"),
    ("docs.py", "s", "`KSPSolve()`", "`KSPSolv()`", ".seealso names KSPSolv, which nobody declares"),
    ("docs.py", "s", ".seealso: `SkeanThing`, `KSPSolve()`, `SKEANTHINGFAST`\n", "", "SkeanThingSolve: no .seealso"),
    ("docs.py", "s", "SkeanThingSolve(SkeanThing thing, Vec b,", "SkeanThingSolve(SkeanThing thing, Vec rhs,", "definition has (thing, rhs, error)"),
    ("docs.py", "s", "   SkeanThingSolve - Solves", "   SkeanThingSolv - Solves", "SkeanThingSolve: no manual page"),
    ("docs.py", "s", "   SkeanThingSolve - Solves", "   SkeanThingSolv - Solves", "SkeanThingSolv: has a manual page but no public header"),
    ("docs.py", "s", "/*MC", "/*", "SKEANTHINGFAST: a registered type has a page"),
    ("docs.py", "s", "(SKEANTHINGFAST, f)", '("fast", f)', "is registered by a string"),
    ("docs.py", "h", "Vec b, PetscReal *error", "Vec, PetscReal *error", "every parameter of a public prototype has a name"),
    ("docs.py", "h", "/*S", "/*", "SkeanThing: a public type has a page"),
    ("symbols.py", "c", "int SkeanThingSolve", "int Stray(void){return 0;}\nint SkeanThingSolve", "exports Stray, which no public header declares"),
    ("symbols.py", "c", "int SkeanThingSolve", "int SkeanThingOther", "SkeanThingSolve is declared but the library does not export it"),
    ("symbols.py", "c", "Register_thing(", "Register_other(", "no PetscDLLibraryRegister_thing"),
]
LIBRARY = "int SkeanThingSolve(void){return 0;}\nint PetscDLLibraryRegister_thing(void){return 0;}\n"


def tree(folder, header, source):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "include").mkdir(parents=True)
    (folder / "src" / "thing").mkdir(parents=True)
    (folder / "include" / "skeanthing.h").write_text(header)
    (folder / "src" / "thing" / "thing.cxx").write_text(source)


def run(check, folder, library):
    command = [sys.executable, str(HERE / check)]
    if check == "symbols.py":
        (folder / "lib.c").write_text(library)
        out = folder / "libthing.so"
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", str(out), str(folder / "lib.c")], check=True)
        command.append(str(out))
    command.append(str(folder))
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def main():
    bad = 0

    def judge(ok, what, output):
        nonlocal bad
        print(("found   " if ok else "MISSED  ") + what)
        if not ok:
            bad += 1
            print(output)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tree"
        for check in ("options.py", "docs.py", "symbols.py"):
            tree(folder, HEADER, SOURCE)
            code, output = run(check, folder, LIBRARY)
            judge(code == 0, f"{check}: nothing, where nothing is wrong", output)
        for check, where, old, new, complaint in PLANTED:
            texts = {"h": HEADER, "s": SOURCE, "c": LIBRARY}
            assert old in texts[where], old
            texts[where] = texts[where].replace(old, new, 1)
            tree(folder, texts["h"], texts["s"])
            code, output = run(check, folder, texts["c"])
            judge(code == 1 and complaint in output, f"{check}: {complaint}", output)
        # layout and clang-tidy, where installed
        odd = Path(scratch) / "odd.cxx"
        shutil.copy(HERE.parents[1] / ".clang-format", scratch)
        shutil.copy(HERE.parents[1] / ".clang-tidy", scratch)
        for text, want in (("int main()\n{\n  return 0;\n}\n", 0), ("int   main( ){return 0;}\n", 1)):
            odd.write_text(text)
            done = subprocess.run([str(HERE / "format.sh"), str(odd)], capture_output=True, text=True)
            if done.returncode == 77:
                print(done.stdout.strip())
                break
            judge((done.returncode != 0) == bool(want), f"format.sh: {'bad' if want else 'good'} layout", done.stdout + done.stderr)
        (Path(scratch) / "compile_commands.json").write_text(
            f'[{{"directory": "{scratch}", "command": "c++ -std=c++17 -c odd.cxx", "file": "odd.cxx"}}]\n')
        for text, want in (("int main()\n{\n  return 0;\n}\n", 0), ("#include <string>\nint f(std::string s) { return s.size() > 2; }\n", 1)):
            odd.write_text(text)
            done = subprocess.run([str(HERE / "tidy.sh"), scratch, str(odd)], capture_output=True, text=True)
            if done.returncode == 77:
                print(done.stdout.strip())
                break
            judge((done.returncode != 0) == bool(want), f"tidy.sh: {'a parameter copied for nothing' if want else 'clean source'}", done.stdout + done.stderr)
    print(f"selftest: {bad} missed" if bad else "selftest: every planted mistake was found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
