#!/usr/bin/env python3
"""Compiles every source (syntax only) against PETSc headers that declare what newer releases do.

A newer PETSc is not in the distribution that the tests run on. This edits a copy of the headers that the build uses in the way of the
release notes of 3.19 ... 3.25, as far as this project's calls are concerned, so that both sides of every #if in
skean/private/petsccompat.h are compiled and a call that the newer releases refuse is noticed. It is no proof: what the notes do not say,
and how a newer library behaves, needs that library.

usage: newerpetsc.py <build folder with compile_commands.json> [-j <n>] [--files <part of a name>] [--minor <minor version>...]   (default 21 22 23 24 25)
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

# first minor version, header, pattern, replacement: each must be found
EDITS = [
    (19, "petscsystypes.h", r"typedef int PetscErrorCode;", "typedef int PetscErrorCode;\n#define PETSC_SUCCESS ((PetscErrorCode)0)"),
    (21, "petsctao.h", r"TaoSetMonitor\(Tao", "TaoMonitorSet(Tao"),
    (22, "petscviewer.h", r"PetscOptionsGetViewer\(MPI_Comm", "PetscOptionsCreateViewer(MPI_Comm"),
    (22, "petsc/private/kspimpl.h", r"PetscReal rtol,", "PetscReal default_rtol, rtol,"),
    (22, "petsc/private/petscimpl.h", r"(#define PETSCHEADER\()",
     r"#define PetscObjectParameterSetDefault(obj, NAME, value) do { if (obj->NAME == obj->default_##NAME) obj->NAME = value; "
     r"obj->default_##NAME = value; } while (0)" "\n" r"\1"),
    (23, "petscoptions.h", r"typedef struct _p_PetscOptionItems \{", "typedef struct _n_PetscOptionItems *PetscOptionItems;\nstruct _n_PetscOptionItems {"),
    (23, "petscoptions.h", r"\n\} PetscOptionItems;", "\n};"),
    (23, "petscoptions.h", r"PetscOptionItems( +)PetscOptionsObjectBase;", r"struct _n_PetscOptionItems\1PetscOptionsObjectBase;"),
    (23, "*", r"\bPetscOptionItems \*", "PetscOptionItems "),
    (23, "petscsys.h", r"PetscContainerSetUserDestroy\(PetscContainer, PetscErrorCode \(\*\)\(void \*\)\)",
     "PetscContainerSetCtxDestroy(PetscContainer, PetscErrorCode (*)(void **))"),
    (24, "petscsystypes.h", r"typedef enum \{\s*PETSC_FALSE,\s*PETSC_TRUE\s*\} PetscBool;",
     "#include <stdbool.h>\ntypedef bool PetscBool;\n#define PETSC_FALSE false\n#define PETSC_TRUE true\ntypedef PetscErrorCode PetscErrorCodeFn(void);"),
    (24, "petscmat.h", r"(Mat(?:Shell)?SetOperation\(Mat, MatOperation, )void \(\*\)\(void\)\)", r"\1PetscErrorCodeFn *)"),
    (24, "petscmat.h", r"(Mat(?:Shell)?GetOperation\(Mat, MatOperation, )void \(\*\*\)\(void\)\)", r"\1PetscErrorCodeFn **)"),
    (24, "petscksp.h", r"KSP_CONVERGED_([RA])TOL_NORMAL( +=)", r"KSP_CONVERGED_\1TOL_NORMAL_EQUATIONS\2"),
    (24, "petscksp.h", r"(KSPSetConvergenceTest\(KSP, .*, void \*, PetscErrorCode \(\*\)\()void \*\)\)", r"\1void **))"),
    (24, "petscksp.h", r"KSPConvergedDefaultDestroy\(void \*\)", "KSPConvergedDefaultDestroy(void **)"),
    (25, "petscsnes.h", r"(SNESSetConvergenceTest\(SNES, .*, void \*, PetscErrorCode \(\*\)\()void \*\)\)", r"\1void **))"),
    # gone, or deprecated so that a warning is an error
    (23, "petscmat.h", r"MatMissingDiagonal\(Mat", "MatMissingDiagonalIsGone(Mat"),
    (21, "petsctao.h", r"TaoCancelMonitors\(Tao", "TaoCancelMonitorsIsGone(Tao"),
]


def overlay(source, target, minor):
    """A copy of the headers as release 3.minor has them, as far as EDITS say."""
    shutil.copytree(source, target, symlinks=False, ignore=shutil.ignore_patterns("*.mod", "finclude"))
    version = os.path.join(target, "petscversion.h")
    text = open(version).read()
    text, n = re.subn(r"(#define PETSC_VERSION_MINOR +)\d+", r"\g<1>%d" % minor, text)
    assert n == 1
    open(version, "w").write(text)
    for first, header, pattern, replacement in EDITS:
        if minor < first:
            continue
        names = [header]
        if header == "*":
            names = [os.path.relpath(os.path.join(d, f), target) for d, _, files in os.walk(target) for f in files if f.endswith((".h", ".hpp"))]
        found = 0
        for name in names:
            path = os.path.join(target, name)
            text = open(path, errors="surrogateescape").read()
            text, n = re.subn(pattern, replacement, text)
            found += n
            if n:
                open(path, "w", errors="surrogateescape").write(text)
        if not found:
            sys.exit(f"newerpetsc: '{pattern}' is not in {header} of {source}: are these the headers of PETSc 3.18?")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--minor", nargs="*", type=int, default=[21, 22, 23, 24, 25])
    parser.add_argument("-j", type=int, default=2)
    parser.add_argument("--files", default="")
    args = parser.parse_args()
    commands = json.load(open(os.path.join(args.build, "compile_commands.json")))
    include = re.search(r"-isystem (\S*/petsc\S*/include)", commands[0]["command"]).group(1)
    bad = 0
    for minor in args.minor:
        with tempfile.TemporaryDirectory() as tmp:
            overlay(include, os.path.join(tmp, "include"), minor)

            def check(c):
                words = shlex.split(c["command"].replace(include, os.path.join(tmp, "include")))
                del words[words.index("-o") : words.index("-o") + 2]
                words = [w for w in words if not w.startswith("-O") and w != "-g"] + ["-fsyntax-only"]
                while os.path.basename(words[0]) not in ("c++", "g++", "cc", "gcc", "clang", "clang++", "mpicc", "mpicxx"):
                    del words[0]  # a launcher
                return subprocess.run(words, cwd=c["directory"], stderr=subprocess.PIPE, text=True)

            chosen = [c for c in commands if args.files in c["file"]]
            with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
                results = list(pool.map(check, chosen))
            failed = [(c["file"], r.stderr) for c, r in zip(chosen, results) if r.returncode]
            for name, text in failed:
                print(f"--- PETSc 3.{minor}: {name}\n{text}", file=sys.stderr)
            print(f"PETSc 3.{minor} as declared: {len(chosen)} sources, {len(failed)} refused")
            bad += len(failed)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
